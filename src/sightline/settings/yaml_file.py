"""`sightline.yaml`: each value with its line.

Loaded only where there is such a file: `sightline list` is to answer at once, and PyYAML takes 30 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sightline.core.errors import ConfigError
from sightline.settings.aliases import by_yaml_key, cure_for_path, is_section
from sightline.settings.expand import expand
from sightline.settings.sources import Given, Level, read_text


def from_yaml(path: Path, shown: str, environ: Mapping[str, str]) -> Iterator[Given]:
    """Yield what the settings file `path` gives; `shown` is what messages call it.

    Raises:
        ConfigError: it is no YAML, has an unknown or repeated key, or a variable that is not set.
    """
    text = read_text(path, shown)
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None or _is_null(root):
            return
        for key, origin, value in _leaves(loader, root, shown):
            targets = by_yaml_key(key)
            if not targets:
                raise ConfigError(f"There is no setting {key!r}.", cure=cure_for_path(key), location=origin)
            if isinstance(value, str):
                value = expand(value, {}, environ, location=origin)  # noqa: PLW2901 -- the same value, spelled out
            if value not in (None, ""):
                for target in targets:
                    yield Given(target=target, name=key, value=value, level=Level.YAML, origin=origin, base=path.parent)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(
            f"Not valid YAML: {error.problem or error.context}.",
            cure="Check the indentation and the quotes of this line and of the one above.",
            location=f"{shown}:{mark.line + 1}" if mark else shown,
        ) from None
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            f"Not valid YAML: {error.reason}.",
            cure="Remove the unprintable character.",
            location=f"{shown}:{text.count(chr(10), 0, error.position) + 1}",
        ) from None


def _leaves(loader: yaml.SafeLoader, node: yaml.Node, shown: str, section: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield dotted key, place and value of each leaf; a section with nothing below it is passed over."""
    for name, line, inner in _items(loader, node, shown, section or "The settings file"):
        key, origin = (f"{section}.{name}" if section else name), f"{shown}:{line}"
        if not is_section(key):
            yield key, origin, _constructed(loader, inner, origin)
        elif not _is_null(inner):
            yield from _leaves(loader, inner, shown, key)


def _constructed(loader: yaml.SafeLoader, node: yaml.Node, origin: str) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except ValueError as error:  # 2026-99-99 looks like a date
        raise ConfigError(f"Not a value: {error}.", cure="Put it in quotes.", location=origin) from None


def _items(loader: yaml.SafeLoader, node: yaml.Node, shown: str, what: str) -> Iterator[tuple[str, int, yaml.Node]]:
    """Yield key, line and value of each entry of a mapping."""
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            f"{what} must hold names with values, not a {'list' if isinstance(node, yaml.SequenceNode) else 'value'}.",
            cure="Write `name: value` lines; sightline.example.yaml shows all of them.",
            location=f"{shown}:{node.start_mark.line + 1}",
        )
    lines: dict[str, int] = {}
    for key_node, _ in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in lines:
            raise ConfigError(
                f"{key!r} stands twice, first in line {lines[key]}.", cure="Keep one.", location=f"{shown}:{line}"
            )
        lines[key] = line
    loader.flatten_mapping(node)  # puts what `<<: *anchor` brings in front, where the file's own keys replace it
    entries = {str(key_node.value): (key_node.start_mark.line + 1, value) for key_node, value in node.value}
    for key, (line, value) in entries.items():
        yield key, line, value


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")

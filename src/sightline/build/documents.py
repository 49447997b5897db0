"""A manifest as data that remembers where each value stands: YAML with lines, variables put in, values replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sightline.core.errors import ConfigError, FileMissing
from sightline.core.prediction import JsonObject

_MAX_BYTES = 1 << 20  # a manifest is written by a person
_MAX_DEPTH = 32

Where = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A manifest.

    Attributes:
        data: its top-level mapping.
        name: what locations call it, for instance `case.yaml`.
        lines: line number by path of keys.
    """

    data: dict[str, Any]
    name: str
    lines: Mapping[Where, int] = field(default_factory=dict)

    def location(self, *where: str | int) -> str:
        """Return `case.yaml:12` for a path of keys, or for the nearest one above it that is known."""
        while where and where not in self.lines:
            where = where[:-1]
        line = self.lines.get(where)
        return self.name if line is None else f"{self.name}:{line}"


def read_document(path: Path, *, expand: Callable[[str, str], str]) -> Document:
    """Read a manifest; `expand(text, location)` puts variables into its strings.

    Raises:
        FileMissing: nothing is at `path`.
        ConfigError: it is no YAML mapping, has a key twice, or a variable is not set.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path} is larger than {_MAX_BYTES} bytes; that is no manifest.")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileMissing(f"No manifest is at {path}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no UTF-8 text.", cure="Save it as UTF-8.") from None
    return parse_document(text, name=str(path), expand=expand)


def parse_document(text: str, *, name: str, expand: Callable[[str, str], str]) -> Document:
    """Parse the text of a manifest; see `read_document`."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise ConfigError("The manifest is empty.", location=name, cure="See docs/CASE_EXAMPLE.md.")
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError("A manifest is a mapping of keys to values.", location=f"{name}:1")
        reader = _Reader(loader, name, expand)
        return Document(data=reader.mapping(node, ()), name=name, lines=reader.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(
            f"Not YAML: {error.problem or error.context}.",
            location=f"{name}:{mark.line + 1 if mark else 1}",
            cure="Check indentation and quotes of this line and the one above.",
        ) from None
    except yaml.reader.ReaderError as error:
        raise ConfigError(f"Not YAML: {error.reason}.", location=name, cure="Save it as plain UTF-8 text.") from None
    finally:
        loader.dispose()


class _Reader:
    """Turns YAML nodes into data and notes their lines."""

    def __init__(self, loader: yaml.SafeLoader, name: str, expand: Callable[[str, str], str]) -> None:
        self.lines: dict[Where, int] = {}
        self._loader = loader
        self._name = name
        self._expand = expand

    def mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        if len(where) > _MAX_DEPTH:
            raise ConfigError("The manifest is nested too deeply.", location=self._location(node))
        self._loader.flatten_mapping(node)
        out: dict[str, Any] = {}
        for key_node, child in node.value:
            key = self._loader.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool):
                raise ConfigError("A key must be a word.", location=self._location(key_node))
            key = str(key)
            if key in out:
                raise ConfigError(f"The key {key!r} stands here a second time.", location=self._location(key_node))
            self.lines[(*where, key)] = key_node.start_mark.line + 1
            out[key] = self._value(child, (*where, key))
        return out

    def _value(self, node: yaml.Node, where: Where) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            for number, child in enumerate(node.value):
                self.lines[(*where, number)] = child.start_mark.line + 1
            return [self._value(child, (*where, number)) for number, child in enumerate(node.value)]
        built = self._loader.construct_object(node, deep=True)
        if not isinstance(built, str) or "${" not in built:
            return built
        expanded = self._expand(built, self._location(node))
        # A bare word that held a variable is read as YAML would read it, so that fps: ${FPS} is a number.
        is_bare = isinstance(node, yaml.ScalarNode) and node.style is None
        return yaml.safe_load(expanded) if is_bare and _is_number(expanded) else expanded

    def _location(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}"


def replaced(document: Document, changes: JsonObject) -> Document:
    """Return the document with values put in at dotted paths, for instance `stages.analytics.people.threshold`.

    Raises:
        ConfigError: a path goes through something that is no mapping or list.
    """
    data = _copied(document.data)
    for path, value in changes.items():
        keys = path.split(".")
        place: Any = data
        for key in keys[:-1]:
            place = _entered(place, key, path)
        if isinstance(place, list):
            place[_index(place, keys[-1], path)] = value
        elif isinstance(place, dict):
            place[keys[-1]] = value
        else:
            raise ConfigError(f"--set {path}: {keys[-2]!r} is a single value.", cure="Name a key above it.")
    return Document(data=data, name=document.name, lines=document.lines)


def _entered(place: Any, key: str, path: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, key, path)]
    if not isinstance(place, dict):
        raise ConfigError(f"--set {path}: there is nothing below {key!r}.", cure="Name keys of the manifest.")
    return place.setdefault(key, {})


def _index(place: list[Any], key: str, path: str) -> int:
    if not key.isdigit() or int(key) >= len(place):
        raise ConfigError(f"--set {path}: {key!r} is no number from 0 to {len(place) - 1}.")
    return int(key)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(child) for key, child in value.items()}
    return [_copied(child) for child in value] if isinstance(value, list) else value


def _is_number(text: str) -> bool:
    """True when `text` is a number or a truth value for YAML; anything else stays the text that it is."""
    try:
        return isinstance(yaml.safe_load(text), bool | int | float)
    except yaml.YAMLError:
        return False

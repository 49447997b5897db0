"""A manifest as data that remembers where each value stands: YAML with lines, variables put in, values replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml

from sightline.core.errors import ConfigError, FileMissing
from sightline.core.prediction import JsonObject

_MAX_BYTES = 1 << 20  # a manifest is written by a person
_MAX_DEPTH = 32
_MAX_VALUES = 20_000
_MAX_BITS = 63  # JSON of samples takes no larger number
_MERGE, _MAP, _LIST, _TIME = (f"tag:yaml.org,2002:{kind}" for kind in ("merge", "map", "seq", "timestamp"))
_TOO_DEEP, _FLATTEN = "The manifest is nested too deeply.", "Look for an anchor that holds itself."

Where = tuple[str | int, ...]


class Spot(str):
    """A place in a manifest: `case.yaml:12` for people, and what an editor needs to put a mark there.

    Attributes:
        line, column: counted from 1.
        where: path of the keys that are meant, also where only a key above them is there.
    """

    __slots__ = ("column", "line", "where")

    line: int
    column: int
    where: Where

    @classmethod
    def of(cls, name: str, line: int, column: int = 1, where: Where = ()) -> Spot:
        """Return a place in the manifest called `name`."""
        spot = cls(f"{name}:{line}")
        spot.line, spot.column, spot.where = line, column, where
        return spot


@dataclass(frozen=True, kw_only=True)
class Document:
    """A manifest.

    Attributes:
        data: its top-level mapping.
        name: what locations call it, for instance `case.yaml`.
        lines: line number by path of keys.
        columns: column of the key, by path of keys.
        origins: what locations say of values that do not come from the file, by path of keys.
    """

    data: dict[str, Any]
    name: str
    lines: Mapping[Where, int] = field(default_factory=dict)
    columns: Mapping[Where, int] = field(default_factory=dict)
    origins: Mapping[Where, str] = field(default_factory=dict)

    def location(self, *where: str | int) -> str:
        """Return `case.yaml:12` for a path of keys, or for the nearest one above it that is known."""
        for end in range(len(where), 0, -1):
            if origin := self.origins.get(where[:end]):
                return origin
            if line := self.lines.get(where[:end]):
                return Spot.of(self.name, line, self.columns.get(where[:end], 1), where)
        return self.name


def read_document(path: Path, *, expand: Callable[[str, str], str]) -> Document:
    """Read a manifest; `expand(text, location)` puts variables into its strings.

    Raises:
        FileMissing: nothing is at `path`.
        ConfigError: it cannot be read, is no YAML mapping, has a key twice, or a variable is not set.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise FileMissing(f"No manifest is at {path}.", cure="Check the path.") from None
    except OSError as error:
        raise ConfigError(
            f"The manifest cannot be read: {error.strerror}.", cure="Check its permissions.", location=name
        ) from None
    except UnicodeDecodeError:
        raise ConfigError("The manifest is no UTF-8 text.", cure="Save it as UTF-8.", location=name) from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(
            f"The manifest is larger than {_MAX_BYTES >> 20} MiB.", cure="Keep data in files beside it.", location=name
        )
    return parse_document(text, name=name, expand=expand)


def parse_document(text: str, *, name: str, expand: Callable[[str, str], str]) -> Document:
    """Parse the text of a manifest; see `read_document`."""
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            f"Not YAML: {error.reason}.",
            location=Spot.of(name, text.count(chr(10), 0, error.position) + 1),
            cure="Remove the unprintable character.",
        ) from None
    try:
        node = loader.get_single_node()
        if node is None:
            raise ConfigError("The manifest is empty.", location=name, cure="See docs/CASE_EXAMPLE.md.")
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(
                "A manifest is a mapping of keys to values.", location=Spot.of(name, 1), cure="Write key: value lines."
            )
        reader = _Reader(loader, name, expand)
        reader.check_keys(node)
        return Document(data=reader.mapping(node, ()), name=name, lines=reader.lines, columns=reader.columns)
    except yaml.MarkedYAMLError as error:
        # What is never closed is found at the end of the file; what matters is where it was opened.
        is_open = "stream end" in str(error.problem) and error.context_mark is not None
        mark = error.context_mark if is_open else error.problem_mark or error.context_mark
        raise ConfigError(
            f"Not YAML: {error.problem or error.context}.",
            location=_marked(name, mark),
            cure="Check indentation and quotes of this line and the one above.",
        ) from None
    except RecursionError:
        raise ConfigError(_TOO_DEEP, location=name, cure=_FLATTEN) from None
    finally:
        loader.dispose()


class _Reader:
    """Turns YAML nodes into data and notes their lines."""

    def __init__(self, loader: yaml.SafeLoader, name: str, expand: Callable[[str, str], str]) -> None:
        self.lines: dict[Where, int] = {}
        self.columns: dict[Where, int] = {}
        self._loader = loader
        self._name = name
        self._expand = expand
        self._num_values = 0

    def check_keys(self, root: yaml.Node) -> None:
        """Refuse keys that are no words or stand twice; before merging, which makes twins of its own."""
        seen: set[int] = set()
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if id(node) in seen or isinstance(node, yaml.ScalarNode):
                continue
            seen.add(id(node))
            if isinstance(node, yaml.SequenceNode):
                waiting += node.value
                continue
            keys: set[str] = set()
            for key_node, child in node.value:
                key = self._key(key_node)
                if key in keys and key_node.tag != _MERGE:
                    raise ConfigError(
                        f"The key {key!r} stands here a second time.",
                        location=self._location(key_node),
                        cure="Keep one.",
                    )
                keys.add(key)
                waiting.append(child)

    def mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        """Return a mapping with everything below it."""
        self._loader.flatten_mapping(node)  # puts what `<<: *anchor` brings in front, where own keys replace it
        out: dict[str, Any] = {}
        for key_node, child in {self._key(key_node): (key_node, child) for key_node, child in node.value}.values():
            key = self._key(key_node)
            self._note((*where, key), key_node)
            out[key] = self._value(child, (*where, key))
        return out

    def _key(self, node: yaml.Node) -> str:
        """Return a key as it is written: `no` and `1` are words like any other."""
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            raise ConfigError("A key must be a word.", location=self._location(node), cure="Write key: value.")
        return str(node.value)

    def _value(self, node: yaml.Node, where: Where) -> Any:
        self._num_values += 1
        if len(where) > _MAX_DEPTH:
            raise ConfigError(_TOO_DEEP, location=self._location(node), cure=_FLATTEN)
        if self._num_values > _MAX_VALUES:  # anchors that hold anchors grow without bounds
            raise ConfigError(
                f"The manifest has more than {_MAX_VALUES} values.",
                location=self._location(node),
                cure="Keep data in files beside it; look for anchors that repeat one another.",
            )
        if isinstance(node, yaml.MappingNode):
            if node.tag != _MAP:
                self._refuse(node)
            return self.mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            if node.tag != _LIST:
                self._refuse(node)
            for number, child in enumerate(node.value):
                self._note((*where, number), child)
            return [self._value(child, (*where, number)) for number, child in enumerate(node.value)]
        return self._scalar(node, where)

    def _scalar(self, node: yaml.Node, where: Where) -> Any:
        if node.tag == _TIME:
            return str(node.value)  # no field is a date; as text it is what the user wrote
        try:
            built = self._loader.construct_object(node, deep=True)
        except (ValueError, LookupError, ArithmeticError):  # what PyYAML raises for !!bool maybe, or 5000 digits
            raise ConfigError(
                f"Not a value of its kind ({node.tag.rpartition(':')[2]}).",
                location=self._location(node, where),
                cure="Put it in quotes.",
            ) from None
        if isinstance(built, int) and built.bit_length() > _MAX_BITS:
            raise ConfigError("The number is too large.", location=self._location(node), cure="Put it in quotes.")
        if built is not None and not isinstance(built, str | bool | int | float):
            self._refuse(node)
        if not isinstance(built, str) or "${" not in built:
            return built
        expanded = self._expand(built, self._location(node, where))
        # A bare word that held a variable is read as YAML would read it, so that fps: ${FPS} is a number.
        is_bare = isinstance(node, yaml.ScalarNode) and node.style is None
        return _number(expanded) if is_bare else expanded

    def _refuse(self, node: yaml.Node) -> NoReturn:
        raise ConfigError(
            f"The tag {node.tag!r} cannot be used here.", location=self._location(node), cure="Write a plain value."
        )

    def _note(self, where: Where, node: yaml.Node) -> None:
        self.lines[where], self.columns[where] = node.start_mark.line + 1, node.start_mark.column + 1

    def _location(self, node: yaml.Node, where: Where = ()) -> str:
        return _marked(self._name, node.start_mark, where)


def _marked(name: str, mark: yaml.Mark | None, where: Where = ()) -> str:
    """Return the place of a mark of YAML; always with its line."""
    return Spot.of(name, mark.line + 1, mark.column + 1, where) if mark else Spot.of(name, 1, 1, where)


def replaced(document: Document, changes: JsonObject) -> Document:
    """Return the document with values put in at dotted paths, for instance `stages.analytics.people.threshold`.

    Errors in what was put in are located at `--set PATH`.

    Raises:
        ConfigError: a path goes through something that is no mapping or list.
    """
    data = _copied(document.data)
    origins = dict(document.origins)
    for path, value in changes.items():
        *above, last = keys = path.split(".")
        if not all(keys):
            raise ConfigError(f"--set {path}: a path is words with dots between them.", cure="Write a.b.c=value.")
        place: Any = data
        where: Where = ()
        for key in above:
            place, step = _entered(place, key, path)
            where = (*where, step)
        if isinstance(place, list):
            number = _index(place, last, path)
            place[number] = value
            origins[(*where, number)] = f"--set {path}"
        elif isinstance(place, dict):
            place[last] = value
            origins[(*where, last)] = f"--set {path}"
        else:
            raise ConfigError(f"--set {path}: {keys[-2]!r} is a single value.", cure="Name a key above it.")
    return replace(document, data=data, origins=origins)


def _entered(place: Any, key: str, path: str) -> tuple[Any, str | int]:
    if isinstance(place, list):
        number = _index(place, key, path)
        return place[number], number
    if not isinstance(place, dict):
        raise ConfigError(f"--set {path}: there is nothing below {key!r}.", cure="Name keys of the manifest.")
    if place.get(key) is None:
        place[key] = {}
    return place[key], key


def _index(place: list[Any], key: str, path: str) -> int:
    if not (key.isascii() and key.isdecimal()) or int(key) >= len(place):
        known = f"a number from 0 to {len(place) - 1}" if place else "in an empty list"
        raise ConfigError(f"--set {path}: {key!r} is not {known}.", cure="Count the entries of the list from 0.")
    return int(key)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(child) for key, child in value.items()}
    return [_copied(child) for child in value] if isinstance(value, list) else value


def _number(text: str) -> bool | int | float | str:
    """Return the number or truth value that `text` is for YAML; anything else stays the text that it is."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float) else text

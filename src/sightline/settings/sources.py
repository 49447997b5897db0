"""Where settings are given: `.env`, the environment, the command line (`yaml_file` reads the fourth place).

Each function returns the values that it found, with their places; `load` decides which of them count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv.parser import Binding, parse_stream

from sightline.core.errors import ConfigError
from sightline.settings.aliases import (
    OTHER_NAMES,
    PREFIX,
    Target,
    by_env_name,
    by_path,
    cure_for_env_name,
    cure_for_path,
    is_cluster_name,
)
from sightline.settings.expand import expand

COMMAND_LINE = "command line"


class Level(IntEnum):
    """Kinds of places, the weakest first."""

    YAML = 1
    ENV_FILE = 2
    ENVIRONMENT = 3
    COMMAND_LINE = 4


@dataclass(frozen=True, kw_only=True)
class Given:
    """One value that somebody gave.

    Attributes:
        name: as it was written.
        origin: `sightline.yaml:12`, `.env:3`, `environment SIGHTLINE_X` or `command line`.
        base: folder from which a relative path counts.
    """

    target: Target
    name: str
    value: Any = field(repr=False)
    level: Level
    origin: str
    base: Path

    @property
    def strength(self) -> tuple[bool, int]:
        """Orders values of one setting: the greatest counts."""
        return not self.target.weak, self.level


@dataclass(frozen=True)
class Line:
    """One variable of a `.env` file."""

    value: str = field(repr=False)
    origin: str


def read_text(path: Path, shown: str) -> str:
    """Return the text of a settings file.

    Raises:
        ConfigError: it cannot be read, or is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown} is no UTF-8 text: {error.reason}.", cure="Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(
            f"{shown} cannot be read: {error.strerror}.", cure="Check the path and the permissions."
        ) from None


def env_file_lines(path: Path, shown: str, environ: Mapping[str, str]) -> dict[str, Line]:
    """Return the variables of a `.env` file, with `${NAME}` in them expanded as python-dotenv does.

    A variable that no setting is called after may name what does not exist: it belongs to another program.

    Raises:
        ConfigError: a line is no `NAME=value`, or a setting needs a variable that is not set.
    """
    found: dict[str, Line] = {}
    for binding in parse_stream(StringIO(read_text(path, shown))):
        origin = f"{shown}:{_line_of(binding)}"
        if binding.error:
            raise ConfigError(
                "This line is no NAME=value.", cure="Close the quotes, or put # before a comment.", location=origin
            )
        if binding.key is None or binding.value is None:
            continue
        known = variables(found, environ)
        value = binding.value
        try:
            value = expand(value, {}, known, location=origin)
        except ConfigError:
            if is_ours(binding.key):
                raise
        found[binding.key] = Line(value, origin)
    return found


def variables(lines: Mapping[str, Line], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment on top of `.env`; an empty variable hides none."""
    return {name: line.value for name, line in lines.items()} | {
        name: value for name, value in environ.items() if value or name not in lines
    }


def _line_of(binding: Binding) -> int:
    """Return the line of a variable; the parser counts the empty lines before it as its own."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def is_ours(name: str) -> bool:
    """True for a name that Sightline reads."""
    return name.upper().startswith(PREFIX) or by_env_name(name) is not None


def from_env_file(lines: Mapping[str, Line], base: Path) -> Iterator[Given]:
    """Yield what the variables of a `.env` file give.

    Raises:
        ConfigError: a name begins with SIGHTLINE_ and is unknown.
    """
    for name, line in lines.items():
        yield from _variable(name, line.value, Level.ENV_FILE, line.origin, base)


def from_environment(environ: Mapping[str, str], base: Path) -> Iterator[Given]:
    """Yield what the environment gives.

    Raises:
        ConfigError: a name begins with SIGHTLINE_ and is unknown.
    """
    for name, value in environ.items():
        yield from _variable(name, value, Level.ENVIRONMENT, f"environment {name}", base)


def _variable(name: str, value: str, level: Level, origin: str, base: Path) -> Iterator[Given]:
    target = by_env_name(name)
    if not value.strip():
        return  # empty counts as unset, as in compose files: NAME=${NAME:-}
    if target is not None:
        yield Given(target=target, name=name, value=value, level=level, origin=origin, base=base)
    elif name.upper().startswith(PREFIX) and name.upper() not in OTHER_NAMES and not is_cluster_name(name, value):
        raise ConfigError(f"There is no setting {name}.", cure=cure_for_env_name(name), location=origin)


def from_command_line(overrides: Mapping[str, Any], base: Path) -> Iterator[Given]:
    """Yield what the command line gives: dotted path -> value; None means not given.

    Raises:
        ConfigError: a path is unknown.
    """
    for path, value in overrides.items():
        target = by_path(path)
        if target is None:
            raise ConfigError(f"There is no setting {path!r}.", cure=cure_for_path(path), location=COMMAND_LINE)
        if value is not None:
            yield Given(target=target, name=path, value=value, level=Level.COMMAND_LINE, origin=COMMAND_LINE, base=base)

"""One tree out of all places: the strongest value of each setting, validated, with its origin."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import SecretStr, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from sightline.core.errors import ConfigError
from sightline.core.urls import redacted
from sightline.settings.aliases import CONFIG_NAME, SETTINGS, Setting, cure_for_path
from sightline.settings.model import AppSettings
from sightline.settings.sources import (
    COMMAND_LINE,
    Given,
    Line,
    env_file_lines,
    from_command_line,
    from_env_file,
    from_environment,
    read_text,
    variables,
)

FILE_NAME = "sightline.yaml"
ENV_FILE_NAME = ".env"
HIDDEN = "***"


class Row(NamedTuple):
    """One line of `sightline config show`; the value is JSON, with secrets and passwords hidden."""

    path: str
    value: Any
    origin: str


@dataclass(frozen=True, kw_only=True)
class LoadedSettings:
    """The settings, and where each of them came from.

    Attributes:
        folder: the working folder; relative paths that no file gave count from it.
        file: the settings file that was read, if any.
        environ: the environment on top of `.env`, for `expand` in manifests.
        origins: path -> origin, of what somebody gave.
    """

    settings: AppSettings
    folder: Path
    file: Path | None
    environ: Mapping[str, str] = field(repr=False)
    origins: Mapping[str, str]

    def origin(self, path: str) -> str:
        """Return where a setting came from.

        It is `default`, `sightline.yaml:12`, `.env:3`, `environment SIGHTLINE_X` or `command line`.

        Raises:
            ConfigError: there is no such setting.
        """
        if path not in SETTINGS:
            raise ConfigError(f"There is no setting {path!r}.", cure=cure_for_path(path))
        return self.origins.get(path, "default")

    def rows(self) -> list[Row]:
        """Return every setting with its value and origin, in the order of the tree."""
        return [Row(path, _shown(setting, self.settings), self.origin(path)) for path, setting in SETTINGS.items()]


def load_settings(
    *,
    folder: Path | None = None,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> LoadedSettings:
    """Read the settings: command line over environment over `.env` over `sightline.yaml` over defaults.

    Args:
        folder: where `sightline.yaml` and `.env` lie; None is the working directory.
        file: settings file to read instead (`--config`); SIGHTLINE_CONFIG does the same.
        environ: None is the environment of this process.
        overrides: the command line, dotted path -> value; None means not given.

    Raises:
        ConfigError: a file cannot be read, a name is unknown, a value is wrong, or two names disagree.
    """
    folder = (folder or Path.cwd()).absolute()
    environ = dict(os.environ if environ is None else environ)
    env_path = folder / ENV_FILE_NAME
    lines = env_file_lines(env_path, ENV_FILE_NAME, environ) if env_path.is_file() else {}
    both = variables(lines, environ)
    path, shown = _settings_file(folder, file, environ, lines)
    given: list[Given] = []
    if path is not None:
        from sightline.settings.yaml_file import from_yaml  # only here: PyYAML takes 30 ms

        given += from_yaml(path, shown, both)
    given += from_env_file(lines, folder)
    given += from_environment(environ, folder)
    given += from_command_line(overrides, folder)
    winners = _winners(given)
    return LoadedSettings(
        settings=_validated(winners, folder),
        folder=folder,
        file=path,
        environ=MappingProxyType(both),
        origins=MappingProxyType({path: winner.origin for path, (winner, _) in winners.items()}),
    )


def _settings_file(
    folder: Path, file: Path | None, environ: Mapping[str, str], lines: Mapping[str, Line]
) -> tuple[Path | None, str]:
    """Return the settings file to read, and what messages call it; one that somebody named must exist."""
    if file is not None:
        named, location = str(file), COMMAND_LINE
    elif environ.get(CONFIG_NAME):
        named, location = environ[CONFIG_NAME], f"environment {CONFIG_NAME}"
    elif CONFIG_NAME in lines and lines[CONFIG_NAME].value:
        named, location = lines[CONFIG_NAME].value, lines[CONFIG_NAME].origin
    else:
        path = folder / FILE_NAME
        return (path if path.is_file() else None), FILE_NAME
    path = _below(folder, named, location)
    if not path.is_file():
        raise ConfigError(
            f"There is no settings file {named}.", cure="Check the path, or leave it out.", location=location
        )
    return path, named


def _below(base: Path, value: str | Path, location: str) -> Path:
    try:
        return base / Path(value).expanduser()
    except RuntimeError:  # `~nobody/...`
        raise ConfigError(
            f"There is no home folder for {value}.", cure="Write the whole path.", location=location
        ) from None


def _winners(given: Iterable[Given]) -> dict[str, tuple[Given, Any]]:
    """Return, by path, the strongest of the values that were given.

    Raises:
        ConfigError: two of the strongest differ.
    """
    by_path: dict[str, list[Given]] = {}
    for each in given:
        by_path.setdefault(each.target.setting.path, []).append(each)
    winners: dict[str, tuple[Given, Any]] = {}
    for path, rivals in by_path.items():
        strongest = max(each.strength for each in rivals)
        first, *others = ((each, _value(each)) for each in rivals if each.strength == strongest)
        for other in others:
            if not _equal(first[0].target.setting, first[1], other[1]):
                raise ConfigError(
                    f"{first[0].name} and {other[0].name} ({other[0].origin}) both set {path}, to different values.",
                    cure="Remove one of them, or give both the same value.",
                    location=first[0].origin,
                )
        winners[path] = first
    return winners


def _value(given: Given) -> Any:
    """Return the value itself: the text of a `*_FILE`, a path from its folder."""
    if given.target.is_file:
        path = _below(given.base, str(given.value), given.origin)
        if not path.is_file():
            raise ConfigError(
                f"{given.name} names a file that does not exist: {path}.",
                cure="Create it, or remove the setting.",
                location=given.origin,
            )
        text = read_text(path, str(path)).rstrip("\r\n")
        if not text:
            raise ConfigError(
                f"The file of {given.name} is empty.", cure="Write the value into it.", location=given.origin
            )
        return text
    if given.target.setting.is_path and isinstance(given.value, str | Path):
        return _below(given.base, given.value, given.origin)
    return given.value


def _equal(setting: Setting, first: Any, second: Any) -> bool:
    """True when two values mean the same: `5` and `5.0` are one number."""
    adapter: TypeAdapter[Any] = TypeAdapter(setting.field.rebuild_annotation())
    try:
        return bool(adapter.validate_python(first) == adapter.validate_python(second))
    except ValidationError:
        return bool(first == second)


def _validated(winners: Mapping[str, tuple[Given, Any]], folder: Path) -> AppSettings:
    tree: dict[str, Any] = {"runs_root": folder / AppSettings.model_fields["runs_root"].default}
    for path, (_, value) in winners.items():
        *sections, leaf = SETTINGS[path].keys
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[leaf] = value
    try:
        return AppSettings.model_validate(tree)
    except ValidationError as error:
        raise _config_error(error.errors(include_url=False)[0], winners) from None


def _config_error(detail: ErrorDetails, winners: Mapping[str, tuple[Given, Any]]) -> ConfigError:
    """Say which setting is wrong, where it was given, and what would be right."""
    given, value = next(
        winner
        for path, winner in winners.items()
        for keys in (tuple(path.split(".")), SETTINGS[path].keys)
        if detail["loc"][: len(keys)] == keys  # a wrong item of a list has its index behind
    )
    setting = given.target.setting
    hidden = setting.is_secret or setting.is_address or given.target.is_file
    shown = "" if hidden else f" is {str(value)!r}"
    cause = detail["msg"].removeprefix("Value error, ").removesuffix(".")
    name = "" if given.name == setting.path else f" (from {given.name})"
    return ConfigError(
        f"{setting.path}{name}{shown}: {cause}.",
        cure=f"{setting.path} is: {setting.field.description}",
        location=given.origin,
    )


def _shown(setting: Setting, settings: AppSettings) -> Any:
    """Return the value as JSON that may be shown to anybody."""
    value: Any = settings
    for key in setting.keys:
        value = getattr(value, key)
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return redacted(value) if setting.is_address and isinstance(value, str) else value

"""The files that are made from the tree: `.env.example`, `sightline.example.yaml` and the reference page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr

from sightline.settings.aliases import ALIASES, CONFIG_NAME, SETTINGS, Setting

_WORDS: dict[Any, str] = {
    str: "text",
    Path: "path",
    int: "whole number",
    float: "number",
    bool: "true or false",
    SecretStr: "secret",
}

_HEAD = """\
# Settings

<!-- Made by tools/generate_settings.py from sightline/settings; do not edit. -->

The command line wins over the environment, the environment over `.env`, `.env` over `sightline.yaml`, and that over the
default. `sightline config show` prints each value with its origin; secrets and passwords are hidden.

* In `sightline.yaml` a dot is a level: `camera.url` is `url` below `camera`. `${NAME}` and `${NAME:-default}` are taken
  from the environment or `.env`; `$${` is a plain `${`.
* In the environment and in `.env` the name is `SIGHTLINE_`, the path in capitals, and `__` for each dot. An empty value
  counts as unset.
* On the command line it is `--set camera.url=...`.
* `sightline.yaml` and `.env` are looked for in the working folder; `--config FILE` or `SIGHTLINE_CONFIG` names another
  settings file.
* A relative path counts from the folder of the file in which it was given, else from the working folder.
* A secret or an address can be read from a file: `SIGHTLINE_S3__SECRET_KEY_FILE=/run/secrets/key`, or `secret_key_file`
  in `sightline.yaml`. Older names take `_FILE` likewise.
* An unknown name is an error that tells the nearest known one, and so are two names of one setting that give different
  values in the same place."""

_OLDER_NAMES = """
## Names of older systems

Each is accepted in the environment, in `.env`, and in `sightline.yaml` (top level, in capitals or small letters). Those
of `APP_` may also stand there without it (`rtsp_url`), or below `app`. A weak name counts only where nothing else sets
the value. `model_name` in `sightline.yaml` also sets `camera.model` where nothing else does.

| older name | setting | weak |
| --- | --- | --- |"""


def generated() -> dict[str, str]:
    """Return the text of each generated file by its path in the project."""
    return {
        ".env.example": env_example(),
        "sightline.example.yaml": yaml_example(),
        "docs/reference/settings.md": page(),
    }


def env_example() -> str:
    """Return an `.env` in which every setting stands commented out, with its description and an example."""
    lines = [
        "# Settings of Sightline for the environment. Copy this file to .env and uncomment what you need.",
        "# Relative paths count from the folder of .env. Made by tools/generate_settings.py.",
        "",
        "# Settings file to read instead of sightline.yaml.",
        f"# {CONFIG_NAME}=sightline.yaml",
    ]
    section = ""
    for setting in SETTINGS.values():
        if setting.section != section:
            section = setting.section
            lines += ["", "", f"## {section}"]
        lines += ["", f"# {_described(setting)}"]
        if setting.may_be_file:
            lines.append(f"# Or {setting.env_name}_FILE: a file that holds it.")
        lines.append(f"# {setting.env_name}={_example(setting)}")
    return "\n".join(lines) + "\n"


def yaml_example() -> str:
    """Return a `sightline.yaml` in which every setting stands commented out, with its description and an example."""
    lines = [
        "# Settings of Sightline. Copy this file to sightline.yaml and uncomment what you need.",
        "# Relative paths count from the folder of this file; ${NAME} is taken from the environment or .env.",
        "# Made by tools/generate_settings.py.",
    ]
    head = ""
    for setting in SETTINGS.values():
        before, _, leaf = setting.path.rpartition(".")
        if before != head:
            head = before
            lines += ["", f"# {setting.section}", f"{head}:"]
        elif not before:
            lines.append("")
        indent = "  " if before else ""
        lines += [f"{indent}# {_described(setting)}", f"{indent}# {leaf}: {_example(setting)}"]
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the reference page."""
    lines = [_HEAD]
    section: str | None = None
    for setting in SETTINGS.values():
        if setting.section != section:
            section = setting.section
            head = setting.path.rpartition(".")[0]
            lines += ["", f"## {head}" if head else "## General", ""]
            lines += [section, ""] if section else []
            lines += ["| setting | environment | type | default | what it is |", "| --- | --- | --- | --- | --- |"]
        names = f"`{setting.path}` | `{setting.env_name}`"
        lines.append(f"| {names} | {kind(setting)} | {_default(setting)} | {setting.field.description} |")
    rows = (f"| `{alias.name}` | `{alias.path}` | {'yes' if alias.weak else ''} |" for alias in ALIASES)
    return "\n".join([*lines, _OLDER_NAMES, *rows]) + "\n"


def kind(setting: Setting) -> str:
    """Return the type of a setting in words: `whole number, at least 1`."""
    (annotation,) = setting.types
    if get_origin(annotation) is tuple:
        return "list"
    word = ", ".join(f"`{choice}`" for choice in get_args(annotation)) or _WORDS[annotation]
    return ", ".join([word, *filter(None, map(_limit, setting.field.metadata))])


def _limit(mark: object) -> str:
    if isinstance(mark, Ge):
        return f"at least {mark.ge}"
    if isinstance(mark, Gt):
        return f"above {mark.gt}"
    return f"at most {mark.le}" if isinstance(mark, Le) else ""


def _default(setting: Setting) -> str:
    extra = setting.field.json_schema_extra
    if isinstance(extra, dict) and "default_text" in extra:
        return str(extra["default_text"])
    default = setting.field.get_default()
    return "none" if default in (None, (), "") else f"`{default}`"


def _described(setting: Setting) -> str:
    old = " or ".join(alias.name for alias in ALIASES if alias.path == setting.path)
    return f"{setting.field.description} Default: {_default(setting).strip('`')}." + (
        f" Older name: {old}." if old else ""
    )


def _example(setting: Setting) -> str:
    """Return an example as it is written in a file; none needs quotes."""
    value: Any = (setting.field.examples or [""])[0]
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Write the reference pages that are made from the code: python tools/generate_reference.py.

`pages()` gives their text, so that a test can compare it with what is committed.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import types
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

import sightline
from sightline import compat, testing
from sightline.build.catalog import KINDS, PORT_KINDS, Catalog, Listed
from sightline.build.manifest import KEYS
from sightline.build.schemas import field_descriptions, prose
from sightline.core.case import PredictionStage
from sightline.core.codec import encode_event
from sightline.core.errors import SightlineError, error_types
from sightline.core.events import EVENT_TYPES, TRANSIENT
from sightline.serve.cli import app
from sightline.serve.errors import EXIT_CODES, INTERRUPTED, USAGE, exit_code

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Made by tools/generate_reference.py; do not edit. -->"
_ERRORS = f"""\
# Errors

{NOTE}

Every error that Sightline raises on purpose has a code that is safe to match on, one line of cause and, mostly, one
line of cure. In Python they are classes of `sightline.core.errors`; the command line prints cause and cure on stderr
and ends with the exit code of the branch.
"""
_EVENTS = f"""\
# Events

{NOTE}

Events are [CloudEvents 1.0](https://cloudevents.io). The full type is `io.sightline.<short type>.v1`; the source is
`/cases/<case>`, `/cases/<case>/sources/<source>` or `/models/<name>`. A durable event is written to the database in
the transaction of the change that it tells of; the others live on the bus alone. A predictor of yours may use further
short types, lower-case words joined by dots, by `Finding(event=...)`. Types that nothing sends yet are listed in
[what stands](../explanation/status.md).
"""
_EXAMPLES = """
## Alarms, cameras and their media

The data of every alarm has `start` and `end`: `end` is null while it goes on, and equals `start` for an instant.
Events of one stay share the id `visit`; the start and the end of any other alarm share the id `alarm`. `xyxy` is the
box of what it is about, in pixels of the picture. Of a camera that is lost, `start` is when its last picture came;
`source.live` after an outage has both ends of it. An end that has a `reason` tells of what was cut off: the source
was lost, changed or removed, the run is over, or its process was killed, so nobody saw how it went on. Of a source
that somebody added, changed, removed or stopped through the API, `source.connecting` and `source.stopped` have `by`,
who that was, as the audit line calls him. What belongs to an event as picture and clip is told by `capture.stored`,
whose subject is the id of the event: see [record events](../how-to/record-events.md).

These examples are made by the code that makes the real ones.
"""
_MANIFEST = f"""\
# The manifest: case.yaml

{NOTE}

A folder with this file is a case. All keys may be left out; a case needs a source or a stage. An unknown key is an
error with file, line and the nearest known key. [A complete case](../CASE_EXAMPLE.md) explains them one by one.
"""
_PYTHON = f"""\
# Python

{NOTE}

Names that stay: of `sightline`, of `sightline.compat` (what older systems call them) and of `sightline.testing`. The
docstrings tell more: `python -c 'import sightline; help(sightline.run)'`. The errors of `sightline.core.errors` and
the ports of `sightline.core.ports` are public too.
"""
_PLUGINS = f"""\
# Plug-ins

{NOTE}

Each is named by `use:` in a manifest, or by `context.plugin(kind, name, ...)` in a blueprint; the fields are its
configuration, and an unknown one is an error. `sightline list` shows those of other packages too.
"""
_TAIL = """
Stages run in the order {stages}, then those with other names as they stand in the file. A plug-in is
`{{use: NAME, field: value}}`, or just `NAME`; [all plug-ins](plugins.md). `${{NAME}}` and `${{NAME:-default}}` are
taken from the environment or `.env`, `${{CASE_DIR}}` is the folder of the case. On the command line
`--set stages.analytics.people.threshold=0.4` replaces a value for one run; a number in the path counts the items of a
list from 0."""
_WORDS: dict[Any, str] = {
    str: "text",
    Path: "path",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "null",
    Any: "anything",
}
_ONE_OF_EACH = {
    "sources": "`use: NAME` below `source:` or `sources:`.",
    "collectors": "`use: NAME` below `collector:`.",
    "predictors": "`use: NAME` below a stage of `stages:`.",
    "sinks": "An item `use: NAME` of the list `sinks:`.",
    "trainers": "`use: NAME` below `trainer:`.",
}


def pages() -> dict[str, str]:
    """Return the text of each page by its path in the project."""
    made = {
        "cli": cli(),
        "plugins": plugins(),
        "errors": errors(),
        "manifest": manifest(),
        "events": events(),
        "python": python(),
    }
    return {f"docs/reference/{name}.md": text for name, text in made.items()}


# The command line


def cli() -> str:
    """Return the page of commands."""
    command: Any = typer.main.get_command(app)
    lines = ["# Command line", "", NOTE, "", command.help, ""]
    lines += ["Options that stand before the command (`--debug` may stand anywhere):", ""]
    lines += _parameters(command.params)
    for name, each in _commands(command, ""):
        lines += ["", f"## sightline {name}", "", each.help, ""]
        arguments = [each_.metavar or each_.name.upper() for each_ in each.params if not _is_option(each_)]
        lines += ["```text", " ".join(["sightline", name, *arguments, "[OPTIONS]"]), "```", ""]
        lines += _parameters(each.params)
    lines += ["", "## Exit codes", "", *_exit_codes()]
    return "\n".join(lines) + "\n"


def _commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from _commands(each, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", each


def _is_option(parameter: Any) -> bool:
    return str(parameter.opts[0]).startswith("-")


def _parameters(parameters: list[Any]) -> list[str]:
    rows = []
    for each in parameters:
        is_flag = getattr(each, "is_flag", False)
        words = each.metavar or ("" if is_flag or not _is_option(each) else each.name.upper())
        shown = " ".join(filter(None, [", ".join(each.opts), words])) if _is_option(each) else words
        default = "required" if each.required else "off" if is_flag else _code(each.default)
        again = " May be given several times." if getattr(each, "multiple", False) else ""
        rows.append(f"| `{shown}` | {default} | {_cell(each.help)}{again} |")
    return ["| option | default | what it does |", "| --- | --- | --- |", *rows]


# Plug-ins


def plugins() -> str:
    """Return the page of plug-ins and their fields."""
    catalog = Catalog()
    lines = [_PLUGINS.strip()]
    for kind in KINDS:
        ours = _ours(catalog, kind)
        if not ours:
            continue
        lines += ["", f"## {kind.capitalize()}", "", _ONE_OF_EACH[kind]]
        inherited = field_rows(KINDS[kind])
        if inherited:
            lines += ["", f"Every one of the {kind} also has:", "", *_field_table(inherited)]
        for listed in ours:
            plugin = catalog.load(kind, listed.name)
            own = [row for row in field_rows(plugin) if row not in inherited]
            lines += ["", f"### {listed.name}", "", *prose(plugin)]
            lines += ["", *_field_table(own)] if own else ["", "No fields of its own."]
    lines += ["", "## Tasks", "", "The task on a model's card names the predictor that answers for it.", ""]
    lines += ["| task | predictor |", "| --- | --- |"]
    lines += [f"| `{listed.name}` | `{listed.target}` |" for listed in _ours(catalog, "tasks")]
    lines += ["", "## Ports", "", "What `adapters.*` in the settings can name, besides an import path.", ""]
    lines += ["| entry-point group | name | class |", "| --- | --- | --- |"]
    for kind in PORT_KINDS:
        lines += [f"| `sightline.{kind}` | `{each.name}` | `{each.target}` |" for each in _ours(catalog, kind)]
    return "\n".join(lines) + "\n"


def _ours(catalog: Catalog, kind: str) -> list[Listed]:
    return sorted((each for each in catalog.listed(kind) if each.package == "sightline"), key=lambda each: each.name)


def field_rows(plugin: type[Any]) -> list[tuple[str, str, str, str]]:
    """Return name, type, default and description of each field; the description is empty where there is none."""
    described = field_descriptions(plugin)
    hints = get_type_hints(plugin)
    rows = []
    for field in dataclasses.fields(plugin):
        if not field.init:
            continue
        if field.default is not dataclasses.MISSING:
            default = _code(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = _code(field.default_factory())
        else:
            default = "required"
        rows.append((field.name, kind_of(hints[field.name]), default, described.get(field.name, "")))
    return rows


def _field_table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    head = ["| field | type | default | what it is |", "| --- | --- | --- | --- |"]
    return [*head, *(f"| `{name}` | {kind} | {default} | {_cell(text)} |" for name, kind, default, text in rows)]


def kind_of(hint: Any) -> str:  # noqa: PLR0911 - a table of forms, one line each
    """Return a type in words: `whole number or null`."""
    if hint in _WORDS:
        return _WORDS[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(kind_of(each) for each in inner)
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return f"list of {kind_of(inner[0])}"
        return f"[{', '.join(kind_of(each) for each in inner)}]"
    if origin in (list, set, frozenset):
        return f"list of {kind_of(inner[0])}"
    if isinstance(origin, type) and len(inner) == 2:
        return f"mapping of {kind_of(inner[0])} to {kind_of(inner[1])}"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return ", ".join(f"`{choice.value}`" for choice in hint)
    return f"`{getattr(hint, '__name__', hint)}`"


# Errors, events, manifest


def errors() -> str:
    """Return the page of errors."""
    lines = [_ERRORS]
    lines += ["| code | class | is a | exit code | what it means |", "| --- | --- | --- | --- | --- |"]
    for kind in error_types():
        parent = "" if kind is SightlineError else f"`{kind.__bases__[0].__name__}`"
        meaning = inspect.cleandoc(kind.__doc__ or "").splitlines()[0]
        lines.append(f"| `{kind.code}` | `{kind.__name__}` | {parent} | {exit_code(kind(''))} | {_cell(meaning)} |")
    lines += ["", "## Exit codes", "", *_exit_codes()]
    return "\n".join(lines) + "\n"


def _exit_codes() -> list[str]:
    branches: dict[int, list[str]] = {}
    for kind, code in EXIT_CODES.items():
        branches.setdefault(code, []).append(f"`{kind.code}`")
    branches.setdefault(INTERRUPTED, []).append("Ctrl-C, SIGTERM")
    branches[USAGE] = ["wrong words on the command line"]
    rows = [f"| {code} | {', '.join(words)} |" for code, words in sorted(branches.items())]
    return ["| exit code | when |", "| --- | --- |", "| 0 | all went well |", *rows]


def events() -> str:
    """Return the page of event types."""
    lines = [_EVENTS]
    lines += ["| short type | durable | what it tells |", "| --- | --- | --- |"]
    lines += [
        f"| `{name}` | {'no' if name in TRANSIENT else 'yes'} | {_cell(text)} |" for name, text in EVENT_TYPES.items()
    ]
    from tools.event_examples import examples  # runs predictors and a sink, which the other pages need not wait for

    lines += ["", _EXAMPLES.strip()]
    for name, event in examples().items():
        shown = json.dumps(encode_event(event), indent=2, ensure_ascii=False)
        lines += ["", f"### {name}", "", "```json", shown, "```"]
    return "\n".join(lines) + "\n"


def manifest() -> str:
    """Return the page of manifest keys."""
    stages = " and ".join(f"`{stage.value}`" for stage in PredictionStage)
    lines = [_MANIFEST]
    lines += ["| key | what it is |", "| --- | --- |", *(f"| `{key}` | {_cell(text)} |" for key, text in KEYS.items())]
    lines.append(_TAIL.format(stages=stages))
    return "\n".join(lines) + "\n"


# Python


def python() -> str:
    """Return the page of public names."""
    lines = [_PYTHON.strip()]
    for module in (sightline, compat, testing):
        lines += ["", f"## {module.__name__}", "", "| name | what it is |", "| --- | --- |"]
        lines += [
            f"| `{_call(name, getattr(module, name))}` | {_cell(_first_line(getattr(module, name)))} |"
            for name in module.__all__
        ]
    return "\n".join(lines) + "\n"


def _call(name: str, value: Any) -> str:
    if not inspect.isfunction(value):
        return name
    parameters = [
        each.name if each.kind is not each.VAR_KEYWORD else f"**{each.name}"
        for each in inspect.signature(value).parameters.values()
    ]
    return f"{name}({', '.join(parameters)})"


def _first_line(value: Any) -> str:
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return f"{value}"
    return (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")


def _code(value: Any) -> str:
    """Return a default as it is written in YAML."""
    if value is None:
        return "null"
    if value in ((), [], {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{value}`" if value != "" else "empty"


def _cell(text: Any) -> str:
    return " ".join(str(text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for name, text in pages().items():
        (ROOT / name).write_text(text, encoding="utf-8", newline="\n")
        print(name)

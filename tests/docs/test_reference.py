"""The reference pages are those of the code, and leave nothing out."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
from tests.docs.runner import ROOT
from tools.generate_reference import field_rows, pages

import sightline
from sightline.build.catalog import KINDS, PORT_KINDS, Catalog
from sightline.build.manifest import KEYS
from sightline.core.errors import error_types
from sightline.core.events import EVENT_TYPES
from sightline.serve.cli import app
from sightline.serve.numbers import _TOTALS, _TOTALS_BY

PLUGINS = [(listed.kind, listed.name) for listed in Catalog().listed() if listed.package == "sightline"]


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text("utf-8") == pages()[name], "run: python tools/generate_reference.py"


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_every_field_of_a_plug_in_is_described(kind: str, name: str) -> None:
    plugin = Catalog().load(kind, name)
    assert [row[0] for row in field_rows(plugin) if not row[3]] == [], f"no line in the Attributes of {plugin.__name__}"
    assert (plugin.__doc__ or "").strip()


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_kind_of_plug_in_is_described(kind: str) -> None:
    assert [row[0] for row in field_rows(KINDS[kind]) if not row[3]] == []


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_every_plug_in_stands_on_its_page(kind: str, name: str) -> None:
    section = pages()["docs/reference/plugins.md"].partition(f"\n## {kind.capitalize()}\n")[2].split("\n## ")[0]
    assert f"\n### {name}\n" in section


def test_every_adapter_stands_on_the_page_of_plug_ins() -> None:
    catalog, page = Catalog(), pages()["docs/reference/plugins.md"]
    for kind in PORT_KINDS:
        assert all(f"| `sightline.{kind}` | `{name}` |" in page for name in catalog.names(kind))


def test_every_command_and_option_stands_on_its_page() -> None:
    page = pages()["docs/reference/cli.md"]
    for words, command in commands(typer.main.get_command(app), "sightline"):
        section = page.partition(f"\n## {words}\n")[2].split("\n## ")[0]
        assert section, words
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
        assert [option for option in options if option not in section] == []


def commands(group: Any, prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        words = f"{prefix} {name}"
        found += commands(command, words) if hasattr(command, "commands") else [(words, command)]
    return found


def test_every_error_event_and_key_stands_on_its_page() -> None:
    made = pages()
    assert all(f"| `{kind.code}` | `{kind.__name__}` |" in made["docs/reference/errors.md"] for kind in error_types())
    assert all(f"| `{name}` |" in made["docs/reference/events.md"] for name in EVENT_TYPES)
    assert all(f"| `{key}` |" in made["docs/reference/manifest.md"] for key in KEYS)


def test_every_public_name_is_explained() -> None:
    page = pages()["docs/reference/python.md"]
    for name in sightline.__all__:
        row = re.search(rf"^\| `{name}[^`]*` \| (.+) \|$", page, re.MULTILINE)
        assert row, name
        assert len(row[1]) > 10


def test_every_number_stands_on_its_page() -> None:
    page = (ROOT / "docs/how-to/watch-numbers-and-logs.md").read_text("utf-8")
    shown = set(re.findall(r"`([a-z_]+?)(?:_total)?`", page))
    told: set[str] = set()
    for path in [path for part in ("engine", "serve") for path in ROOT.glob(f"src/sightline/{part}/**/*.py")]:
        told |= set(re.findall(r"\.(?:count|gauge|observe)\(\s*\"([a-z_]+)\"", path.read_text("utf-8")))
    assert len(told) > 10, "no numbers: this test sees nothing"
    assert told | {*_TOTALS.values(), *(name for name, _ in _TOTALS_BY.values())} <= shown

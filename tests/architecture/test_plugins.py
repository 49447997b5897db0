"""Every plug-in that pyproject.toml names is there, is of its kind, and describes each of its fields."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from inspect import getdoc, isabstract
from typing import Any

import pytest
from tests.architecture.checkout import ROOT

from sightline.build.catalog import FILE_KINDS, KINDS, PORT_KINDS
from sightline.core.plugins import Plugin, Predictor

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BASES: dict[str, type] = {**KINDS, **FILE_KINDS, **PORT_KINDS, "tasks": Predictor}
POINTS = [
    pytest.param(group.removeprefix("sightline."), value, id=f"{group.removeprefix('sightline.')}-{name}")
    for group, points in PROJECT["entry-points"].items()
    for name, value in points.items()
]
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def loaded(value: str) -> Any:
    """Return what an entry point names."""
    module, _, attribute = value.partition("[")[0].strip().partition(":")
    return getattr(import_module(module), attribute)


@pytest.mark.parametrize(("kind", "value"), POINTS)
def test_an_entry_point_names_a_class_of_its_kind(kind: str, value: str) -> None:
    found = loaded(value)
    assert isinstance(found, type)
    assert issubclass(found, BASES[kind])
    assert not isabstract(found)


@pytest.mark.parametrize(("kind", "value"), POINTS)
def test_a_plugin_describes_its_fields(kind: str, value: str) -> None:
    found = loaded(value)
    if not issubclass(found, Plugin):
        assert kind in {**FILE_KINDS, **PORT_KINDS}
        return
    texts = [getdoc(each) or "" for each in found.__mro__ if issubclass(each, Plugin)]
    fields = {field.name for field in dataclasses.fields(found) if field.repr}
    told = {name for text in texts for name in re.findall(r"^    (\w+): ", text, re.MULTILINE)}
    assert fields <= told


def test_the_install_shows_the_same_entry_points() -> None:
    """Red after pyproject.toml has changed: `make install` brings the metadata up to date."""
    groups = PROJECT["entry-points"]
    shown = {(point.group, point.name, point.value) for group in groups for point in entry_points(group=group)}
    wanted = {(group, name, value) for group, points in groups.items() for name, value in points.items()}
    assert wanted <= shown


def test_names_are_words_with_hyphens() -> None:
    names = [name for points in PROJECT["entry-points"].values() for name in points]
    assert [name for name in names if not NAME.fullmatch(name)] == []

"""The numbers that Sightline counts are told in words."""

from __future__ import annotations

import re
from pathlib import Path

import sightline
from sightline.core.numbers import NUMBERS, meaning

_COUNTED = re.compile(r"meter\.(?:count|gauge|observe)\(\s*\"([a-z_]+)\"")


def test_every_number_that_is_counted_has_a_meaning() -> None:
    sources = [path for path in Path(sightline.__file__).parent.rglob("*.py") if "testing" not in path.parts]
    found = {name for path in sources for name in _COUNTED.findall(path.read_text("utf-8"))}
    assert len(found) > 15
    assert found <= NUMBERS.keys()


def test_a_number_of_somebody_else_is_told_by_its_name() -> None:
    assert meaning("doors_open") == "Doors open."

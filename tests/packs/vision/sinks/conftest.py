"""Recorders of events that are closed after the test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.packs.vision.sinks.recorder_scene import Make, Scene


@pytest.fixture
def scene() -> Iterator[Make]:
    scenes: list[Scene] = []

    def make(*arguments: Any, **fields: Any) -> Scene:
        scenes.append(Scene(*arguments, **fields))
        return scenes[-1]

    yield make
    for each in scenes:
        each.sink.close()

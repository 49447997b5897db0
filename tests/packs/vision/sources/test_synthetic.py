from __future__ import annotations

import time
from datetime import timedelta
from itertools import islice
from threading import Event
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from sightline.core.errors import ConfigError
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.sources.synthetic import SyntheticSource
from sightline.testing.fakes import START, make_context

PATTERNS = ["shapes", "gradient", "noise", "black", "pulse"]


def frames(**config: Any) -> list[Sample[Frame]]:
    source = SyntheticSource(**{"num_frames": 5, "size": (64, 48), **config})
    source.open(make_context())
    return list(source.read())


@pytest.mark.parametrize("pattern", PATTERNS)
def test_frames_have_the_size_and_are_the_same_each_time(pattern: str) -> None:
    for one, other in zip(frames(pattern=pattern), frames(pattern=pattern), strict=True):
        assert one.payload.size == (64, 48)
        np.testing.assert_array_equal(one.payload.pixels_HWC, other.payload.pixels_HWC)


@pytest.mark.parametrize("pattern", ["shapes", "gradient", "noise", "pulse"])
def test_frames_change_from_one_to_the_next(pattern: str) -> None:
    first, second, *_ = frames(pattern=pattern)
    assert (first.payload.pixels_HWC != second.payload.pixels_HWC).any()


@pytest.mark.parametrize("pattern", ["shapes", "gradient", "noise"])
def test_another_seed_gives_another_picture(pattern: str) -> None:
    pictures = [frames(pattern=pattern, seed=seed)[0].payload.pixels_HWC for seed in (1, 2)]
    assert (pictures[0] != pictures[1]).any()


def test_times_follow_from_the_rate() -> None:
    last = frames(fps=4)[-1]
    assert last.id == "camera/1/4"
    assert last.clocks.pts_s == 1.0
    assert last.clocks.wall == START + timedelta(seconds=1)


def test_the_pulse_goes_through_dark_and_bright_and_back_every_four_seconds() -> None:
    means = [sample.payload.pixels_HWC.mean() for sample in frames(pattern="pulse", fps=10, num_frames=41)]
    assert (means[0], means[20], means[40]) == (28, 228, 28)


def test_shapes_stay_inside_and_stand_out() -> None:
    for sample in frames(num_frames=300, size=(160, 120), fps=5)[::60]:
        assert sample.payload.pixels_HWC.std() > 15


def test_it_goes_on_until_it_is_stopped() -> None:
    stopping = Event()
    source = SyntheticSource(size=(16, 16), realtime=False)
    source.open(make_context(stopping=stopping))
    reader = source.read()
    assert len(list(islice(reader, 100))) == 100
    stopping.set()
    assert list(reader) == []


def test_realtime_keeps_the_rate_and_is_live() -> None:
    begun_s = time.monotonic()
    assert len(frames(realtime=True, fps=20)) == 5
    assert time.monotonic() - begun_s >= 0.2
    assert SyntheticSource(realtime=True).is_live
    assert not SyntheticSource(realtime=False).is_live


def test_frames_without_end_come_as_from_a_camera_where_nobody_says_otherwise() -> None:
    assert SyntheticSource().is_live
    assert not SyntheticSource(num_frames=5).is_live


def test_probing_tells_size_and_length() -> None:
    facts = SyntheticSource(num_frames=20, fps=10).probe()
    assert (facts["width"], facts["height"], facts["duration_s"]) == (640, 480, 2)


@pytest.mark.parametrize(
    "config", [{"size": (0, 10)}, {"fps": 0}, {"num_frames": -1}, {"pattern": "stars"}, {"seed": -1}]
)
def test_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SyntheticSource(**config)


def test_it_is_built_from_a_manifest() -> None:
    adapter = TypeAdapter(SyntheticSource)
    assert adapter.validate_python({"size": [32, 32], "pattern": "pulse"}).size == (32, 32)
    with pytest.raises(ValidationError):
        adapter.validate_python({"frames": 3})

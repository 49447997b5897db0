from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from sightline.core.errors import ConfigError, InvalidInput
from sightline.core.prediction import Boxes, Rejected, Scalar
from sightline.core.sample import Clocks, Frame, Sample, Text, Volume

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def make_sample(**changes: object) -> Sample[Text]:
    clocks = Clocks(pts_s=41.2, monotonic_s=7.0, wall=NOON)
    sample = Sample(payload=Text("hello"), source="door", seq=412, epoch=2, clocks=clocks)
    return replace(sample, **changes)  # type: ignore[arg-type]


def test_the_id_tells_source_epoch_and_number() -> None:
    assert make_sample().id == "door/2/412"


def test_the_time_is_the_senders_where_it_tells() -> None:
    sender = NOON - timedelta(seconds=3)
    assert make_sample().time == NOON
    assert make_sample(clocks=Clocks(pts_s=None, monotonic_s=0, wall=NOON, sender=sender)).time == sender


def test_seconds_are_media_time_else_event_time() -> None:
    assert make_sample().seconds == 41.2
    sender = NOON - timedelta(seconds=3)
    without = make_sample(clocks=Clocks(pts_s=None, monotonic_s=0, wall=NOON, sender=sender))
    assert without.seconds == sender.timestamp()
    assert make_sample(clocks=Clocks(pts_s=0.0, monotonic_s=9, wall=NOON)).seconds == 0.0


def test_a_prediction_is_found_by_key_and_kind() -> None:
    scalar = Scalar(name="brightness", value=7)
    sample = make_sample().with_prediction("usable", scalar)
    assert sample.prediction("usable", Scalar) is scalar


def test_a_prediction_of_another_kind_or_none_says_what_stands_there() -> None:
    sample = make_sample().with_prediction("usable", Scalar(name="brightness", value=7))
    with pytest.raises(ConfigError, match=r"'usable' of kind Boxes is needed, there is Scalar.*: usable") as raised:
        sample.prediction("usable", Boxes)
    assert "gives Boxes" in raised.value.cure
    with pytest.raises(ConfigError, match=r"there is nothing\. Earlier predictors: none"):
        make_sample().prediction("people", Boxes)


def test_changes_make_new_samples_and_leave_the_old_one() -> None:
    sample = make_sample(metadata={"place": "lab", "floor": 1})
    changed = (
        sample.with_prediction("a", Scalar(name="a", value=1))
        .with_prediction("b", Scalar(name="b", value=2))
        .with_metadata({"place": "hall"})
        .with_rejection(Rejected(reason="dark"))
    )
    assert list(changed.predictions) == ["a", "b"]
    assert changed.metadata == {"place": "hall", "floor": 1}
    assert changed.rejected is not None
    assert (sample.predictions, sample.rejected, sample.metadata["place"]) == ({}, None, "lab")
    assert sample.with_payload(3).payload == 3


def test_samples_are_compared_by_identity() -> None:
    assert make_sample() != make_sample()


def test_a_frame_is_bytes_of_three_colours_that_cannot_be_written() -> None:
    frame = Frame(np.zeros((48, 64, 3), np.uint8))
    assert frame.size == (64, 48)
    with pytest.raises(ValueError, match="read-only"):
        frame.pixels_HWC[0, 0, 0] = 1
    for wrong in (np.zeros((48, 64), np.uint8), np.zeros((48, 64, 4), np.uint8), np.zeros((48, 64, 3), np.float32)):
        with pytest.raises(InvalidInput, match=str(wrong.dtype)):
            Frame(wrong)  # type: ignore[arg-type]


def test_a_volume_needs_three_axes_and_its_place() -> None:
    volume = Volume(np.zeros((2, 3, 4), np.int16), np.eye(4))
    assert not volume.voxels_IJK.flags.writeable
    with pytest.raises(InvalidInput):
        Volume(np.zeros((3, 4), np.int16), np.eye(4))
    with pytest.raises(InvalidInput):
        Volume(np.zeros((2, 3, 4), np.int16), np.eye(3))

"""A bag is left, stands, is hidden, is taken: what is told of it and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from sightline.core.codec import encode_time
from sightline.core.errors import ConfigError
from sightline.core.prediction import Boxes, Finding, Findings
from sightline.packs.vision.predictors.abandoned_object import AbandonedObject
from sightline.testing import make_context, make_frame
from sightline.testing.fakes import START

Box = tuple[float, float, float, float]
BAG: Box = (200, 200, 230, 230)
BESIDE: Box = (150, 130, 190, 230)  # ten pixels from the bag, a hundred high
AWAY: Box = (20, 130, 60, 230)
BEFORE: Box = (195, 130, 235, 230)


def boxes(*things: tuple[str, Box], track: int = 7) -> Boxes:
    return Boxes(
        xyxy=np.array([box for _, box in things], np.float32).reshape(-1, 4),
        confidence=np.full(len(things), 0.8, np.float32),
        class_id=np.arange(len(things)),
        class_name=tuple(name for name, _ in things),
        tracker_id=np.full(len(things), track),
    )


def watched(
    scene: Callable[[float], Sequence[tuple[str, Box]]], until_s: float, *, fps: float = 5, **fields: Any
) -> list[tuple[Any, Finding]]:
    """Return what is told, with the second, of a scene that says what is there at each second."""
    watch = AbandonedObject(**{"of": "tracks", "still_s": 10.0, "gone_s": 2.0, **fields})
    watch.open(make_context())
    told: list[tuple[float, Finding]] = []
    for number in range(round(until_s * fps) + 1):
        seconds = number / fps
        sample = make_frame(0, size=(400, 300), seconds=seconds, seq=number)
        # The tracker loses it now and then, and finds it under another number.
        seen = boxes(*scene(seconds), track=7 + number // 20)
        [found] = watch.predict([sample.with_prediction("tracks", seen)])
        told += [(seconds, item) for item in found if item.event]
    return told


def bag_from(begin_s: float, end_s: float, person: Callable[[float], Box | None]) -> Callable[[float], Any]:
    """Return a scene in which a bag stands for a while, and somebody walks."""

    def scene(seconds: float) -> list[tuple[str, Box]]:
        who = person(seconds)
        there = [("backpack", BAG)] if begin_s <= seconds < end_s else []
        return there + ([] if who is None else [("person", who)])

    return scene


def names(told: list[tuple[Any, Finding]]) -> list[tuple[Any, Any]]:
    return [(seconds, item.event) for seconds, item in told]


def at(seconds: float) -> str:
    return encode_time(START + timedelta(seconds=seconds))


def leaves_at(leave_s: float) -> Callable[[float], Box | None]:
    return lambda seconds: BESIDE if seconds < leave_s else AWAY if seconds < leave_s + 3 else None


@pytest.mark.parametrize("fps", [2, 5, 25])
def test_a_bag_is_left_when_its_owner_has_been_away_for_long_enough(fps: int) -> None:
    told = watched(bag_from(1, 30, leaves_at(5)), 40, fps=fps)

    (left_s, left), (removed_s, removed) = told
    assert left.event == "object.left"
    assert left_s == pytest.approx(5 + 10, abs=1 / fps)
    assert (removed.event, removed_s) == ("object.removed", pytest.approx(30 + 2, abs=1 / fps))
    assert left.data
    assert removed.data
    assert (left.data["class_name"], left.data["xyxy"], left.data["end"]) == ("backpack", [200, 200, 230, 230], None)
    assert removed.data["alarm"] == left.data["alarm"]
    assert removed.data["start"] == left.data["start"]
    assert at(5 - 1 / fps) <= left.data["start"] <= at(5)
    assert at(30 - 1 / fps) <= removed.data["end"] <= at(30)
    assert removed.data["duration_s"] == pytest.approx(25, abs=0.6)


def test_a_bag_with_somebody_near_is_not_left() -> None:
    assert watched(bag_from(0, 60, lambda _: BESIDE), 60) == []


def test_who_comes_back_in_time_has_not_left_it() -> None:
    told = watched(bag_from(0, 60, lambda s: BESIDE if s < 5 or 12 < s < 14 else None), 60)

    assert names(told) == [(pytest.approx(24, abs=0.3), "object.left")]


def test_how_near_is_a_matter_of_the_height_of_the_owner() -> None:
    scene = bag_from(0, 30, lambda _: AWAY)  # 140 pixels away, 100 high

    assert [name for _, name in names(watched(scene, 20, near=1.0))] == ["object.left"]
    assert watched(scene, 20, near=1.5) == []


def test_a_bag_that_moves_or_that_was_carried_off_by_its_owner_is_not_told() -> None:
    assert watched(lambda s: [("backpack", (s * 20, 200, s * 20 + 30, 230))], 30) == []
    assert watched(lambda s: [("backpack", (s * 2, 200, s * 2 + 30, 230))], 60) == []  # pushed, very slowly
    assert watched(bag_from(0, 9, lambda _: None), 30) == []


def test_a_detector_that_blinks_changes_nothing() -> None:
    told = watched(lambda s: [("suitcase", BAG)] if round(s * 5) % 4 != 3 else [], 30)

    assert names(told) == [(pytest.approx(10, abs=0.3), "object.left")]


def test_a_bag_behind_somebody_is_not_gone() -> None:
    def hidden(seconds: float) -> list[tuple[str, Box]]:
        if 15 <= seconds < 25:
            return [("person", BEFORE)]
        return [("backpack", BAG)]

    told = watched(hidden, 40)
    assert [name for _, name in names(told)] == ["object.left"]
    # Once nobody stands before it, the time begins in which it must be seen again.
    gone = watched(lambda s: hidden(s) if s < 25 else [], 40)
    assert names(gone)[1] == (pytest.approx(27, abs=0.5), "object.removed")


def test_two_bags_are_two_and_their_number_is_told() -> None:
    other: Box = (300, 200, 330, 230)
    watch = AbandonedObject(of="tracks", still_s=2, gone_s=1)
    watch.open(make_context())
    counts: list[float | str | None] = []
    alarms: set[str] = set()
    shown: list[list[Any]] = []
    for number in range(80):
        things = [("backpack", BAG)] + ([("handbag", other)] if number < 40 else [])
        sample = make_frame(0, seconds=number / 10, seq=number).with_prediction("tracks", boxes(*things))
        found: Findings = watch.predict([sample])[0]
        counts.append(found.value("left"))
        shown.append([item.data for item in found if item.name == "thing"])
        alarms |= {item.data["alarm"] for item in found if item.event and item.data}
    assert (counts[10], counts[30], counts[-1]) == (0, 2, 1)
    assert len(alarms) == 2
    assert shown[0] == []
    assert shown[-1] == [{"thing": "backpack", "xyxy": [200, 200, 230, 230]}]


def test_a_thing_can_be_left_again_after_it_was_removed() -> None:
    told = watched(lambda s: [("backpack", BAG)] if s < 15 or s > 20 else [], 40)

    assert [name for _, name in names(told)] == ["object.left", "object.removed", "object.left"]
    ids = [(item.data or {})["alarm"] for _, item in told]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ()}, "one of"),
        ({"classes": ("person",)}, "owner"),
        ({"still_s": -1}, "negative"),
        ({"overlap": 0}, "overlap"),
    ],
)
def test_wrong_fields_are_refused_with_a_cure(fields: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        AbandonedObject(of="tracks", **fields)
    assert caught.value.cure


def test_pydantic_builds_it_from_a_case_file() -> None:
    adapter = TypeAdapter(AbandonedObject)
    assert adapter.validate_python({"of": "tracks", "classes": ["suitcase"], "still_s": 60}).still_s == 60
    with pytest.raises(ValidationError):
        adapter.validate_python({"of": "tracks", "still": 60})


def test_what_is_left_when_the_picture_goes_has_an_end() -> None:
    watch = AbandonedObject(of="tracks", still_s=2.0)
    watch.open(make_context())
    told: list[Finding] = []
    for number in range(6):
        sample = make_frame(0, size=(400, 300), seconds=number, seq=number)
        seen = boxes(("backpack", BAG), *([("suitcase", AWAY)] if number > 4 else []))
        [found] = watch.predict([sample.with_prediction("tracks", seen)])
        told += [item for item in found if item.event]

    [left], [end] = told, watch.cut_off(sample.with_payload(None))

    assert (end.event, end.subject) == ("object.removed", left.subject)
    assert end.data == {**(left.data or {}), "duration_s": 5.0, "end": encode_time(START + timedelta(seconds=5))}
    assert watch.cut_off(sample) == []

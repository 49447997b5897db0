from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sightline.core.codec import encode_time
from sightline.core.errors import ConfigError
from sightline.core.prediction import Boxes, Finding, Findings
from sightline.packs.vision.geometry import Point
from sightline.packs.vision.predictors.zone_counter import ZoneCounter
from sightline.testing import make_context, make_frame
from sightline.testing.fakes import START

YARD = {"yard": ((100.0, 100.0), (200.0, 100.0), (200.0, 200.0), (100.0, 200.0))}
IN, NEAR, FAR = (150.0, 150.0), (205.0, 150.0), (300.0, 150.0)


def tracks(*feet: tuple[int, Point]) -> Boxes:
    return Boxes(
        xyxy=np.array([(x - 10, y - 50, x + 10, y) for _, (x, y) in feet], np.float32).reshape(-1, 4),
        confidence=np.full(len(feet), 0.9, np.float32),
        class_id=np.zeros(len(feet), np.int64),
        class_name=("person",) * len(feet),
        tracker_id=np.array([who for who, _ in feet], np.int64),
    )


def watched(steps: list[tuple[float, Boxes]], zones: Any = None, **fields: Any) -> list[Findings]:
    counter = ZoneCounter(of="tracks", zones=zones or YARD, **fields)
    counter.open(make_context())
    return [
        counter.predict([make_frame(0, size=(400, 300), seconds=seconds, seq=n).with_prediction("tracks", found)])[0]
        for n, (seconds, found) in enumerate(steps)
    ]


def way(*places: Point | None, fps: float = 10) -> list[tuple[float, Boxes]]:
    """Return what is seen of track 1 that stands at each place for one sample; None is unseen."""
    return [(n / fps, tracks() if place is None else tracks((1, place))) for n, place in enumerate(places)]


def told(found: list[Findings]) -> list[tuple[int, Finding]]:
    return [(n, item) for n, each in enumerate(found) for item in each if item.event]


def at(seconds: float) -> str:
    return encode_time(START + timedelta(seconds=seconds))


def names(found: list[Findings]) -> list[tuple[int, str | None]]:
    return [(n, item.event) for n, item in told(found)]


def test_who_comes_and_goes_is_told_with_the_time_inside() -> None:
    found = watched(way(FAR, IN, IN, IN, FAR))

    assert names(found) == [(1, "zone.entered"), (4, "zone.left")]
    assert [each.value("inside") for each in found] == [0, 1, 1, 1, 0]
    [(_, entered), (_, left)] = told(found)
    assert entered.subject == left.subject == "track/1"
    assert entered.data
    assert left.data
    assert entered.data == {
        "zone": "yard",
        "visit": left.data["visit"],
        "class_name": "person",
        "xyxy": [140, 100, 160, 150],
        "start": at(0.1),
        "end": None,
    }
    assert left.data == {**entered.data, "duration_s": 0.2, "xyxy": [290, 100, 310, 150], "end": at(0.3)}


def test_every_visit_has_an_id_of_its_own() -> None:
    visits = [item.data["visit"] for _, item in told(watched(way(IN, FAR, IN, FAR))) if item.data]

    assert visits == [visits[0], visits[0], visits[2], visits[2]]
    assert visits[0] != visits[2]


def test_jitter_at_the_border_is_one_stay() -> None:
    found = watched(way(*([IN, NEAR] * 30), FAR))

    assert names(found) == [(0, "zone.entered"), (60, "zone.left")]


def test_just_outside_for_leave_s_ends_the_stay() -> None:
    found = watched(way(IN, *[NEAR] * 20), leave_s=1.0)

    assert names(found) == [(0, "zone.entered"), (10, "zone.left")]


def test_who_vanishes_has_left_after_gone_s() -> None:
    found = watched(way(IN, IN, *[None] * 40), gone_s=3.0)

    assert names(found) == [(0, "zone.entered"), (31, "zone.left")]
    left = told(found)[1][1].data or {}
    assert (left["duration_s"], left["start"], left["end"]) == (0.1, at(0.0), at(0.1))
    assert left["xyxy"] == [140, 100, 160, 150]  # where it was last seen


def test_who_is_inside_when_the_picture_goes_has_an_end_and_so_has_every_alarm() -> None:
    yards = {**YARD, "field": ((0.0, 0.0), (90.0, 0.0), (90.0, 90.0), (0.0, 90.0))}
    counter = ZoneCounter(of="tracks", zones=yards, over=1, under=1, hold_s=0.0, dwell_s=1.0)
    counter.open(make_context())
    found = []
    for n, feet in enumerate(((1, IN), (2, IN)) if n < 2 else ((2, IN),) for n in range(3)):
        sample = make_frame(0, size=(400, 300), seconds=n, seq=n)
        found.append(counter.predict([sample.with_prediction("tracks", tracks(*feet))])[0])
    begun = {item.data["alarm"]: item for _, item in told(found) if item.data and item.data.get("state") == "start"}
    entered = {item.subject: item for _, item in told(found) if item.event == "zone.entered"}

    ends = counter.cut_off(sample.with_payload(None))

    left = [item.data or {} for item in ends if item.event == "zone.left"]
    assert [each["end"] for each in left] == [at(1), at(2)]  # when each was last seen inside
    assert [each["duration_s"] for each in left] == [1.0, 2.0]
    assert [each["visit"] for each in left] == [(each.data or {})["visit"] for each in entered.values()]
    alarms = {item.event: item.data or {} for item in ends if item.event != "zone.left"}
    assert {event: (each["zone"], each["inside"], each["end"], each["state"]) for event, each in alarms.items()} == {
        "count.over": ("yard", 2, at(2), "end"),
        "count.under": ("field", 0, at(2), "end"),
    }
    for each in alarms.values():
        assert each["start"] == (begun[each["alarm"]].data or {})["start"]
    assert counter.cut_off(sample) == []
    again = counter.predict([sample.with_prediction("tracks", tracks((2, IN)))])[0]
    assert names([again])[0] == (0, "zone.entered")  # and begins anew


def test_start_and_end_fit_though_the_clock_of_a_camera_trembles() -> None:
    counter = ZoneCounter(of="tracks", zones=YARD, over=0, hold_s=0.0)
    counter.open(make_context())
    found = []
    for n, (place, late_s) in enumerate(((IN, 0.3), (FAR, 0.0))):
        sample = make_frame(0, size=(400, 300), seconds=n / 10, seq=n)
        late = replace(sample.clocks, wall=sample.clocks.wall + timedelta(seconds=late_s))
        sample = replace(sample, clocks=late).with_prediction("tracks", tracks((1, place)))
        found += [item.data or {} for item in counter.predict([sample])[0] if item.event]
    assert [(each["start"], each["end"]) for each in found] == [
        (at(0.3), None),
        (at(0.3), None),
        (at(0.3), at(0.3)),
        (at(0.3), at(0.3)),
    ]


def test_a_short_gap_is_one_stay() -> None:
    assert names(watched(way(IN, *[None] * 20, IN))) == [(0, "zone.entered")]


@pytest.mark.parametrize("fps", [2, 25])
def test_dwelling_is_told_once_a_stay_after_real_seconds(fps: int) -> None:
    found = watched(way(*[IN] * (fps * 6), FAR, *[IN] * (fps * 5), fps=fps), dwell_s=4.0)
    dwells = [n / fps for n, event in names(found) if event == "zone.dwell"]

    assert dwells == [4.0, 6 + 1 / fps + 4.0]


def crowd(*sizes: int) -> list[tuple[float, Boxes]]:
    return [(n / 10, tracks(*((who, IN) for who in range(1, size + 1)))) for n, size in enumerate(sizes)]


def test_too_many_are_told_when_it_lasts_and_again_only_after_it_was_over() -> None:
    steps = crowd(*[1] * 5, *[3] * 30, *[1] * 5)
    found = watched(steps, over=2, hold_s=1.0, gone_s=0.1)

    assert [(n, event) for n, event in names(found) if event == "count.over"] == [(15, "count.over")]
    over = next(item for _, item in told(found) if item.event == "count.over")
    assert over.data == {
        "zone": "yard",
        "inside": 3,
        "limit": 2,
        "state": "start",
        "alarm": (over.data or {})["alarm"],
        "start": at(0.5),
        "end": None,
    }
    # A dip shorter than hold_s is no new alarm, a longer one is.
    short = watched(crowd(*[3] * 20, *[1] * 5, *[3] * 20), over=2, hold_s=1.0, gone_s=0.1)
    long = watched(crowd(*[3] * 20, *[1] * 20, *[3] * 20), over=2, hold_s=1.0, gone_s=0.1)
    assert [state for state, _, _ in alarms(short)] == ["start"]
    assert [state for state, _, _ in alarms(long)] == ["start", "end", "start"]


def alarms(found: list[Findings]) -> list[tuple[str, str, str | None]]:
    """Return state, start and end of what was told of counts."""
    data = [item.data for _, item in told(found) if item.data and (item.event or "").startswith("count.")]
    return [(each["state"], each["start"], each["end"]) for each in data]


def test_the_end_of_too_many_is_told_with_the_id_and_the_start_of_its_beginning() -> None:
    found = watched(crowd(*[3] * 20, *[1] * 20), over=2, hold_s=1.0, gone_s=0.1)
    [first, second] = [item for _, item in told(found) if item.event == "count.over"]

    assert alarms(found) == [("start", at(0.0), None), ("end", at(0.0), at(2.0))]
    assert first.data
    assert second.data
    assert first.data["alarm"] == second.data["alarm"]


def test_a_number_is_back_only_when_it_is_well_inside_its_limit() -> None:
    steps = crowd(*[5] * 10, *[4] * 10, *[3] * 10, *[2] * 10)

    assert alarms(watched(steps, over=4, hold_s=0, gone_s=0.1)) == [
        ("start", at(0.0), None),
        ("end", at(0.0), at(1.0)),
    ]
    assert alarms(watched(steps, over=4, hold_s=0, gone_s=0.1, hysteresis=2)) == [
        ("start", at(0.0), None),
        ("end", at(0.0), at(3.0)),
    ]
    few = crowd(*[1] * 10, *[2] * 10, *[3] * 10)
    assert alarms(watched(few, under=2, hold_s=0, hysteresis=1))[1] == ("end", at(0.0), at(2.0))


def test_too_few_are_told_when_it_lasts() -> None:
    found = watched(crowd(*[0] * 30), under=1, hold_s=1.0)

    assert names(found) == [(10, "count.under")]


def test_zones_count_for_themselves_and_carry_their_shape() -> None:
    zones = {**YARD, "gate": ((0.0, 0.0), (160.0, 0.0), (160.0, 160.0))}
    [found] = watched([(0.0, tracks((1, IN), (2, (120.0, 190.0))))], zones=zones)

    inside = {item.data["zone"]: item.value for item in found if item.name == "inside" and item.data}
    assert inside == {"yard": 2, "gate": 1}
    shapes = {item.data["zone"]: item.data["polygon"] for item in found if item.name == "zone" and item.data}
    assert shapes["gate"] == [[0, 0], [160, 0], [160, 160]]


def test_relative_zones_follow_the_size_of_the_picture() -> None:
    half = {"half": ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))}
    [found] = watched([(0.0, tracks((1, (190, 200)), (2, (210, 200))))], zones=half, unit="relative")

    assert found.value("inside") == 1


def seen_in(picture: tuple[int, int], foot: Point, **fields: Any) -> tuple[float | str | None, list[str]]:
    """Return how many are in the yard on the second of two equal pictures, and the warnings until then."""
    warnings: list[str] = []
    counter = ZoneCounter(of="tracks", zones=YARD, **fields)
    counter.open(make_context(warned=warnings.append, first_size=(400, 300)))
    frames = [make_frame(0, size=picture, seq=n).with_prediction("tracks", tracks((1, foot))) for n in range(2)]
    return [counter.predict([frame])[0].value("inside") for frame in frames][-1], warnings


def test_places_in_pixels_are_scaled_with_the_picture() -> None:
    assert seen_in((400, 300), (150, 150)) == (1, [])
    assert seen_in((200, 150), (75, 75)) == (1, [])
    assert seen_in((200, 150), (150, 150)) == (0, [])
    assert seen_in((200, 150), (150, 150), size=(200, 150)) == (1, [])  # what they were drawn on counts
    assert seen_in((800, 600), (300, 300), size=(400, 300)) == (1, [])


def test_a_zone_outside_the_picture_is_told_once_and_is_no_error() -> None:
    text = "The zone 'yard' lies outside the picture of 60x60: it counts nothing."
    assert seen_in((60, 60), (50, 50), size=(60, 60)) == (0, [text])
    assert seen_in((150, 150), (120, 120), size=(150, 150)) == (1, [])  # a part of it is enough


@given(st.lists(st.tuples(st.sampled_from([IN, NEAR, FAR, None]), st.integers(1, 30)), max_size=20))
def test_every_entry_has_one_end_and_the_number_inside_is_their_difference(
    parts: list[tuple[Point | None, int]],
) -> None:
    found = watched(way(*(place for place, num in parts for _ in range(num))), dwell_s=1.0)
    inside = 0
    for each in found:
        events = [item.event for item in each if item.event]
        inside += events.count("zone.entered") - events.count("zone.left")
        assert inside == each.value("inside")
        assert inside in (0, 1)


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        (((0, 0), (10, 0)), "2 corners"),
        (((0, 0), (10, 0), (20, 0)), "no area"),
        (((0, 0), (30, 20), (30, 0), (0, 10)), "crosses itself"),
        (((0, 0), (30, 20), (30, float("nan"))), "no number"),
    ],
)
def test_what_is_no_zone_is_refused_with_a_cure(polygon: tuple[Point, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ZoneCounter(of="tracks", zones={"yard": polygon})
    assert caught.value.cure


def test_pydantic_builds_it_from_a_case_file() -> None:
    adapter = TypeAdapter(ZoneCounter)
    built = adapter.validate_python({"of": "tracks", "zones": {"a": [[0, 0], [9, 0], [9, 9]]}, "dwell_s": 5})

    assert built.dwell_s == 5
    with pytest.raises(ValidationError):
        adapter.validate_python({"of": "tracks", "zones": {}, "dwell": 5})
    with pytest.raises(ConfigError, match="leave_s"):
        ZoneCounter(of="tracks", zones=YARD, leave_s=-1)

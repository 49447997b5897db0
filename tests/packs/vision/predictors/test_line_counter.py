from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sightline.core.errors import ConfigError
from sightline.core.prediction import Boxes, Finding, Findings
from sightline.packs.vision.geometry import Point
from sightline.packs.vision.predictors.line_counter import LineCounter
from sightline.testing import make_context, make_frame

DOOR = {"door": ((100.0, 100.0), (300.0, 100.0))}  # from left to right: `in` is downwards


def tracks(*feet: tuple[int, Point], class_name: str = "person") -> Boxes:
    """Return boxes of 20 x 50 pixels by id and the place of their feet."""
    return Boxes(
        xyxy=np.array([(x - 10, y - 50, x + 10, y) for _, (x, y) in feet], np.float32).reshape(-1, 4),
        confidence=np.full(len(feet), 0.9, np.float32),
        class_id=np.zeros(len(feet), np.int64),
        class_name=(class_name,) * len(feet),
        tracker_id=np.array([who for who, _ in feet], np.int64),
    )


def counted(steps: list[Boxes], fps: float = 10, lines: Any = None, **fields: Any) -> list[Findings]:
    counter = LineCounter(of="tracks", lines=lines or DOOR, **fields)
    counter.open(make_context())
    return [
        counter.predict([make_frame(0, size=(400, 200), seconds=n / fps).with_prediction("tracks", found)])[0]
        for n, found in enumerate(steps)
    ]


def walk(*feet: Point, **fields: Any) -> tuple[float | str | None, float | str | None]:
    """Return the final in and out of one track that walked there."""
    last = counted([tracks((7, place)) for place in feet], **fields)[-1]
    return last.value("in"), last.value("out")


def test_down_is_in_and_up_is_out_for_a_line_to_the_right() -> None:
    assert walk((200, 80), (200, 120)) == (1, 0)
    assert walk((200, 120), (200, 80)) == (0, 1)


def test_a_line_the_other_way_round_counts_the_other_way() -> None:
    assert walk((200, 80), (200, 120), lines={"door": ((300.0, 100.0), (100.0, 100.0))}) == (0, 1)


def test_a_crossing_is_told_once_with_its_track_and_the_totals() -> None:
    found = counted([tracks((7, (200, y))) for y in (80, 90, 99, 103, 106, 120, 140)])
    events = [(n, item) for n, each in enumerate(found) for item in each if item.event]

    [(step, event)] = events
    assert step == 4  # the first place further than 5 pixels beyond
    assert (event.event, event.subject, event.value) == ("line.crossed", "track/7", "in")
    assert event.data == {
        "line": "door",
        "direction": "in",
        "in": 1,
        "out": 0,
        "class_name": "person",
        "xyxy": [190, 56, 210, 106],
        "start": "2026-11-20T12:00:00.400000Z",
        "end": "2026-11-20T12:00:00.400000Z",
    }


def test_jitter_on_the_line_counts_nothing() -> None:
    assert walk(*((200, 100 + 4 * (-1) ** n) for n in range(50))) == (0, 0)


def test_who_first_appears_on_the_line_has_not_crossed_it() -> None:
    assert walk((200, 98), (200, 103), (200, 120)) == (0, 0)


def test_there_and_back_is_one_each() -> None:
    assert walk((200, 80), (200, 120), (200, 80)) == (1, 1)


def test_a_way_round_the_end_counts_nothing() -> None:
    assert walk((80, 80), (80, 120), (200, 120)) == (0, 0)


def test_slow_steps_past_the_end_of_the_line_count_by_the_way_taken() -> None:
    # From (290, 98), the last place above, to (310, 106), the first clearly below: at y = 100 x is 295, on the line.
    assert walk((280, 80), (290, 98), (300, 102), (310, 106)) == (1, 0)
    # From (298, 98) to (318, 106): at y = 100 x is 303, beyond its end.
    assert walk((288, 80), (298, 98), (308, 102), (318, 106)) == (0, 0)


def test_a_track_that_was_lost_on_one_side_and_found_on_the_other_counts() -> None:
    found = counted([tracks((7, (200, 80))), tracks(), tracks(), tracks((7, (210, 130)))])

    assert found[-1].value("in") == 1


def test_every_line_counts_for_itself() -> None:
    lines = {**DOOR, "wall": ((150.0, 0.0), (150.0, 200.0))}
    found = counted([tracks((1, (200, 80))), tracks((1, (200, 120))), tracks((1, (100, 120)))], lines=lines)

    totals = {(item.data["line"], item.name): item.value for item in found[-1] if item.data and item.name != "line"}
    del totals["wall", "crossing"]
    assert totals == {("door", "in"): 1, ("door", "out"): 0, ("wall", "in"): 1, ("wall", "out"): 0}


def test_only_the_named_classes_count() -> None:
    steps = [tracks((1, (200, y)), class_name="dog") for y in (80.0, 120.0)]

    assert counted(steps, classes=("person",))[-1].value("in") == 0
    assert counted(steps, classes=("person", "dog"))[-1].value("in") == 1


def test_relative_lines_follow_the_size_of_the_picture() -> None:
    relative = {"door": ((0.25, 0.5), (0.75, 0.5))}
    found = counted([tracks((1, (200, 80))), tracks((1, (200, 120)))], lines=relative, unit="relative")

    assert found[-1].value("in") == 1
    assert {"line": "door", "start": [100, 100], "end": [300, 100]} in [item.data for item in found[-1]]


def test_lines_in_pixels_are_scaled_with_the_picture_and_one_outside_is_told() -> None:
    warnings: list[str] = []
    counter = LineCounter(of="tracks", lines={**DOOR, "off": ((500.0, 0.0), (500.0, 90.0))}, size=(400, 200))
    counter.open(make_context(warned=warnings.append))
    steps = [((400, 200), (200, 80)), ((800, 400), (400, 240))]  # the same place, then 20 pixels of before beyond it

    found = [
        counter.predict([make_frame(0, size=size, seq=n).with_prediction("tracks", tracks((7, place)))])[0]
        for n, (size, place) in enumerate(steps)
    ]

    assert found[-1].value("in") == 1
    assert {"line": "door", "start": [200, 200], "end": [600, 200]} in [item.data for item in found[-1]]
    assert warnings == [
        "The line 'off' lies outside the picture of 400x200: it counts nothing.",
        "The line 'off' lies outside the picture of 800x400: it counts nothing.",
    ]


def test_the_centre_may_be_what_has_to_cross() -> None:
    # Feet at 90 and 120 are centres at 65 and 95: the feet have crossed, the centre has not.
    assert walk((200, 90), (200, 120), anchor="centre") == (0, 0)
    assert walk((200, 90), (200, 140), anchor="centre") == (1, 0)


def test_memory_of_a_track_ends() -> None:
    counter = LineCounter(of="tracks", lines=DOOR)
    counter.open(make_context())
    for seconds, found in ((0.0, tracks((1, (200, 80)))), (61.0, tracks())):
        counter.predict([make_frame(0, seconds=seconds).with_prediction("tracks", found)])

    assert not counter._counts["door"].walkers


STEPS = st.lists(st.tuples(st.floats(105, 295), st.floats(0, 200)), min_size=1, max_size=30)


@given(STEPS)
def test_who_ends_on_the_side_where_it_began_has_gone_in_as_often_as_out(way: list[Point]) -> None:
    begin = (200.0, 50.0)

    num_in, num_out = walk(begin, *way, begin)

    assert num_in == num_out


@given(STEPS)
def test_counts_only_rise_and_each_rise_is_told(way: list[Point]) -> None:
    found = counted([tracks((1, place)) for place in way])
    told = sum(item.event == "line.crossed" for each in found for item in each)
    totals = [total(each) for each in found]

    assert totals == sorted(totals)
    assert totals[-1] == told


def total(found: Findings) -> float:
    return sum(float(item.value or 0) for item in found if is_total(item))


def is_total(item: Finding) -> bool:
    return item.name in ("in", "out")


def test_boxes_without_ids_are_refused_with_a_cure() -> None:
    plain = Boxes(xyxy=np.zeros((1, 4)), confidence=np.ones(1), class_id=np.zeros(1), class_name=("person",))  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match="no track ids") as caught:
        counted([plain])
    assert "tracker" in caught.value.cure


def test_wrong_lines_are_refused() -> None:
    with pytest.raises(ConfigError, match="begins where it ends"):
        LineCounter(of="tracks", lines={"door": ((1, 1), (1, 1))})
    with pytest.raises(ConfigError, match="needs a line"):
        LineCounter(of="tracks", lines={})
    with pytest.raises(ConfigError, match="far outside"):
        LineCounter(of="tracks", lines=DOOR, unit="relative")
    with pytest.raises(ConfigError, match="hysteresis_px"):
        LineCounter(of="tracks", lines=DOOR, hysteresis_px=-1)
    with pytest.raises(ConfigError, match="size"):
        LineCounter(of="tracks", lines=DOOR, size=(0, 3))


def test_pydantic_builds_it_from_a_case_file() -> None:
    adapter = TypeAdapter(LineCounter)
    built = adapter.validate_python({"of": "tracks", "lines": {"door": [[100, 100], [300, 100]]}})

    assert built.lines == DOOR
    with pytest.raises(ValidationError):
        adapter.validate_python({"of": "tracks", "lines": {"door": [[100, 100]]}})
    with pytest.raises(ValidationError):
        adapter.validate_python({"of": "tracks", "line": {}})

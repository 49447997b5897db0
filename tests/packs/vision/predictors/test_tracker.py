from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.tracking import measure, stored_detections
from pydantic import TypeAdapter, ValidationError

from sightline.core.errors import ConfigError
from sightline.core.prediction import Boxes
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.predictors.line_counter import LineCounter
from sightline.packs.vision.predictors.tracker import Tracker
from sightline.packs.vision.predictors.zone_counter import ZoneCounter
from sightline.testing import make_context, make_frame

TRUTH = json.loads((Path(__file__).parents[3] / "data/street/truth.json").read_text())
LOOK = np.zeros((576, 768, 3), np.uint8)


def boxes(*rows: tuple[float, float, float, float], confidence: float = 0.9, classes: tuple[int, ...] = ()) -> Boxes:
    class_id = np.array(classes or (0,) * len(rows), np.int64)
    return Boxes(
        xyxy=np.array(rows, np.float32).reshape(-1, 4),
        confidence=np.full(len(rows), confidence, np.float32),
        class_id=class_id,
        class_name=tuple(("person", "car")[number] for number in class_id),
    )


def at(x: float, y: float = 300) -> tuple[float, float, float, float]:
    """Return the box of a person of 40 x 100 pixels whose middle is at x, y."""
    return (x - 20, y - 50, x + 20, y + 50)


def sample(seconds: float, found: Boxes) -> Sample[Frame]:
    return make_frame(LOOK, seconds=seconds).with_prediction("people", found)


def tracked(steps: list[tuple[float, Boxes]], **fields: Any) -> list[list[int]]:
    """Return the ids at each step."""
    tracker = Tracker(of="people", **fields)
    tracker.open(make_context())
    return [ids(tracker.predict([sample(seconds, found)])[0]) for seconds, found in steps]


def ids(found: Boxes) -> list[int]:
    assert found.tracker_id is not None
    return [int(who) for who in found.tracker_id]


def walk(fps: float, seconds: float = 4.0) -> list[tuple[float, Boxes]]:
    """Two people pass each other at 1.3 box sizes a second, 30 pixels apart."""
    times = np.arange(0, seconds, 1 / fps)
    return [(float(t), boxes(at(200 + 80 * t, 300), at(520 - 80 * t, 330))) for t in times]


@pytest.mark.parametrize("fps", [2, 3, 5, 10, 25, 60])
def test_two_who_pass_each_other_keep_their_ids_at_any_rate(fps: float) -> None:
    assert all(found == [1, 2] for found in tracked(walk(fps)))


def test_the_order_of_the_detector_does_not_matter() -> None:
    steps = [(t, found.select(np.array([1, 0]))) if n % 2 else (t, found) for n, (t, found) in enumerate(walk(5))]

    assert all(found == ([2, 1] if n % 2 else [1, 2]) for n, found in enumerate(tracked(steps)))


def test_who_was_hidden_for_a_second_comes_back_with_the_same_id() -> None:
    steps = [(n / 10, boxes(at(100 + 6 * n)) if not 20 <= n < 30 else Boxes.none()) for n in range(40)]

    found = tracked(steps)

    assert found[19] == found[30] == [1]
    assert found[25] == []


def test_who_was_hidden_for_longer_than_lost_s_is_new_and_ids_are_not_used_again() -> None:
    steps = [(n / 10, boxes(at(300)) if not 20 <= n < 45 else Boxes.none()) for n in range(60)]

    found = tracked(steps)

    assert found[19] == [1]
    assert found[59] == [2]


def test_who_left_the_picture_is_not_found_again_at_the_edge() -> None:
    leaving = [(n / 10, boxes(at(600 + 12 * n))) for n in range(14)]
    nobody = [(n / 10, Boxes.none()) for n in range(14, 24)]
    coming = [(n / 10, boxes(at(750 - 4 * (n - 24)))) for n in range(24, 34)]

    assert tracked(leaving + nobody + coming)[-1] == [2]


def test_a_flash_of_one_sample_never_comes_out() -> None:
    steps = [(n / 10, boxes(at(200), at(500)) if n == 5 else boxes(at(200))) for n in range(10)]

    assert all(found == [1] for found in tracked(steps))


@pytest.mark.parametrize(("fps", "first"), [(25, 0.2), (10, 0.2), (2, 0.5)])
def test_a_new_track_comes_out_after_confirm_s_and_two_sights(fps: float, first: float) -> None:
    steps = [(0.0, Boxes.none()), *((n / fps, boxes(at(200))) for n in range(1, int(3 * fps)))]
    found = tracked(steps)
    shown = next(seconds for (seconds, _), who in zip(steps, found, strict=True) if who)

    assert shown - 1 / fps == pytest.approx(first)


def test_one_hit_is_enough_where_the_case_says_so() -> None:
    assert tracked([(0, Boxes.none()), (0.1, boxes(at(200)))], confirm_hits=1) == [[], [1]]


def test_unsure_boxes_go_on_with_a_track_and_begin_none() -> None:
    dim = boxes(at(200), at(500), confidence=0.2)
    steps = [(0.0, boxes(at(200))), *((n / 10, dim) for n in range(1, 15))]

    assert all(found == [1] for found in tracked(steps))


def test_unsure_boxes_alone_do_not_keep_a_track_for_ever() -> None:
    steps = [(0.0, boxes(at(200))), *((n / 10, boxes(at(200), confidence=0.3)) for n in range(1, 40))]

    found = tracked(steps)

    assert found[19] == [1]
    assert found[-1] == []


def test_boxes_below_low_are_ignored() -> None:
    assert tracked([(0.0, boxes(at(200))), (0.1, boxes(at(200), confidence=0.1))]) == [[1], []]


def test_a_sure_box_is_not_taken_by_the_wrong_track_for_an_unsure_one() -> None:
    both = Boxes(
        xyxy=np.array([at(200), at(215)], np.float32),
        confidence=np.array([0.2, 0.9], np.float32),
        class_id=np.zeros(2, np.int64),
        class_name=("person", "person"),
    )

    assert tracked([(0.0, boxes(at(212))), (0.1, both)])[1] == [1]


def test_a_track_keeps_its_class_unless_told_otherwise() -> None:
    steps = [(n / 10, boxes(at(300), classes=(n % 2,))) for n in range(10)]

    assert {who for found in tracked(steps) for who in found} != {1}
    assert all(found == [1] for found in tracked(steps, per_class=False))


def test_a_clock_that_goes_back_stops_nothing() -> None:
    steps = [(seconds, boxes(at(300))) for seconds in (0.0, 0.1, 0.2, 0.1, -5.0, 0.2, 0.3)]

    assert all(found == [1] for found in tracked(steps))


def test_each_copy_begins_with_one() -> None:
    assert tracked(walk(5))[0] == tracked(walk(5))[0] == [1, 2]


def test_boxes_come_out_as_the_detector_gave_them() -> None:
    tracker = Tracker(of="people")
    tracker.open(make_context())
    given = boxes(at(200), at(400))

    [found] = tracker.predict([sample(0.0, given)])

    np.testing.assert_array_equal(found.xyxy, given.xyxy)
    assert found.class_name == given.class_name


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="not in order"):
        Tracker(of="people", high=0.9)
    with pytest.raises(ConfigError, match="lost_s"):
        Tracker(of="people", lost_s=-1)
    with pytest.raises(ValidationError, match="hits"):
        TypeAdapter(Tracker).validate_python({"of": "people", "hits": 3})


@pytest.mark.parametrize("step", [1, 2, 5])
@pytest.mark.parametrize("low", [0.2, 0.35])
def test_people_on_the_street_keep_their_ids(step: int, low: float) -> None:
    figures = measure(step, low)

    # Two who greet each other are one box to the detector until the fourth frame; then each has an own one.
    assert figures.switches <= 1
    assert figures.num_ids == 9  # ten by hand; the small one in black on the far path is never seen clearly
    assert figures.breaks <= 4
    assert figures.recall > 0.92
    assert figures.precision > 0.97
    assert figures.idf1 > 0.94


def street(low: float) -> Iterator[Sample[Frame]]:
    for seconds, xyxy, confidence in stored_detections(low):
        yield sample(
            seconds,
            Boxes(
                xyxy=xyxy.astype(np.float32),
                confidence=confidence.astype(np.float32),
                class_id=np.zeros(len(xyxy), np.int64),
                class_name=("person",) * len(xyxy),
            ),
        )


@pytest.mark.parametrize("step", [1, 2, 5])
@pytest.mark.parametrize("low", [0.2, 0.35])
def test_the_line_on_the_street_counts_as_by_hand(step: int, low: float) -> None:
    tracker = Tracker(of="people")
    [line] = TRUTH["lines"]
    counter = LineCounter(of="tracks", lines={line["id"]: (tuple(line["start"]), tuple(line["end"]))})
    tracker.open(make_context())
    counter.open(make_context())
    crossings = []
    for each in list(street(low))[::step]:
        [found] = tracker.predict([each])
        [counts] = counter.predict([each.with_prediction("tracks", found)])
        crossings += [item.value for item in counts if item.event]

    assert counts.value("in") == line["in"]
    assert counts.value("out") == line["out"]
    assert crossings == [crossing["direction"] for crossing in line["crossings"]]


def test_the_zones_on_the_street_see_the_visits_of_the_hand_count() -> None:
    tracker = Tracker(of="people")
    counter = ZoneCounter(
        of="tracks", zones={zone["id"]: tuple(map(tuple, zone["polygon"])) for zone in TRUTH["zones"]}
    )
    tracker.open(make_context())
    counter.open(make_context())
    visits: dict[str, list[str]] = {zone["id"]: [] for zone in TRUTH["zones"]}
    for each in street(0.2):
        [found] = tracker.predict([each])
        [counts] = counter.predict([each.with_prediction("tracks", found)])
        for item in counts:
            if item.event and item.data:
                visits[item.data["zone"]].append(item.event)

    for zone in TRUTH["zones"]:
        told = visits[zone["id"]]
        assert told.count("zone.entered") == len(zone["visits"])
        assert told.count("zone.left") == sum(visit["leave_frame"] is not None for visit in zone["visits"])


def test_ten_tracks_cost_less_than_half_a_millisecond() -> None:
    tracker = Tracker(of="people")
    tracker.open(make_context())
    steps = [
        sample(n / 10, boxes(*(at(60 + 70 * k + 2 * n, 250 + 10 * (k % 3)) for k in range(10)))) for n in range(100)
    ]
    spent = []
    for before, after in pairwise([time.thread_time(), *(_timed(tracker, each) for each in steps)]):
        spent.append(after - before)

    assert np.median(spent) < 0.001  # measured 0.15 ms; the limit of the design is 0.5, doubled for a busy machine


def _timed(tracker: Tracker, each: Sample[Frame]) -> float:
    tracker.predict([each])
    return time.thread_time()

"""The main job against a count by hand: how that was made is told in tests/data/street/README.md."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.programs import Finished, outputs, sightline
from tests.walks.street import TRUTH, identities


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("street")


@pytest.fixture(scope="module")
def finished(folder: Path) -> Finished:
    return sightline(folder, "run", "street_people", "--json")


@pytest.fixture(scope="module")
def lines(finished: Finished) -> list[dict[str, Any]]:
    assert finished.code == 0, finished.err
    return finished.lines()


def test_every_frame_is_analysed_and_none_is_lost(lines: list[dict[str, Any]]) -> None:
    assert [line["seq"] for line in lines] == list(range(100))
    assert all(line["rejected"] is None for line in lines)
    assert [line["pts_s"] for line in lines] == pytest.approx([number / 10 for number in range(100)])


def test_persons_per_frame_are_within_15_percent_of_the_count_by_hand(lines: list[dict[str, Any]]) -> None:
    counted = TRUTH["persons_per_frame"]
    assert len(counted) >= 20

    errors = [abs(len(_people(lines[int(frame)])) - by_hand) / by_hand for frame, by_hand in counted.items()]

    assert np.mean(errors) <= 0.15
    assert np.mean(np.array(errors) <= 0.15) >= 0.8


def test_each_person_keeps_its_track_id(lines: list[dict[str, Any]]) -> None:
    seen = identities(lines, "people")

    # Person 8 leaves the picture at its far corner within five frames, at a confidence of 0.3.
    assert [person for person, ids in seen.items() if not ids] == [8]
    switches = {person: ids for person, ids in seen.items() if len(ids) > 1}
    # 2 and 3 greet each other and are one box for the detector until frame 4; whoever steps out gets a new id.
    assert set(switches) <= {2, 3}
    assert sum(len(ids) - 1 for ids in switches.values()) <= 1


def test_line_counts_equal_the_count_by_hand(lines: list[dict[str, Any]]) -> None:
    [line] = TRUTH["lines"]
    last = {item["name"]: item for item in lines[-1]["predictions"]["pavement"]["items"] if "event" not in item}

    assert (last["in"]["value"], last["out"]["value"]) == (line["in"], line["out"])


@pytest.mark.usefixtures("lines")
def test_crossings_come_when_and_in_the_direction_seen_by_hand(folder: Path) -> None:
    events = _events(folder)
    crossed = [event for event in events if event["type"] == "io.sightline.line.crossed.v1"]
    [line] = TRUTH["lines"]
    by_hand = sorted(line["crossings"], key=lambda crossing: crossing["frame"])

    assert [event["data"]["direction"] for event in crossed] == [crossing["direction"] for crossing in by_hand]
    frames = [int(event["data"]["sample"].rpartition("/")[2]) for event in crossed]
    # A crossing is told when the feet are the hysteresis beyond the line, some frames later.
    late = [frame - crossing["frame"] for frame, crossing in zip(frames, by_hand, strict=True)]
    assert all(-2 <= frames_late <= 5 for frames_late in late), late


@pytest.mark.usefixtures("lines")
def test_whoever_dwells_in_the_square_is_told_once_per_stay(folder: Path) -> None:
    events = _events(folder)
    long_stays = [
        visit
        for zone in TRUTH["zones"]
        if zone["id"] == "square"
        for visit in zone["visits"]
        if visit["leave_frame"] - visit["enter_frame"] > 20
    ]

    dwelt = [event for event in events if event["type"] == "io.sightline.zone.dwell.v1"]

    assert len(dwelt) == len(long_stays)
    assert len({event["subject"] for event in dwelt}) == len(dwelt)


@pytest.mark.usefixtures("lines")
def test_the_drawn_video_shows_every_frame_at_its_time(folder: Path) -> None:
    with av.open(str(outputs(folder, "street_people") / "drawn.mp4")) as video:
        frames = list(video.decode(video=0))

    assert len(frames) == 100
    assert (frames[0].width, frames[0].height) == (768, 576)
    times = [float(frame.time or 0.0) for frame in frames]
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([0.1] * 99, abs=0.002)


def _people(line: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = line["predictions"]["people"]["items"]
    return items


def _events(folder: Path) -> list[dict[str, Any]]:
    text = (outputs(folder, "street_people") / "events.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]

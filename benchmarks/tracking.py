"""How well the tracker keeps people apart on the shipped street clip, at 10, 5 and 2 pictures a second.

`python -m benchmarks.tracking` prints a table. It takes the detections of the shipped detector that are stored with
the tests (nanodet-m, threshold 0.15), so it needs no model, and the truth that was made by hand.

The figures: *switches*, times a person's track id changed; *breaks*, times a person was lost and found again
(Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics", 2008); *IDF1*,
share of boxes under the one right identity (Ristani et al., "Performance Measures and a Data Set for Multi-Target,
Multi-Camera Tracking", 2016). A box is right at an IoU of 0.5 with the truth. Moments that the truth calls partial or
hidden count neither for nor against.

Shape letters: N boxes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.packs.vision.assignment import assign, match
from sightline.packs.vision.predictors.tracker import Tracker
from sightline.packs.vision.tracking import TrackRules, Tracks, buffered_iou

ROOT = Path(__file__).resolve().parents[1]
TRUTH = ROOT / "tests/data/street/truth.json"
DETECTIONS = ROOT / "tests/packs/vision/street_detections.npz"
MIN_IOU = 0.5

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Seen:
    """The boxes of one frame and whose they are.

    Attributes:
        who_N: identities.
        counts_N: False where a box is neither right nor wrong.
    """

    xyxy_N4: Floats
    who_N: Ints
    counts_N: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Figures:
    """What came out; see the head of this file."""

    num_ids: int
    num_people: int
    recall: float
    precision: float
    switches: int
    breaks: int
    idf1: float
    ms: float = 0.0


def truth_frames(truth: Mapping[str, Any]) -> list[Seen]:
    """Return the truth of every frame; boxes between two that were drawn by hand lie on a straight line."""
    frames: list[list[tuple[Floats, int, bool]]] = [[] for _ in range(truth["frames"])]
    for track in truth["tracks"]:
        keys = sorted(int(key) for key in track["boxes"])
        corners = np.array([track["boxes"][str(key)] for key in keys], np.float64)
        unclear = [*track["partial"], *track["hidden"]]
        for index in range(track["first"], track["last"] + 1):
            xyxy = np.array([np.interp(index, keys, corners[:, side]) for side in range(4)])
            frames[index].append((xyxy, track["id"], not any(a <= index <= b for a, b in unclear)))
    return [
        Seen(
            np.array([box for box, _, _ in seen]).reshape(-1, 4),
            np.array([who for _, who, _ in seen], np.int64),
            np.array([clear for _, _, clear in seen], np.bool_),
        )
        for seen in frames
    ]


def stored_detections(low: float) -> Iterator[tuple[float, Floats, Floats]]:
    """Yield seconds, boxes and confidences of every frame."""
    with np.load(DETECTIONS) as stored:
        ends = np.cumsum(stored["num"].astype(np.int64))
        boxes = np.split(stored["xyxy"].astype(np.float64), ends[:-1])
        scores = np.split(stored["confidence"].astype(np.float64), ends[:-1])
        for seconds, xyxy, confidence in zip(stored["seconds"], boxes, scores, strict=True):
            kept = confidence >= low
            yield float(seconds), xyxy[kept], confidence[kept]


def tracked_frames(rules: TrackRules, low: float, step: int, size: tuple[int, int]) -> tuple[list[Seen], float]:
    """Return what the tracker says of every `step`th frame, and its milliseconds a frame."""
    tracks, frames, spent = Tracks(rules), [], 0.0
    for seconds, xyxy, confidence in list(stored_detections(low))[::step]:
        begin = time.perf_counter()
        ids = tracks.update(seconds, xyxy, confidence, np.zeros(len(xyxy), np.int64), size)
        spent += time.perf_counter() - begin
        own = ids > 0
        frames.append(Seen(xyxy[own], ids[own], np.ones(int(own.sum()), np.bool_)))
    return frames, spent / len(frames) * 1000


def compare(truth: Sequence[Seen], tracked: Sequence[Seen]) -> Figures:
    """Return the figures of `tracked` against `truth`, frame by frame."""
    last: dict[int, int] = {}
    seen_before: dict[int, bool] = {}
    together: dict[tuple[int, int], int] = {}
    right = misses = false = switches = breaks = 0
    for real, found in zip(truth, tracked, strict=True):
        iou = buffered_iou(real.xyxy_N4, found.xyxy_N4, np.zeros((len(real.who_N), 2)))
        # A pair that held in the last frame holds while it can; so CLEAR MOT asks.
        kept = np.array([[last.get(int(who)) == int(other) for other in found.who_N] for who in real.who_N])
        cost = np.where(iou >= MIN_IOU, 1 - iou - kept.reshape(iou.shape), np.inf)
        rows, columns = match(cost, 1.0)
        partner = {int(row): int(found.who_N[column]) for row, column in zip(rows, columns, strict=True)}
        false += len(found.who_N) - len(rows)
        for row, who in enumerate(real.who_N.tolist()):
            other = partner.get(row)
            if other is not None:
                switches += last.get(who, other) != other
                breaks += not seen_before.get(who, True)
                last[who] = other
                together[who, other] = together.get((who, other), 0) + 1
            if real.counts_N[row]:
                right, misses = right + (other is not None), misses + (other is None)
                if who in last:
                    seen_before[who] = other is not None
    people = sorted({who for who, _ in together})
    ids = sorted({other for _, other in together})
    shared = np.array([[together.get((who, other), 0) for other in ids] for who in people], np.float64)
    shared = shared.reshape(len(people), len(ids))
    rows, columns = assign(-shared)
    num_found = sum(len(found.who_N) for found in tracked)
    num_real = right + misses
    return Figures(
        num_ids=len({int(who) for found in tracked for who in found.who_N}),
        num_people=len({int(who) for real in truth for who in real.who_N}),
        recall=right / max(num_real, 1),
        precision=1 - false / max(num_found, 1),
        switches=switches,
        breaks=breaks,
        idf1=2 * float(shared[rows, columns].sum()) / max(num_found + sum(len(real.who_N) for real in truth), 1),
    )


def measure(step: int, low: float, **rules: float) -> Figures:
    """Return the figures at every `step`th frame, with boxes from confidence `low` on."""
    truth = json.loads(TRUTH.read_text())
    tracker = Tracker(of="people", **rules)  # type: ignore[arg-type]  # numbers by name, whole ones among them
    tracked, ms = tracked_frames(tracker.rules(), low, step, truth["size"])
    figures = compare(truth_frames(truth)[::step], tracked)
    return replace(figures, ms=ms)


def main() -> int:
    """Print the table."""
    print(f"{'pictures/s':>10} {'threshold':>9} {'people':>6} {'ids':>4} {'switches':>8} {'breaks':>6}", end=" ")
    print(f"{'recall':>6} {'precision':>9} {'IDF1':>6} {'ms/frame':>8}")
    for low in (0.2, 0.35):
        for step in (1, 2, 5):
            of = measure(step, low)
            print(
                f"{10 / step:10.0f} {low:9.2f} {of.num_people:6d} {of.num_ids:4d} {of.switches:8d} {of.breaks:6d}",
                end=" ",
            )
            print(f"{of.recall:6.3f} {of.precision:9.3f} {of.idf1:6.3f} {of.ms:8.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

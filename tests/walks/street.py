"""The hand-made truth of the street clip, and what a run says about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TRUTH: Mapping[str, Any] = json.loads((Path(__file__).parents[1] / "data/street/truth.json").read_text())


def person_at(track: Mapping[str, Any], frame: int) -> npt.NDArray[np.float64] | None:
    """Return the box of a person, interpolated between the frames that were marked; None where it is not visible."""
    hidden = any(first <= frame <= last for first, last in track.get("hidden", []))
    if hidden or not track["first"] <= frame <= track["last"]:
        return None
    frames = sorted(int(number) for number in track["boxes"])
    boxes = np.array([track["boxes"][str(number)] for number in frames], np.float64)
    return np.array([np.interp(frame, frames, boxes[:, side]) for side in range(4)])


def identities(lines: Sequence[Mapping[str, Any]], key: str) -> dict[int, list[int]]:
    """Return the tracker ids that each person was given, in order of time, repetitions left out.

    A person has the id of the box that overlaps it best, by an IoU of at least 0.4, best pairs first.
    """
    seen: dict[int, list[int]] = {track["id"]: [] for track in TRUTH["tracks"]}
    for frame, line in enumerate(lines):
        people = [(track["id"], person_at(track, frame)) for track in TRUTH["tracks"]]
        visible = [(id_, box) for id_, box in people if box is not None]
        items = line["predictions"][key]["items"]
        pairs = sorted(
            ((overlap(box, item["xyxy"]), id_, item["tracker_id"]) for id_, box in visible for item in items),
            reverse=True,
        )
        persons: set[int] = set()
        tracks: set[int] = set()
        for score, person, track in pairs:
            if score < 0.4 or person in persons or track in tracks:
                continue
            persons.add(person)
            tracks.add(track)
            if not seen[person] or seen[person][-1] != track:
                seen[person].append(track)
    return seen


def overlap(a: Any, b: Any) -> float:
    """Return the intersection over union of two boxes."""
    left, top = np.maximum(a[:2], b[:2])
    right, bottom = np.minimum(a[2:], b[2:])
    inter = max(0.0, right - left) * max(0.0, bottom - top)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(inter / (areas - inter))

"""Tells of things that somebody left behind, and when they are gone again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from sightline.core.errors import ConfigError
from sightline.core.events import lasting_id
from sightline.core.plugins import Context, Predictor
from sightline.core.prediction import Boxes, Finding, Findings
from sightline.core.sample import Sample
from sightline.packs.vision.boxes import iou
from sightline.packs.vision.counting import TINY_S, corners, moment, span

Floats = npt.NDArray[np.float32]

_SETTLED = 10  # boxes that make a place
_COVERED = 0.2  # share of a thing behind an owner from which it may be unseen for that reason alone


@dataclass(slots=True, eq=False)
class _Thing:
    """Something that stands at one place; all times in seconds.

    Attributes:
        xyxy: where it stands, the mean of its first boxes.
        num: how many boxes that are.
        since_s: when it came to stand there.
        seen_s: when it was last seen there.
        near_s: when somebody was last near it, or stood before it.
        hidden_s: for how long it could not be seen since, because somebody stood before it.
        alarm: id that the events of leaving and removing share; empty while nothing is told.
        left_s: when it was left alone.
        start: the same in UTC, as it was told.
    """

    xyxy: Floats
    class_name: str
    track: int
    since_s: float
    seen_s: float
    near_s: float
    num: int = 1
    hidden_s: float = 0.0
    alarm: str = ""
    left_s: float = 0.0
    start: datetime | None = None


@dataclass(kw_only=True)
class AbandonedObject(Predictor):
    """Things that stand still with nobody near: `object.left`; and when they are gone again: `object.removed`.

    A thing is known by its place, not by its track: a box of a wanted class that overlaps where it stood is the same
    thing, so a detector that blinks or a tracker that gives it a new number changes nothing. It is left once it has
    stood for `still_s` with no owner within `near` of it for as long. It is removed once it was not seen for `gone_s`;
    the time in which somebody stands before it does not count.

    Gives Findings: `left` (how many things are left now), `thing` for each of them (data: `thing`, its class, and
    `xyxy`, for drawing), and the events (subject: `track/` and the number; data: `class_name`, `xyxy` in pixels,
    `alarm`, the id that both events share, `start`, when it was left alone, `end`, null while it stands there, and of
    `object.removed` `duration_s`). Where the source is lost or over, `object.removed` has a `reason` too: how long the
    thing stood there after its last picture, nobody knows.

    Attributes:
        of: key of the tracker, or of a detector.
        classes: names of the classes that can be left.
        owners: names of the classes that watch over a thing by being near.
        still_s: for so many seconds a thing must stand, with nobody near, before it is told.
        near: how far an owner may be, as a multiple of the owner's height, between the boxes.
        overlap: least overlap (intersection over union) of a box with the place of a thing for it to be the same.
        gone_s: how long unseen a thing is gone, in seconds.
    """

    of: str
    classes: tuple[str, ...] = ("backpack", "handbag", "suitcase")
    owners: tuple[str, ...] = ("person",)
    still_s: float = 30.0
    near: float = 1.0
    overlap: float = 0.5
    gone_s: float = 5.0

    stateful: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.classes or set(self.classes) & set(self.owners):
            raise ConfigError(
                f"An abandoned object is one of {list(self.classes)}, its owner one of {list(self.owners)}.",
                cure="Name classes that can be left, and other classes that watch over them.",
            )
        if min(self.still_s, self.near, self.gone_s) < 0:
            raise ConfigError("still_s, near and gone_s must not be negative.", cure="Choose 0 or more.")
        if not 0 < self.overlap < 1:
            raise ConfigError(f"overlap is {self.overlap}.", cure="Choose more than 0 and less than 1.")

    def open(self, context: Context) -> None:
        """Begin with an empty place."""
        super().open(context)
        self._things: list[_Thing] = []
        self._before_s: float | None = None

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Findings]:
        """Return how many things are left after each sample, and what happened."""
        return [self._watched(sample) for sample in samples]

    def cut_off(self, sample: Sample[Any]) -> Sequence[Finding]:
        """Return `object.removed` of what is left, with when it was last seen: whether it is gone, nobody knows."""
        left = [thing for thing in self._things if thing.alarm]
        self._things, self._before_s = [], None
        return [self._told("object.removed", thing, sample) for thing in left]

    def _watched(self, sample: Sample[Any]) -> Findings:
        boxes = sample.prediction(self.of, Boxes)
        things, owners_N4 = boxes.named(self.classes), boxes.named(self.owners).xyxy
        step_s = sample.seconds - (sample.seconds if self._before_s is None else self._before_s)
        self._before_s = sample.seconds
        self._recognise(things, sample.seconds)
        events: list[Finding] = []
        for thing in list(self._things):
            if thing.seen_s < sample.seconds and _is_before(owners_N4, thing.xyxy):
                thing.hidden_s += step_s
            if _is_near(owners_N4, thing.xyxy, self.near):
                thing.near_s = sample.seconds
            if sample.seconds - thing.seen_s - thing.hidden_s >= self.gone_s - TINY_S:
                self._things.remove(thing)
                if thing.alarm:
                    events.append(self._told("object.removed", thing, sample))
            elif not thing.alarm and self._is_alone(thing, sample.seconds):
                thing.left_s = max(thing.since_s, thing.near_s)
                thing.start = moment(sample, thing.left_s)
                thing.alarm = lasting_id(self.context.run, sample.id, self.of, thing.track, thing.class_name)
                events.append(self._told("object.left", thing, sample))
        left = [thing for thing in self._things if thing.alarm]
        facts = [Finding(name="left", value=len(left))]
        facts += [Finding(name="thing", data={"thing": each.class_name, "xyxy": corners(each.xyxy)}) for each in left]
        return Findings(items=(*facts, *events))

    def _recognise(self, boxes: Boxes, now_s: float) -> None:
        """Give each box to the thing whose place it overlaps best; what fits none is a new thing."""
        free = set(range(len(boxes)))
        if self._things and free:
            iou_TN = iou(np.stack([thing.xyxy for thing in self._things]), boxes.xyxy)
            for place in np.argsort(-iou_TN, axis=None):
                row, column = divmod(int(place), len(boxes))
                thing = self._things[row]
                if iou_TN[row, column] < self.overlap:
                    break
                if column in free and thing.seen_s < now_s:
                    free.remove(column)
                    thing.seen_s, thing.hidden_s = now_s, 0.0
                    if thing.num < _SETTLED:  # the place then stays, so that what creeps away is somewhere else at last
                        thing.num += 1
                        thing.xyxy = thing.xyxy + (boxes.xyxy[column] - thing.xyxy) / np.float32(thing.num)
        for column in sorted(free):
            track = 0 if boxes.tracker_id is None else int(boxes.tracker_id[column])
            self._things.append(_Thing(boxes.xyxy[column], boxes.class_name[column], track, now_s, now_s, now_s))

    def _is_alone(self, thing: _Thing, now_s: float) -> bool:
        """Return whether a thing that is seen now has stood long enough with nobody near."""
        return thing.seen_s == now_s and now_s - max(thing.since_s, thing.near_s) >= self.still_s - TINY_S

    def _told(self, event: str, thing: _Thing, sample: Sample[Any]) -> Finding:
        until_s = thing.seen_s if event == "object.removed" else None
        data: dict[str, Any] = {"class_name": thing.class_name, "xyxy": corners(thing.xyxy), "alarm": thing.alarm}
        if until_s is not None:
            data["duration_s"] = round(until_s - thing.left_s, 3)
        until = None if until_s is None else moment(sample, until_s)
        data |= span(thing.start or sample.time, until)
        return Finding(name=event.removeprefix("object."), subject=f"track/{thing.track}", event=event, data=data)


def _is_near(owners_N4: Floats, xyxy_4: Floats, near: float) -> bool:
    """Return whether the gap between an owner and the box is at most `near` times the owner's height."""
    if not len(owners_N4):
        return False
    gap_N2 = np.maximum(np.maximum(xyxy_4[:2] - owners_N4[:, 2:], owners_N4[:, :2] - xyxy_4[2:]), 0)
    height_N = owners_N4[:, 3] - owners_N4[:, 1]
    return bool((np.hypot(gap_N2[:, 0], gap_N2[:, 1]) <= near * height_N).any())


def _is_before(owners_N4: Floats, xyxy_4: Floats) -> bool:
    """Return whether an owner covers enough of the box to hide it."""
    if not len(owners_N4):
        return False
    low_N2 = np.maximum(owners_N4[:, :2], xyxy_4[:2])
    high_N2 = np.minimum(owners_N4[:, 2:], xyxy_4[2:])
    shared_N = np.maximum(high_N2 - low_N2, 0).prod(axis=1)
    return bool((shared_N >= _COVERED * max(float((xyxy_4[2:] - xyxy_4[:2]).prod()), 1e-9)).any())

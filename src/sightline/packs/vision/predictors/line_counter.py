"""Counts tracks that cross a line; what a line is drawn with travels in the findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from sightline.core.codec import encode_span
from sightline.core.errors import ConfigError
from sightline.core.plugins import Context, Predictor
from sightline.core.prediction import Finding, Findings
from sightline.core.sample import Sample
from sightline.packs.vision.counting import (
    FORGET_S,
    Places,
    Unit,
    checked_places,
    checked_size,
    corners,
    rounded,
    tracked_boxes,
)
from sightline.packs.vision.geometry import Anchor, Point, anchors, segments_cross, signed_distance


@dataclass(slots=True)
class _Walker:
    """One track as one line sees it.

    Attributes:
        side: -1 or 1, where it was last clearly beside the line; 0 while it never was.
        last: its last position on that side.
        seen_s: when it was last seen.
    """

    side: int
    last: Point
    seen_s: float


@dataclass(slots=True)
class _Line:
    """The counts of one line, and the tracks near and far."""

    num_in: int = 0
    num_out: int = 0
    walkers: dict[int, _Walker] = field(default_factory=dict)


@dataclass(kw_only=True)
class LineCounter(Predictor):
    """Totals of the tracks that crossed lines, by direction, and an event for each crossing.

    Looking from a line's start to its end, `in` is from the left to the right and `out` from the right to the left.
    A crossing counts once the anchor is further than `hysteresis_px` beyond the line, and where its way from the last
    position on the old side cuts the line between start and end; so jitter counts nothing, and nor does a way round
    the end. Who is first seen on the line, within `hysteresis_px`, has not crossed it. A track that was lost on one
    side and is found on the other counts.

    Gives Findings: `in` and `out` (data: `line`), `line` (data: `line`, `start`, `end` in pixels, for drawing), and for
    each crossing one with the event `line.crossed` (data: `line`, `direction`, `in`, `out`, `class_name`, `xyxy`, the
    box in pixels, `start` and `end`, which are equal). A line that lies outside the picture is told as a warning.

    Attributes:
        of: key of the tracker.
        lines: name -> start and end, each x and y: `{door: [[100, 200], [300, 200]]}`.
        unit: `px`, or `relative` for fractions of the picture's width and height.
        size: width and height of the picture on which places in pixels were drawn; in another picture they are scaled.
            Without it they hold for the first picture that a run has of the source.
        anchor: the point of a box that has to cross: `bottom` (where a person stands), `centre` or `top`.
        hysteresis_px: how far beyond the line the anchor must be, in pixels.
        classes: names of the classes that count; none means all.
    """

    of: str
    lines: Mapping[str, tuple[Point, Point]]
    unit: Unit = "px"
    size: tuple[int, int] | None = None
    anchor: Anchor = "bottom"
    hysteresis_px: float = 5.0
    classes: tuple[str, ...] = ()

    stateful: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.lines:
            raise ConfigError("A line counter needs a line.", cure="lines: {door: [[100, 200], [300, 200]]}")
        for name, (start, end) in self.lines.items():
            if tuple(start) == tuple(end):
                raise ConfigError(f"The line {name!r} begins where it ends: {list(start)}.", cure="Give two points.")
            checked_places("line", name, (start, end), self.unit)
        checked_size(self.size)
        if self.hysteresis_px < 0:
            raise ConfigError(f"hysteresis_px is {self.hysteresis_px}.", cure="Choose 0 or more pixels.")

    def open(self, context: Context) -> None:
        """Begin with all counts at zero."""
        super().open(context)
        self._counts = {name: _Line() for name in self.lines}
        self._places = Places("line", self.lines, self.unit, self.size, context)

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Findings]:
        """Return the totals after each sample, and its crossings."""
        return [self._counted(sample) for sample in samples]

    def _counted(self, sample: Sample[Any]) -> Findings:
        boxes = tracked_boxes(sample, self.of, self.classes)
        places = [(x, y) for x, y in anchors(boxes.xyxy, self.anchor).tolist()]
        ids = [] if boxes.tracker_id is None else boxes.tracker_id.tolist()
        totals: list[Finding] = []
        events: list[Finding] = []
        placed = self._places.on(sample)
        for name, line in self._counts.items():
            start, end = placed[name]
            far = signed_distance(np.array(places).reshape(-1, 2), start, end).tolist()
            for row, (track, place, distance) in enumerate(zip(ids, places, far, strict=True)):
                direction = self._step(line, track, place, distance=distance, now_s=sample.seconds, ends=(start, end))
                if direction:
                    seen = {"class_name": boxes.class_name[row], "xyxy": corners(boxes.xyxy[row])}
                    events.append(_crossing(name, line, track, direction, seen | encode_span(sample.time, sample.time)))
            for track in [key for key, walker in line.walkers.items() if sample.seconds - walker.seen_s > FORGET_S]:
                del line.walkers[track]
            ends = dict(zip(("start", "end"), rounded((start, end)), strict=True))
            totals += (
                Finding(name="in", value=line.num_in, subject=f"line/{name}", data={"line": name}),
                Finding(name="out", value=line.num_out, subject=f"line/{name}", data={"line": name}),
                Finding(name="line", data={"line": name, **ends}),
            )
        return Findings(items=(*totals, *events))

    def _step(
        self, line: _Line, track: int, place: Point, *, distance: float, now_s: float, ends: tuple[Point, Point]
    ) -> str:
        """Move a track to `place`; return `in` or `out` if it crossed the line with that step, else nothing."""
        walker = line.walkers.setdefault(track, _Walker(0, place, now_s))
        walker.seen_s = now_s
        side = 1 if distance > 0 else -1
        if side == walker.side or abs(distance) <= self.hysteresis_px:
            if side == walker.side:
                walker.last = place
            return ""
        crossed = walker.side != 0 and segments_cross(walker.last, place, *ends)
        walker.side, walker.last = side, place
        if not crossed:
            return ""
        if side > 0:
            line.num_in += 1
            return "in"
        line.num_out += 1
        return "out"


def _crossing(name: str, line: _Line, track: int, direction: str, facts: Mapping[str, Any]) -> Finding:
    """Return the finding that tells of a crossing."""
    return Finding(
        name="crossing",
        value=direction,
        subject=f"track/{track}",
        event="line.crossed",
        data={"line": name, "direction": direction, "in": line.num_in, "out": line.num_out, **facts},
    )

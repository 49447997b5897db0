"""Watches who is in which zone and for how long; what a zone is drawn with travels in the findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from sightline.core.errors import ConfigError
from sightline.core.plugins import Context, Predictor
from sightline.core.prediction import Finding, Findings
from sightline.core.sample import Sample
from sightline.packs.vision.counting import Unit, checked_places, in_pixels, rounded, tracked_boxes
from sightline.packs.vision.geometry import (
    Anchor,
    Point,
    anchors,
    distance_to_border,
    is_simple,
    point_in_polygon,
    polygon_area,
)

TINY_S = 1e-6  # media times are sums of fractions: 0.04 s a frame is 4.0 s after a hundred, give or take


@dataclass(slots=True)
class _Stay:
    """One track in one zone; all times in seconds.

    Attributes:
        inside_s: when its anchor was last in the zone itself.
        seen_s: when it was last seen at all.
        told: its dwelling was already reported.
    """

    entered_s: float
    inside_s: float
    seen_s: float
    class_name: str
    told: bool = False


@dataclass(slots=True)
class _Alarm:
    """A condition that must hold for a while before it is told, and be gone for a while before it is told again."""

    on: bool = False
    changing_s: float | None = None

    def rises(self, condition: bool, now_s: float, hold_s: float) -> bool:
        """Return whether the alarm goes on with this moment."""
        if condition == self.on:
            self.changing_s = None
            return False
        self.changing_s = now_s if self.changing_s is None else self.changing_s
        if now_s - self.changing_s < hold_s - TINY_S:
            return False
        self.on, self.changing_s = condition, None
        return condition


@dataclass(slots=True)
class _Zone:
    """Who is in one zone now, and its alarms."""

    stays: dict[int, _Stay] = field(default_factory=dict)
    over: _Alarm = field(default_factory=_Alarm)
    under: _Alarm = field(default_factory=_Alarm)


@dataclass(kw_only=True)
class ZoneCounter(Predictor):
    """How many tracks are in each zone now, with events when they enter, leave and stay for long.

    A track enters with its anchor, and leaves when the anchor is further than `hysteresis_px` outside, or has been
    outside for `leave_s`; so jitter at the border is one stay. A track that is not seen for `gone_s` has left.

    Gives Findings: `inside` (data: `zone`), `zone` (data: `zone`, `polygon` in pixels, for drawing), and events:
    `zone.entered`, `zone.left` and `zone.dwell` of a track (data: `zone`, `class_name`, `duration_s`), `count.over` and
    `count.under` of a zone (data: `zone`, `inside`, `limit`).

    Attributes:
        of: key of the tracker.
        zones: name -> at least three corners, each x and y: `{door: [[10, 10], [90, 10], [50, 80]]}`.
        unit: `px`, or `relative` for fractions of the picture's width and height.
        anchor: the point of a box that has to be inside: `bottom` (where a person stands), `centre` or `top`.
        hysteresis_px: how far outside the anchor ends a stay at once, in pixels.
        leave_s: how long outside ends a stay, in seconds.
        gone_s: how long unseen ends a stay, in seconds; longer than the tracker waits for a lost track.
        dwell_s: a stay of this many seconds is reported, once; none means never.
        over: more tracks than this in one zone are reported.
        under: fewer tracks than this in one zone are reported.
        hold_s: seconds for which a number must be over or under before it is reported, and back before it is again.
        classes: names of the classes that count; none means all.
    """

    of: str
    zones: Mapping[str, tuple[Point, ...]]
    unit: Unit = "px"
    anchor: Anchor = "bottom"
    hysteresis_px: float = 10.0
    leave_s: float = 1.0
    gone_s: float = 3.0
    dwell_s: float | None = None
    over: int | None = None
    under: int | None = None
    hold_s: float = 1.0
    classes: tuple[str, ...] = ()

    stateful: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.zones:
            raise ConfigError("A zone counter needs a zone.", cure="zones: {door: [[10, 10], [90, 10], [50, 80]]}")
        for name, polygon in self.zones.items():
            _check_polygon(name, tuple((x, y) for x, y in polygon))
            checked_places("zone", name, polygon, self.unit)
        for name in ("hysteresis_px", "leave_s", "gone_s", "hold_s", "dwell_s"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ConfigError(f"{name} of a zone counter is {value}.", cure="Choose 0 or more.")

    def open(self, context: Context) -> None:
        """Begin with empty zones."""
        super().open(context)
        self._zones = {name: _Zone() for name in self.zones}

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Findings]:
        """Return who is inside after each sample, and what happened."""
        return [self._counted(sample) for sample in samples]

    def _counted(self, sample: Sample[Any]) -> Findings:
        boxes = tracked_boxes(sample, self.of, self.classes)
        places_N2 = anchors(boxes.xyxy, self.anchor)
        ids = [] if boxes.tracker_id is None else boxes.tracker_id.tolist()
        facts: list[Finding] = []
        events: list[Finding] = []
        for name, zone in self._zones.items():
            polygon = in_pixels(self.zones[name], self.unit, sample)
            polygon_M2 = np.array(polygon, np.float64)
            inside = point_in_polygon(places_N2, polygon_M2).tolist()
            near = (distance_to_border(places_N2, polygon_M2) <= self.hysteresis_px).tolist()
            for track, is_in, is_near, class_name in zip(ids, inside, near, boxes.class_name, strict=True):
                events += self._step(
                    name, zone, track, class_name=class_name, is_in=is_in, is_near=is_near, now_s=sample.seconds
                )
            events += self._settle(name, zone, sample.seconds)
            facts.append(Finding(name="inside", value=len(zone.stays), subject=f"zone/{name}", data={"zone": name}))
            facts.append(Finding(name="zone", data={"zone": name, "polygon": rounded(polygon)}))
        return Findings(items=(*facts, *events))

    def _step(
        self, name: str, zone: _Zone, track: int, *, class_name: str, is_in: bool, is_near: bool, now_s: float
    ) -> list[Finding]:
        """Note where a track is; return what that means."""
        stay = zone.stays.get(track)
        if stay is None:
            if not is_in:
                return []
            zone.stays[track] = stay = _Stay(now_s, now_s, now_s, class_name)
            return [_told("zone.entered", name, track, stay)]
        stay.seen_s = now_s
        if is_in:
            stay.inside_s = now_s
        elif not is_near or now_s - stay.inside_s >= self.leave_s - TINY_S:
            del zone.stays[track]
            return [_told("zone.left", name, track, stay)]
        return []

    def _settle(self, name: str, zone: _Zone, now_s: float) -> list[Finding]:
        """Return what follows from time going on: who has vanished, who dwells, which numbers are off."""
        events: list[Finding] = []
        for track, stay in list(zone.stays.items()):
            if now_s - stay.seen_s >= self.gone_s - TINY_S:
                del zone.stays[track]
                events.append(_told("zone.left", name, track, stay))
            elif self.dwell_s is not None and not stay.told and stay.inside_s - stay.entered_s >= self.dwell_s - TINY_S:
                stay.told = True
                events.append(_told("zone.dwell", name, track, stay))
        num = len(zone.stays)
        if self.over is not None and zone.over.rises(num > self.over, now_s, self.hold_s):
            events.append(_count("over", name, num, self.over))
        if self.under is not None and zone.under.rises(num < self.under, now_s, self.hold_s):
            events.append(_count("under", name, num, self.under))
        return events


def _told(event: str, zone: str, track: int, stay: _Stay) -> Finding:
    """Return the finding that tells of a stay; its duration is that between the first and the last moment inside."""
    data: dict[str, Any] = {"zone": zone, "class_name": stay.class_name}
    if event != "zone.entered":
        data["duration_s"] = round(stay.inside_s - stay.entered_s, 3)
    return Finding(name=event.removeprefix("zone."), subject=f"track/{track}", event=event, data=data)


def _count(kind: str, zone: str, num: int, limit: int) -> Finding:
    """Return the finding that tells of too many or too few."""
    data = {"zone": zone, "inside": num, "limit": limit}
    return Finding(name=kind, value=num, subject=f"zone/{zone}", event=f"count.{kind}", data=data)


def _check_polygon(name: str, polygon: tuple[Point, ...]) -> None:
    """Raise ConfigError for what is no simple polygon."""
    if len(polygon) < 3:
        raise ConfigError(f"The zone {name!r} has {len(polygon)} corners.", cure="Give at least three.")
    if polygon_area(np.array(polygon, np.float64)) == 0:
        raise ConfigError(f"The zone {name!r} has no area.", cure="Give corners that do not lie on one line.")
    if not is_simple(polygon):
        raise ConfigError(
            f"The border of the zone {name!r} crosses itself.", cure="Give the corners in the order round the zone."
        )

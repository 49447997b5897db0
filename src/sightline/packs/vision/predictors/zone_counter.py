"""Watches who is in which zone and for how long; what a zone is drawn with travels in the findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import numpy as np

from sightline.core.errors import ConfigError
from sightline.core.events import lasting_id
from sightline.core.plugins import Context, Predictor
from sightline.core.prediction import Boxes, Finding, Findings
from sightline.core.sample import Sample
from sightline.packs.vision.counting import (
    TINY_S,
    Lasting,
    Places,
    Unit,
    checked_places,
    checked_size,
    corners,
    moment,
    rounded,
    span,
    tracked_boxes,
)
from sightline.packs.vision.geometry import (
    Anchor,
    Point,
    anchors,
    distance_to_border,
    is_simple,
    point_in_polygon,
    polygon_area,
)


@dataclass(slots=True)
class _Stay:
    """One track in one zone; all times in seconds.

    Attributes:
        visit: id that all events of the stay share.
        start: when it was entered, in UTC, as it was told.
        inside_s: when its anchor was last in the zone itself.
        seen_s: when it was last seen at all.
        xyxy: its box at that time.
        told: its dwelling was already reported.
    """

    visit: str
    class_name: str
    start: datetime
    entered_s: float
    inside_s: float
    seen_s: float
    xyxy: list[float] = field(default_factory=list)
    told: bool = False


@dataclass(slots=True)
class _Zone:
    """Who is in one zone now, and its alarms."""

    stays: dict[int, _Stay] = field(default_factory=dict)
    over: Lasting = field(default_factory=Lasting)
    under: Lasting = field(default_factory=Lasting)

    def alarm(self, kind: str) -> Lasting:
        """Return the alarm `over` or `under`."""
        return self.over if kind == "over" else self.under


@dataclass(kw_only=True)
class ZoneCounter(Predictor):
    """How many tracks are in each zone now, with events when they enter, leave and stay for long.

    A track enters with its anchor, and leaves when the anchor is further than `hysteresis_px` outside, or has been
    outside for `leave_s`; so jitter at the border is one stay. A track that is not seen for `gone_s` has left.

    Gives Findings: `inside` (data: `zone`), `zone` (data: `zone`, `polygon` in pixels, for drawing), and events:
    `zone.entered`, `zone.left` and `zone.dwell` of a track (data: `zone`, `visit`, the id that the events of one stay
    share, `class_name`, `xyxy`, `duration_s`), `count.over` and `count.under` of a zone, told at their start and at
    their end (data: `zone`, `inside`, `limit`, `state: start|end`, `alarm`, the id that both share). All have `start`
    and `end`, which is null while a stay or an alarm goes on. Where the source is lost or over, all that goes on ends
    with its last picture, and `reason` says why. A zone that lies outside the picture is told as a
    warning.

    Attributes:
        of: key of the tracker.
        zones: name -> at least three corners, each x and y: `{door: [[10, 10], [90, 10], [50, 80]]}`.
        unit: `px`, or `relative` for fractions of the picture's width and height.
        size: width and height of the picture on which places in pixels were drawn; in another picture they are scaled.
            Without it they hold for the first picture that a run has of the source.
        anchor: the point of a box that has to be inside: `bottom` (where a person stands), `centre` or `top`.
        hysteresis_px: how far outside the anchor ends a stay at once, in pixels.
        leave_s: how long outside ends a stay, in seconds.
        gone_s: how long unseen ends a stay, in seconds; longer than the tracker waits for a lost track.
        dwell_s: a stay of this many seconds is reported, once; none means never.
        over: more tracks than this in one zone are reported.
        under: fewer tracks than this in one zone are reported.
        hold_s: seconds for which a number must be over or under before that is reported, and back before that is.
        hysteresis: a number is back when it is this much inside its limit; with `over: 10` and 2, at 8.
        classes: names of the classes that count; none means all.
    """

    of: str
    zones: Mapping[str, tuple[Point, ...]]
    unit: Unit = "px"
    size: tuple[int, int] | None = None
    anchor: Anchor = "bottom"
    hysteresis_px: float = 10.0
    leave_s: float = 1.0
    gone_s: float = 3.0
    dwell_s: float | None = None
    over: int | None = None
    under: int | None = None
    hold_s: float = 1.0
    hysteresis: int = 0
    classes: tuple[str, ...] = ()

    stateful: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.zones:
            raise ConfigError("A zone counter needs a zone.", cure="zones: {door: [[10, 10], [90, 10], [50, 80]]}")
        for name, polygon in self.zones.items():
            _check_polygon(name, tuple((x, y) for x, y in polygon))
            checked_places("zone", name, polygon, self.unit)
        checked_size(self.size)
        for name in ("hysteresis_px", "leave_s", "gone_s", "hold_s", "hysteresis", "dwell_s"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ConfigError(f"{name} of a zone counter is {value}.", cure="Choose 0 or more.")

    def open(self, context: Context) -> None:
        """Begin with empty zones."""
        super().open(context)
        self._zones = {name: _Zone() for name in self.zones}
        self._places = Places("zone", self.zones, self.unit, self.size, context)

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Findings]:
        """Return who is inside after each sample, and what happened."""
        return [self._counted(sample) for sample in samples]

    def cut_off(self, sample: Sample[Any]) -> Sequence[Finding]:
        """Return the ends of all stays and alarms: of a stay when it was last inside, of an alarm the last sample."""
        ends: list[Finding] = []
        for name, zone in self._zones.items():
            ends += [_told("zone.left", name, track, stay, sample) for track, stay in zone.stays.items()]
            for kind in ("over", "under"):
                if (alarm := zone.alarm(kind)).on:
                    alarm.on = False
                    ends.append(self._alarmed(kind, name, zone, sample.time))
            self._zones[name] = _Zone()
        return ends

    def _counted(self, sample: Sample[Any]) -> Findings:
        boxes = tracked_boxes(sample, self.of, self.classes)
        places_N2 = anchors(boxes.xyxy, self.anchor)
        facts: list[Finding] = []
        events: list[Finding] = []
        placed = self._places.on(sample)
        for name, zone in self._zones.items():
            polygon = placed[name]
            polygon_M2 = np.array(polygon, np.float64)
            inside = point_in_polygon(places_N2, polygon_M2).tolist()
            near = (distance_to_border(places_N2, polygon_M2) <= self.hysteresis_px).tolist()
            for row, (is_in, is_near) in enumerate(zip(inside, near, strict=True)):
                events += self._step(name, zone, sample, boxes, row, is_in=is_in, is_near=is_near)
            events += self._settle(name, zone, sample)
            facts.append(Finding(name="inside", value=len(zone.stays), subject=f"zone/{name}", data={"zone": name}))
            facts.append(Finding(name="zone", data={"zone": name, "polygon": rounded(polygon)}))
        return Findings(items=(*facts, *events))

    def _step(
        self, name: str, zone: _Zone, sample: Sample[Any], boxes: Boxes, row: int, *, is_in: bool, is_near: bool
    ) -> list[Finding]:
        """Note where the track in a row of the boxes is; return what that means."""
        now_s = sample.seconds
        track = 0 if boxes.tracker_id is None else int(boxes.tracker_id[row])
        stay = zone.stays.get(track)
        if stay is None:
            if not is_in:
                return []
            visit = lasting_id(self.context.run, sample.id, self.of, name, track)
            zone.stays[track] = stay = _Stay(
                visit, boxes.class_name[row], sample.time, now_s, now_s, now_s, corners(boxes.xyxy[row])
            )
            return [_told("zone.entered", name, track, stay, sample)]
        stay.seen_s, stay.xyxy = now_s, corners(boxes.xyxy[row])
        if is_in:
            stay.inside_s = now_s
        elif not is_near or now_s - stay.inside_s >= self.leave_s - TINY_S:
            del zone.stays[track]
            return [_told("zone.left", name, track, stay, sample)]
        return []

    def _settle(self, name: str, zone: _Zone, sample: Sample[Any]) -> list[Finding]:
        """Return what follows from time going on: who has vanished, who dwells, which numbers are off."""
        now_s = sample.seconds
        events: list[Finding] = []
        for track, stay in list(zone.stays.items()):
            if now_s - stay.seen_s >= self.gone_s - TINY_S:
                del zone.stays[track]
                events.append(_told("zone.left", name, track, stay, sample))
            elif self.dwell_s is not None and not stay.told and stay.inside_s - stay.entered_s >= self.dwell_s - TINY_S:
                stay.told = True
                events.append(_told("zone.dwell", name, track, stay, sample))
        return events + self._judge("over", name, zone, sample) + self._judge("under", name, zone, sample)

    def _judge(self, kind: str, name: str, zone: _Zone, sample: Sample[Any]) -> list[Finding]:
        """Return the finding that tells that too many or too few are there, or that this is over."""
        alarm, limit = zone.alarm(kind), self._limit(kind)
        if limit is None:
            return []
        excess = len(zone.stays) - limit if kind == "over" else limit - len(zone.stays)
        changed_s = alarm.step(excess > 0, excess <= -self.hysteresis, sample.seconds, self.hold_s)
        if changed_s is None:
            return []
        changed = moment(sample, changed_s)
        if alarm.on:
            alarm.id, alarm.start = lasting_id(self.context.run, sample.id, self.of, name, kind), changed
        return [self._alarmed(kind, name, zone, changed)]

    def _alarmed(self, kind: str, name: str, zone: _Zone, changed: datetime) -> Finding:
        """Return the finding that tells of an alarm which is on or off since `changed`."""
        num, alarm = len(zone.stays), zone.alarm(kind)
        data = {
            "zone": name,
            "inside": num,
            "limit": self._limit(kind),
            "state": "start" if alarm.on else "end",
            "alarm": alarm.id,
            **span(alarm.start or changed, None if alarm.on else changed),
        }
        return Finding(name=kind, value=num, subject=f"zone/{name}", event=f"count.{kind}", data=data)

    def _limit(self, kind: str) -> int | None:
        return self.over if kind == "over" else self.under


def _told(event: str, zone: str, track: int, stay: _Stay, sample: Sample[Any]) -> Finding:
    """Return the finding that tells of a stay; its duration is that between the first and the last moment inside."""
    data: dict[str, Any] = {"zone": zone, "visit": stay.visit, "class_name": stay.class_name, "xyxy": stay.xyxy}
    if event != "zone.entered":
        data["duration_s"] = round(stay.inside_s - stay.entered_s, 3)
    until = moment(sample, stay.inside_s) if event == "zone.left" else None
    data |= span(stay.start, until)
    return Finding(name=event.removeprefix("zone."), subject=f"track/{track}", event=event, data=data)


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

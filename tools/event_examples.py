"""An example of each event that the reference page shows: made by the code that makes the real ones, from fakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, BinaryIO

import numpy as np

from sightline.core.events import EVENT_TYPES, Event, events_of, media_key
from sightline.core.media import removal_events
from sightline.core.plugins import Clip, Predictor, SourceState
from sightline.core.ports import Stored, Subscription
from sightline.core.prediction import Boxes
from sightline.engine.counters import RunCounters
from sightline.engine.outbox import Outbox
from sightline.engine.source_states import SourceStates
from sightline.packs.sensors.predictors import ThresholdAlert
from sightline.packs.vision.predictors.abandoned_object import AbandonedObject
from sightline.packs.vision.predictors.line_counter import LineCounter
from sightline.packs.vision.predictors.zone_counter import ZoneCounter
from sightline.packs.vision.sinks.event_recorder import EventRecorder
from sightline.testing.fakes import START, FakeClock, fake_ports, make_context, make_frame, make_reading

CASE, SOURCE, RUN = "street_people", "door", "6f1c"
_WAIT_S = 10.0


def examples() -> dict[str, Event]:
    """Return an event by its short type; of those that are told at start and end, ` (end)` stands behind the second."""
    yard = {"yard": ((100.0, 100.0), (300.0, 100.0), (300.0, 280.0), (100.0, 280.0))}
    zones = ZoneCounter(of="people", zones=yard, dwell_s=2.0, over=0, under=1, hold_s=0.0, gone_s=1.0)
    lines = LineCounter(of="people", lines={"gate": ((50.0, 150.0), (350.0, 150.0))})
    bags = AbandonedObject(of="people", still_s=2.0, gone_s=1.0)
    walk = [_seen("person", (200.0, y)) for y in (90.0, *[170.0] * 4, 320.0)]
    bag = [_seen("backpack", (200.0, 170.0))] * 4 + [_seen("person", (30.0, 60.0))] * 3
    found = _told(lines, walk) | _told(zones, walk) | _told(bags, bag) | _alerts()
    found |= _states() | _media(found["line.crossed"])
    kinds = list(EVENT_TYPES)
    return dict(sorted(found.items(), key=lambda each: (kinds.index(each[1].short_type), each[0])))


def _seen(class_name: str, foot: tuple[float, float]) -> Boxes:
    x, y = foot
    return Boxes(
        xyxy=np.array([[x - 20, y - 80, x + 20, y]], np.float32),
        confidence=np.ones(1, np.float32),
        class_id=np.zeros(1, np.int64),
        class_name=(class_name,),
        tracker_id=np.array([7], np.int64),
    )


def _told(predictor: Predictor, steps: Sequence[Boxes]) -> dict[str, Event]:
    """Return the events that a predictor finds on pictures a second apart."""
    predictor.open(make_context(run=RUN, source=SOURCE))
    found: dict[str, Event] = {}
    for number, boxes in enumerate(steps):
        sample = make_frame(0, size=(400, 300), seconds=float(number), seq=number, source=SOURCE)
        sample = sample.with_prediction("people", boxes)
        [prediction] = predictor.predict([sample])
        key = predictor.__class__.__name__.lower()
        _note(found, events_of(sample.with_prediction(key, prediction), case=CASE, run=RUN))
    return found


def _alerts() -> dict[str, Event]:
    alert = ThresholdAlert(channel="temperature", above=30.0)
    alert.open(make_context(run=RUN, source="oven"))
    found: dict[str, Event] = {}
    for number, value in enumerate((21.0, 31.5, 24.0)):
        sample = make_reading({"temperature": value}, seq=number, source="oven")
        [prediction] = alert.predict([sample])
        _note(found, events_of(sample.with_prediction("heat", prediction), case="oven", run=RUN))
    return found


def _note(found: dict[str, Event], events: Sequence[Event]) -> None:
    for event in events:
        is_end = event.data.get("state") == "end"
        found.setdefault(f"{event.short_type} (end)" if is_end else event.short_type, event)


def _states() -> dict[str, Event]:
    """Return what is told of a camera that is lost for five seconds."""
    clock, ports = FakeClock(), fake_ports()
    heard = ports.bus.subscribe()
    counters = RunCounters(now=clock.monotonic)
    counters.add(SOURCE)
    states = SourceStates(CASE, {"run": RUN, "metadata": {}}, counters, Outbox(ports, fail=_raise), now=clock)
    told = (
        (SourceState.LIVE, ""),
        (SourceState.STALLED, "no frame for 5 s"),
        (SourceState.BACKOFF, "no packet for 5 s"),
        (SourceState.LIVE, ""),
        (SourceState.FROZEN, "the same picture for 10 s"),
    )
    found: dict[str, Event] = {}
    counters.read(SOURCE, 1)
    for state, reason in told:
        clock.advance(5)
        states.tell(SOURCE, state, reason)
        event = _heard(heard)
        found[event.short_type] = event  # of the two `live` the one after an outage
    return found


def _media(crossed: Event) -> dict[str, Event]:
    """Return what is told when the media of a crossing were stored, and when they are gone."""
    clock, ports = FakeClock(), fake_ports()
    heard = ports.bus.subscribe(types=["capture.stored"])

    def clip(source: str, start: Any, end: Any, into: BinaryIO) -> Clip:  # noqa: ARG001
        into.write(b"-" * 1_048_576)
        return Clip(start=start, end=end, media_type="video/mp4")

    recorder = EventRecorder(thumbnail_px=32)
    recorder.open(make_context(case=CASE, run=RUN, ports=ports, clock=clock, clip=clip, outbox=ports.bus.publish))
    walk = [_seen("person", (200.0, y)) for y in (90.0, *[170.0] * 9)]
    lines = LineCounter(of="people", lines={"gate": ((50.0, 150.0), (350.0, 150.0))})
    lines.open(make_context(run=RUN, source=SOURCE))
    for number, boxes in enumerate(walk):
        sample = make_frame(0, size=(400, 300), seconds=float(number), seq=number, source=SOURCE)
        sample = sample.with_prediction("people", boxes)
        recorder.write([sample.with_prediction("linecounter", lines.predict([sample])[0])])
    stored = _heard(heard)
    recorder.close()
    gone = [Stored(key=media_key(crossed.time, crossed.id, ".mp4"), num_bytes=1_048_576, modified=None)]
    [removed] = removal_events(gone, START + timedelta(days=30), "older than 30 days")
    return {stored.short_type: stored, removed.short_type: replace(removed, id=_id(removed))}


def _heard(bus: Subscription) -> Event:
    """Return what was told, with an id that is the same each time."""
    event = bus.get(_WAIT_S)
    if not isinstance(event, Event):
        raise TypeError("nothing was told")
    return replace(event, id=_id(event))


def _id(event: Event) -> str:
    return event.short_type.encode().hex().ljust(32, "0")[:32]


def _raise(error: Exception) -> None:
    raise error

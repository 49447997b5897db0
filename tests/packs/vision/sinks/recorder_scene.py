"""A recorder of events with a camera and a clock of its own; what tests of it share."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from sightline.core.codec import encode_span
from sightline.core.errors import NotFound
from sightline.core.events import Event, events_of
from sightline.core.plugins import Clip
from sightline.core.prediction import Finding, Findings
from sightline.core.sample import Sample
from sightline.packs.vision.sinks.event_recorder import EventRecorder
from sightline.testing import FakePorts, make_context, make_frame
from sightline.testing.fakes import START, FakeClock


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Camera:
    """What `context.clip` asks: a source that holds what came in the last `ring_s`, until it was cut off."""

    def __init__(self, clock: FakeClock, ring_s: float = 60) -> None:
        self.clock, self.ring_s = clock, ring_s
        self.cut_s: float | None = None
        self.error: Exception | None = None
        self.asked: list[tuple[float, float]] = []

    def clip(self, source: str, start: datetime, end: datetime, into: BinaryIO) -> Clip:
        if self.error is not None:
            raise self.error
        now = self.clock() if self.cut_s is None else at(self.cut_s)
        self.asked.append(((start - START).total_seconds(), (end - START).total_seconds()))
        if end > now and self.cut_s is None:
            raise NotFound("still to come")
        first, last = max(start, now - timedelta(seconds=self.ring_s), START), min(end, now)
        if first >= last:
            raise NotFound("nothing is held")
        into.write(f"{source} {(first - START).total_seconds():g} {(last - START).total_seconds():g}".encode())
        return Clip(start=first, end=last, media_type="video/mp4")


class Scene:
    """A recorder, a camera that gives a picture a second, and what was told."""

    def __init__(
        self, ports: FakePorts | None = None, ring_s: float = 60, *, durable: bool = False, **fields: Any
    ) -> None:
        self.ports, self.clock = ports or FakePorts(), FakeClock()
        self.camera = Camera(self.clock, ring_s)
        self.told = self.ports.bus.subscribe(types=["capture.stored", "capture.removed"], capacity=10_000)
        self.context = make_context(
            ports=self.ports,
            clock=self.clock,
            case="yard",
            run="r1",
            source="*",
            clip=lambda *asked: self.camera.clip(*asked),  # noqa: PLW0108 - a test may exchange it
            outbox=None if durable else self.ports.bus.publish,
        )
        self.sink = EventRecorder(**fields)
        self.sink.open(self.context)
        self.seq = 0

    def picture(self, *findings: Finding, seconds: float | None = None, **others: Any) -> list[Event]:
        """Let a second pass, give a picture with these findings, and return the events of it."""
        self.clock.advance(1)
        self.seq += 1
        when = self.clock.monotonic() if seconds is None else seconds
        sample = make_frame(100, size=(400, 300), seconds=when, seq=self.seq, source="door", **others)
        if findings:
            sample = sample.with_prediction("watch", Findings(items=findings))
        return self.write(sample)

    def write(self, sample: Sample[Any]) -> list[Event]:
        self.sink.write([sample])
        return events_of(sample, case="yard", run="r1")

    def pictures(self, num: int) -> None:
        for _ in range(num):
            self.picture()

    def stored(self, timeout_s: float = 30) -> dict[str, Any]:
        """Return the data of the next event about media."""
        event = self.told.get(timeout_s)
        assert isinstance(event, Event), "nothing is told"
        assert event.subject == event.data["event"]
        return dict(event.data)

    def bytes_at(self, key: str) -> bytes:
        with self.ports.artifacts.open(key) as file:
            return file.read()

    def counted(self, kind: str, outcome: str) -> float:
        page, _ = self.ports.meter.page("")  # type: ignore[attr-defined]
        name = f'event_media_total{{case="yard",kind="{kind}",outcome="{outcome}"}}'
        return next((float(line.rpartition(" ")[2]) for line in page.decode().splitlines() if name in line), 0.0)


def crossing(**data: Any) -> Finding:
    return Finding(name="crossing", event="line.crossed", subject="track/7", data={"line": "gate", **data})


def visit(event: str, start_s: float, end_s: float | None) -> Finding:
    end = None if end_s is None else at(end_s)
    return Finding(name="x", event=event, subject="track/7", data={"visit": "v1", **encode_span(at(start_s), end)})


def until(true: Callable[[], object], timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.01)


Make = Callable[..., Scene]

"""What plug-ins tell in a run goes the way of all events: once to the database, once to the bus."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Thread
from typing import Any

import pytest
from tests.engine.away import Away
from tests.engine.conftest import World, ended
from tests.engine.plugins import Keep, Numbers, Picky

from sightline.core.case import Case
from sightline.core.errors import Unavailable
from sightline.core.events import make_event
from sightline.core.plugins import Context, Sink, Source, SourceState
from sightline.core.run import RunState
from sightline.core.sample import Sample
from sightline.packs.vision.sinks.capture import Capture
from sightline.testing.fakes import make_frame


@dataclass(kw_only=True)
class Tells(Sink):
    """Tells of every sample."""

    short_type: str = "my.own"

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        for sample in samples:
            data = {"run": self.context.run, "seq": sample.seq}
            self.context.tell(make_event(self.short_type, source="/x", time=sample.time, data=data))


@dataclass(kw_only=True)
class Pictures(Source):
    num: int = 5

    def read(self) -> Any:
        for seq in range(self.num):
            yield make_frame(seq, seconds=seq * 10, seq=seq, source=self.context.source)


def test_a_durable_event_of_a_sink_is_recorded_and_published_once(world: World) -> None:
    outcome = world.execute(Case(name="case", sources={"a": Numbers(num=4)}, sinks=(Tells(),)))
    recorded = world.recorded(outcome.run, ["my.own"])
    assert [event.data["seq"] for event in recorded] == [0, 1, 2, 3]
    assert [event.id for event in world.published() if event.short_type == "my.own"] == [event.id for event in recorded]


def test_a_transient_one_is_published_alone(world: World) -> None:
    outcome = world.execute(Case(name="case", sources={"a": Numbers(num=4)}, sinks=(Tells(short_type="prediction"),)))
    assert world.recorded(outcome.run, ["prediction"]) == []
    assert len([event for event in world.published() if event.short_type == "prediction"]) == 4


def test_what_a_sink_told_is_recorded_before_the_watcher_sees_the_sample(world: World) -> None:
    seen: list[int] = []

    def watch(sample: Sample[Any]) -> None:
        run = stream.run
        assert sample.seq in [event.data["seq"] for event in world.recorded(run, ["my.own"])]
        seen.append(sample.seq)

    stream = world.stream(Case(name="case", sources={"a": Numbers(num=4)}, sinks=(Tells(),)), watch=watch)
    assert ended(stream).error is None
    assert seen == [0, 1, 2, 3]


def test_a_capture_outlives_an_outage_of_the_database(world: World) -> None:
    away = Away(world.ports.store)
    world.ports.store = away  # type: ignore[assignment]
    keep = Keep()
    case = Case(name="case", sources={"a": Pictures(num=5)}, sinks=(Capture(every_s=1), keep))
    away.failing = {"append"}
    stream = world.stream(
        case, chunk=1, watch=lambda sample: away.failing.clear() if sample.seq == 3 else None, report_s=0.01
    )
    outcome = ended(stream)
    assert away.failed
    assert outcome.error is None
    assert outcome.run.state is RunState.COMPLETED
    assert len(keep.kept) == 5
    stored = world.recorded(outcome.run, ["capture.stored"])
    assert [event.data["sample"] for event in stored] == [f"a/1/{seq}" for seq in range(5)]
    told = [event.id for event in world.published() if event.short_type == "capture.stored"]
    assert told == [event.id for event in stored]


def test_states_of_cameras_are_recorded_after_an_outage_too(world: World) -> None:
    away = Away(world.ports.store)
    world.ports.store = away  # type: ignore[assignment]
    away.failing = {"append"}
    stages = {"analytics": {"x": Picky(takes_s=0.002)}}
    stream = world.stream(
        Case(name="case", sources={"a": Numbers(num=2), "b": Numbers(num=100)}, stages=stages),
        watch=lambda sample: away.failing.clear() if sample.seq == 50 else None,
    )
    outcome = ended(stream)
    stopped = world.recorded(outcome.run, ["source.stopped"])
    assert [event.source.rpartition("/")[2] for event in stopped] == ["a", "b"]


def test_the_state_of_a_camera_is_recorded_while_all_is_quiet(world: World) -> None:
    class Quiet(Source):
        def read(self) -> Any:
            self.context.state(SourceState.BACKOFF, "no route")
            self.context.stopping.wait()
            yield from ()

    stream = world.stream(Case(name="case", sources={"a": Quiet()}), report_s=60)
    seen: list[int] = []

    def look() -> None:
        end = time.monotonic() + 20
        while not seen and time.monotonic() < end:
            if found := world.recorded(stream.run, ["source.backoff"]):
                seen.append(len(found))
            time.sleep(0.01)
        stream.stop()

    looking = Thread(target=look)
    looking.start()
    ended(stream)
    looking.join(20)
    assert seen == [1]


def test_outside_a_run_it_is_recorded_before_the_call_returns(world: World) -> None:
    away = Away(world.ports.store)
    world.ports.store = away  # type: ignore[assignment]
    context = Context(ports=world.ports)
    event = make_event("my.own", source="/x", time=context.now(), data={"run": "none"})
    begin = away.events.position() or 0
    context.tell(event)
    context.tell(make_event("prediction", source="/x", time=context.now(), data={"run": "none"}))
    assert [found.id for _, found in away.events.list(after=begin)] == [event.id]
    assert [each.short_type for each in world.published()] == ["my.own", "prediction"]
    away.failing = {"append"}
    with pytest.raises(Unavailable):
        context.tell(make_event("my.own", source="/x", time=context.now(), data={}))

"""Outages have a start and an end; what somebody should mend is shown with its source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.engine.conftest import World
from tests.engine.plugins import Keep

from sightline.core.case import Case
from sightline.core.codec import encode_time
from sightline.core.events import Event
from sightline.core.plugins import Context, Predictor, Source, SourceState
from sightline.core.prediction import Findings
from sightline.core.sample import Sample
from sightline.engine.counters import RunCounters
from sightline.engine.outbox import Outbox
from sightline.engine.source_states import SourceStates
from sightline.testing.fakes import START, FakeClock, fake_ports, make_frame


class Told:
    """The states of one camera, and what was told of them."""

    def __init__(self) -> None:
        self.clock, ports = FakeClock(), fake_ports()
        self._heard = ports.bus.subscribe(capacity=1000)
        self.counters = RunCounters(now=self.clock.monotonic)
        self.counters.add("door")
        self.outbox = Outbox(ports, fail=lambda error: pytest.fail(str(error)))
        self.states = SourceStates("yard", {"run": "r1", "metadata": {}}, self.counters, self.outbox, now=self.clock)
        self._ports = ports

    def after(self, seconds: float, state: SourceState, reason: str = "") -> Event:
        self.clock.advance(seconds)
        self.states.tell("door", state, reason)
        event = self._heard.get(0)
        assert isinstance(event, Event)
        return event

    def recorded(self) -> list[str]:
        self.outbox.settle()
        return [event.short_type for _, event in self._ports.store.events.list()]


def span(event: Event) -> tuple[str | None, str | None]:
    return event.data["start"], event.data["end"]


def at(seconds: float) -> str:
    return encode_time(START + timedelta(seconds=seconds))


def test_an_outage_begins_with_the_last_sample_and_ends_when_the_camera_is_back() -> None:
    told = Told()
    assert span(told.after(1, SourceState.LIVE)) == (at(1), at(1))
    told.clock.advance(2)
    told.counters.read("door", 1)
    assert span(told.after(5, SourceState.STALLED, "no frame for 5 s")) == (at(3), None)
    assert span(told.after(4, SourceState.BACKOFF, "no answer")) == (at(3), None)
    assert span(told.after(1, SourceState.CONNECTING)) == (at(3), None)
    assert span(told.after(1, SourceState.BACKOFF, "no answer")) == (at(3), None)
    assert span(told.after(1, SourceState.CONNECTING)) == (at(3), None)
    assert span(told.after(6, SourceState.LIVE)) == (at(3), at(21))
    assert span(told.after(2, SourceState.FROZEN, "the same picture for 10 s")) == (at(23), None)
    assert span(told.after(2, SourceState.STOPPED, "the run was stopped")) == (at(23), at(25))
    assert told.recorded() == [
        "source.live",
        "source.stalled",
        "source.backoff",
        "source.live",
        "source.frozen",
        "source.stopped",
    ]


def test_a_camera_that_never_answered_is_out_since_it_was_asked() -> None:
    told = Told()
    assert span(told.after(5, SourceState.BACKOFF, "no answer")) == (at(5), None)
    told.states.forget("door")
    assert span(told.after(1, SourceState.LIVE)) == (at(6), at(6))


def test_of_each_sentence_one_is_shown_and_not_too_many() -> None:
    counters = RunCounters()
    counters.add("door")
    assert counters.warned("door", "the zone lies outside")
    assert not counters.warned("door", "the zone lies outside")
    assert sum(counters.warned("door", f"other {number}") for number in range(100)) == 19
    assert counters.snapshot()["sources"]["door"]["warnings"][:2] == ["the zone lies outside", "other 0"]
    counters.add("door")  # it is read otherwise now
    assert counters.snapshot()["sources"]["door"]["warnings"] == []


@dataclass(kw_only=True)
class Changing(Source):
    """Pictures of one size, then of another one, with a new epoch between."""

    def read(self) -> Iterator[Sample[Any]]:
        for seq, (size, epoch) in enumerate((((64, 48), 1), ((64, 48), 1), ((32, 24), 2), ((32, 24), 2))):
            yield make_frame(0, size=size, seq=seq, epoch=epoch, source=self.context.source)


@dataclass(kw_only=True)
class Sized(Predictor):
    """Notes the first size that it is told of, and warns."""

    def open(self, context: Context) -> None:
        super().open(context)
        self.context.warned("mend this")

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Findings]:
        FIRST.append(self.context.first_size)
        return [Findings() for _ in samples]


FIRST: list[tuple[int, int] | None] = []


def test_a_picture_of_another_size_is_told_and_predictors_know_the_first_one(world: World) -> None:
    FIRST.clear()
    keep = Keep()
    case = Case(name="sizes", sources={"door": Changing()}, stages={"analytics": {"size": Sized()}}, sinks=(keep,))
    outcome = world.execute(case)
    assert outcome.error is None
    assert set(FIRST) == {(64, 48)}
    status = outcome.run.status["sources"]["door"]
    assert status["size"] == [32, 24]
    assert sorted(status["warnings"]) == [
        "The picture changed from 64x48 to 32x24; lines and zones are scaled.",
        "mend this",
    ]

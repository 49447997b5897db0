"""What goes on when a source is lost or over has an end, told once, behind its start, with why nobody looked on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Event as Flag
from threading import Thread
from typing import Any, ClassVar

import pytest
from tests.engine.conftest import World
from tests.engine.job_world import JobWorld, Journal, make_case
from tests.engine.plugins import Keep, Numbers

from sightline.core.case import Case
from sightline.core.codec import encode_time
from sightline.core.events import Event
from sightline.core.plugins import Context, Predictor, Source, SourceState
from sightline.core.prediction import Finding, Findings
from sightline.core.run import Run
from sightline.core.sample import Sample
from sightline.engine.record import fail_dead_runs
from sightline.engine.streams import StreamRun
from sightline.packs.basic.collectors import Latest
from sightline.testing.fakes import make_reading


@dataclass(kw_only=True)
class Stay(Predictor):
    """Tells with its first sample that something goes on."""

    fail: bool = False
    stateful: ClassVar[bool] = True

    def open(self, context: Context) -> None:
        super().open(context)
        self._since = ""

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Findings]:
        return [self._seen(sample) for sample in samples]

    def cut_off(self, sample: Sample[Any]) -> Sequence[Finding]:
        since, self._since = self._since, ""
        assert sample.payload is None
        if self.fail:
            raise ValueError("it has no end")
        return [_told("left", since)] if since else []

    def _seen(self, sample: Sample[Any]) -> Findings:
        if self._since:
            return Findings()
        self._since = sample.id
        return Findings(items=(_told("entered", sample.id),))


def _told(what: str, since: str) -> Finding:
    return Finding(name=what, event=f"zone.{what}", data={"visit": since, "zone": "yard"})


@dataclass(kw_only=True)
class Keeps(Keep):
    ends: list[Sample[Any]] = field(default_factory=list)

    def cut_off(self, sample: Sample[Any]) -> None:
        self.ends.append(sample)


@dataclass(kw_only=True)
class Breaks(Source):
    """A camera that is lost after three readings, and back when `back` is set."""

    back: Flag
    live: bool = True
    rises: bool = True

    @property
    def is_live(self) -> bool:
        return self.live

    def read(self) -> Iterator[Sample[Any]]:
        for connection in range(2):
            self.context.state(SourceState.LIVE, "")
            epoch, first = (1 + connection, 0) if self.rises else (1, 3 * connection)
            for seq in range(first, first + 3):
                yield make_reading(seq, seq=seq, source=self.context.source, epoch=epoch)
                time.sleep(0.02)
            if connection == 0:
                for _ in range(3):  # told again and again, as a camera that is away for long does
                    self.context.state(SourceState.BACKOFF, "no packet for 5 s")
                    time.sleep(0.05)
                while not (self.back.is_set() or self.context.stopping.wait(0.005)):
                    pass
        self.context.stopping.wait()


def case_of(source: Source, *, key: str = "analytics", **others: Any) -> Case:
    return Case(name="yard", sources={"gate": source}, stages={key: {"stays": Stay()}}, **others)


def visits(world: World, stream: StreamRun) -> list[Event]:
    return world.recorded(stream.run, ["zone.*"])


def names(events: Sequence[Event]) -> list[str]:
    return [event.short_type.removeprefix("zone.") for event in events]


def reasons(events: Sequence[Event]) -> list[str]:
    return [event.data["reason"] for event in events if event.short_type == "zone.left"]


def until(happened: Callable[[], object], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.005)


class Running:
    """A run in a thread of its own, which the end of the block stops."""

    def __init__(self, stream: StreamRun) -> None:
        self._stream = stream
        self._thread = Thread(target=stream.execute, daemon=True)

    def __enter__(self) -> StreamRun:
        self._thread.start()
        return self._stream

    def __exit__(self, *_: object) -> None:
        self._stream.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("stage", ["analytics", "validation"])
def test_a_lost_source_ends_what_goes_on_at_once_and_once(world: World, live: bool, stage: str) -> None:
    back, keep = Flag(), Keeps()
    case = case_of(Breaks(back=back, live=live), key=stage, sinks=(keep,))
    with Running(world.stream(case)) as stream:
        until(lambda: "left" in names(visits(world, stream)))  # while it is away
        until(lambda: keep.ends)
        [entered, left] = visits(world, stream)
        assert (left.data["visit"], left.data["sample"]) == (entered.data["visit"], "gate/1/2")
        assert left.data["reason"] == "the source was lost: no packet for 5 s"
        time.sleep(0.2)
        back.set()
        until(lambda: len(keep.kept) == 6)
    assert names(visits(world, stream)) == ["entered", "left", "entered", "left"]
    assert reasons(visits(world, stream))[1] == "the run was stopped"
    assert [sample.id for sample in keep.ends] == ["gate/1/2", "gate/2/2"]
    assert [sample.payload is not None for sample in keep.ends] == [True, True]
    assert keep.ends[0].predictions.keys() == {"stays"}
    assert stream.status()["sinks"]["written"] == 6
    assert stream.status()["sources"]["gate"]["processed"] == 6


def test_a_source_that_goes_on_in_the_same_epoch_begins_anew(world: World) -> None:
    back = Flag()
    with Running(world.stream(case_of(Breaks(back=back, rises=False)))) as stream:
        until(lambda: "left" in names(visits(world, stream)))
        back.set()
        until(lambda: len(visits(world, stream)) == 3)
    told = visits(world, stream)
    assert names(told) == ["entered", "left", "entered", "left"]
    assert len({event.data["visit"] for event in told}) == 2


def test_an_epoch_that_rises_without_a_word_ends_what_goes_on(world: World) -> None:
    stream = world.stream(case_of(Numbers(num=6, per_epoch=3)))
    stream.execute()
    assert names(visits(world, stream)) == ["entered", "left", "entered", "left"]
    assert reasons(visits(world, stream)) == ["the source began anew", "the source has ended"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [(None, "the source was removed"), (Breaks(back=Flag(), live=False), "the source was changed")],
)
def test_a_source_that_is_removed_or_changed_ends_what_goes_on(
    world: World, change: Source | None, reason: str
) -> None:
    with Running(world.stream(case_of(Waiting()), stands=True)) as stream:
        until(lambda: "entered" in names(visits(world, stream)))
        stream.change({"gate": change})
        until(lambda: "left" in names(visits(world, stream)))
        assert reasons(visits(world, stream)) == [reason]
        stopped = world.recorded(stream.run, ["source.stopped"])
        assert [event.data["reason"] for event in stopped] == [reason]


@dataclass(kw_only=True)
class Waiting(Source):
    """Gives one reading, and calls every end of it `stopped`, as the sources of the packs do."""

    def read(self) -> Iterator[Sample[Any]]:
        yield make_reading(0, source=self.context.source, epoch=self.context.epoch)
        self.context.stopping.wait()
        self.context.state(SourceState.STOPPED, "stopped")


@dataclass(kw_only=True)
class Failing(Waiting):
    def read(self) -> Iterator[Sample[Any]]:
        yield make_reading(0, source=self.context.source)
        raise OSError("the cable is cut")


def test_a_source_that_fails_ends_what_goes_on(world: World) -> None:
    stream = world.stream(case_of(Failing()))
    stream.execute()
    [reason] = reasons(visits(world, stream))
    assert "the cable is cut" in reason


def test_behind_a_collector_of_all_sources_the_end_of_the_run_ends_what_goes_on(world: World) -> None:
    case = replace(case_of(Numbers(num=3)), collector=Latest(across_sources=True))
    stream = world.stream(case)
    stream.execute()
    assert names(visits(world, stream)) == ["entered", "left"]
    assert reasons(visits(world, stream)) == ["the run is over"]


def test_a_predictor_that_cannot_end_is_told_and_the_others_do(world: World) -> None:
    stages = {"analytics": {"broken": Stay(fail=True), "stays": Stay()}}
    stream = world.stream(replace(case_of(Numbers(num=2)), stages=stages))
    stream.execute()
    assert [event.data["predictor"] for event in visits(world, stream)] == ["broken", "stays", "stays"]
    assert "it has no end" in stream.status()["sources"]["gate"]["errors"]["broken"]


def test_no_end_has_the_id_of_another_event(world: World) -> None:
    stream = world.stream(case_of(Numbers(num=1)))  # its one sample has a start and an end
    stream.execute()
    assert len({event.id for event in visits(world, stream)}) == 2


def test_the_end_of_a_jobs_object_ends_what_goes_on(lone: World, journal: Journal) -> None:
    texts = JobWorld(lone, make_case(journal, late={"stays": Stay()}))
    run = texts.submit("a\nb\nc")
    texts.done(run)
    told = lone.recorded(run, ["zone.*"])
    assert [(event.short_type, event.data["sample"], event.data.get("reason")) for event in told] == [
        ("zone.entered", "lines/1/0", None),
        ("zone.left", "lines/1/2", "the object has ended"),
    ]


def test_who_asked_is_told_with_what_follows_from_it_and_no_more(world: World) -> None:
    with Running(world.stream(case_of(Waiting(), sinks=()), stands=True)) as stream:
        until(lambda: "entered" in names(visits(world, stream)))
        stream.change({"brief": Numbers(num=1)}, by="ann")  # it ends by itself, and tells no other state
        until(lambda: world.recorded(stream.run, ["source.stopped"]))
        stream.change({"gate": None}, by="bob")
        until(lambda: len(world.recorded(stream.run, ["source.stopped"])) == 2)
    told = {event.source.rpartition("/")[2]: event.data.get("by") for event in world.recorded(stream.run, ["source.*"])}
    assert told == {"brief": None, "gate": "bob"}


@dataclass(kw_only=True)
class Over(Predictor):
    """Tells that a limit is passed, and now and then that a stay is long, and no end of either."""

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Findings]:
        return [Findings(items=self._found(sample)) for sample in samples]

    def _found(self, sample: Sample[Any]) -> tuple[Finding, ...]:
        span = {"start": encode_time(sample.time), "end": None}
        if sample.seq == 0:
            begun = {"alarm": f"{sample.source} over", "state": "start", "limit": 1, **span}
            return (
                Finding(name="over", event="count.over", subject="zone/yard", data=begun),
                Finding(name="entered", event="zone.entered", data={"visit": f"{sample.source} stay", **span}),
                Finding(name="odd", event="mine.began", data={"alarm": f"{sample.source} mine", **span}),
            )
        long = {"visit": f"{sample.source} stay", "duration_s": 1, **span}
        return (Finding(name="dwell", event="zone.dwell", data=long),)


@pytest.mark.parametrize("restart", ["always", "never"])
def test_what_a_killed_process_left_open_ends_when_its_run_is_taken_up_or_fails(lone: World, restart: str) -> None:
    case = Case(name="yard", sources={"gate": Numbers(num=3)}, stages={"analytics": {"over": Over()}})
    before = lone.stream(case)
    before.execute()
    begun = lone.recorded(before.run, ["count.over", "zone.*", "mine.*"])
    runs, events = lone.ports.store.runs, lone.ports.store.events
    killed = runs.create(Run(case="yard", restart=restart), worker="dead", lease=timedelta(0))
    events.append([replace(each, id=f"{each.id}-2", data={**each.data, "run": killed.id}) for each in begun])

    for _ in range(2):  # a second time there is nothing to end
        if restart == "always":
            again = StreamRun(case, Context(ports=lone.ports), runs.claim(killed.id, "here"), stands=True)
            again.stop(give_back=True)
            again.execute()
        else:
            fail_dead_runs(lone.ports)

    ends = [event for event in lone.recorded(killed, ["count.*", "zone.*", "mine.*"]) if event.data["end"]]
    assert sorted((event.short_type, event.data.get("state")) for event in ends) == [
        ("count.over", "end"),
        ("zone.left", None),
    ]
    for event in ends:
        first = next(each for each in begun if {"alarm", "visit"} & each.data.keys() and _key(each) == _key(event))
        assert event.data["start"] == first.data["start"] < event.data["end"] == encode_time(begun[-1].time)
        assert event.data["reason"] == "the process was killed"
        assert (event.source, event.subject) == (first.source, first.subject)
    assert not [event for event in lone.recorded(before.run) if event.data.get("reason") == "the process was killed"]


def _key(event: Event) -> str:
    return str(event.data.get("alarm") or event.data["visit"])

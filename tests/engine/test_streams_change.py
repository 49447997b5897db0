"""One source of a running case is added, changed or removed, and the others do not notice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest
from tests.engine.away import Away
from tests.engine.conftest import World
from tests.engine.plugins import Alarm, Camera, Keep, Numbers, Pairs, Picky, Stuck, Tally

from sightline.core.case import Case
from sightline.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from sightline.core.plugins import Source, SourceState
from sightline.core.prediction import JsonObject, Scalar
from sightline.core.run import RunState
from sightline.core.sample import Sample
from sightline.engine.lineup import first_epoch
from sightline.engine.streams import Outcome, StreamRun
from sightline.engine.wishes import SourceSpecs
from sightline.testing.fakes import make_reading


def until(happened: Callable[[], object], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.002)


@contextmanager
def standing(stream: StreamRun) -> Iterator[list[Outcome]]:
    """Execute in a thread; what is given holds the outcome when the block is over, which stops the run."""
    outcomes: list[Outcome] = []
    thread = Thread(target=lambda: outcomes.append(stream.execute()), daemon=True)
    thread.start()
    try:
        until(lambda: stream.run.started)
        yield outcomes
    finally:
        stream.stop()
        thread.join(20)
        assert outcomes, "the run does not end"


@dataclass(kw_only=True)
class Steady(Source):
    """A camera that must not be disturbed: it says what it was told, and gives a frame every two milliseconds."""

    opened: list[int] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        return True

    def read(self) -> Iterator[Sample[Any]]:
        self.opened.append(self.context.epoch)
        seq = 0
        while not self.context.stopping.wait(0.002):
            yield make_reading(seq, seq=seq, source=self.context.source, epoch=self.context.epoch)
            seq += 1

    def close(self) -> None:
        self.closed.append(self.context.source)


def case_of(sources: Mapping[str, Source], keep: Keep, **others: Any) -> Case:
    return Case(name="yard", sources=sources, stages={"analytics": {"seen": Tally()}}, sinks=(keep,), **others)


def of(keep: Keep, source: str) -> list[Sample[Any]]:
    return [sample for sample in list(keep.kept) if sample.source == source]


def made(entries: Mapping[str, JsonObject]) -> Mapping[str, Source]:
    for entry in entries.values():
        if entry["use"] != "Camera":
            raise InvalidInput(f"No source is called {entry['use']!r}.")
    return {name: Camera(start=int(entry.get("start", 0))) for name, entry in entries.items()}


SPECS = SourceSpecs(
    entry=lambda source: {"use": type(source).__name__, "start": getattr(source, "start", 0)}, make=made
)


class TestOthersAreUntouched:
    def test_one_source_comes_changes_and_goes_while_the_other_keeps_its_frames_epoch_and_tracks(
        self, world: World
    ) -> None:
        keep, opened, closed = Keep(), list[int](), list[str]()
        steady = Steady(opened=opened, closed=closed)
        stream = world.stream(case_of({"gate": steady}, keep), stands=True)
        with standing(stream) as outcomes:
            until(lambda: len(of(keep, "gate")) > 10)
            stream.apply({"gate": steady, "door": Camera()})
            until(lambda: len(of(keep, "door")) > 10)
            stream.apply({"gate": steady, "door": Camera(every_s=0.003)})
            until(lambda: {sample.epoch for sample in of(keep, "door")} == {1, 2})
            stream.apply({"gate": Steady(opened=opened, closed=closed)})  # another object, but nothing new
            until(lambda: "door" not in stream.status()["sources"])
            num = len(of(keep, "gate"))
            until(lambda: len(of(keep, "gate")) > num + 10)
        gate = of(keep, "gate")
        counts = outcomes[0].run.status["sources"]["gate"]
        lost = counts["dropped"].get("superseded", 0)  # two cores are busy: a frame may meet a newer one in its slot
        assert len(gate) + lost == counts["read"] == gate[-1].seq + 1
        assert {sample.epoch for sample in gate} == {1}
        assert [sample.prediction("seen", Scalar).value for sample in gate] == list(range(1, len(gate) + 1))
        assert (opened, closed) == ([1], ["gate"])
        assert counts["reconnects"] == 0
        assert keep.closed == ["keep"]

    def test_a_file_beside_it_loses_nothing(self, world: World) -> None:
        keep = Keep()
        clip = Numbers(num=3_000)
        stream = world.stream(case_of({"clip": clip, "door": Camera()}, keep), stands=True)
        with standing(stream):
            number = 0
            while len(of(keep, "clip")) < 3_000:
                number += 1
                stream.apply({"clip": clip, "door": Camera(start=number)})
                time.sleep(0.03)
        assert number > 2
        assert [sample.seq for sample in of(keep, "clip")] == list(range(3_000))
        assert [sample.prediction("seen", Scalar).value for sample in of(keep, "clip")] == list(range(1, 3_001))

    def test_one_that_hangs_is_left_behind_and_its_successor_reads(self, world: World) -> None:
        keep, release, told = Keep(), Flag(), Flag()

        class ComesBack(Stuck):
            def read(self) -> Iterator[Sample[Any]]:
                yield from super().read()
                self.context.state(SourceState.UNAUTHORISED, "said much too late")
                self.context.dropped("late", 7)
                told.set()

        steady = Steady()
        stuck = ComesBack(release=release)
        stream = world.stream(case_of({"gate": steady, "door": stuck}, keep), stands=True, patience_s=0.1)
        with standing(stream):
            until(lambda: len(of(keep, "door")) == 3)
            stream.apply({"gate": steady, "door": Camera()})
            until(lambda: len(of(keep, "door")) > 10)
            release.set()
            num = len(of(keep, "gate"))
            until(lambda: len(of(keep, "gate")) > num + 10)
            assert told.wait(20)
            door = stream.status()["sources"]["door"]
            assert (door["state"], door["trouble"], "late" in door["dropped"]) == ("live", "", False)
        epochs = [sample.epoch for sample in of(keep, "door")]
        assert epochs == [1] * 3 + [2] * (len(epochs) - 3)

    def test_what_a_removed_source_gave_is_finished(self, world: World) -> None:
        keep = Keep()
        case = Case(name="yard", sources={"a": Numbers(num=10**6), "b": Steady()}, collector=Pairs(), sinks=(keep,))
        stream = world.stream(case, stands=True)
        with standing(stream):
            until(lambda: len(of(keep, "a")) > 5)
            stream.apply({"b": case.sources["b"]})
            until(lambda: "a" not in stream.status()["sources"])
            numbers = [sample.seq for window in of(keep, "a") for sample in window.payload.samples]
            assert numbers == list(range(len(numbers)))
        assert stream.counters.totals()[0] >= len(numbers)

    def test_nothing_starts_once_the_run_is_being_stopped(self, world: World) -> None:
        lineup = world.stream(case_of({"a": Numbers()}, Keep()))._lineup
        assert lineup.running
        lineup.stop()
        lineup.tend()
        assert lineup.lanes == ()
        assert not lineup.running


class TestStanding:
    def test_it_stands_without_a_source_until_it_is_stopped(self, world: World) -> None:
        keep = Keep()
        stream = world.stream(case_of({}, keep), stands=True)
        with standing(stream) as outcomes:
            time.sleep(0.1)
            assert world.ports.store.runs.get(stream.run.id).state is RunState.RUNNING
            stream.apply({"a": Numbers(num=5)})
            until(lambda: len(keep.kept) == 5)
            time.sleep(0.1)
            assert not outcomes
        assert outcomes[0].run.state is RunState.CANCELLED

    def test_a_source_that_fails_is_no_failure_of_the_run(self, world: World) -> None:
        keep = Keep()
        stream = world.stream(case_of({"bad": Numbers(fail_at=2), "gate": Steady()}, keep), stands=True)
        with standing(stream) as outcomes:
            until(lambda: stream.status()["sources"]["bad"]["state"] == "stopped")
            assert "sample 2 is broken" in stream.status()["sources"]["bad"]["reason"]
            num = len(of(keep, "gate"))
            until(lambda: len(of(keep, "gate")) > num + 5)
        assert outcomes[0].error is None
        assert outcomes[0].run.state is RunState.CANCELLED

    def test_without_it_a_run_ends_when_its_last_source_is_removed(self, world: World) -> None:
        stream = world.stream(case_of({"a": Steady()}, Keep()))
        with standing(stream) as outcomes:
            until(lambda: stream.counters.totals()[0] > 3)
            stream.apply({})
            until(lambda: outcomes)
        assert outcomes[0].run.state is RunState.COMPLETED


class TestEpochs:
    def test_a_source_that_comes_back_has_a_higher_epoch_and_alarms_of_its_own(self, world: World) -> None:
        case = Case(name="yard", sources={"a": Numbers(num=5)}, stages={"analytics": {"x": Alarm(every=1)}})
        stream = world.stream(case, stands=True)
        with standing(stream) as outcomes:
            for num in (5, 6, 7):  # another configuration each time: the same one changes nothing
                stream.apply({"a": Numbers(num=num)})
                until(lambda: stream.status()["sources"].get("a", {}).get("state") == "stopped")
                stream.apply({})
                until(lambda: "a" not in stream.status()["sources"])
        alerts = world.recorded(outcomes[0].run, ["threshold.alert"])
        samples = [event.data["sample"] for event in alerts]
        wanted = [f"a/{epoch}/{seq}" for epoch, num in ((1, 5), (2, 6), (3, 7)) for seq in range(num)]
        assert samples == wanted
        assert len({event.id for event in alerts}) == 18

    def test_a_source_that_counts_its_own_epochs_goes_on_counting(self, world: World) -> None:
        keep = Keep()
        stream = world.stream(case_of({"a": Numbers(num=6, per_epoch=2)}, keep), stands=True)
        with standing(stream):
            until(lambda: len(keep.kept) == 6)
            stream.apply({"a": Numbers(num=4, per_epoch=2)})
            until(lambda: len(keep.kept) == 10)
        assert [sample.epoch for sample in keep.kept] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]

    def test_the_holder_with_a_higher_token_begins_above_all_that_was(self) -> None:
        assert first_epoch(1) == 1
        assert first_epoch(2) > 1_000
        assert first_epoch(2, last_seen=40) > 1_000
        assert first_epoch(2, last_seen=86_400) > 86_400  # a short clip that was looped for a day
        assert first_epoch(3) > first_epoch(2)


class TestRecord:
    def test_a_change_is_recorded_with_a_higher_revision(self, world: World) -> None:
        stream = world.stream(case_of({"a": Steady()}, Keep()), stands=True, specs=SPECS)
        with standing(stream):
            run_id = stream.run.id
            assert world.ports.store.runs.get(run_id).spec == {"sources": {"a": {"use": "Steady", "start": 0}}}
            run = stream.change({"b": Camera(start=7)}, revision=1)
            assert run.revision == 2
            recorded = world.ports.store.runs.get(run_id)
            assert recorded.revision == 2
            assert list(recorded.spec["sources"]) == ["a", "b"]
            assert recorded.spec["sources"]["b"] == {"use": "Camera", "start": 7}
            until(lambda: stream.status()["sources"].get("b", {}).get("read"))
            assert stream.change({"b": None}).revision == 3
            until(lambda: "b" not in stream.status()["sources"])
            assert world.ports.store.runs.get(run_id).spec["sources"] == {"a": {"use": "Steady", "start": 0}}

    def test_one_who_has_seen_an_old_revision_changes_nothing(self, world: World) -> None:
        stream = world.stream(case_of({"a": Steady()}, Keep()), stands=True, specs=SPECS)
        with standing(stream):
            stream.change({"b": Camera()}, revision=1)
            with pytest.raises(Conflict):
                stream.change({"c": Camera()}, revision=1)
            with pytest.raises(NotFound, match="no source 'c'"):
                stream.change({"c": None})
            with pytest.raises(NotFound, match="It has: a, b"):
                stream.change({"c": Camera()}, only="known")
            with pytest.raises(Conflict, match="has a source 'b'"):
                stream.change({"b": Camera()}, only="new")
            with pytest.raises(InvalidInput, match="id of a source"):
                stream.change({"../b": Camera()})
            assert list(stream.run.spec["sources"]) == ["a", "b"]
            assert stream.run.revision == 2
            until(lambda: set(stream.status()["sources"]) == {"a", "b"})

    def test_while_the_database_is_away_nothing_changes(self, world: World) -> None:
        away = Away(world.ports.store)
        world.ports.store = away  # type: ignore[assignment]
        stream = world.stream(case_of({"a": Steady()}, Keep()), stands=True, specs=SPECS)
        with standing(stream):
            away.failing = {"amend"}
            with pytest.raises(Unavailable):
                stream.change({"b": Camera()})
            time.sleep(0.1)
            assert set(stream.status()["sources"]) == {"a"}
            away.failing = set()
            assert stream.change({"b": Camera()}).revision == 2


class TestOtherProcesses:
    def test_a_run_that_another_process_cancels_ends_within_a_heartbeat(self, world: World) -> None:
        keep = Keep()
        stream = world.stream(case_of({"a": Numbers(num=10**6)}, keep), stands=True, report_s=0.05)
        with standing(stream) as outcomes:
            until(lambda: keep.kept)
            world.ports.store.runs.amend(stream.run.id, cancel=True)
            until(lambda: outcomes, 10)
        run = outcomes[0].run
        assert run.state is RunState.CANCELLED
        assert [sample.seq for sample in keep.kept] == list(range(run.status["sources"]["a"]["read"]))

    def test_what_another_process_writes_is_applied_and_what_it_did_not_touch_goes_on(self, world: World) -> None:
        opened: list[int] = []
        steady = Steady(opened=opened)
        stream = world.stream(
            case_of({"a": steady, "b": Camera(start=1)}, Keep()), stands=True, report_s=0.02, specs=SPECS
        )
        with standing(stream):
            run = world.ports.store.runs.get(stream.run.id)
            sources = {"a": run.spec["sources"]["a"], "c": {"use": "Camera", "start": 3}}
            world.ports.store.runs.amend(run.id, revision=1, spec={"sources": sources})
            until(lambda: set(stream.status()["sources"]) == {"a", "c"})
            assert stream.run.revision == 2
            assert stream.change({"c": None}).revision == 3
            until(lambda: set(stream.status()["sources"]) == {"a"})
        assert opened == [1]

    def test_what_is_wrong_is_told_and_the_run_goes_on_as_it_was(
        self, world: World, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stream = world.stream(case_of({"a": Steady()}, Keep()), stands=True, report_s=0.02, specs=SPECS)
        with standing(stream):
            run = world.ports.store.runs.get(stream.run.id)
            wrong = {"sources": {**run.spec["sources"], "b": {"use": "vidoe"}}}
            world.ports.store.runs.amend(run.id, spec=wrong)
            until(lambda: "spec_error" in stream.status())
            assert "vidoe" in stream.status()["spec_error"]
            assert set(stream.status()["sources"]) == {"a"}
            assert stream.status()["sources"]["a"]["state"] != "stopped"
            time.sleep(0.1)
            assert capsys.readouterr().out.count("was not applied") == 1
            world.ports.store.runs.amend(run.id, spec=run.spec)
            until(lambda: "spec_error" not in stream.status())


def test_a_predictor_that_fails_for_a_source_is_opened_for_the_next_one(world: World) -> None:
    stages = {"analytics": {"x": Picky(bad=(0, 1, 2))}}
    case = Case(name="yard", sources={"a": Numbers(num=3)}, stages=stages)
    stream = world.stream(case, stands=True)
    with standing(stream):
        until(lambda: stream.status()["sources"]["a"]["failed"] == {"x": 3})
        stream.apply({"a": Numbers(num=5)})
        until(lambda: stream.status()["sources"]["a"]["processed"] == 2)


def test_a_change_goes_on_from_what_was_applied(world: World) -> None:
    stream = world.stream(case_of({"a": Steady()}, Keep()), stands=True, specs=SPECS)
    with standing(stream):
        stream.apply({"b": Camera()})
        stream.change({"c": Camera()})
        until(lambda: set(stream.status()["sources"]) == {"b", "c"})
        assert list(world.ports.store.runs.get(stream.run.id).spec["sources"]) == ["b", "c"]


def test_a_source_that_goes_before_it_was_read_is_shown_no_longer(world: World) -> None:
    stream = world.stream(case_of({"a": Steady()}, Keep()), stands=True)
    assert set(stream.status()["sources"]) == {"a"}
    stream.apply({"b": Camera()})
    assert set(stream.status()["sources"]) == {"b"}

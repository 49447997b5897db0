"""The runs that a serving process executes: started, changed, watched and ended, one not disturbing another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event as Flag
from typing import Any

import pytest
from tests.engine.away import Away
from tests.engine.conftest import World
from tests.engine.plugins import Camera, Keep, Numbers, Pairs, Picky, Stuck, Tally

from sightline.core.case import Case
from sightline.core.errors import Conflict, NotFound, Unavailable
from sightline.core.run import Run, RunState
from sightline.engine.holding import HeldRuns
from sightline.engine.streams import StreamRun


def until(happened: Callable[[], object], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.002)


@contextmanager
def holding(world: World, **others: Any) -> Iterator[HeldRuns]:
    runs = HeldRuns(world.ports, **others)
    try:
        yield runs
    finally:
        runs.close(5)


def making(world: World, case: Case, **others: Any) -> Callable[[], StreamRun]:
    return lambda: world.stream(case, stands=True, **others)


def row(runs: HeldRuns, source: str) -> Any:
    [found] = [each for each in runs.status() if each["source"] == source]
    return found


class TestRuns:
    def test_a_run_is_recorded_when_it_has_been_started_and_found_by_its_id(self, world: World) -> None:
        with holding(world) as runs:
            run = runs.start(making(world, Case(name="yard", sources={"a": Camera()})))
            assert world.ports.store.runs.get(run.id).state is RunState.RUNNING
            assert runs.get(run.id).id == run.id
            assert [each.id for each in runs.list()] == [run.id]
            until(lambda: runs.get(run.id).status["sources"]["a"]["read"] > 5)
            runs.stop(run.id)
            until(lambda: not runs.list())
        assert world.ports.store.runs.get(run.id).state is RunState.CANCELLED
        with pytest.raises(NotFound, match=run.id):
            runs.get(run.id)

    def test_stopping_twice_finishes_what_was_read_all_the_same(self, world: World) -> None:
        keep, gate = Keep(), Flag()
        stages = {"analytics": {"x": Picky(gate=gate)}}
        with holding(world) as runs:
            run = runs.start(
                making(world, Case(name="yard", sources={"a": Numbers(num=10**6)}, stages=stages, sinks=(keep,)))
            )
            until(lambda: runs.get(run.id).status["sources"]["a"]["read"] >= 8)
            runs.stop(run.id)
            runs.stop(run.id)
            time.sleep(0.1)
            gate.set()
            until(lambda: not runs.list())
        status = world.ports.store.runs.get(run.id).status["sources"]["a"]
        assert [sample.seq for sample in keep.kept] == list(range(status["read"]))
        assert status["dropped"] == {}

    def test_sources_come_change_and_go(self, world: World) -> None:
        with holding(world) as runs:
            run = runs.start(making(world, Case(name="yard", sources={"a": Camera()})))
            assert runs.add_source(run.id, "b", Camera(), revision=1).revision == 2
            with pytest.raises(Conflict):
                runs.add_source(run.id, "b", Camera())
            with pytest.raises(Conflict):
                runs.change_source(run.id, "b", Camera(every_s=0.002), revision=1)
            until(lambda: row(runs, "b")["read"] > 3)
            assert runs.change_source(run.id, "b", Camera(every_s=0.002), revision=2).revision == 3
            until(lambda: row(runs, "b")["epoch"] == 2)
            assert runs.remove_source(run.id, "b").revision == 4
            until(lambda: {each["source"] for each in runs.status()} == {"a"})
            assert row(runs, "a")["epoch"] == 1
            with pytest.raises(NotFound, match="'b'"):
                runs.remove_source(run.id, "b")
            with pytest.raises(NotFound, match="'b'"):
                runs.change_source(run.id, "b", Camera())
            with pytest.raises(NotFound, match="nothing"):
                runs.remove_source("nothing", "b")

    def test_a_run_that_cannot_be_recorded_is_not_held(self, world: World) -> None:
        with holding(world) as runs:
            run = runs.start(making(world, Case(name="yard")))

            def twice() -> StreamRun:
                stream = world.stream(Case(name="yard"), stands=True)
                world.ports.store.runs.create(stream.run)
                return stream

            with pytest.raises(Conflict):
                runs.start(twice)
            assert [each.id for each in runs.list()] == [run.id]

    def test_one_that_fails_leaves_the_others_alone(self, world: World) -> None:
        with holding(world) as runs:
            bad = runs.start(making(world, Case(name="bad", sources={"a": Camera()}, sinks=(Keep(fail_open=True),))))
            good = runs.start(making(world, Case(name="good", sources={"a": Camera()})))
            until(lambda: [each.id for each in runs.list()] == [good.id])
            assert world.ports.store.runs.get(bad.id).state is RunState.FAILED
            until(lambda: row(runs, "a")["processed"] > 5)

    def test_rows_tell_how_each_camera_is(self, world: World) -> None:
        class Dead(Camera):
            def read(self) -> Any:
                raise Unavailable("The camera is off.")

        with holding(world) as runs:
            run = runs.start(making(world, Case(name="yard", sources={"gate": Camera(every_s=0.05), "door": Dead()})))
            until(lambda: (row(runs, "gate")["source_fps"] or 0) > 0 and row(runs, "door")["state"] == "stopped")
            gate, door = row(runs, "gate"), row(runs, "door")
        assert (gate["run"], gate["case"], gate["state"], gate["epoch"]) == (run.id, "yard", "live", 1)
        assert 2 < gate["source_fps"] <= 20.2
        assert 0 <= gate["age_s"] < 5
        assert (door["state"], door["reason"], door["age_s"], door["fps"]) == (
            "stopped",
            "The camera is off.",
            None,
            None,
        )

    def test_what_collects_from_all_sources_is_no_camera(self, world: World) -> None:
        collector = Pairs(across_sources=True)
        stages = {"analytics": {"x": Tally()}}
        with holding(world) as runs:
            case = Case(name="yard", sources={"a": Camera(), "b": Camera()}, collector=collector, stages=stages)
            run = runs.start(making(world, case))
            until(lambda: runs.get(run.id).status["sources"].get("*", {}).get("processed"))
            assert {each["source"] for each in runs.status()} == {"a", "b"}


class TestEnd:
    def test_all_runs_end_cleanly_and_nothing_begins_any_more(self, world: World) -> None:
        before = set(threading.enumerate())  # perhaps those of a run that another test gave up
        runs = HeldRuns(world.ports)
        keeps = [Keep(), Keep()]
        started = [
            runs.start(making(world, Case(name="yard", sources={"a": Numbers(num=10**6)}, sinks=(keep,))))
            for keep in keeps
        ]
        until(lambda: all(keep.kept for keep in keeps))
        runs.close(10)
        runs.close(10)
        for run, keep in zip(started, keeps, strict=True):
            record = world.ports.store.runs.get(run.id)
            assert record.state is RunState.CANCELLED
            assert [sample.seq for sample in keep.kept] == list(range(record.status["sources"]["a"]["read"]))
            assert keep.closed == ["keep"]
        with pytest.raises(Unavailable, match="is ending"):
            runs.start(making(world, Case(name="yard")))
        assert set(threading.enumerate()) <= before

    def test_what_hangs_is_given_up_after_the_time_to_drain(self, world: World) -> None:
        release = Flag()
        runs = HeldRuns(world.ports)
        run = runs.start(making(world, Case(name="yard", sources={"a": Stuck(release=release), "b": Camera()})))
        until(lambda: runs.get(run.id).status["sources"]["a"]["read"] == 3)
        begin = time.monotonic()
        runs.close(drain_s=0.2)
        assert time.monotonic() - begin < 15
        assert world.ports.store.runs.get(run.id).state is RunState.CANCELLED
        release.set()

    def test_runs_of_dead_processes_are_found(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        away = Away(world.ports.store)
        world.ports.store = away  # type: ignore[assignment]
        dead = world.ports.store.runs.create(Run(case="case"), worker="gone", lease=timedelta(0))
        away.failing = {"expire"}
        with holding(world, every_s=0.01) as runs:
            runs.open()
            runs.open()
            until(lambda: len(away.failed) > 3)
            away.failing = set()
            until(lambda: world.ports.store.runs.get(dead.id).state is RunState.FAILED)
        assert capsys.readouterr().out.count("cannot be looked for") == 1


class TestPictures:
    def test_the_newest_sample_of_each_source_is_there_with_its_payload(self, world: World) -> None:
        with holding(world) as runs:
            run = runs.start(making(world, Case(name="yard", sources={"a": Numbers(num=5), "b": Camera()})))

            def newest() -> Any:
                sample = runs.latest(run.id, "a")
                return sample and sample.payload.values

            until(lambda: newest() == {"value": 4.0})
            assert runs.latest(run.id, "nobody") is None
            with pytest.raises(NotFound):
                runs.latest("nothing", "a")
            runs.remove_source(run.id, "a")
            until(lambda: runs.latest(run.id, "a") is None)

    def test_one_who_looks_on_sees_the_newest_and_is_woken(self, world: World) -> None:
        woken = Flag()
        with holding(world) as runs:
            watch = runs.watch(case="yard", source="a", wake=woken.set)
            other = runs.watch(case="elsewhere")
            run = runs.start(making(world, Case(name="yard", sources={"a": Numbers(num=50), "b": Camera()})))
            until(lambda: row(runs, "a")["state"] == "stopped")
            until(lambda: runs.get(run.id).status["sources"]["a"]["processed"] == 50)
            until(lambda: watch.num_skipped == 49)
            assert woken.is_set()
            finished = watch.take(1)
            assert finished is not None
            assert (finished.run, finished.case, finished.sample.source, finished.sample.seq) == (
                run.id,
                "yard",
                "a",
                49,
            )
            assert watch.take(0) is None
            assert other.take(0) is None

    def test_the_end_of_the_process_wakes_who_looks_on(self, world: World) -> None:
        runs = HeldRuns(world.ports)
        watch = runs.watch()
        taken: list[Any] = []
        reader = threading.Thread(target=lambda: taken.append(watch.take()))
        reader.start()
        runs.close()
        reader.join(20)
        assert taken == [None]
        assert runs.watch().take() is None

    def test_one_that_cannot_be_woken_does_not_end_the_run(self, world: World) -> None:
        def fail() -> None:
            raise RuntimeError("Event loop is closed")

        with holding(world) as runs:
            runs.watch(wake=fail)
            run = runs.start(making(world, Case(name="yard", sources={"a": Camera()})))
            until(lambda: runs.get(run.id).status["sinks"]["written"] > 10)
            assert [each.id for each in runs.list()] == [run.id]

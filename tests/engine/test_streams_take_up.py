"""A run outlives its process: given back, taken up under a new epoch, and its counts go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from threading import Event as Flag
from typing import Any

import pytest
from tests.engine.conftest import World
from tests.engine.plugins import Camera, Keep, Pairs, Tally
from tests.engine.test_holding import holding, row, until

from sightline.core.case import Case
from sightline.core.errors import Conflict, NotFound, Unavailable
from sightline.core.plugins import Context, Source, SourceState
from sightline.core.prediction import Scalar
from sightline.core.run import Run, RunState
from sightline.engine.counters import RunCounters
from sightline.engine.holding import HeldRuns
from sightline.engine.streams import StreamRun
from sightline.engine.wishes import SourceSpecs


def made(world: World, case: Case, **others: Any) -> Callable[[Run], StreamRun]:
    def make(run: Run) -> StreamRun:
        return StreamRun(case, Context(ports=world.ports), run, stands=True, **others)

    return make


def started(world: World, runs: HeldRuns, case: Case) -> Run:
    return runs.start(lambda: made(world, case)(Run(case=case.name, restart="always")))


def counts(runs: HeldRuns, name: str = "a") -> Any:
    return row(runs, name)


def test_a_run_that_shall_go_on_is_given_back_at_the_end_of_its_process_and_counts_go_on(world: World) -> None:
    case = Case(name="yard", sources={"a": Camera(), "gone": Camera()})
    with holding(world) as runs:
        run = started(world, runs, case)
        until(lambda: counts(runs)["processed"] > 20 and counts(runs, "gone")["read"] > 3)
    back = world.ports.store.runs.get(run.id)
    assert (back.state, back.worker, back.finished) == (RunState.SUBMITTED, None, None)
    before = back.status["sources"]["a"]
    with holding(world) as runs:
        taken = runs.take_up(run.id, made(world, Case(name="yard", sources={"a": Camera()})))
        assert (taken.id, taken.token, taken.state) == (run.id, 2, RunState.RUNNING)
        until(lambda: counts(runs)["processed"] > before["processed"] + 5)
        now = runs.get(run.id).status
        assert now["sources"]["a"]["epoch"] == 10_001
        assert now["sources"].keys() == {"a"}
        assert now["removed"][0] == back.status["sources"]["gone"]["read"]
        assert now["elapsed_s"] > back.status["elapsed_s"]
        assert runs.latest(run.id, "a") is not None
        runs.stop(run.id)
        until(lambda: not runs.list())
    assert world.ports.store.runs.get(run.id).state is RunState.CANCELLED
    types = [event.short_type for event in world.recorded(run) if event.subject == f"run/{run.id}"]
    assert types == ["run.submitted", "run.started", "run.submitted", "run.started", "run.cancelled"]


def test_a_run_that_its_user_stopped_is_not_given_back(world: World) -> None:
    with holding(world) as runs:
        run = started(world, runs, Case(name="yard", sources={"a": Camera()}))
        runs.stop(run.id)
    assert world.ports.store.runs.get(run.id).state is RunState.CANCELLED


def test_a_run_that_never_restarts_ends_with_its_process(world: World) -> None:
    with holding(world) as runs:
        run = runs.start(lambda: made(world, Case(name="yard", sources={"a": Camera()}))(Run(case="yard")))
    assert world.ports.store.runs.get(run.id).state is RunState.CANCELLED


def test_what_cannot_be_made_waits_as_before(world: World) -> None:
    with holding(world) as runs:
        run = started(world, runs, Case(name="yard", sources={"a": Camera()}))
    status = world.ports.store.runs.get(run.id).status

    def broken(_: Run) -> StreamRun:
        raise Unavailable("not now")

    with holding(world) as runs:
        with pytest.raises(Unavailable, match="not now"):
            runs.take_up(run.id, broken)
        assert runs.list() == []
    waiting = world.ports.store.runs.get(run.id)
    assert (waiting.state, waiting.status) == (RunState.SUBMITTED, status)


def test_a_run_of_a_dead_process_is_taken_up_at_once_by_who_knows_that_it_is_dead(world: World) -> None:
    dead = world.ports.store.runs.create(Run(case="yard", restart="always"), worker="here:1")
    with holding(world) as runs:
        make = made(world, Case(name="yard", sources={"a": Camera()}))
        with pytest.raises(Conflict, match="held by here:1"):
            runs.take_up(dead.id, make)
        assert runs.take_up(dead.id, make, instead_of="here:1").token == 2


def test_a_run_is_restarted_with_another_case_under_its_old_id(world: World) -> None:
    keep = Keep()
    with holding(world) as runs:
        run = started(world, runs, Case(name="yard", sources={"a": Camera()}))
        until(lambda: counts(runs)["processed"] > 5)
        new = Case(name="yard", sources={"a": Camera()}, stages={"analytics": {"num": Tally()}}, sinks=(keep,))
        again = runs.restart(run.id, made(world, new))
        assert (again.id, again.token) == (run.id, 2)
        assert runs.case(run.id) is new
        until(lambda: len(keep.kept) > 3)
        assert keep.kept[0].epoch == 10_001
        first = keep.kept[0].predictions["num"]
        assert isinstance(first, Scalar)
        assert first.value == 1  # what it remembers began anew
        with pytest.raises(NotFound):
            runs.restart("nobody", made(world, new))


def test_a_run_that_is_being_stopped_is_not_restarted(world: World) -> None:
    with holding(world) as runs:
        run = started(world, runs, Case(name="yard", sources={"a": Camera()}))
        runs.stop(run.id)
        with pytest.raises((Conflict, NotFound)):
            runs.restart(run.id, made(world, Case(name="yard", sources={"a": Camera()})))


def test_what_is_changed_by_hand_is_noted_and_what_follows_the_case_is_not(world: World) -> None:
    with holding(world) as runs:
        run = started(world, runs, Case(name="yard", sources={"a": Camera()}))
        runs.add_source(run.id, "b", Camera(start=5))
        runs.follow(run.id, {"a": Camera(start=7)})
        assert runs.get(run.id).spec["own"] == ["b"]
        assert world.ports.store.runs.get(run.id).spec["own"] == ["b"]
        assert isinstance(runs.sources(run.id)["a"], Camera)
        assert runs.sources(run.id)["a"] == Camera(start=7)


def test_what_the_record_hides_is_kept_before_it_is_recorded_and_forgotten_at_the_end(world: World) -> None:
    kept: list[Mapping[str, Source]] = []
    over = Flag()
    specs = SourceSpecs(keep=lambda sources: kept.append(dict(sources)), forget=over.set)
    with holding(world) as runs:
        make = made(world, Case(name="yard", sources={"a": Camera()}), specs=specs)
        run = runs.start(lambda: make(Run(case="yard", restart="always")))
        assert [each.keys() for each in kept] == [{"a"}]
        runs.add_source(run.id, "b", Camera())
        assert kept[-1].keys() == {"a", "b"}
    assert not over.is_set()
    with holding(world) as runs:
        runs.take_up(run.id, make)
        runs.stop(run.id)
    assert over.is_set()


def test_the_threads_of_a_source_are_known_while_they_work(world: World) -> None:
    with holding(world) as runs:
        run = started(world, runs, Case(name="yard", sources={"a": Camera(), "b": Camera()}))
        until(lambda: len(runs.threads().get((run.id, "b"), ())) == 2)
        assert len({each for ids in runs.threads().values() for each in ids}) == 4


def test_late_samples_go_on_from_the_earlier_collector() -> None:
    counters = RunCounters()
    counters.late("*", 4)
    again = RunCounters()
    again.resume(counters.snapshot(), {"*"})
    again.late("*", 3)
    assert again.snapshot()["sources"]["*"]["late"] == 7


def test_a_joint_collector_counts_on(world: World) -> None:
    case = Case(name="yard", sources={"a": Camera()}, collector=Pairs(across_sources=True))
    with holding(world) as runs:
        run = started(world, runs, case)
        until(lambda: runs.get(run.id).status["sources"].get("*", {}).get("processed", 0) > 3)
    before = world.ports.store.runs.get(run.id).status["sources"]["*"]["processed"]
    with holding(world) as runs:
        runs.take_up(run.id, made(world, case))
        until(lambda: runs.get(run.id).status["sources"]["*"]["processed"] > before + 1)


def test_since_tells_when_a_state_began() -> None:
    seconds = [0.0]
    begin = datetime(2026, 11, 20, tzinfo=UTC)
    counters = RunCounters(now=lambda: seconds[0], clock=lambda: begin + timedelta(seconds=seconds[0]))
    counters.add("a")
    seconds[0] = 2
    counters.state("a", SourceState.LIVE)
    seconds[0] = 5
    counters.state("a", SourceState.LIVE, "still")
    assert counters.snapshot()["sources"]["a"]["since"] == "2026-11-20T00:00:02.000000Z"

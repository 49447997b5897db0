"""How runs end when somebody stops them, when a plug-in hangs, and when the database is away."""

from __future__ import annotations

import _thread
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest
from tests.engine.away import Away
from tests.engine.conftest import World, ended
from tests.engine.plugins import Alarm, Camera, Keep, Numbers, Pairs, Picky, Stuck, Tally, Waits

from sightline.core.case import Case
from sightline.core.errors import Cancelled, Conflict, Unavailable
from sightline.core.run import Run, RunState
from sightline.core.sample import Sample
from sightline.engine.record import fail_dead_runs
from sightline.engine.streams import Outcome, StreamRun


@pytest.fixture
def away(world: World) -> Away:
    store = Away(world.ports.store)
    world.ports.store = store  # type: ignore[assignment]
    return store


@contextmanager
def executing(stream: StreamRun) -> Iterator[Callable[[], Outcome]]:
    """Execute in a thread; what is given waits for the outcome."""
    outcomes: list[Outcome] = []
    thread = Thread(target=lambda: outcomes.append(stream.execute()), daemon=True)
    thread.start()

    def outcome(timeout_s: float = 20) -> Outcome:
        thread.join(timeout_s)
        assert outcomes, "the run does not end"
        return outcomes[0]

    yield outcome


def until(happened: Callable[[], object], timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.002)


class TestStop:
    def test_everything_that_was_read_is_written(self, world: World) -> None:
        keep = Keep()
        stages = {"analytics": {"x": Picky(takes_s=0.002)}}
        stream = world.stream(Case(name="case", sources={"a": Numbers(num=10**6)}, stages=stages, sinks=(keep,)))
        with executing(stream) as outcome:
            until(lambda: len(keep.kept) > 20)
            stream.stop()
            run = outcome().run
        assert run.state is RunState.CANCELLED
        assert outcome().error is None
        read = run.status["sources"]["a"]["read"]
        assert [sample.seq for sample in keep.kept] == list(range(read))
        assert keep.closed == ["keep"]
        assert world.recorded(run)[-1].short_type == "run.cancelled"

    def test_a_window_that_is_half_full_is_written_too(self, world: World) -> None:
        keep = Keep()
        stream = world.stream(
            Case(name="case", sources={"a": Waits(num=3)}, collector=Pairs(across_sources=True), sinks=(keep,))
        )
        with executing(stream) as outcome:
            until(lambda: stream.counters.totals()[0] == 3)
            stream.stop()
            outcome()
        assert [len(sample.payload.samples) for sample in keep.kept] == [2, 1]

    def test_before_the_run_begins_it_ends_the_run_at_once(self, world: World) -> None:
        stream = world.stream(Case(name="case", sources={"cam": Camera(), "a": Numbers(num=10**6)}))
        stream.stop()
        assert ended(stream).run.state is RunState.CANCELLED

    @pytest.mark.parametrize("where", ["predictor", "sink"])
    def test_a_second_time_it_gives_up_what_hangs(self, world: World, where: str) -> None:
        gate = Flag()
        closed: list[str] = []
        case = Case(
            name="case",
            sources={"a": Numbers(num=10**6, closed=closed)},
            stages={"analytics": {"x": Picky(gate=gate if where == "predictor" else None)}},
            sinks=(Keep(gate=gate if where == "sink" else None),),
        )
        stream = world.stream(case)
        with executing(stream) as outcome:
            until(lambda: stream.counters.totals()[0] >= 8)
            stream.stop()
            time.sleep(0.1)
            stream.stop()
            begin = time.monotonic()
            assert outcome().run.state is RunState.CANCELLED
            assert time.monotonic() - begin < 15
            assert world.ports.store.runs.get(outcome().run.id).state is RunState.CANCELLED
        gate.set()
        until(lambda: closed == ["a"])

    def test_what_was_given_up_is_counted_as_abandoned(self, world: World) -> None:
        gate = Flag()
        case = Case(name="case", sources={"a": Numbers(num=10**6)}, stages={"analytics": {"x": Picky(gate=gate)}})
        stream = world.stream(case)
        with executing(stream) as outcome:
            until(lambda: stream.counters.totals()[0] >= 8)
            stream.stop()
            stream.stop()
            gate.set()  # within the moment of grace: the threads can still end
            counts = outcome().run.status["sources"]["a"]
        assert counts["read"] == counts["processed"] + counts["dropped"]["abandoned"]
        assert counts["state"] == "stopped"

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
    def test_a_signal_handler_may_call_it_whatever_the_run_is_doing(self, world: World) -> None:
        streams: list[StreamRun] = []
        before = signal.signal(signal.SIGALRM, lambda *_: streams[-1].stop())
        try:
            for number in range(12):
                streams.append(world.stream(Case(name="case", sources={"cam": Camera(), "a": Numbers(num=10**6)})))
                signal.setitimer(signal.ITIMER_REAL, 0.005 + 0.004 * number, 0.003)  # again and again
                state = streams[-1].execute().run.state
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert state is RunState.CANCELLED
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def test_ctrl_c_that_nobody_handles_ends_and_records_the_run_before_it_goes_on(self, world: World) -> None:
        keep = Keep()
        stream = world.stream(Case(name="case", sources={"cam": Camera()}, sinks=(keep,)))
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored

        def interrupt() -> None:
            until(lambda: keep.kept)
            _thread.interrupt_main()

        try:
            Thread(target=interrupt).start()
            with pytest.raises(KeyboardInterrupt):
                stream.execute()
        finally:
            signal.signal(signal.SIGINT, before)
        assert world.ports.store.runs.get(stream.run.id).state is RunState.CANCELLED
        assert keep.closed == ["keep"]


class TestStuck:
    def test_a_source_that_does_not_come_back_is_left_behind_and_what_it_gave_is_written(self, world: World) -> None:
        release, keep = Flag(), Keep()
        case = Case(
            name="case",
            sources={"stuck": Stuck(release=release), "cam": Camera()},
            collector=Pairs(),
            sinks=(keep,),
        )
        outcome = ended(world.stream(case, duration_s=1.0, patience_s=0.1))
        assert outcome.error is None
        assert outcome.run.state is RunState.COMPLETED
        windows = [sample.payload.samples for sample in keep.kept if sample.source == "stuck"]
        assert [[sample.seq for sample in window] for window in windows] == [[0, 1], [2]]
        assert keep.closed == ["keep"]
        [stopped] = [event for event in world.recorded(outcome.run, ["source.stopped"]) if "/stuck" in event.source]
        assert "left behind" in stopped.data["reason"]
        release.set()

    def test_a_source_that_does_not_open_or_close_is_left_behind(self, world: World) -> None:
        release = Flag()

        class Opens(Numbers):
            def open(self, context: Any) -> None:
                super().open(context)
                release.wait(30)

        class Closes(Numbers):
            def close(self) -> None:
                release.wait(30)

        case = Case(name="case", sources={"opens": Opens(), "closes": Closes(), "cam": Camera()})
        begin = time.monotonic()
        outcome = ended(world.stream(case, duration_s=1.0, patience_s=0.1))
        assert time.monotonic() - begin < 15
        assert outcome.run.status["sources"]["closes"]["processed"] == 10
        release.set()

    def test_analysis_that_takes_long_is_waited_for(self, world: World) -> None:
        keep = Keep()
        stages = {"analytics": {"slow": Picky(takes_s=0.15)}}
        case = Case(name="case", sources={"a": Numbers(num=10**6)}, stages=stages, sinks=(keep,))
        outcome = ended(world.stream(case, duration_s=0.5, patience_s=0.05))
        assert outcome.run.state is RunState.COMPLETED
        read = outcome.run.status["sources"]["a"]["read"]
        assert read >= 8
        assert [sample.seq for sample in keep.kept] == list(range(read))


class TestLease:
    @pytest.mark.parametrize("where", ["predictor", "collector", "sink"])
    def test_it_is_kept_while_the_run_finishes_whatever_takes_long(self, world: World, away: Away, where: str) -> None:
        gate = Flag()

        class Holds(Pairs):
            def flush(self) -> Any:
                gate.wait(30)
                return super().flush()

        case = Case(
            name="case",
            sources={"cam": Camera(num=5)},
            stages={"analytics": {"x": Picky(gate=gate)} if where == "predictor" else {"x": Tally()}},
            collector=Holds(across_sources=True) if where == "collector" else None,
            sinks=(Keep(gate=gate if where == "sink" else None),),
        )
        stream = world.stream(case, report_s=0.01, patience_s=0.05)
        with executing(stream) as outcome:
            until(lambda: stream.counters.totals()[0] >= 1)
            stream.stop()
            time.sleep(0.1)
            before = len(away.reports)
            until(lambda: len(away.reports) >= before + 5)
            gate.set()
            assert outcome().run.state is RunState.CANCELLED

    def test_a_run_that_another_process_has_ended_stops(self, world: World) -> None:
        keep = Keep()
        stream = world.stream(Case(name="case", sources={"cam": Camera()}, sinks=(keep,)), report_s=0.01)
        with executing(stream) as outcome:
            until(lambda: keep.kept)
            run = world.ports.store.runs.list(limit=1)[0]
            world.ports.store.runs.finish(run.id, run.token, RunState.FAILED, status={}, error="taken for dead")
            error = outcome().error
        assert isinstance(error, Conflict)
        assert keep.closed == ["keep"]
        assert world.ports.store.runs.get(run.id).error == "taken for dead"

    def test_a_run_whose_lease_has_passed_is_marked_as_failed_by_the_next(self, world: World) -> None:
        dead = world.ports.store.runs.create(Run(case="case"), worker="gone", lease=timedelta(0))
        alive = world.ports.store.runs.create(Run(case="case"), worker="here")
        fail_dead_runs(world.ports)
        assert world.ports.store.runs.get(dead.id).state is RunState.FAILED
        assert "lease passed" in (world.ports.store.runs.get(dead.id).error or "")
        assert world.ports.store.runs.get(alive.id).state is RunState.RUNNING
        assert [event.short_type for event in world.recorded(dead)] == ["run.failed"]


class TestDatabaseAway:
    def test_a_run_goes_on_while_it_cannot_report_and_reports_again(
        self, world: World, away: Away, capsys: pytest.CaptureFixture[str]
    ) -> None:
        keep = Keep()
        away.failing = {"report"}
        stream = world.stream(Case(name="case", sources={"cam": Camera()}, sinks=(keep,)), report_s=0.01)
        with executing(stream) as outcome:
            until(lambda: len(away.failed) >= 5)
            before = len(keep.kept)
            until(lambda: len(keep.kept) > before)
            away.failing = set()
            until(lambda: len(away.reports) >= 2)
            stream.stop()
            assert outcome().run.state is RunState.CANCELLED
        assert outcome().error is None
        assert capsys.readouterr().out.count("the run cannot report") == 1

    def test_events_wait_for_it_and_all_are_recorded_in_order(self, world: World, away: Away) -> None:
        keep = Keep()
        case = Case(
            name="case", sources={"a": Numbers(num=50)}, stages={"analytics": {"x": Alarm(every=1)}}, sinks=(keep,)
        )

        def come_back(call: str) -> None:
            if call == "append" and len(keep.kept) >= 20:
                away.failing = set()

        away.failing = {"append"}
        stream = world.stream(case, chunk=1, watch=lambda sample: come_back("append") if sample.seq == 30 else None)
        outcome = ended(stream)
        assert outcome.error is None
        assert len(keep.kept) == 50
        alerts = world.recorded(outcome.run, ["threshold.alert"])
        assert [event.data["sample"] for event in alerts] == [f"a/1/{seq}" for seq in range(50)]
        told = [event.data["sample"] for event in world.published() if event.short_type == "threshold.alert"]
        assert told == [event.data["sample"] for event in alerts]
        assert outcome.run.status["sinks"]["lost"] == {}

    def test_events_that_it_never_took_fail_the_run_and_are_counted(
        self, world: World, away: Away, capsys: pytest.CaptureFixture[str]
    ) -> None:
        keep = Keep()
        case = Case(
            name="case", sources={"a": Numbers(num=9)}, stages={"analytics": {"x": Alarm(every=3)}}, sinks=(keep,)
        )
        away.failing = {"append"}
        outcome = world.execute(case)
        assert isinstance(outcome.error, Unavailable)
        assert outcome.run.state is RunState.FAILED
        assert outcome.run.status["sinks"]["lost"] == {"events": 3}
        assert capsys.readouterr().out.count("] events wait for the database") == 1
        assert len(keep.kept) == 9

    def test_the_end_is_recorded_when_it_comes_back(self, world: World, away: Away) -> None:
        away.failing = {"finish"}
        away.on_failure = lambda _: away.failing.clear()
        outcome = world.execute(Case(name="case", sources={"a": Numbers()}))
        assert away.failed == ["finish"]
        assert outcome.error is None
        assert world.ports.store.runs.get(outcome.run.id).state is RunState.COMPLETED

    def test_an_end_that_it_never_took_is_the_error_of_the_run(self, world: World, away: Away) -> None:
        away.failing = {"finish"}
        stream = world.stream(Case(name="case", sources={"a": Numbers()}))

        def lose_patience(_: str) -> None:
            stream.stop()
            stream.stop()

        away.on_failure = lose_patience
        outcome = ended(stream)
        assert isinstance(outcome.error, Unavailable)
        assert world.ports.store.runs.get(outcome.run.id).state is RunState.RUNNING


def test_a_model_that_is_closed_under_a_run_costs_samples_and_hangs_nobody(world: World) -> None:
    class Closed(Picky):
        def predict(self, samples: Sequence[Sample[Any]]) -> Any:
            raise Cancelled("The model is being closed.")

    case = Case(name="case", sources={"a": Numbers(num=20)}, stages={"analytics": {"x": Closed()}})
    outcome = world.execute(case)
    assert outcome.run.state is RunState.FAILED
    assert outcome.run.status["sources"]["a"]["failed"] == {"x": 20}


def test_threads_of_a_run_end_with_it(world: World) -> None:
    import threading

    before = set(threading.enumerate())  # perhaps those of a run that another test gave up
    case = Case(name="case", sources={"only-here": Numbers()}, sinks=(Keep(),))
    world.execute(case)
    assert set(threading.enumerate()) <= before

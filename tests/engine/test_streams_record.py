"""What a run leaves in the store and on the bus, and whom it tells."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event, Thread
from typing import Any

import pytest
from tests.engine.conftest import World, ended
from tests.engine.plugins import Alarm, Camera, Keep, Numbers, Picky

from sightline.core.case import Case
from sightline.core.errors import SightlineError
from sightline.core.plugins import SourceState
from sightline.core.prediction import Prediction
from sightline.core.run import RunState
from sightline.core.sample import Sample


class TestRecord:
    def test_the_life_of_a_run_is_recorded_and_told(self, world: World) -> None:
        gate = Event()
        stream = world.stream(
            Case(name="case", sources={"a": Numbers(num=8)}, stages={"analytics": {"x": Picky(gate=gate)}}),
            report_s=0.01,
        )
        seen: list[RunState] = []

        def look() -> None:
            [run] = world.ports.store.runs.list(limit=1)
            seen.append(run.state)
            assert run.worker is not None
            assert run.token == 1
            while not world.ports.store.runs.get(run.id).status:
                time.sleep(0.005)
            gate.set()

        outcome = _with(stream, look)
        assert seen == [RunState.RUNNING]
        told = [event.short_type for event in world.published() if event.short_type.startswith("run.")]
        assert told[:2] == ["run.submitted", "run.started"]
        assert told[-1] == "run.completed"
        assert set(told[2:-1]) == {"run.progress"}
        durable = [event.short_type for event in world.recorded(outcome.run)]
        assert durable == ["run.submitted", "run.started", "source.stopped", "run.completed"]
        run = world.ports.store.runs.get(outcome.run.id)
        assert run == outcome.run
        assert (run.state, run.worker, run.error) == (RunState.COMPLETED, None, None)
        assert run.status["sources"]["a"]["processed"] == 8
        assert run.status["sinks"] == {"written": 8, "lost": {}}
        assert run.started is not None
        assert run.finished is not None
        assert run.started <= run.finished

    def test_findings_with_events_are_durable_once_and_published(self, world: World) -> None:
        case = Case(name="street", sources={"a": Numbers(num=7)}, stages={"analytics": {"alarm": Alarm(every=3)}})
        outcome = world.execute(case)
        recorded = world.recorded(outcome.run, ["threshold.alert"])
        assert [event.data["sample"] for event in recorded] == ["a/1/0", "a/1/3", "a/1/6"]
        assert [event.source for event in recorded] == ["/cases/street/sources/a"] * 3
        published = [event.id for event in world.published() if event.short_type == "threshold.alert"]
        assert published == [event.id for event in recorded]

    def test_an_event_that_no_database_takes_costs_itself_alone(self, world: World) -> None:
        class Odd(Alarm):
            def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
                self.data = {"x": object()} if samples[0].seq == 2 else {"x": 1}
                return [super(Odd, self).predict([sample])[0] for sample in samples]

        keep = Keep()
        case = Case(
            name="case", sources={"a": Numbers(num=6)}, stages={"analytics": {"alarm": Odd(every=1)}}, sinks=(keep,)
        )
        outcome = world.execute(case, chunk=1)
        assert len(keep.kept) == 6
        recorded = world.recorded(outcome.run, ["threshold.alert"])
        assert [event.data["sample"] for event in recorded] == ["a/1/0", "a/1/1", "a/1/3", "a/1/4", "a/1/5"]
        assert outcome.run.status["sinks"]["lost"] == {"events": 1}

    def test_changes_of_a_sources_state_are_durable_and_told_once(self, world: World) -> None:
        class Blinks(Camera):
            def read(self) -> Any:
                for state in (SourceState.LIVE, SourceState.LIVE, SourceState.STALLED, SourceState.LIVE):
                    self.context.state(state, "")
                yield from super().read()

        outcome = world.execute(Case(name="case", sources={"cam": Blinks(num=3)}))
        durable = [event.short_type for event in world.recorded(outcome.run)]
        states = [name for name in durable if name.startswith("source.")]
        assert states == ["source.live", "source.stalled", "source.live", "source.stopped"]

    def test_a_watcher_sees_every_sample_and_may_fail_without_harm_to_the_sinks(self, world: World) -> None:
        seen: list[int] = []

        def watch(sample: Sample[Any]) -> None:
            seen.append(sample.seq)
            if len(seen) == 3:
                raise OSError("the screen is gone")

        keep = Keep()
        outcome = world.execute(Case(name="case", sources={"a": Numbers(num=500)}, sinks=(keep,)), watch=watch)
        assert seen == [0, 1, 2]
        assert "the screen is gone" in str(outcome.error)
        counts = outcome.run.status["sources"]["a"]
        assert len(keep.kept) == counts["read"]


def _with(stream: Any, look: Any) -> Any:
    """Execute, and look from another thread meanwhile."""
    errors: list[BaseException] = []

    def looked() -> None:
        try:
            while not stream.counters.totals()[0]:
                time.sleep(0.005)
            look()
        except BaseException as error:  # noqa: BLE001 - for the test's own thread
            errors.append(error)
            stream.stop()

    thread = Thread(target=looked)
    thread.start()
    outcome = ended(stream)
    thread.join(20)
    assert not errors, errors
    return outcome


def test_without_a_record_a_run_does_not_begin(world: World) -> None:
    keep = Keep()
    stream = world.stream(Case(name="case", sources={"a": Numbers()}, sinks=(keep,)))
    world.ports.store.runs.create(stream.run)
    with pytest.raises(SightlineError):
        stream.execute()
    assert keep.kept == []

"""Shape letters: N rows, C columns."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from tests.engine.bench import Bench, OwnRuntime, OwnSession, x
from tests.engine.nets import doubling_net, scaling_net, summing_net

from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.adapters.runtime_onnx import OnnxRuntime
from sightline.core.errors import Cancelled, DeadlineExceeded, InvalidInput, InvalidModel, ModelNotFound, Unavailable
from sightline.core.model import ModelCard
from sightline.core.ports import Array, Tensors
from sightline.core.stores import ModelStore
from sightline.engine.call import Call, Priority, calling
from sightline.engine.registry import ModelRegistry
from sightline.engine.sessions import ModelSessions


def test_handles_of_one_model_share_one_session_that_is_opened_at_first_use(bench: Bench, own: OwnRuntime) -> None:
    first, second = bench.sessions.open(str(bench.path)), bench.sessions.open(str(bench.path))
    assert own.opened == []
    assert first.version == "double@1"
    assert own.opened == []
    assert first.run(x(3))["y"].tolist() == [[6, 6]]
    assert second.run(x(4, rows=2))["y"].tolist() == [[8, 8], [8, 8]]
    assert own.opened == [bench.path]


def test_a_card_is_that_of_the_opened_model(bench: Bench) -> None:
    assert bench.sessions.open(str(bench.path)).card.inputs[0].name == "x"


def test_first_use_by_many_threads_opens_once(bench: Bench, own: OwnRuntime) -> None:
    own.before = lambda: time.sleep(0.02)
    handle = bench.sessions.open(str(bench.path))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda value: handle.run(x(value))["y"][0, 0], range(8)))
    assert answers == [2 * value for value in range(8)]
    assert len(own.opened) == 1


def test_a_failure_to_open_reaches_every_caller_and_the_next_may_succeed(bench: Bench, own: OwnRuntime) -> None:
    def fail() -> None:
        raise InvalidModel("It is cut off.")

    own.before = fail
    handle = bench.sessions.open(str(bench.path))
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(handle.run, x()) for _ in range(3)]
        assert all(isinstance(future.exception(20), InvalidModel) for future in futures)
    own.before = lambda: None
    assert handle.run(x(5))["y"][0, 0] == 10


def test_a_damaged_file_is_refused_before_anything_is_opened(bench: Bench, own: OwnRuntime) -> None:
    bench.path.write_bytes(b"junk")
    with pytest.raises(InvalidModel):
        bench.sessions.open(str(bench.path))
    assert own.opened == []


def test_a_file_that_changed_under_its_name_is_opened_anew(bench: Bench, own: OwnRuntime) -> None:
    bench.sessions.open(str(bench.path)).run(x())
    os.utime(bench.path, ns=(1, 1))
    bench.sessions.open(str(bench.path)).run(x())
    assert len(own.opened) == 2


def test_the_version_that_ran_is_noted_in_the_call(bench: Bench) -> None:
    handle = bench.sessions.open(str(bench.path))
    with calling(Call(priority=Priority.STREAM)) as call:
        handle.run(x())
        handle.run(x())
    assert call.versions == ["double@1"]


def test_a_caller_waits_no_longer_than_its_deadline_and_the_worker_goes_on(tmp_path: Path, own: OwnRuntime) -> None:
    bench = Bench(tmp_path, own, num_workers=1)
    handle = bench.sessions.open(str(bench.path))
    handle.run(x())
    own.sessions[0].entered.clear()
    own.gate.clear()
    busy = handle.submit(x(7))
    assert own.sessions[0].entered.wait(20)
    begin = time.monotonic()
    for _ in range(4):
        with calling(Call(deadline_s=time.monotonic() + 0.02)), pytest.raises(DeadlineExceeded):
            handle.run(x(9))
    assert time.monotonic() - begin < 15
    own.gate.set()
    assert busy.result(20)["y"][0, 0] == 14
    # Those four were dropped by the worker, which must not have died of it.
    for value in range(10):
        assert handle.submit(x(value)).result(20)["y"][0, 0] == 2 * value
    assert sum(own.sessions[0].sizes) == 12
    bench.sessions.close()


def test_a_caller_does_not_wait_beyond_its_deadline_for_anothers_opening(bench: Bench, own: OwnRuntime) -> None:
    opening, opened = Event(), Event()

    def slow() -> None:
        opening.set()
        opened.wait(30)

    own.before = slow
    handle = bench.sessions.open(str(bench.path))
    first = Thread(daemon=True, target=handle.run, args=(x(),))
    first.start()
    opening.wait(20)
    with calling(Call(deadline_s=time.monotonic() + 0.02)), pytest.raises(DeadlineExceeded):
        handle.run(x())
    opened.set()
    first.join(20)
    assert not first.is_alive()


def test_what_waits_is_batched(tmp_path: Path, own: OwnRuntime) -> None:
    bench = Bench(tmp_path, own, num_workers=1)
    handle = bench.sessions.open(str(bench.path))
    handle.run(x())
    own.sessions[0].entered.clear()
    own.gate.clear()
    first = handle.submit(x())
    assert own.sessions[0].entered.wait(20)
    futures = [handle.submit(x(value)) for value in range(5)]
    own.gate.set()
    assert [future.result(20)["y"][0, 0] for future in (first, *futures)] == [2, 0, 2, 4, 6, 8]
    assert own.sessions[0].sizes == [1, 1, 5]
    bench.sessions.close()


def test_an_error_hits_only_its_caller(tmp_path: Path, own: OwnRuntime) -> None:
    bench = Bench(tmp_path, own, num_workers=1)
    handle = bench.sessions.open(str(bench.path))
    own.gate.clear()
    futures = [handle.submit(x(value)) for value in (1, 13, 2, 3)]
    own.gate.set()
    assert isinstance(futures[1].exception(20), InvalidInput)
    assert [futures[n].result(20)["y"][0, 0] for n in (0, 2, 3)] == [2, 4, 6]
    bench.sessions.close()


def test_a_net_that_cannot_batch_runs_call_by_call(tmp_path: Path) -> None:
    own = OwnRuntime(batchable=False)
    bench = Bench(tmp_path, own, num_workers=1)
    handle = bench.sessions.open(str(bench.path))
    futures = [handle.submit(x(value, rows=2)) for value in range(3)]
    assert [future.result(20)["y"][0, 0] for future in futures] == [0, 2, 4]
    assert own.sessions[0].sizes == [2, 2, 2]
    bench.sessions.close()


def test_closing_while_busy_answers_everybody_and_closes_the_session(bench: Bench, own: OwnRuntime) -> None:
    handle = bench.sessions.open(str(bench.path))
    handle.run(x())
    own.sessions[0].entered.clear()
    own.gate.clear()
    inside = [handle.submit(x()) for _ in range(2)]
    assert own.sessions[0].entered.wait(20)
    while bench.sessions.loaded()[0].queue_rows:
        time.sleep(0.001)
    waiting: list[Future[Any]] = [handle.submit(x()) for _ in range(3)]
    waiting[1].cancel()
    closer = Thread(daemon=True, target=bench.sessions.close)
    closer.start()
    assert isinstance(waiting[0].exception(20), Cancelled)
    assert isinstance(waiting[2].exception(20), Cancelled)
    assert not own.sessions[0].closed
    own.gate.set()
    closer.join(20)
    assert [future.result(20)["y"][0, 0] for future in inside] == [2, 2]
    assert bool(own.sessions[0].closed)
    with pytest.raises(Cancelled):
        handle.run(x())


def test_a_handle_that_was_never_used_opens_nothing_after_the_end(bench: Bench, own: OwnRuntime) -> None:
    handle = bench.sessions.open(str(bench.path))
    bench.sessions.close()
    with pytest.raises(Cancelled):
        handle.run(x())
    assert own.opened == []


def test_a_meter_that_fails_stops_no_worker(bench: Bench) -> None:
    handle = bench.sessions.open(str(bench.path))
    bench.meter.count("model_seconds")  # as a number of another kind: each observation fails from now on
    for value in range(6):
        assert handle.run(x(value))["y"][0, 0] == 2 * value


class TestOnnxRuntime:
    """The same with the real thing."""

    def test_a_net_of_any_batch_is_shared(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, OnnxRuntime())
        handle = bench.sessions.open(str(bench.path))
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda value: handle.run(x(value, rows=1 + value % 3))["y"], range(64)))
        assert [(len(y_NC), y_NC[0, 0]) for y_NC in answers] == [(1 + value % 3, 2 * value) for value in range(64)]
        assert [spec.shape for spec in handle.card.inputs] == [("n", 2)]
        bench.sessions.close()

    @pytest.mark.parametrize("rows", [1, 4])
    def test_a_net_of_a_fixed_batch_takes_any_number_of_rows(self, tmp_path: Path, rows: int) -> None:
        bench = Bench(tmp_path, OnnxRuntime())
        handle = bench.sessions.open(str(doubling_net(tmp_path / "fixed.onnx", rows=rows)))
        futures = [handle.submit(x(value, rows=1 + value)) for value in range(6)]
        for value, future in enumerate(futures):
            assert future.result(20)["y"].tolist() == [[2 * value] * 2] * (1 + value)
        bench.sessions.close()

    def test_a_net_whose_rows_meet_is_found_out_and_answers_each_alone(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, OnnxRuntime(), num_workers=1)
        handle = bench.sessions.open(str(summing_net(tmp_path / "sum.onnx")))
        futures = [handle.submit(x(value, rows=2)) for value in range(6)]
        assert [future.result(20)["y"].tolist() for future in futures] == [[[4 * value] * 2] for value in range(6)]
        bench.sessions.close()

    def test_a_net_with_a_number_as_input_runs(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, OnnxRuntime())
        handle = bench.sessions.open(str(scaling_net(tmp_path / "scale.onnx")))
        out = handle.run({"x": np.ones((3, 2), np.float32), "by": np.array(5, np.float32)})
        assert out["y"].tolist() == [[5, 5]] * 3
        bench.sessions.close()

    def test_feeds_that_do_not_fit_are_refused_and_the_next_are_answered(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, OnnxRuntime())
        handle = bench.sessions.open(str(bench.path))
        for wrong in ({"z": np.ones((1, 2), np.float32)}, {"x": np.ones((1, 3), np.float32)}, {"x": np.ones((1, 2))}):
            with pytest.raises(InvalidInput):
                handle.run(wrong)
        assert handle.run(x(2))["y"][0, 0] == 4
        bench.sessions.close()

    def test_the_card_of_the_file_names_the_version(self, tmp_path: Path) -> None:
        path = doubling_net(tmp_path / "named.onnx", card=ModelCard(name="twice", version="7", labels=("a", "b")))
        bench = Bench(tmp_path, OnnxRuntime())
        handle = bench.sessions.open(str(path))
        assert handle.version == "twice@7"
        assert handle.card.label(1) == "b"
        bench.sessions.close()


def test_what_is_missing_is_said_when_the_handle_is_made(tmp_path: Path, own: OwnRuntime) -> None:
    class Nothing(ModelStore):
        def add(self, model: Any, *, events: Any = ()) -> Any:
            raise Unavailable("no store")

        def get(self, name: str, version: str | None = None) -> Any:
            raise ModelNotFound(name)

        def list(self, name: str | None = None) -> Any:
            return []

        def point(self, name: str, alias: str, version: str, *, expected: str | None, events: Any = ()) -> None:
            raise ModelNotFound(name)

        def history(self, name: str, alias: str) -> Any:
            return []

        def taken(self, name: str) -> Any:
            return []

        def remove(self, name: str, version: str, *, events: Any = ()) -> None:
            raise ModelNotFound(name)

    registry = ModelRegistry(models=Nothing, artifacts=lambda: None, root=tmp_path, shipped=tmp_path)  # type: ignore[arg-type,return-value]
    sessions = ModelSessions(registry=registry, runtime=own, meter=PrometheusMeter())
    with pytest.raises(ModelNotFound, match="'yolo'"):
        sessions.open("yolo")


def test_a_model_whose_outputs_have_no_row_per_row_is_never_batched_again(tmp_path: Path) -> None:
    class Summing(OwnSession):
        def run(self, feeds: Tensors) -> dict[str, Array]:
            return {"sum": super().run(feeds)["y"].sum(axis=0)}

    class SummingRuntime(OwnRuntime):
        def open(self, path: Path, *, name: str = "", device: str = "auto") -> OwnSession:
            self.sessions.append(Summing(super().open(path, name=name, device=device).card, self.gate))
            return self.sessions[-1]

    own = SummingRuntime()
    bench = Bench(tmp_path, own, num_workers=1)
    handle = bench.sessions.open(str(bench.path))
    handle.run(x(rows=3))  # this call shows it
    session = own.sessions[-1]
    session.entered.clear()
    own.gate.clear()
    first = handle.submit(x(rows=3))
    assert session.entered.wait(20)
    futures = [handle.submit(x(value, rows=3)) for value in range(4)]
    own.gate.set()
    first.result(20)
    assert [future.result(20)["sum"].tolist() for future in futures] == [[6 * value] * 2 for value in range(4)]
    assert session.sizes == [3] * 6
    # Nothing is asked of the first axis any more.
    assert handle.run({"x": np.zeros((0, 2), np.float32)})["sum"].tolist() == [0, 0]
    bench.sessions.close()


def test_a_caller_that_gives_up_while_its_work_waits_is_free_at_once_and_its_work_never_runs(
    tmp_path: Path, own: OwnRuntime
) -> None:
    bench = Bench(tmp_path, own, num_workers=1)
    handle = bench.sessions.open(str(bench.path))
    handle.run(x())
    own.sessions[0].entered.clear()
    own.gate.clear()
    busy = handle.submit(x())
    assert own.sessions[0].entered.wait(20)
    gone, errors = Event(), list[Exception]()

    def ask() -> None:
        with calling(Call(cancelled=gone)):
            try:
                handle.run(x(7))
            except Cancelled as error:
                errors.append(error)

    caller = Thread(target=ask, daemon=True)
    caller.start()
    gone.set()
    caller.join(20)
    assert len(errors) == 1
    own.gate.set()
    busy.result(20)
    bench.sessions.close()
    assert own.sessions[0].sizes == [1, 1]


def test_times_and_rows_reach_the_call_and_the_meter(bench: Bench, own: OwnRuntime) -> None:
    handle = bench.sessions.open(str(bench.path))
    with calling(Call()) as call:
        handle.run(x(rows=3))
    assert set(call.spans) == {"queue", "inference"}
    bench.sessions.close()
    numbers = bench.meter.render().decode()
    assert 'sightline_model_batch_rows_sum{model="double@1"} 3.0' in numbers
    assert 'sightline_model_seconds_count{model="double@1"} 1.0' in numbers
    assert 'sightline_model_loads_total{model="double@1"} 1.0' in numbers
    assert own.sessions[0].closed


def test_a_handle_tells_whether_its_model_is_open_and_asking_opens_nothing(bench: Bench, own: OwnRuntime) -> None:
    handle = bench.sessions.open(str(bench.path))
    seen = [handle.is_open, handle.is_stale]
    handle.run(x())
    assert [*seen, handle.is_open, handle.is_stale] == [False, False, True, False]
    assert len(own.opened) == 1


def test_a_timeout_of_the_runtime_is_not_taken_for_a_deadline(bench: Bench, own: OwnRuntime) -> None:
    handle = bench.sessions.open(str(bench.path))
    handle.run(x())

    def late() -> None:
        raise TimeoutError("the device does not answer")

    own.sessions[0].first = late
    with calling(Call(deadline_s=time.monotonic() + 5)), pytest.raises(TimeoutError, match="device"):
        handle.run(x())

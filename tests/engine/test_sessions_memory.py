"""Models make room for each other, and are opened again when they are needed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import onnx
import pytest
from structlog.testing import capture_logs
from tests.engine.bench import Bench, OwnRuntime, x
from tests.engine.nets import doubling_net

from sightline.core.errors import Cancelled, DeadlineExceeded, FileMissing
from sightline.core.ports import Tensors
from sightline.engine.call import Call, Priority, calling
from sightline.engine.memory import Evictable, MemoryBudget, estimate, resident_bytes
from sightline.engine.work import Work, make_work

PADDING = 4 << 20  # bytes in each net, so that its file and not the noise of the process decides


class Piece(Evictable):
    """A model that takes `size` bytes."""

    def __init__(self, ref: str, size: int, last_used_s: float, *, busy: bool = False) -> None:
        self.ref, self.size, self.last_used_s, self.busy, self.is_open = ref, size, last_used_s, busy, True

    @property
    def open_bytes(self) -> int:
        return self.size if self.is_open else 0

    def evict(self) -> bool:
        self.is_open = self.busy
        return not self.busy


class TestBudget:
    def test_the_least_recently_used_goes_first_and_no_more_than_needed(self) -> None:
        pieces = [Piece("a", 40, 3), Piece("b", 40, 1), Piece("c", 20, 2)]
        budget = MemoryBudget(100, lambda: pieces)
        coming = Piece("new", 50, 0)
        coming.is_open = False
        pieces.append(coming)
        budget.reserve(coming, 50)
        assert [piece.ref for piece in pieces if piece.is_open] == ["a"]
        coming.is_open = True
        budget.release(coming)
        assert [piece.ref for piece in pieces if piece.is_open] == ["a", "new"]

    def test_what_is_in_use_stays_though_it_is_too_much(self) -> None:
        pieces = [Piece("a", 60, 1, busy=True), Piece("b", 30, 2)]
        budget = MemoryBudget(100, lambda: pieces)
        with capture_logs() as logs:
            budget.reserve(Piece("new", 70, 0), 70)
        assert [piece.ref for piece in pieces if piece.is_open] == ["a"]
        assert [(line["log_level"], line["bytes_over"]) for line in logs if "bytes_over" in line] == [("warning", 30)]
        pieces[0].busy = False
        budget.trim()
        assert [piece.ref for piece in pieces if piece.is_open] == []

    def test_a_model_that_took_more_than_expected_makes_room_when_it_is_open(self) -> None:
        first, second = Piece("a", 60, 1), Piece("b", 10, 2)
        budget = MemoryBudget(100, lambda: [first, second])
        second.is_open = False
        budget.reserve(second, 10)
        assert (first.is_open, second.is_open) == (True, False)
        second.is_open, second.size = True, 80
        budget.release(second)
        assert (first.is_open, second.is_open) == (False, True)

    def test_two_that_open_at_once_know_of_each_other(self) -> None:
        old = Piece("old", 50, 1)
        budget = MemoryBudget(100, lambda: [old])
        budget.reserve(Piece("a", 40, 0), 40)
        assert old.is_open
        budget.reserve(Piece("b", 40, 0), 40)
        assert not old.is_open

    def test_an_estimate_is_never_below_the_file_and_corrected_half_way_by_each_opening(self) -> None:
        assert estimate(100) == 150
        assert estimate(100, 10) == 150
        assert estimate(100, 400) == 400
        assert estimate(100, 300, before=400) == 350
        assert estimate(100, 0, before=200) == 150
        assert estimate(100, before=400) == 400
        assert resident_bytes() > 10 << 20


@pytest.fixture
def own() -> OwnRuntime:
    return OwnRuntime()


@pytest.fixture
def bench(tmp_path: Path, own: OwnRuntime) -> Iterator[Bench]:
    """Room for two of the nets `net 0`, `net 1`, ..."""
    made = Bench(tmp_path, own, memory_bytes=int(2.5 * 1.5 * PADDING))
    yield made
    own.gate.set()
    made.sessions.close()


def net(folder: Path, number: int) -> str:
    path = doubling_net(folder / f"net{number}.onnx")
    model = onnx.load(path)
    model.doc_string = "-" * PADDING
    onnx.save(model, path)
    return str(path)


def open_names(bench: Bench) -> list[str]:
    return [model.name for model in bench.sessions.loaded() if model.is_open]


def test_the_least_recently_used_model_makes_room_and_opens_again_through_its_old_handle(
    bench: Bench, own: OwnRuntime, tmp_path: Path
) -> None:
    handles = [bench.sessions.open(net(tmp_path, number)) for number in range(3)]
    for handle in handles[:2]:
        handle.run(x())
    handles[0].run(x())
    assert [model.memory_bytes >= 1.5 * PADDING for model in bench.sessions.loaded()] == [True, True, False]
    handles[2].run(x())
    assert open_names(bench) == ["net0", "net2"]
    assert own.sessions[1].closed
    assert not handles[1].is_open
    assert handles[0].is_open
    assert handles[1].run(x(4))["y"][0, 0] == 8
    assert len(own.opened) == 4
    assert len(open_names(bench)) == 2
    assert b'model_loads_total{model="net1@1"} 2.0' in bench.meter.render()


def test_a_model_with_a_request_in_flight_stays_and_goes_when_it_is_done(
    bench: Bench, own: OwnRuntime, tmp_path: Path
) -> None:
    handles = [bench.sessions.open(net(tmp_path, number)) for number in range(3)]
    for handle in handles[:2]:
        handle.run(x())
    own.gate.clear()
    for session in own.sessions:
        session.entered.clear()
    inside = [handle.submit(x(3)) for handle in handles[:2]]
    assert all(session.entered.wait(20) for session in own.sessions)
    with capture_logs() as logs:
        third = handles[2].submit(x(4))
    assert any("models in use" in line["event"] for line in logs)
    assert open_names(bench) == ["net0", "net1", "net2"]
    own.gate.set()
    assert [future.result(20)["y"][0, 0] for future in (*inside, third)] == [6, 6, 8]
    until = time.monotonic() + 20
    while len(open_names(bench)) > 2:
        assert time.monotonic() < until
        bench.sessions.refresh()
        time.sleep(0.01)
    assert open_names(bench) == ["net1", "net2"]


def test_a_model_larger_than_the_limit_opens_alone_and_says_so(tmp_path: Path, own: OwnRuntime) -> None:
    bench = Bench(tmp_path, own, memory_bytes=PADDING)
    small, large = bench.sessions.open(str(bench.path)), bench.sessions.open(net(tmp_path, 0))
    small.run(x())
    time.sleep(0.03)  # past the moment in which a model counts as being in use
    with capture_logs() as logs:
        assert large.run(x(2))["y"][0, 0] == 4
    assert [line["log_level"] for line in logs if "larger than" in line["event"]] == ["warning"]
    assert open_names(bench) == ["net0"]
    bench.sessions.close()


def test_calls_that_meet_evictions_all_the_time_are_all_answered(tmp_path: Path, own: OwnRuntime) -> None:
    bench = Bench(tmp_path, own, memory_bytes=PADDING)
    handles = [bench.sessions.open(net(tmp_path, number)) for number in range(3)]
    wrong: list[object] = []
    ending = Event()

    def ask() -> None:
        value = 13  # which own sessions refuse
        while not ending.is_set():
            value += 1
            try:
                # All ask one model for a while, so that the others can go; then the next.
                if handles[int(10 * time.monotonic()) % 3].run(x(value))["y"][0, 0] != 2 * value:
                    wrong.append(value)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what this test looks for
                wrong.append(error)

    threads = [Thread(target=ask, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 20
    for _ in range(50):
        bench.sessions.refresh()
        time.sleep(0.02)
    while len(own.opened) <= 4 and time.monotonic() < until:
        time.sleep(0.02)
    ending.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert wrong == []
    assert len(own.opened) > 4, "nothing was evicted"
    bench.sessions.close()
    assert all(session.closed for session in own.sessions)


def test_unloading_finishes_what_was_accepted_and_the_next_use_opens_again(bench: Bench, own: OwnRuntime) -> None:
    handle = bench.sessions.load(str(bench.path))
    assert handle.is_open
    assert own.sessions[0].sizes == [1], "a model is run once when it is loaded"
    own.gate.clear()
    own.sessions[0].entered.clear()
    futures = [handle.submit(x(value)) for value in range(6)]
    assert own.sessions[0].entered.wait(20)
    assert bench.sessions.unload("double") == 1
    assert open_names(bench) == []
    assert bench.sessions.unload(str(bench.path)) == 0
    own.gate.set()
    assert [future.result(20)["y"][0, 0] for future in futures] == [0, 2, 4, 6, 8, 10]
    assert handle.run(x(4))["y"][0, 0] == 8
    assert len(own.opened) == 2
    until = time.monotonic() + 20
    while not own.sessions[0].closed:
        assert time.monotonic() < until
        time.sleep(0.001)
    with pytest.raises(FileMissing, match="nowhere"):
        bench.sessions.unload("nowhere.onnx")


def test_work_that_meets_the_closing_of_its_model_goes_to_the_next_opening(
    bench: Bench, own: OwnRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = bench.sessions.load(str(bench.path))

    def closing_meanwhile(feeds: Tensors, call: Call, *, batchable: bool = True) -> Work:
        if len(own.opened) == 1:
            bench.sessions.unload("double")
        return make_work(feeds, call, batchable=batchable)

    monkeypatch.setattr("sightline.engine.versions.make_work", closing_meanwhile)
    assert handle.run(x(4))["y"][0, 0] == 8
    assert len(own.opened) == 2


def test_what_is_loaded_is_told_in_figures(bench: Bench, own: OwnRuntime) -> None:
    bench.sessions.open(str(bench.path))
    [closed] = bench.sessions.loaded()
    assert (closed.ref, closed.is_open, closed.workers, closed.idle_s) == ("double@1", False, 0, None)
    bench.sessions.open(str(bench.path)).run(x())
    [model] = bench.sessions.loaded()
    assert (model.name, model.version, model.is_open) == ("double", "1", True)
    assert (model.max_batch, model.workers, model.threads, model.queue_rows) == (8, 2, 1, 0)
    assert model.idle_s is not None
    assert 0 <= model.idle_s < 10
    own.gate.clear()
    for _ in range(5):
        bench.sessions.open(str(bench.path)).submit(x())
    bench.sessions.refresh()
    assert b'model_queue_rows{model="double@1"} ' in bench.meter.render()
    assert f'model_memory_bytes{{model="double@1"}} {float(model.memory_bytes)}'.encode() in bench.meter.render()


class TestWaitingForAnothersOpening:
    @pytest.fixture
    def opening(self, bench: Bench, own: OwnRuntime) -> Iterator[Bench]:
        begun, opened = Event(), Event()

        def slow() -> None:
            begun.set()
            opened.wait(30)

        own.before = slow
        first = Thread(daemon=True, target=bench.sessions.open(str(bench.path)).run, args=(x(),))
        first.start()
        assert begun.wait(20)
        yield bench
        opened.set()
        first.join(20)
        assert not first.is_alive()

    def test_ends_at_the_deadline(self, opening: Bench) -> None:
        handle = opening.sessions.open(str(opening.path))
        for use in (lambda: handle.submit(x()), lambda: handle.card):
            begin = time.monotonic()
            with (
                calling(Call(deadline_s=begin + 0.05)),
                pytest.raises(DeadlineExceeded, match="was being opened"),
            ):
                use()
            assert 0.04 < time.monotonic() - begin < 15

    def test_ends_when_the_caller_gives_up(self, opening: Bench) -> None:
        handle, gone = opening.sessions.open(str(opening.path)), Event()
        gone.set()
        with calling(Call(priority=Priority.STREAM, cancelled=gone)), pytest.raises(Cancelled, match="being opened"):
            handle.submit(x())

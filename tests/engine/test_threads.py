"""Threads for requests: who gets one, who waits, and who hears at once that there is no room."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Event, get_ident
from typing import Any

import pytest

from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.core.errors import Cancelled, DeadlineExceeded, Overloaded
from sightline.engine.call import Call, current_call
from sightline.engine.threads import RequestThreads


class Pool:
    """Two threads and room for three, all of whom wait for `gate`."""

    def __init__(self) -> None:
        self.threads = RequestThreads(2, queue=3, meter=PrometheusMeter())
        self.gate = Event()
        self.ran: list[str] = []

    def ask(self, name: str = "", **call: Any) -> Future[str]:
        def work() -> str:
            self.gate.wait(30)
            self.ran.append(name)
            return name

        return self.threads.submit(Call(**call), work)

    def fill(self) -> list[Future[str]]:
        """Keep both threads busy."""
        busy = [self.ask("busy"), self.ask("busy")]
        end = time.monotonic() + 20
        while not all(future.running() for future in busy):
            assert time.monotonic() < end
            time.sleep(0.001)
        return busy


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.gate.set()
    made.threads.close()


def error_of(future: Future[Any]) -> BaseException | None:
    return future.exception(timeout=20)


def test_work_runs_for_its_call_and_its_errors_come_back(pool: Pool) -> None:
    call = Call()
    assert pool.threads.submit(call, current_call).result(20) is call
    assert call.spans.keys() == {"queue"}

    def fail() -> None:
        raise SystemExit("a plug-in may raise anything")

    assert isinstance(error_of(pool.threads.submit(Call(), fail)), SystemExit)
    assert pool.threads.submit(Call(), lambda: 1).result(20) == 1


def test_a_thread_is_used_again_and_no_more_are_started_than_allowed(pool: Pool) -> None:
    idents = set()
    for _ in range(20):
        idents.add(pool.threads.submit(Call(), get_ident).result(20))
        while not pool.threads._idle:
            time.sleep(0.001)
    assert len(idents) == 1
    pool.gate.set()
    futures = [pool.threads.submit(Call(), get_ident) for _ in range(3)]
    assert len({future.result(20) for future in futures} | idents) <= 2


def test_who_finds_no_room_hears_it_at_once_and_who_waits_is_served_in_order(pool: Pool) -> None:
    busy = pool.fill()
    waiting = [pool.ask(name) for name in "abc"]
    with pytest.raises(Overloaded):
        pool.ask("d")
    assert pool.threads.num_waiting == 3
    pool.gate.set()
    assert [future.result(20) for future in busy + waiting] == ["busy", "busy", "a", "b", "c"]


def test_who_gave_up_makes_room_for_others(pool: Pool) -> None:
    pool.fill()
    gone = Event()
    late, left, cancelled = pool.ask(deadline_s=time.monotonic() + 0.01), pool.ask(), pool.ask(cancelled=gone)
    time.sleep(0.02)
    left.cancel()
    gone.set()
    kept = pool.ask("kept")
    assert isinstance(error_of(late), DeadlineExceeded)
    assert isinstance(error_of(cancelled), Cancelled)
    assert pool.threads.num_waiting == 1
    pool.gate.set()
    assert kept.result(20) == "kept"


def test_what_came_too_late_does_not_run(pool: Pool) -> None:
    pool.fill()
    late = pool.ask("late", deadline_s=time.monotonic() + 0.01)
    time.sleep(0.02)
    pool.gate.set()
    assert isinstance(error_of(late), DeadlineExceeded)
    assert "late" not in pool.ran


def test_many_who_wait_are_looked_through_quickly() -> None:
    threads = RequestThreads(1, queue=2000, meter=PrometheusMeter())
    gate = Event()
    while threads.num_waiting < 2000:
        threads.submit(Call(), lambda: gate.wait(30))
    begin_s = time.thread_time()
    for _ in range(10):
        with pytest.raises(Overloaded):
            threads.submit(Call(), lambda: None)
    assert time.thread_time() - begin_s < 0.5
    gate.set()
    threads.close()


def test_closing_refuses_what_waits_and_finishes_what_runs(pool: Pool) -> None:
    busy = pool.fill()
    waiting = pool.ask("waiting")
    pool.gate.set()
    pool.threads.close()
    assert [future.result(20) for future in busy] == ["busy", "busy"]
    assert waiting.done()
    with pytest.raises(Cancelled):
        pool.ask()

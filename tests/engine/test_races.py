"""Races that are decided within microseconds, so each is brought about by hand."""

from __future__ import annotations

import time
from concurrent.futures import Future
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from tests.engine.bench import Bench, OwnRuntime, x

from sightline.core.errors import Cancelled, DeadlineExceeded
from sightline.core.model import ModelCard
from sightline.core.plugins import Source
from sightline.core.ports import Array
from sightline.engine.call import Call, calling
from sightline.engine.layouts import Layout
from sightline.engine.lineup import Lineup
from sightline.engine.work import Work, WorkQueue, make_work


class TestCallersWhoAnswerTheirOwnWork:
    def test_keep_their_session_until_they_leave_though_the_model_is_closed_for_good(
        self, bench: Bench, own: OwnRuntime
    ) -> None:
        handle = bench.sessions.open(str(bench.path))
        handle.run(x())
        own.gate.clear()
        own.sessions[0].entered.clear()
        answers: list[dict[str, Array]] = []
        caller = Thread(target=lambda: answers.append(handle.run(x(4))))
        caller.start()
        assert own.sessions[0].entered.wait(20)
        closing = Thread(target=bench.sessions.close)
        closing.start()
        closing.join(0.2)
        assert not own.sessions[0].closed
        own.gate.set()
        for thread in (caller, closing):
            thread.join(20)
        assert [answer["y"].tolist() for answer in answers] == [[[8, 8]]]
        assert own.sessions[0].closed

    def test_are_not_given_what_they_no_longer_want(self, bench: Bench, own: OwnRuntime) -> None:
        handle = bench.sessions.open(str(bench.path))
        handle.run(x())
        gone = Event()
        gone.set()
        with calling(Call(cancelled=gone)), pytest.raises(Cancelled):
            handle.run(x())
        with calling(Call(deadline_s=time.monotonic() - 1)), pytest.raises(DeadlineExceeded):
            handle.run(x())
        assert own.sessions[0].sizes == [1]


class LateFuture(Future[dict[str, Array]]):
    """Is answered between the end of a wait and the next look at it."""

    def result(self, timeout: float | None = None) -> dict[str, Array]:
        if not self.done():
            self.set_result({})
            raise TimeoutError
        return super().result(timeout)


def test_an_answer_that_comes_as_the_wait_ends_is_an_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = bench.sessions.open(str(bench.path))
    monkeypatch.setattr(handle, "_submit", lambda *_args, **_named: LateFuture())
    with calling(Call(cancelled=Event())):
        assert handle.run(x()) == {}


def test_a_layout_that_is_found_while_the_models_are_closed_opens_nothing(bench: Bench, own: OwnRuntime) -> None:
    bench.sessions.load(str(bench.path))
    [version] = bench.sessions._all_versions()
    session: Any = own.open(bench.path)
    version.close()
    version.change_layout(Layout(num_threads=2), session)
    assert session.closed
    begin = time.monotonic()
    version.join(begin + 30)
    assert time.monotonic() - begin < 15
    assert own.sessions[0].closed
    assert version.card == ModelCard(name="double", inputs=session.card.inputs)


def test_a_batch_is_shared_only_with_workers_that_have_a_seat() -> None:
    queue = WorkQueue(8, seats=2)
    batches: list[list[Work]] = []
    seated = Barrier(3)

    def worker() -> None:
        seated.wait(20)
        batches.append(queue.take(8))

    workers = [Thread(target=worker) for _ in range(2)]
    for thread in workers:
        thread.start()
    assert queue.begin_here()
    assert queue.begin_here()
    seated.wait(20)
    for _ in range(4):
        queue.put(make_work(x(), Call()))
    time.sleep(0.05)  # both workers wait for a seat
    queue.done_here()
    until = time.monotonic() + 20
    while not batches:
        assert time.monotonic() < until
        time.sleep(0.001)
    assert [len(batch) for batch in batches] == [4]
    queue.close()
    queue.done_here()
    for thread in workers:
        thread.join(20)


def test_who_left_is_not_told_of_what_came_after() -> None:
    work = make_work(x(), Call())
    work.claimed()
    assert not work.future.cancel()  # it is running, and nobody waits any more
    work.ran(1, 2)
    assert work.call.spans == {}
    assert work.inference_s == 1


class Uncomparable(Source):
    """Raises where it is compared, as a field that is an array makes a dataclass do."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("The truth value of an array is ambiguous.")

    __hash__ = Source.__hash__


class IdleLane:
    """A lane that has ended."""

    running = False
    is_stuck = False
    stuck_s = 0.0
    epoch = 1

    def __init__(self, name: str, wanted: Source, _first: int) -> None:
        self.name, self.wanted = name, wanted

    def start(self) -> None:
        pass

    def stop(self, _why: str = "", _by: str = "") -> None:
        pass


def test_sources_that_cannot_be_compared_are_changed_like_others() -> None:
    removed: list[str] = []
    running: list[bool] = []
    make: Any = IdleLane
    one, other, changed = Uncomparable(), Uncomparable(), Uncomparable()
    lineup = Lineup(make, first=lambda _: 1, removed=removed.append, left=print, stuck=print, patience_s=1)
    for wanted in ({"a": one, "b": other}, {"a": changed, "b": other}, {"b": other}):
        lineup.want(wanted)
        running.append(lineup.running)  # there is something to change
        lineup.tend()
        running.append(lineup.running)
        assert {lane.name: id(lane.wanted) for lane in lineup.lanes} == {key: id(it) for key, it in wanted.items()}
    assert running == [True, False] * 3
    assert removed == ["a"]

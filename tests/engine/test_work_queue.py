"""Room in the queue, and its end. Shape letters: N rows, C columns."""

from __future__ import annotations

import time
from concurrent.futures import Future
from threading import Event, Thread
from typing import Any

import pytest
from tests.engine.works import error_of, work

from sightline.core.errors import Cancelled, DeadlineExceeded, Overloaded
from sightline.engine.call import Priority
from sightline.engine.work import Ended, Work, WorkQueue


class TestRoom:
    def test_what_nobody_wants_holds_no_room(self) -> None:
        queue = WorkQueue(3)
        gone = Event()
        late_s = time.monotonic() + 0.3
        late, left, cancelled = work(deadline_s=late_s), work(), work(cancelled=gone)
        for item in (late, left, cancelled):
            queue.put(item)
        with pytest.raises(Overloaded):
            queue.put(work())
        time.sleep(max(0.0, late_s - time.monotonic()) + 0.01)
        gone.set()
        assert left.future.cancel()
        sound = [work(), work(), work()]
        for item in sound:
            queue.put(item)
        assert queue.rows == 3
        assert isinstance(error_of(late.future), DeadlineExceeded)
        assert isinstance(error_of(cancelled.future), Cancelled)
        assert queue.take(8) == sound

    def test_callers_that_are_told_may_ask_the_queue_at_once(self) -> None:
        # Callbacks run where the future is answered: under the queue's lock another thread could not get in.
        def late_in(queue: WorkQueue) -> list[bool]:
            seen: list[bool] = []

            def look(_: Future[Any]) -> None:
                other = Thread(daemon=True, target=queue.end_if_idle)
                other.start()
                other.join(20)
                seen.append(other.is_alive())

            late = work(deadline_s=time.monotonic() - 1)
            late.future.add_done_callback(look)
            queue.put(late)
            return seen

        queue = WorkQueue(2)
        seen = late_in(queue)
        queue.put(work())
        queue.take(8)
        assert seen == [False]

        full = WorkQueue(1)
        seen = late_in(full)
        full.put(work())
        assert seen == [False]

    def test_without_waiting_a_job_is_refused_as_a_request_is(self) -> None:
        queue = WorkQueue(1)
        queue.put(work(priority=Priority.JOB), wait=False)
        with pytest.raises(Overloaded):
            queue.put(work(priority=Priority.JOB), wait=False)


class TestTurns:
    def test_requests_leave_one_batch_in_ten_to_streams_and_one_to_jobs(self) -> None:
        queue = WorkQueue(200)
        for priority in Priority:
            for _ in range(60):
                queue.put(work(priority=priority))
        firsts = []
        for _ in range(40):
            firsts.append(queue.take(1)[0].call.priority)
            queue.done()
        assert [firsts.count(priority) for priority in Priority] == [32, 4, 4]

    def test_streams_go_before_jobs(self) -> None:
        queue = WorkQueue(200)
        for _ in range(20):
            queue.put(work(priority=Priority.JOB))
            queue.put(work(priority=Priority.STREAM))
        firsts = [queue.take(1)[0].call.priority for _ in range(20)]
        assert [firsts.count(priority) for priority in Priority] == [0, 18, 2]


class TestEnding:
    def test_a_queue_that_ends_gives_what_it_has_and_takes_nothing_more(self) -> None:
        queue = WorkQueue(8)
        one = work()
        queue.put(one)
        queue.end()
        with pytest.raises(Ended):
            queue.put(work())
        assert queue.take(8) == [one]
        assert queue.take(8) == []

    def test_a_queue_ends_when_idle_only_after_the_batch_is_done(self) -> None:
        queue = WorkQueue(8)
        queue.put(work())
        assert not queue.end_if_idle()
        queue.take(8)
        assert not queue.end_if_idle()
        queue.done()
        assert queue.end_if_idle()
        with pytest.raises(Ended):
            queue.put(work())


class TestHere:
    """A caller who would wait anyway may answer his own work."""

    def test_only_when_nothing_waits_and_a_seat_is_free(self) -> None:
        queue = WorkQueue(8, seats=1)
        assert queue.begin_here()
        assert not queue.begin_here()
        queue.done_here()
        queue.put(work())
        assert not queue.begin_here()

    def test_a_worker_waits_for_the_seat(self) -> None:
        queue = WorkQueue(8, seats=1)
        taken: list[list[Work]] = []
        assert queue.begin_here()
        queue.put(work())
        worker = Thread(target=lambda: taken.append(queue.take(1)))
        worker.start()
        worker.join(0.1)
        assert not taken
        queue.done_here()
        worker.join(20)
        assert len(taken[0]) == 1

    def test_the_last_worker_does_not_leave_while_a_caller_uses_the_model(self) -> None:
        queue = WorkQueue(8, seats=2)
        assert queue.begin_here()
        queue.end()
        assert not queue.begin_here()
        worker = Thread(target=lambda: queue.take(1))
        worker.start()
        worker.join(0.1)
        assert worker.is_alive()
        queue.done_here()
        worker.join(20)
        assert not worker.is_alive()

    def test_an_idle_queue_is_not_ended_under_a_caller(self) -> None:
        queue = WorkQueue(8, seats=2)
        assert queue.begin_here()
        assert not queue.end_if_idle()
        queue.done_here()
        assert queue.end_if_idle()

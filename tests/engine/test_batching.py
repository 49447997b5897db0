"""Shape letters: N rows, C columns."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from tests.engine.works import doubled, error_of, work

from sightline.core.errors import Cancelled, DeadlineExceeded, InvalidInput, Overloaded
from sightline.core.ports import Array, Tensors
from sightline.engine.batching import run_batch
from sightline.engine.call import Call, Priority
from sightline.engine.work import Work, WorkQueue, make_work


class TestMakeWork:
    def test_rows_and_signature_come_from_the_tensors(self) -> None:
        made = make_work({"b": np.zeros((3, 2)), "a": np.zeros(3, np.int64)}, Call())
        assert made.rows == 3
        assert made.signature == (("a", "<i8", ()), ("b", "<f8", (2,)))

    @pytest.mark.parametrize(
        ("feeds", "why"),
        [
            ({}, "at least one input"),
            ({"x": np.float32(1)}, "first axis"),
            ({"x": np.zeros((2, 2)), "y": np.zeros((3, 2))}, r"\[2, 3\]"),
            ({"x": np.zeros((0, 2))}, "no rows"),
        ],
    )
    def test_tensors_that_do_not_count_rows_are_refused(self, feeds: Any, why: str) -> None:
        with pytest.raises(InvalidInput, match=why):
            make_work(feeds, Call())

    def test_a_net_that_cannot_batch_takes_any_tensors(self) -> None:
        feeds = {"image": np.zeros((3, 8, 8)), "limit": np.array(0.5)}
        assert make_work(feeds, Call(), batchable=False).rows == 1


class TestOrder:
    def test_requests_go_before_streams_and_streams_before_jobs(self) -> None:
        queue = WorkQueue(100)
        for priority in (Priority.JOB, Priority.STREAM, Priority.REQUEST):
            queue.put(work(priority=priority, width=priority + 1))  # other widths, so that none is batched with another
        taken = [queue.take(8)[0].call.priority for _ in Priority]
        assert taken == [Priority.REQUEST, Priority.STREAM, Priority.JOB]

    def test_a_job_begins_one_batch_in_ten_however_busy_the_rest_is(self) -> None:
        queue = WorkQueue(100)
        for _ in range(30):
            queue.put(work(priority=Priority.REQUEST))
        for _ in range(4):
            queue.put(work(priority=Priority.JOB))
        taken = [queue.take(1)[0].call.priority for _ in range(30)]
        assert [number for number, priority in enumerate(taken) if priority is Priority.JOB] == [9, 19, 29]

    def test_a_batch_holds_one_signature_and_keeps_its_order(self) -> None:
        queue = WorkQueue(100)
        for value, width in enumerate((2, 3, 2, 3, 2)):
            queue.put(work(value=value, width=width))
        batches = [[float(item.feeds["x"][0, 0]) for item in queue.take(8)] for _ in range(2)]
        assert batches == [[0, 2, 4], [1, 3]]

    def test_a_small_parcel_does_not_overtake_a_large_one(self) -> None:
        queue = WorkQueue(100)
        for rows in (3, 2, 1):
            queue.put(work(rows))
        assert [[item.rows for item in queue.take(4)] for _ in range(2)] == [[3], [2, 1]]

    def test_a_parcel_larger_than_a_batch_goes_alone(self) -> None:
        queue = WorkQueue(100)
        for rows in (1, 20, 1):
            queue.put(work(rows))
        assert [[item.rows for item in queue.take(4)] for _ in range(3)] == [[1], [20], [1]]

    def test_rows_that_wait_are_counted(self) -> None:
        queue = WorkQueue(100)
        queue.put(work(3))
        queue.put(work(2, Priority.JOB))
        assert queue.rows == 5
        queue.take(3)
        assert queue.rows == 2


class TestBound:
    def test_a_request_is_refused_when_requests_fill_the_queue(self) -> None:
        queue = WorkQueue(2)
        queue.put(work(2))
        with pytest.raises(Overloaded, match="2 rows") as raised:
            queue.put(work())
        assert raised.value.cure

    def test_jobs_and_streams_do_not_take_the_place_of_requests(self) -> None:
        queue = WorkQueue(2)
        queue.put(work(2, Priority.JOB))
        queue.put(work(2, Priority.STREAM))
        queue.put(work(2, Priority.REQUEST))
        assert queue.rows == 6

    def test_a_parcel_larger_than_the_bound_is_let_in_alone(self) -> None:
        queue = WorkQueue(2)
        queue.put(work(5))
        with pytest.raises(Overloaded):
            queue.put(work())
        assert queue.take(8)[0].rows == 5

    @pytest.mark.parametrize("priority", [Priority.STREAM, Priority.JOB])
    def test_streams_and_jobs_wait_for_room(self, priority: Priority) -> None:
        queue = WorkQueue(1)
        queue.put(work(priority=priority))
        late = work(priority=priority, value=7)
        thread = Thread(daemon=True, target=queue.put, args=(late,))
        thread.start()
        time.sleep(0.02)
        assert queue.rows == 1
        queue.take(1)
        assert queue.take(1) == [late]
        thread.join(20)

    def test_waiting_for_room_ends_at_the_deadline_or_when_cancelled(self) -> None:
        queue = WorkQueue(1)
        queue.put(work(priority=Priority.STREAM))
        with pytest.raises(DeadlineExceeded):
            queue.put(work(priority=Priority.STREAM, deadline_s=time.monotonic() + 0.02))
        gone = Event()
        gone.set()
        with pytest.raises(Cancelled):
            queue.put(work(priority=Priority.STREAM, cancelled=gone))

    def test_waiting_for_room_ends_when_the_queue_closes(self) -> None:
        queue = WorkQueue(1)
        queue.put(work(priority=Priority.STREAM))
        errors: list[BaseException] = []

        def put() -> None:
            try:
                queue.put(work(priority=Priority.STREAM))
            except Cancelled as error:
                errors.append(error)

        thread = Thread(daemon=True, target=put)
        thread.start()
        time.sleep(0.02)
        queue.close()
        thread.join(20)
        assert len(errors) == 1


class TestAbandoned:
    def test_what_is_late_or_cancelled_when_its_turn_comes_is_answered_and_dropped(self) -> None:
        queue = WorkQueue(100)
        gone = Event()
        late, cancelled, sound = work(deadline_s=time.monotonic() - 1), work(cancelled=gone), work()
        for item in (late, cancelled, sound):
            queue.put(item)
        gone.set()
        assert queue.take(8) == [sound]
        assert isinstance(error_of(late.future), DeadlineExceeded)
        assert isinstance(error_of(cancelled.future), Cancelled)
        assert queue.rows == 0

    def test_a_caller_who_went_away_after_the_deadline_does_not_break_the_worker(self) -> None:
        queue = WorkQueue(100)
        left, sound = work(deadline_s=time.monotonic() - 1), work()
        queue.put(left)
        queue.put(sound)
        assert left.future.cancel()  # as a handle does that has waited long enough
        assert queue.take(8) == [sound]

    def test_when_all_that_waits_is_dropped_a_worker_waits_for_more(self) -> None:
        queue = WorkQueue(100)
        queue.put(work(deadline_s=time.monotonic() - 1))
        taken: list[list[Work]] = []
        thread = Thread(daemon=True, target=lambda: taken.append(queue.take(8)))
        thread.start()
        sound = work()
        queue.put(sound)
        thread.join(20)
        assert taken == [[sound]]


class TestSharing:
    def test_a_burst_is_shared_among_the_idle_workers(self) -> None:
        queue = WorkQueue(100)
        sizes: list[int] = []
        threads = [
            Thread(daemon=True, target=lambda: sizes.append(sum(item.rows for item in queue.take(8)))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        while queue._idle < 3:
            time.sleep(0.001)
        with queue._changed:  # so that all six are there before the first worker wakes
            for _ in range(6):
                queue.put(work())
        for thread in threads:
            thread.join(20)
        assert sorted(sizes) == [2, 2, 2]

    def test_a_single_worker_takes_all_that_fits(self) -> None:
        queue = WorkQueue(100)
        for _ in range(10):
            queue.put(work())
        assert len(queue.take(8)) == 8

    def test_closing_frees_the_workers_and_gives_back_what_waits(self) -> None:
        queue = WorkQueue(100)
        taken: list[list[Work]] = []
        threads = [Thread(daemon=True, target=lambda: taken.append(queue.take(8))) for _ in range(3)]
        for thread in threads:
            thread.start()
        queue.close()
        for thread in threads:
            thread.join(20)
        assert taken == [[], [], []]
        with pytest.raises(Cancelled):
            queue.put(work())

        other = WorkQueue(100)
        waiting = [work(), work(priority=Priority.JOB)]
        for item in waiting:
            other.put(item)
        assert other.close() == waiting
        assert other.rows == 0

    def test_many_producers_and_workers_answer_everything_once(self) -> None:
        queue = WorkQueue(4)
        num_each = 50
        answered: list[float] = []

        def produce(first: int) -> None:
            for value in range(first, first + num_each):
                queue.put(work(1 + value % 3, Priority(1 + value % 2), value=value))

        def consume() -> None:
            while batch := queue.take(4):
                answered.extend(float(item.feeds["x"][0, 0]) for item in batch)

        producers = [Thread(daemon=True, target=produce, args=(1000 * number,)) for number in range(4)]
        workers = [Thread(daemon=True, target=consume) for _ in range(3)]
        for thread in [*producers, *workers]:
            thread.start()
        for thread in producers:
            thread.join(20)
        while queue.rows:
            time.sleep(0.001)
        queue.close()
        for thread in workers:
            thread.join(20)
        assert sorted(answered) == sorted(1000 * n + value for n in range(4) for value in range(num_each))


class TestRunBatch:
    def test_each_caller_gets_its_rows(self) -> None:
        seen: list[int] = []

        def run(feeds: Tensors) -> Mapping[str, Array]:
            seen.append(len(feeds["x"]))
            return doubled(feeds)

        batch = [work(rows, value=rows) for rows in (1, 3, 2)]
        assert run_batch(batch, run, fixed_rows=None, batchable=True)
        assert seen == [6]
        for item in batch:
            y_NC = item.future.result(0)["y"]
            assert y_NC.shape == (item.rows, 2)
            assert (y_NC == 2 * item.rows).all()

    @pytest.mark.parametrize(("fixed", "calls"), [(1, 5), (4, 2), (5, 1), (8, 1)])
    def test_a_net_of_fixed_rows_is_fed_parcels_that_are_filled_and_cut(self, fixed: int, calls: int) -> None:
        seen: list[Array] = []

        def run(feeds: Tensors) -> Mapping[str, Array]:
            seen.append(feeds["x"])
            return doubled(feeds)

        batch = [work(2, value=1), work(3, value=2)]
        assert run_batch(batch, run, fixed_rows=fixed, batchable=True)
        assert [len(x_NC) for x_NC in seen] == [fixed] * calls
        assert [item.future.result(0)["y"].tolist() for item in batch] == [[[2, 2]] * 2, [[4, 4]] * 3]
        # What fills the last parcel is a real row: zeros could be outside of what a net can take.
        assert (seen[-1][-1] == 2).all()

    def test_a_single_call_of_a_fixed_net_is_filled_too(self) -> None:
        one = work(1, value=3)
        assert run_batch([one], doubled, fixed_rows=4, batchable=True)
        assert one.future.result(0)["y"].tolist() == [[6, 6]]

    def test_outputs_without_a_row_per_row_are_given_to_each_by_itself_and_end_batching(self) -> None:
        def found(feeds: Tensors) -> Mapping[str, Array]:
            num = int(feeds["x"][:, 0].sum())
            return {"boxes": np.zeros((num, 4)), "num": np.array(num)}

        batch = [work(value=5), work(value=3)]
        assert not run_batch(batch, found, fixed_rows=None, batchable=True)
        assert [len(item.future.result(0)["boxes"]) for item in batch] == [5, 3]

    def test_one_call_is_enough_to_see_that_outputs_have_no_rows(self) -> None:
        one = work(value=5)
        assert not run_batch([one], lambda feeds: {"mean": feeds["x"].mean()}, fixed_rows=None, batchable=True)
        assert one.future.result(0)["mean"] == 5

    def test_a_net_for_one_picture_that_gives_a_list_of_boxes_loses_none(self) -> None:
        def found(feeds: Tensors) -> Mapping[str, Array]:
            assert len(feeds["x"]) == 1
            return {"boxes": np.arange(feeds["x"][0, 0])}

        batch = [work(value=4), work(value=2)]
        assert not run_batch(batch, found, fixed_rows=1, batchable=True)
        assert [item.future.result(0)["boxes"].tolist() for item in batch] == [[0, 1, 2, 3], [0, 1]]
        several = work(3, value=4)
        run_batch([several], found, fixed_rows=1, batchable=True)
        error = error_of(several.future)
        assert isinstance(error, InvalidInput)
        assert "1 rows" in str(error)

    def test_an_error_hits_only_the_call_that_caused_it(self) -> None:
        def picky(feeds: Tensors) -> Mapping[str, Array]:
            if (feeds["x"] == 13).any():
                raise RuntimeError("unlucky")
            return doubled(feeds)

        batch = [work(value=1), work(2, value=13), work(value=3)]
        assert run_batch(batch, picky, fixed_rows=None, batchable=True)
        assert isinstance(error_of(batch[1].future), RuntimeError)
        assert [batch[n].future.result(0)["y"][0, 0] for n in (0, 2)] == [2, 6]

    def test_a_net_that_cannot_batch_is_asked_call_by_call_with_tensors_as_they_are(self) -> None:
        shapes: list[tuple[int, ...]] = []

        def run(feeds: Tensors) -> Mapping[str, Array]:
            shapes.append(feeds["x"].shape)
            return {"y": np.array(1)}

        batch = [work(2), work(3)]
        assert run_batch(batch, run, fixed_rows=None, batchable=False)
        assert shapes == [(2, 2), (3, 2)]
        assert all(item.future.result(0)["y"] == 1 for item in batch)

    def test_several_inputs_stay_together(self) -> None:
        def run(feeds: Tensors) -> Mapping[str, Array]:
            return {"sum": feeds["a"] + feeds["b"]}

        batch = [make_work({"a": np.array([n]), "b": np.array([10 * n])}, Call()) for n in (1, 2)]
        run_batch(batch, run, fixed_rows=None, batchable=True)
        assert [item.future.result(0)["sum"].tolist() for item in batch] == [[11], [22]]


def test_a_call_is_told_how_long_it_waited_and_how_long_the_model_took() -> None:
    def slow(feeds: Tensors) -> Mapping[str, Array]:
        time.sleep(0.02)
        return doubled(feeds)

    batch = [work(), work()]
    time.sleep(0.3)
    run_batch(batch, slow, fixed_rows=None, batchable=True)
    for item in (*batch, alone := work()):
        if item is alone:
            run_batch([item], slow, fixed_rows=None, batchable=False)
        assert 0.02 <= item.call.spans["inference"] < 5
        assert (item.call.spans["queue"] >= 0.3) == (item is not alone)


def test_a_batch_of_one_is_not_copied() -> None:
    one = work(3)
    seen: list[Array] = []

    def run(feeds: Tensors) -> Mapping[str, Array]:
        seen.append(feeds["x"])
        return doubled(feeds)

    run_batch([one], run, fixed_rows=None, batchable=True)
    assert seen[0] is one.feeds["x"]

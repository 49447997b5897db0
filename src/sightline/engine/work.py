"""Work for one model: a bounded queue by priority, from which workers take greedy batches.

Knows tensors and callers' wishes; knows nothing of samples, predictors or runtimes. Nobody ever sleeps to fill a
batch: a worker takes what is there. Rows are counted, not calls: the bound is on the work, whatever its parcels.
Futures are answered outside of the queue's lock, for their callbacks run at once and may ask the queue again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Condition, RLock
from typing import TypeAlias

from sightline.core.errors import Cancelled, DeadlineExceeded, InvalidInput, Overloaded
from sightline.core.ports import Array, Tensors
from sightline.engine.call import Call, Priority

Signature: TypeAlias = tuple[tuple[str, str, tuple[int, ...]], ...]
_ROUND = 10  # batches; one of them begins with a stream and one with a job, however many requests there are
_POLL_S = 0.2  # how often waiting producers look whether their caller has given up


class Ended(Exception):
    """The queue finishes what it has and takes no more."""


class Answer(Future[dict[str, Array]]):
    """A future that says without a lock whether its caller has left; many are asked when a queue is full."""

    left = False

    def cancel(self) -> bool:
        """Give up the answer; False when it is too late for that."""
        self.left = True
        return super().cancel()


class Work:
    """One call of a model that waits for its turn.

    Attributes:
        rows: its length along the first axis; 1 where that does not count rows.
        since_s: moment on the monotonic clock when it began to wait.
        inference_s: seconds that the model took for its batch; None before it ran.
    """

    __slots__ = ("_signature", "call", "feeds", "future", "inference_s", "rows", "since_s")

    def __init__(self, *, feeds: Tensors, call: Call, rows: int = 1) -> None:
        self.feeds = feeds
        self.call = call
        self.rows = rows
        self.future = Answer()
        self.since_s = time.monotonic()
        self.inference_s: float | None = None
        self._signature: Signature | None = None

    @property
    def signature(self) -> Signature:
        """What tensors must have in common to be rows of one batch; found when it is first asked for."""
        if self._signature is None:
            self._signature = tuple(
                sorted((name, tensor.dtype.str, tuple(tensor.shape[1:])) for name, tensor in self.feeds.items())
            )
        return self._signature

    def abandoned(self) -> Exception | None:
        """Return the error that ends this work before it runs, or None."""
        call = self.call
        if call.cancelled is not None and call.cancelled.is_set():
            return Cancelled("The caller gave up before the model ran.")
        if call.deadline_s is not None and time.monotonic() > call.deadline_s:
            return DeadlineExceeded("The deadline passed while the work was waiting for the model.")
        return None

    def unwanted(self, now_s: float) -> bool:
        """Return whether nobody wants this work any more."""
        call = self.call
        return (
            self.future.left
            or (call.deadline_s is not None and now_s > call.deadline_s)
            or (call.cancelled is not None and call.cancelled.is_set())
        )

    def claimed(self) -> bool:
        """Begin to answer this work; False when its future was cancelled."""
        return self.future.set_running_or_notify_cancel()

    def refuse(self, error: Exception) -> None:
        """End this work with `error`, unless its caller has gone."""
        if self.future.running() or self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def ran(self, begin_s: float, end_s: float) -> None:
        """Note in the call how long this work waited and how long the model took."""
        self.inference_s = end_s - begin_s
        if self.future.left:  # who gave up is reading what was spent until then
            return
        self.call.spent("queue", max(0.0, begin_s - self.since_s))
        self.call.spent("inference", self.inference_s)


def make_work(feeds: Tensors, call: Call, *, batchable: bool = True) -> Work:
    """Return the work for `feeds`, whose tensors have as many rows as each other; without `batchable` any tensors.

    Raises:
        InvalidInput: there is no tensor, one is a scalar, or the numbers of rows differ or are 0.
    """
    if not batchable:
        return Work(feeds=feeds, call=call)
    rows = -1
    for tensor in feeds.values():
        if tensor.ndim == 0:
            rows = -1
            break
        if rows not in (-1, len(tensor)):
            lengths = sorted({len(tensor) for tensor in feeds.values() if tensor.ndim})
            raise InvalidInput(f"The inputs have different numbers of rows: {lengths}.")
        rows = len(tensor)
    if rows == -1:
        raise InvalidInput("A model needs at least one input, and each with a first axis that counts rows.")
    if rows == 0:
        raise InvalidInput("The inputs have no rows.", cure="Do not ask the model about nothing.")
    return Work(feeds=feeds, call=call, rows=rows)


class WorkQueue:
    """Work by priority, bounded in rows: for each priority, those of it and of what goes before it.

    So a long job that keeps the queue full does not take the place of requests.

    Args:
        max_rows: most rows that wait.
        seats: most batches that are being answered at once, whoever answers them; None: as many as there are workers.
    """

    def __init__(self, max_rows: int, *, seats: int | None = None) -> None:
        self._max_rows = max_rows
        self._seats = seats
        self._waiting: dict[Priority, deque[Work]] = {priority: deque() for priority in Priority}
        self._rows = dict.fromkeys(Priority, 0)
        self._all_rows = 0
        self._idle = 0
        self._busy = 0
        self._here = 0
        self._num_batches = 0
        self._num_producers = 0
        self._ending = False
        self._closed = False
        lock = RLock()
        self._changed = Condition(lock)  # wakes workers
        self._room = Condition(lock)  # wakes producers

    @property
    def rows(self) -> int:
        """Rows that wait now."""
        return self._all_rows

    @property
    def num_busy(self) -> int:
        """Batches that were taken and are not yet `done`."""
        return self._busy

    @property
    def ended(self) -> bool:
        """True when nothing more is taken in."""
        return self._ending or self._closed

    def put(self, work: Work, *, wait: bool = True) -> None:
        """Add work; a request finds room or is refused, streams and jobs wait for room.

        What nobody wants any more holds no room: it is dropped before a request is refused.

        Args:
            work: what to do.
            wait: False: streams and jobs are refused as requests are.

        Raises:
            Overloaded: no room for a request.
            DeadlineExceeded, Cancelled: while waiting for room.
            Ended: the queue finishes what it has.
        """
        dropped: list[tuple[Work, Exception]] = []
        try:
            with self._changed:
                self._put(work, dropped, wait=wait and work.call.priority is not Priority.REQUEST)
        finally:
            _tell(dropped)

    def take(self, max_rows: int) -> list[Work]:
        """Wait for work and return a batch of equal signature; empty when the queue was closed, or ended and is empty.

        What waits is shared among the workers that are idle, so that a burst keeps all of them busy. Whoever has
        done the batch says so by `done`.
        """
        while True:
            dropped: list[tuple[Work, Exception]] = []
            with self._changed:
                self._idle += 1
                try:
                    while not self._is_due():
                        self._changed.wait()
                finally:
                    self._idle -= 1
                if not self._all_rows:
                    return []
                share = -(-self._all_rows // (self._num_others + 1))
                batch = self._gathered(max(1, min(max_rows, share)), dropped)
                self._busy += bool(batch)
                if self._num_producers:
                    self._room.notify_all()
                if self._all_rows and self._idle and not self._full:
                    self._changed.notify()
            _tell(dropped)
            if batch:
                return batch

    def begin_here(self) -> bool:
        """Return whether the calling thread may answer its own work now: nothing waits, and a seat is free.

        Then it says so by `done_here` afterwards. This spares a caller who would wait anyway two changes of thread.
        """
        with self._changed:
            if self._all_rows or self._full or self.ended:
                return False
            self._busy += 1
            self._here += 1
            return True

    def done_here(self) -> None:
        """Say that the work of `begin_here` is answered."""
        with self._changed:
            self._here -= 1
            self._freed()

    def done(self) -> None:
        """Say that a batch that was taken is answered."""
        with self._changed:
            self._freed()

    def end(self) -> None:
        """Take nothing more in; `take` gives what is there and then nothing."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            self._room.notify_all()

    def end_if_idle(self) -> bool:
        """End if nothing waits and nothing is being answered; return whether the queue has ended."""
        with self._changed:
            if self._all_rows or self._busy:
                return self.ended
            self._ending = True
            self._changed.notify_all()
            self._room.notify_all()
            return True

    def close(self) -> list[Work]:
        """Let `take` return nothing from now on; return the work that was still waiting."""
        with self._changed:
            self._closed = True
            left = [work for waiting in self._waiting.values() for work in waiting]
            for waiting in self._waiting.values():
                waiting.clear()
            self._rows = dict.fromkeys(Priority, 0)
            self._all_rows = 0
            self._changed.notify_all()
            self._room.notify_all()
            return left

    @property
    def _full(self) -> bool:
        return self._seats is not None and self._busy >= self._seats

    @property
    def _num_others(self) -> int:
        """Workers that could take a batch beside the one that is about to."""
        return self._idle if self._seats is None else min(self._idle, self._seats - self._busy - 1)

    def _is_due(self) -> bool:
        """Return whether a worker has something to do, or may leave; the last one closes what callers here use."""
        if self._all_rows:
            return not self._full
        return self.ended and not self._here

    def _freed(self) -> None:
        """Give a seat back, and wake who waited for it."""
        self._busy -= 1
        if self.ended:
            self._changed.notify_all()
        elif self._all_rows and self._idle:
            self._changed.notify()

    def _put(self, work: Work, dropped: list[tuple[Work, Exception]], *, wait: bool) -> None:
        priority = work.call.priority
        # One parcel larger than the bound is let in alone: it could never run otherwise.
        while self._all_rows and not self.ended:
            ahead = self._ahead(priority)
            if not ahead or ahead + work.rows <= self._max_rows:
                break
            if self._drop(dropped):
                continue
            if not wait:
                raise Overloaded(f"{ahead} rows wait for the model already.", cure="Retry after a second.")
            if error := work.abandoned():
                raise error
            self._num_producers += 1
            self._room.wait(_POLL_S)
            self._num_producers -= 1
        if self._closed:
            raise Cancelled("The model is being closed.")
        if self._ending:
            raise Ended
        self._waiting[priority].append(work)
        self._rows[priority] += work.rows
        self._all_rows += work.rows
        if self._idle and not self._full:
            self._changed.notify()

    def _ahead(self, priority: Priority) -> int:
        """Return the rows that wait and do not go after work of `priority`."""
        return sum(rows for other, rows in self._rows.items() if other <= priority)

    def _drop(self, dropped: list[tuple[Work, Exception]]) -> bool:
        """Take out what nobody wants any more; return whether there was anything."""
        now_s, found = time.monotonic(), False
        for waiting in self._waiting.values():
            gone = [work for work in waiting if work.unwanted(now_s)]
            for work in gone:
                dropped.append((work, work.abandoned() or Cancelled("The caller gave up before the model ran.")))
                self._forget(work)
            if gone:
                left = {id(work) for work in gone}
                kept = [work for work in waiting if id(work) not in left]
                waiting.clear()
                waiting.extend(kept)
                found = True
        return found

    def _forget(self, work: Work) -> None:
        """Count the rows of `work` as waiting no more."""
        self._rows[work.call.priority] -= work.rows
        self._all_rows -= work.rows

    def _gathered(self, max_rows: int, dropped: list[tuple[Work, Exception]]) -> list[Work]:
        """Take work of one signature, up to `max_rows`; what nobody wants any more goes to `dropped`."""
        batch: list[Work] = []
        rows = 0
        for priority in self._order():
            waiting = self._waiting[priority]
            kept: list[Work] = []
            while waiting and rows < max_rows:
                work = waiting.popleft()
                alike = not batch or work.signature == batch[0].signature
                if alike and batch and rows + work.rows > max_rows:
                    kept.append(work)
                    break  # what is behind it must not overtake it
                if not alike:
                    kept.append(work)
                    continue
                self._forget(work)
                if (error := work.abandoned()) is not None:
                    dropped.append((work, error))
                elif work.claimed():
                    batch.append(work)
                    rows += work.rows
            waiting.extendleft(reversed(kept))
        if batch:
            self._num_batches += 1
        return batch

    def _order(self) -> Sequence[Priority]:
        return _TURNS.get(self._num_batches % _ROUND, _BY_PRIORITY)


_BY_PRIORITY = tuple(Priority)
_TURNS = {
    _ROUND // 2 - 1: (Priority.STREAM, Priority.REQUEST, Priority.JOB),
    _ROUND - 1: (Priority.JOB, Priority.REQUEST, Priority.STREAM),
}
"""Batch of a round -> who goes first in it, where that is not by priority."""


def _tell(dropped: Sequence[tuple[Work, Exception]]) -> None:
    """Answer what was dropped; the queue's lock is not held."""
    for work, error in dropped:
        work.refuse(error)

"""Work for one model: a bounded queue by priority, and greedy batches from what waits.

Knows tensors and callers' wishes; knows nothing of samples, predictors or runtimes. Nobody ever sleeps to fill a
batch: a worker takes what is there. Rows are counted, not calls: the bound is on the work, whatever its parcels.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition
from typing import TypeAlias

import numpy as np

from sightline.core.errors import Cancelled, DeadlineExceeded, InvalidInput, Overloaded
from sightline.core.ports import Array, Tensors
from sightline.engine.call import Call, Priority

Signature: TypeAlias = tuple[tuple[str, str, tuple[int, ...]], ...]
_JOB_TURN = 10  # one batch in ten begins with a job, however busy requests and streams are
_POLL_S = 0.2  # how often waiting producers look whether their caller has given up


@dataclass(eq=False, kw_only=True)
class Work:
    """One call of a model that waits for its turn."""

    feeds: Tensors
    call: Call
    future: Future[dict[str, Array]] = field(default_factory=Future)
    rows: int = 1
    signature: Signature = ()

    def abandoned(self) -> Exception | None:
        """Return the error that ends this work before it runs, or None."""
        if self.call.cancelled is not None and self.call.cancelled.is_set():
            return Cancelled("The caller gave up before the model ran.")
        if self.call.deadline_s is not None and time.monotonic() > self.call.deadline_s:
            return DeadlineExceeded("The deadline passed while the work was waiting for the model.")
        return None


def make_work(feeds: Tensors, call: Call) -> Work:
    """Return the work for `feeds`, whose tensors have as many rows as each other.

    Raises:
        InvalidInput: there is no tensor, one is a scalar, or the numbers of rows differ.
    """
    if not feeds or any(tensor.ndim == 0 for tensor in feeds.values()):
        raise InvalidInput("A model needs at least one input, and each with a first axis that counts rows.")
    rows = {len(tensor) for tensor in feeds.values()}
    if len(rows) > 1:
        raise InvalidInput(f"The inputs have different numbers of rows: {sorted(rows)}.")
    signature = tuple(sorted((name, tensor.dtype.str, tuple(tensor.shape[1:])) for name, tensor in feeds.items()))
    return Work(feeds=feeds, call=call, rows=rows.pop(), signature=signature)


class WorkQueue:
    """Work by priority, bounded in rows."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._waiting: dict[Priority, deque[Work]] = {priority: deque() for priority in Priority}
        self._rows = 0
        self._idle = 0
        self._num_batches = 0
        self._closed = False
        self._changed = Condition()

    @property
    def rows(self) -> int:
        """Rows that wait now."""
        return self._rows

    def put(self, work: Work) -> None:
        """Add work; a request finds room or is refused, streams and jobs wait for room.

        Raises:
            Overloaded: no room for a request.
            DeadlineExceeded, Cancelled: while waiting for room.
        """
        with self._changed:
            # One parcel larger than the bound is let in alone: it could never run otherwise.
            while self._rows and self._rows + work.rows > self._max_rows and not self._closed:
                if work.call.priority is Priority.REQUEST:
                    raise Overloaded(f"{self._rows} rows wait for the model already.", cure="Retry after a second.")
                if error := work.abandoned():
                    raise error
                self._changed.wait(_POLL_S)
            if self._closed:
                raise Cancelled("The model is being closed.")
            self._waiting[work.call.priority].append(work)
            self._rows += work.rows
            self._changed.notify()

    def take(self, max_rows: int) -> list[Work]:
        """Wait for work and return a batch of equal signature; empty when the queue was closed.

        What waits is shared among the workers that are idle, so that a burst keeps all of them busy.
        """
        with self._changed:
            while True:
                self._idle += 1
                try:
                    while not self._rows and not self._closed:
                        self._changed.wait()
                finally:
                    self._idle -= 1
                if self._closed:
                    return []
                share = -(-self._rows // (self._idle + 1))
                batch = self._gathered(max(1, min(max_rows, share)))
                self._changed.notify_all()
                if batch:
                    return batch

    def close(self) -> list[Work]:
        """Let `take` return nothing from now on; return the work that was still waiting."""
        with self._changed:
            self._closed = True
            left = [work for waiting in self._waiting.values() for work in waiting]
            for waiting in self._waiting.values():
                waiting.clear()
            self._rows = 0
            self._changed.notify_all()
            return left

    def _gathered(self, max_rows: int) -> list[Work]:
        """Take work of one signature, up to `max_rows`, dropping what nobody wants any more."""
        batch: list[Work] = []
        rows = 0
        for priority in self._order():
            waiting = self._waiting[priority]
            kept: list[Work] = []
            while waiting and rows < max_rows:
                work = waiting.popleft()
                if self._dropped(work):
                    continue
                fits = not batch or (work.signature == batch[0].signature and rows + work.rows <= max_rows)
                if fits:
                    batch.append(work)
                    rows += work.rows
                    self._rows -= work.rows
                else:
                    kept.append(work)
            waiting.extendleft(reversed(kept))
        if batch:
            self._num_batches += 1
        return batch

    def _order(self) -> Sequence[Priority]:
        if self._num_batches % _JOB_TURN == _JOB_TURN - 1:
            return (Priority.JOB, Priority.REQUEST, Priority.STREAM)
        return tuple(Priority)

    def _dropped(self, work: Work) -> bool:
        """Answer work that was abandoned while it waited."""
        error = work.abandoned()
        if error is None and work.future.set_running_or_notify_cancel():
            return False
        self._rows -= work.rows
        if error is not None:
            work.future.set_exception(error)
        return True


def run_batch(
    batch: Sequence[Work],
    run: Callable[[Tensors], Mapping[str, Array]],
    *,
    fixed_rows: int | None,
    batchable: bool,
) -> bool:
    """Run the model on `batch` and answer every future; return False when its outputs cannot be split by rows.

    Args:
        batch: work of one signature.
        run: the session's run.
        fixed_rows: the number of rows that the net insists on; None when it takes any number.
        batchable: False runs every work by itself, as it is.
    """
    if not batchable:
        for work in batch:
            _answer(work, lambda work=work: dict(run(work.feeds)))  # type: ignore[misc]
        return True
    if len(batch) == 1:
        work = batch[0]
        _answer(work, lambda: _in_parcels(work.feeds, work.rows, run, fixed_rows))
        return True
    rows = sum(work.rows for work in batch)
    try:
        feeds = {name: np.concatenate([work.feeds[name] for work in batch]) for name in batch[0].feeds}
        outputs = _in_parcels(feeds, rows, run, fixed_rows)
    except Exception:  # noqa: BLE001 - whatever it is, it must reach the one caller whose rows caused it
        for work in batch:
            _answer(work, lambda work=work: _in_parcels(work.feeds, work.rows, run, fixed_rows))  # type: ignore[misc]
        return True
    if any(tensor.ndim == 0 or len(tensor) != rows for tensor in outputs.values()):
        for work in batch:
            _answer(work, lambda work=work: dict(run(work.feeds)))  # type: ignore[misc]
        return False
    start = 0
    for work in batch:
        part = slice(start, start + work.rows)
        work.future.set_result({name: tensor[part] for name, tensor in outputs.items()})
        start += work.rows
    return True


def _in_parcels(
    feeds: Tensors, rows: int, run: Callable[[Tensors], Mapping[str, Array]], fixed_rows: int | None
) -> dict[str, Array]:
    """Run a net with a fixed number of rows as often as needed; the last parcel is filled with its last row."""
    if fixed_rows is None or rows == fixed_rows:
        return dict(run(feeds))
    parts: list[Mapping[str, Array]] = []
    for start in range(0, rows, fixed_rows):
        parcel = {name: tensor[start : start + fixed_rows] for name, tensor in feeds.items()}
        missing = fixed_rows - min(fixed_rows, rows - start)
        if missing:
            parcel = {
                name: np.concatenate([tensor, np.repeat(tensor[-1:], missing, axis=0)])
                for name, tensor in parcel.items()
            }
        parts.append({name: tensor[: fixed_rows - missing] for name, tensor in run(parcel).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _answer(work: Work, run: Callable[[], dict[str, Array]]) -> None:
    try:
        work.future.set_result(run())
    except Exception as error:  # noqa: BLE001 - it belongs to the caller, who waits for it
        work.future.set_exception(error)

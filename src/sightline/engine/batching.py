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

    def claimed(self) -> bool:
        """Begin to answer this work; False when nobody wants it any more, who still waits is told why."""
        if not self.future.set_running_or_notify_cancel():
            return False
        error = self.abandoned()
        if error is not None:
            self.future.set_exception(error)
        return error is None

    def refuse(self, error: Exception) -> None:
        """End this work with `error`, unless its caller has gone."""
        if self.future.running() or self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


def make_work(feeds: Tensors, call: Call, *, batchable: bool = True) -> Work:
    """Return the work for `feeds`, whose tensors have as many rows as each other; without `batchable` any tensors.

    Raises:
        InvalidInput: there is no tensor, one is a scalar, or the numbers of rows differ or are 0.
    """
    if not batchable:
        return Work(feeds=feeds, call=call)
    if not feeds or any(tensor.ndim == 0 for tensor in feeds.values()):
        raise InvalidInput("A model needs at least one input, and each with a first axis that counts rows.")
    rows = {len(tensor) for tensor in feeds.values()}
    if len(rows) > 1:
        raise InvalidInput(f"The inputs have different numbers of rows: {sorted(rows)}.")
    if rows == {0}:
        raise InvalidInput("The inputs have no rows.", cure="Do not ask the model about nothing.")
    signature = tuple(sorted((name, tensor.dtype.str, tuple(tensor.shape[1:])) for name, tensor in feeds.items()))
    return Work(feeds=feeds, call=call, rows=rows.pop(), signature=signature)


class WorkQueue:
    """Work by priority, bounded in rows: for each priority, those of it and of what goes before it.

    So a long job that keeps the queue full does not take the place of requests.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._waiting: dict[Priority, deque[Work]] = {priority: deque() for priority in Priority}
        self._rows = dict.fromkeys(Priority, 0)
        self._idle = 0
        self._num_batches = 0
        self._closed = False
        self._changed = Condition()

    @property
    def rows(self) -> int:
        """Rows that wait now."""
        return sum(self._rows.values())

    def put(self, work: Work) -> None:
        """Add work; a request finds room or is refused, streams and jobs wait for room.

        Raises:
            Overloaded: no room for a request.
            DeadlineExceeded, Cancelled: while waiting for room.
        """
        priority = work.call.priority
        with self._changed:
            # One parcel larger than the bound is let in alone: it could never run otherwise.
            while (ahead := self._ahead(priority)) and ahead + work.rows > self._max_rows and not self._closed:
                if priority is Priority.REQUEST:
                    raise Overloaded(f"{ahead} rows wait for the model already.", cure="Retry after a second.")
                if error := work.abandoned():
                    raise error
                self._changed.wait(_POLL_S)
            if self._closed:
                raise Cancelled("The model is being closed.")
            self._waiting[priority].append(work)
            self._rows[priority] += work.rows
            self._changed.notify()

    def take(self, max_rows: int) -> list[Work]:
        """Wait for work and return a batch of equal signature; empty when the queue was closed.

        What waits is shared among the workers that are idle, so that a burst keeps all of them busy.
        """
        with self._changed:
            while True:
                self._idle += 1
                try:
                    while not self.rows and not self._closed:
                        self._changed.wait()
                finally:
                    self._idle -= 1
                if self._closed:
                    return []
                share = -(-self.rows // (self._idle + 1))
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
            self._rows = dict.fromkeys(Priority, 0)
            self._changed.notify_all()
            return left

    def _ahead(self, priority: Priority) -> int:
        """Return the rows that wait and do not go after work of `priority`."""
        return sum(rows for other, rows in self._rows.items() if other <= priority)

    def _gathered(self, max_rows: int) -> list[Work]:
        """Take work of one signature, up to `max_rows`, dropping what nobody wants any more."""
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
                self._rows[priority] -= work.rows
                if work.claimed():
                    batch.append(work)
                    rows += work.rows
            waiting.extendleft(reversed(kept))
        if batch:
            self._num_batches += 1
        return batch

    def _order(self) -> Sequence[Priority]:
        if self._num_batches % _JOB_TURN == _JOB_TURN - 1:
            return (Priority.JOB, Priority.REQUEST, Priority.STREAM)
        return tuple(Priority)


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
        return _answered_alone(batch, run, fixed_rows)
    rows = sum(work.rows for work in batch)
    try:
        feeds = {name: np.concatenate([work.feeds[name] for work in batch]) for name in batch[0].feeds}
        outputs = _in_parcels(feeds, rows, run, fixed_rows)
    except Exception:  # noqa: BLE001 - whatever it is, it must reach the one caller whose rows caused it
        return _answered_alone(batch, run, fixed_rows)
    if outputs is None or not _by_rows(outputs, rows):
        _answered_alone(batch, run, fixed_rows)
        return False
    start = 0
    for work in batch:
        part = slice(start, start + work.rows)
        work.future.set_result({name: tensor[part] for name, tensor in outputs.items()})
        start += work.rows
    return True


def _answered_alone(
    batch: Sequence[Work], run: Callable[[Tensors], Mapping[str, Array]], fixed_rows: int | None
) -> bool:
    """Run every work by itself; return False when the outputs of one cannot be split by rows."""
    split = True
    for work in batch:
        try:
            outputs = _in_parcels(work.feeds, work.rows, run, fixed_rows)
            if outputs is None:
                raise InvalidInput(
                    f"The model takes {fixed_rows} rows at once and its outputs cannot be told apart by rows, so it "
                    f"cannot take {work.rows}.",
                    cure=f"Give it {fixed_rows} rows a call.",
                )
        except Exception as error:  # noqa: BLE001 - it belongs to the caller, who waits for it
            work.future.set_exception(error)
        else:
            split = split and _by_rows(outputs, work.rows)
            work.future.set_result(outputs)
    return split


def _in_parcels(
    feeds: Tensors, rows: int, run: Callable[[Tensors], Mapping[str, Array]], fixed_rows: int | None
) -> dict[str, Array] | None:
    """Run a net with a fixed number of rows as often as needed; the last parcel is filled with its last row.

    None when that takes more than one call, or less than a whole one, and an output has not a row for each row.
    """
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
        outputs = run(parcel)
        if not _by_rows(outputs, fixed_rows):
            return None
        parts.append({name: tensor[: fixed_rows - missing] for name, tensor in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _by_rows(outputs: Mapping[str, Array], rows: int) -> bool:
    """Return whether every output has a row for each row of the inputs."""
    return all(tensor.ndim > 0 and len(tensor) == rows for tensor in outputs.values())


def _answer(work: Work, run: Callable[[], dict[str, Array]]) -> None:
    try:
        work.future.set_result(run())
    except Exception as error:  # noqa: BLE001 - it belongs to the caller, who waits for it
        work.future.set_exception(error)

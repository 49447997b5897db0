"""A model that is open: one session, the queue before it, and the workers that carry work from one to the other.

It lives from one opening to the next closing; who opens and closes it, and when, is in `engine/versions`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from threading import Lock, Thread

import structlog

from sightline.core.errors import Cancelled
from sightline.core.ports import Meter, Session
from sightline.engine.batching import run_batch
from sightline.engine.layouts import Layout
from sightline.engine.memory import give_back
from sightline.engine.work import Signature, Work, WorkQueue

log = structlog.get_logger()
_RECENT = 256  # batches of which quantiles are told


class OpenedModel:
    """A session that works.

    The session is closed by the last worker to leave, so that nothing is taken away from under a call of it.

    Args:
        ref: `name@version`, for logs and numbers.
        session: what runs the model; it belongs to this object from now on.
        layout: workers and most rows in one call.
        queue_rows: most rows that wait.
        meter: receives batch sizes and times.

    Attributes:
        max_batch: most rows in one call; may be changed at any time.
        batchable: False when every call must be run by itself.
        fixed_rows: the number of rows that the net insists on; None when it takes any number.
        seen: types and shapes of the first work that came; None before.
        recent: seconds and rows of the last batches.
        num_batches: how many there were since it was opened.
    """

    def __init__(self, *, ref: str, session: Session, layout: Layout, queue_rows: int, meter: Meter) -> None:
        first_axes = [spec.shape[0] if spec.shape else None for spec in session.card.inputs]
        fixed = {axis for axis in first_axes if isinstance(axis, int)}
        # Inputs of several fixed lengths, or a number by itself, cannot all count the same rows.
        alike = len(fixed) <= 1 and all(spec.shape for spec in session.card.inputs)
        self.ref = ref
        self.session = session
        self.layout = layout
        self.max_batch = layout.max_batch
        self.batchable = session.card.batchable and alike
        self.fixed_rows = next(iter(fixed), None) if self.batchable else None
        self.seen: Signature | None = None
        self.recent: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        self.num_batches = 0
        self.queue = WorkQueue(queue_rows, seats=layout.num_workers)
        self._meter = meter
        self._lock = Lock()
        self._num_left = layout.num_workers
        self._threads = [
            Thread(target=self._work, name=f"model-{ref}-{number}", daemon=True) for number in range(layout.num_workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_idle(self) -> bool:
        """True when nothing waits and nothing runs."""
        return not self.queue.rows and not self.queue.num_busy

    def close(self) -> None:
        """Finish what runs and refuse what waits."""
        for work in self.queue.close():
            work.refuse(Cancelled("The model is being closed."))

    def join(self, until_s: float) -> None:
        """Wait for the workers, until that moment on the monotonic clock at most."""
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def run_here(self, work: Work) -> bool:
        """Answer `work` in the calling thread, if nobody waits and no more run than there are workers.

        Returns:
            False where it must wait its turn.
        """
        if not self.queue.begin_here():
            return False
        try:
            if error := work.abandoned():
                work.refuse(error)
            elif work.claimed():
                self._answer([work])
        finally:
            self.queue.done_here()
        return True

    def _work(self) -> None:
        try:
            while batch := self.queue.take(self.max_batch if self.batchable else 1):
                try:
                    self._answer(batch)
                finally:
                    self.queue.done()
        finally:
            self._leave()

    def _answer(self, batch: Sequence[Work]) -> None:
        """Run the model on a batch and answer its callers, whatever comes."""
        try:
            if self.seen is None:
                self.seen = batch[0].signature
            split = run_batch(batch, self.session.run, fixed_rows=self.fixed_rows, batchable=self.batchable)
            self._measured(sum(work.rows for work in batch), batch[0].inference_s)
        except Exception as error:  # noqa: BLE001 - a worker that dies leaves all callers waiting for ever
            log.error("model worker failed", model=self.ref, error=str(error))
            for work in batch:
                if not work.future.done():
                    work.refuse(error)
            return
        if not split and self.batchable:
            log.warning("outputs do not have a row per input row; no more batches", model=self.ref)
            self.batchable = False

    def _measured(self, rows: int, inference_s: float | None) -> None:
        """Tell the meter of a batch; one that failed has no time."""
        if inference_s is not None:
            self.recent.append((inference_s, rows))
            self.num_batches += 1
            self._meter.observe("model_seconds", inference_s, model=self.ref)
        self._meter.observe("model_batch_rows", rows, model=self.ref)

    def _leave(self) -> None:
        with self._lock:
            self._num_left -= 1
            if self._num_left:
                return
        self.session.close()
        give_back()

"""Model sessions: expensive, opened on use, shared by every case, run and request of the process.

A handle belongs to a caller and costs nothing; behind it stands one engine per model with its queue, its worker
threads and one runtime session. The workers share the session; each call of it uses one thread, so parallelism comes
from calls, not from inside one.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock, Thread

import structlog

from sightline.core.errors import Cancelled, DeadlineExceeded, Unavailable
from sightline.core.model import ModelCard
from sightline.core.ports import Array, Meter, ModelHandle, Runtime, Session, Tensors
from sightline.engine.batching import WorkQueue, make_work, run_batch
from sightline.engine.call import current_call
from sightline.engine.registry import Located, ModelRegistry

log = structlog.get_logger()
_JOIN_S = 5.0  # a worker inside one call of the runtime cannot be interrupted; this is how long it is waited for


def _num_cores() -> int:
    """Return the cores that this process may use, which in a container are often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class SessionLayout:
    """How much of the machine each model gets.

    Attributes:
        device: where models run.
        num_workers: threads per model.
        max_batch: most rows in one call of the runtime.
        queue_rows: most rows that wait for one model.
    """

    device: str = "auto"
    num_workers: int = field(default_factory=_num_cores)
    max_batch: int = 8
    queue_rows: int = 256


class ModelSessions:
    """All models that are open in this process.

    Args:
        registry: finds models by reference.
        runtime: opens them.
        meter: receives batch sizes and times.
        layout: how much of the machine each model gets.
    """

    def __init__(
        self, *, registry: ModelRegistry, runtime: Runtime, meter: Meter, layout: SessionLayout | None = None
    ) -> None:
        self._registry = registry
        self._runtime = runtime
        self._meter = meter
        self._layout = layout or SessionLayout()
        self._engines: dict[str, _Engine] = {}
        self._by_ref: dict[str, _Engine] = {}
        self._lock = Lock()

    def open(self, ref: str) -> ModelHandle:
        """Return a handle for the model that `ref` means; the model itself is opened at first use.

        Raises:
            ModelNotFound: nothing has that name.
            InvalidModel: the file is no ONNX model.
        """
        try:
            located = self._registry.locate(ref)
        except Unavailable:
            # The database is away: whoever reconnects meanwhile goes on with what this reference meant before.
            with self._lock:
                if (engine := self._by_ref.get(ref)) is not None:
                    return _Handle(engine)
            raise
        # A path may change under its name between two runs of one process; its modification time tells.
        key = f"{located.ref}:{located.path}:{located.path.stat().st_mtime_ns}"
        with self._lock:
            if key not in self._engines:
                self._engines[key] = _Engine(located, self._runtime, self._meter, self._layout)
            engine = self._by_ref[ref] = self._engines[key]
            return _Handle(engine)

    def close(self) -> None:
        """Finish what runs, refuse what waits, and give the memory back."""
        with self._lock:
            engines, self._engines, self._by_ref = list(self._engines.values()), {}, {}
        for engine in engines:
            engine.close()


class _Engine:
    """One model: a session that opens on use, its queue and its workers."""

    def __init__(self, located: Located, runtime: Runtime, meter: Meter, layout: SessionLayout) -> None:
        self._located = located
        self._runtime = runtime
        self._meter = meter
        self._layout = layout
        self._session: Session | None = None
        self._queue = WorkQueue(layout.queue_rows)
        self._threads: list[Thread] = []
        self._lock = Lock()
        self._closed = False
        self._batchable = True
        self._fixed_rows: int | None = None

    @property
    def version(self) -> str:
        return self._located.ref

    def session(self) -> Session:
        """Return the session, opened now if this is the first use.

        Raises:
            Cancelled: the model was closed.
            DeadlineExceeded: another caller opens it, and that takes longer than this one can wait.
        """
        deadline_s = current_call().deadline_s
        if not self._lock.acquire(timeout=-1 if deadline_s is None else max(0.0, deadline_s - time.monotonic())):
            raise DeadlineExceeded("The deadline passed while the model was being opened.")
        try:
            if self._closed:
                raise Cancelled("The model is being closed.")
            if self._session is None:
                self._session = self._opened()
                self._threads = [
                    Thread(target=self._work, args=(self._session,), name=f"model-{self.version}-{n}", daemon=True)
                    for n in range(self._layout.num_workers)
                ]
                for thread in self._threads:
                    thread.start()
            return self._session
        finally:
            self._lock.release()

    def submit(self, feeds: Tensors) -> Future[dict[str, Array]]:
        self.session()
        work = make_work(feeds, current_call(), batchable=self._batchable)
        work.call.note(self.version)
        self._queue.put(work)
        return work.future

    def close(self) -> None:
        with self._lock:
            self._closed = True
        for work in self._queue.close():
            work.refuse(Cancelled("The model is being closed."))
        deadline = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._session is not None:
            self._session.close()

    def _opened(self) -> Session:
        begin = time.perf_counter()
        session = self._runtime.open(self._located.path, name=self._located.name, device=self._layout.device)
        first_axes = [spec.shape[0] if spec.shape else None for spec in session.card.inputs]
        fixed = {axis for axis in first_axes if isinstance(axis, int)}
        # Inputs of several fixed lengths, or a number by itself, cannot all count the same rows.
        alike = len(fixed) <= 1 and all(spec.shape for spec in session.card.inputs)
        self._batchable = session.card.batchable and alike
        self._fixed_rows = next(iter(fixed), None) if self._batchable else None
        log.info("model opened", model=self.version, seconds=round(time.perf_counter() - begin, 3))
        return session

    def _work(self, session: Session) -> None:
        meter, model = self._meter, self.version
        while batch := self._queue.take(self._layout.max_batch if self._batchable else 1):
            begin = time.perf_counter()
            try:
                split = run_batch(batch, session.run, fixed_rows=self._fixed_rows, batchable=self._batchable)
                meter.observe("model_seconds", time.perf_counter() - begin, model=model)
                meter.count("model_rows", sum(work.rows for work in batch), model=model)
            except Exception as error:  # noqa: BLE001 - a worker that dies leaves all callers waiting for ever
                log.error("model worker failed", model=model, error=str(error))
                for work in batch:
                    if not work.future.done():
                        work.refuse(error)
                continue
            if not split and self._batchable:
                log.warning("outputs do not have a row per input row; no more batches", model=model)
                self._batchable = False


class _Handle(ModelHandle):
    """A caller's view of one model."""

    def __init__(self, engine: _Engine) -> None:
        self._engine = engine

    @property
    def card(self) -> ModelCard:
        return self._engine.session().card

    @property
    def version(self) -> str:
        return self._engine.version

    def submit(self, feeds: Tensors) -> Future[dict[str, Array]]:
        return self._engine.submit(feeds)

    def run(self, feeds: Tensors) -> dict[str, Array]:
        future = self.submit(feeds)
        deadline_s = current_call().deadline_s
        try:
            return future.result(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        except TimeoutError:
            future.cancel()
            raise DeadlineExceeded("The deadline passed before the model answered.") from None

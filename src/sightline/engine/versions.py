"""One version of a model in this process: it opens when it is needed and can be closed whenever nobody uses it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import structlog

from sightline.core.errors import Cancelled, SightlineError
from sightline.core.model import ModelCard
from sightline.core.ports import Meter, Runtime, Session, Tensors
from sightline.engine.call import Call
from sightline.engine.layouts import Layout, LayoutFiles, SessionLayout, made_up_feeds, start_layout
from sightline.engine.memory import Evictable, MemoryBudget, estimate, resident_bytes
from sightline.engine.opened import OpenedModel
from sightline.engine.registry import Located
from sightline.engine.work import Ended, Work, make_work

log = structlog.get_logger()
_POLL_S = 0.2  # how often one who waits for another's opening looks whether its caller has given up
_GRACE_S = 0.02  # a model that was asked for this long ago is in use: who saw it open is about to submit
_JOIN_S = 5.0  # a worker inside one call of the runtime cannot be interrupted; this is how long it is waited for


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What all versions of a process share.

    Attributes:
        runtime: opens models.
        meter: receives numbers.
        layout: what the settings say of workers and batches.
        memory: makes room.
        files: layouts that were measured before.
        to_measure: called with a version that has opened without a known layout.
    """

    runtime: Runtime
    meter: Meter
    layout: SessionLayout
    memory: MemoryBudget
    files: LayoutFiles | None
    to_measure: Callable[[Version], None]


class Version(Evictable):
    """A model file that opens on use.

    Attributes:
        ref: `name@version`.
        card: the card of its last opening, with inputs and outputs; None before.
        last_used_s: moment on the monotonic clock of the last call.
        num_loads: how often it was opened.
    """

    def __init__(self, located: Located, around: Surroundings) -> None:
        self.ref = located.ref
        self.name = located.name
        self.number = located.ref.removeprefix(f"{located.name}@")
        self.path: Path = located.path
        self.card: ModelCard | None = None
        self.last_used_s = 0.0
        self.num_loads = 0
        self.digest = located.card.digest
        self._located_card = located.card
        self._around = around
        self._opened: OpenedModel | None = None
        self._lock = Lock()
        self._closed = False
        self._bytes: int | None = None
        self._layout: Layout | None = None

    @property
    def opened(self) -> OpenedModel | None:
        """The open model; None while it is closed."""
        return self._opened

    @property
    def open_bytes(self) -> int:
        """Estimate of the memory that it takes now; 0 when it is closed."""
        return 0 if self._opened is None else self._bytes or 1

    @property
    def is_idle(self) -> bool:
        """True when nothing waits and nothing runs."""
        opened = self._opened
        return opened is None or opened.is_idle

    def touch(self) -> bool:
        """Return whether it is open; if so it stays open for a moment."""
        self.last_used_s = time.monotonic()
        return self._opened is not None

    def submit(self, feeds: Tensors, call: Call, *, wait: bool = True, here: bool = False) -> Work:
        """Give work to the model, opened now if it is closed.

        Args:
            feeds: tensors by input name.
            call: who asks.
            wait: False: jobs are refused as requests are, when the queue is full.
            here: the calling thread would wait for the answer, and may find it itself when nobody else waits.

        Raises:
            InvalidInput, Overloaded, DeadlineExceeded, Cancelled: see `ModelHandle.run`.
        """
        while True:
            opened = self._opened or self.open(call)
            work = make_work(feeds, call, batchable=opened.batchable)
            self.last_used_s = work.since_s
            try:
                if not (here and opened.run_here(work)):
                    opened.queue.put(work, wait=wait)
            except Ended:  # it was closed or changed its layout this moment
                self.open(call)
                continue
            call.note(self.ref)
            return work

    def open(self, call: Call | None = None) -> OpenedModel:
        """Return the open model, opened now if it is closed.

        Raises:
            Cancelled: the model was closed for good, or the caller gave up.
            DeadlineExceeded: another caller opens it, and that takes longer than this one can wait.
        """
        if not self._lock.acquire(blocking=False):
            self._await_lock(call or Call())
        try:
            if self._closed:
                raise Cancelled("The model is being closed.")
            if self._opened is None:
                self._opened = self._make()
                self.num_loads += 1
                self._around.memory.release(self)
                if self._layout is None and not self._around.layout.is_explicit:
                    self._around.to_measure(self)
            return self._opened
        finally:
            self._lock.release()

    def warm(self) -> None:
        """Open the model and run it once, for what a runtime only does in a first call."""
        opened = self.open()
        self.last_used_s = time.monotonic()
        feeds = made_up_feeds(opened.session.card, opened.seen)
        if feeds is None:
            return
        before = resident_bytes()
        try:
            opened.session.run(feeds)
        except SightlineError as error:  # not every net can run on what was made up; that says nothing against it
            log.debug("model was not warmed", model=self.ref, error=str(error))
        if opened.seen is None and self._bytes is not None:
            self._bytes += max(0, resident_bytes() - before)  # the buffers of a first call

    def change_layout(self, layout: Layout, session: Session | None = None) -> None:
        """Go on with another layout, between two batches; with another session where the threads in a call differ."""
        with self._lock:
            self._layout = layout
            before = self._opened
            if before is None or self._closed:
                if session is not None:
                    session.close()
                return
            before.max_batch = layout.max_batch
            if session is None:
                return
            self._opened = self._working(session, layout)
        before.queue.end()

    def evict(self) -> bool:
        """Close it unless somebody uses it; return whether it is closed. The next use opens it again."""
        if not self._lock.acquire(blocking=False):
            return False  # it is being opened
        try:
            opened = self._opened
            if opened is None:
                return True
            if time.monotonic() - self.last_used_s < _GRACE_S or not opened.queue.end_if_idle():
                return False
            self._opened = None
        finally:
            self._lock.release()
        opened.join(time.monotonic() + _JOIN_S)
        return True

    def put_away(self) -> bool:
        """Close it as soon as what it has accepted is done; return whether it was open. The next use opens it again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.queue.end()
        return opened is not None

    def close(self) -> None:
        """Finish what runs, refuse what waits, and never open again."""
        with self._lock:
            self._closed = True
            opened = self._opened
        if opened is not None:
            opened.close()

    def join(self, until_s: float) -> None:
        """Wait for the workers of a closed model, until that moment at most."""
        if self._opened is not None:
            self._opened.join(until_s)
            self._opened = None

    def _await_lock(self, call: Call) -> None:
        """Take the lock that another caller holds, who opens the model."""
        watch = Work(feeds={}, call=call)
        while True:
            if error := watch.abandoned():
                raise type(error)(
                    f"{str(error).partition(' while ')[0].rstrip('.')} while {self.ref} was being opened."
                )
            left_s = _POLL_S if call.deadline_s is None else call.deadline_s - time.monotonic()
            if self._lock.acquire(timeout=max(0.0, min(_POLL_S, left_s))):
                return

    def _make(self) -> OpenedModel:
        around, begin_s = self._around, time.monotonic()
        file_bytes = self.path.stat().st_size if self.path.is_file() else 0
        around.memory.reserve(self, estimate(file_bytes, before=self._bytes))
        try:
            layout = self._chosen_layout()
            before = resident_bytes()
            runtime = around.runtime.with_threads(layout.num_threads) or around.runtime
            session = runtime.open(self.path, name=self.name, device=around.layout.device)
            self._bytes = estimate(file_bytes, max(0, resident_bytes() - before), self._bytes)
            self.card = session.card
            opened = self._working(session, layout)
        except BaseException:
            around.memory.release(self)
            raise
        self.last_used_s = time.monotonic()
        around.meter.count("model_loads", model=self.ref)
        log.info("model opened", model=self.ref, seconds=round(time.monotonic() - begin_s, 3), bytes=self._bytes)
        return opened

    def _working(self, session: Session, layout: Layout) -> OpenedModel:
        around = self._around
        return OpenedModel(
            ref=self.ref, session=session, layout=layout, queue_rows=around.layout.queue_rows, meter=around.meter
        )

    def _chosen_layout(self) -> Layout:
        """Return what the settings say, else what was measured before, else the start."""
        around, wanted = self._around, self._around.layout
        if self._layout is None and not wanted.is_explicit and self.digest and around.files is not None:
            self._layout = around.files.find(self.digest)
        known = self._layout or start_layout(self._located_card)
        return Layout(
            max_batch=wanted.max_batch or known.max_batch,
            num_workers=wanted.num_workers or known.num_workers,
            num_threads=1 if wanted.num_workers else known.num_threads,
        )


def same_reading(one: ModelCard, other: ModelCard) -> bool:
    """Return whether two cards are fed and read alike, so that what was built for one can use the other."""
    return all(getattr(one, name) == getattr(other, name) for name in READING)


READING = ("inputs", "outputs", "labels", "preprocessing", "postprocessing", "task")
"""Fields of a card that callers build on."""

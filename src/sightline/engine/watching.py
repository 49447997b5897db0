"""The newest finished samples, for those who look on: live pictures need the last one and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Lock
from typing import Any

import structlog

from sightline.core.sample import Sample

log = structlog.get_logger()


@dataclass(frozen=True, eq=False, slots=True)
class Finished:
    """A finished sample, and where it comes from."""

    run: str
    case: str
    sample: Sample[Any]


class Newest:
    """The newest finished sample of each source of one run, with its payload.

    Args:
        run: id of the run.
        case: its case.
        show: shown every finished sample.
    """

    def __init__(self, run: str, case: str, show: Callable[[Finished], None]) -> None:
        self._run = run
        self._case = case
        self._show = show
        self._samples: dict[str, Sample[Any]] = {}

    def take(self, sample: Sample[Any]) -> None:
        """Take the place of the one before; called by the writer's thread."""
        self._samples[sample.source] = sample
        self._show(Finished(self._run, self._case, sample))

    def of(self, source: str) -> Sample[Any] | None:
        """Return the newest sample of a source."""
        return self._samples.get(source)


class Watch:
    """One who looks on: a slot for each source, in which a newer sample takes the place of an older one.

    Args:
        run: id of the only run that is wanted; None: of all.
        case: the only case.
        source: the only source.
        wake: called whenever `take` would return something at once.
        leave: told when it is closed.

    Attributes:
        num_skipped: samples that a newer one replaced before they were taken.
    """

    def __init__(
        self,
        *,
        run: str | None = None,
        case: str | None = None,
        source: str | None = None,
        wake: Callable[[], None] | None = None,
        leave: Callable[[Watch], None] = lambda _: None,
    ) -> None:
        self.num_skipped = 0
        self._run = run
        self._case = case
        self._source = source
        self._wake = wake
        self._leave = leave
        self._waiting: dict[tuple[str, str], Finished] = {}
        self._closed = False
        self._changed = Condition(Lock())

    def offer(self, finished: Finished) -> None:
        """Take a sample if it is wanted; never wait."""
        source = finished.sample.source
        if (
            (self._run is not None and finished.run != self._run)
            or (self._case is not None and finished.case != self._case)
            or (self._source is not None and source != self._source)
        ):
            return
        with self._changed:
            if self._closed:
                return
            key = (finished.run, source)
            self.num_skipped += key in self._waiting
            self._waiting[key] = finished  # it keeps the place in the row that the source had
            self._changed.notify()
        self._call()

    def take(self, timeout_s: float | None = None) -> Finished | None:
        """Return the newest sample of the source that has waited longest; None after the timeout, or when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout_s)
            if not self._waiting:
                return None
            return self._waiting.pop(next(iter(self._waiting)))

    def close(self) -> None:
        """Look on no longer; a waiting `take` returns. A second call does nothing."""
        with self._changed:
            was_closed, self._closed = self._closed, True
            self._waiting.clear()
            self._changed.notify_all()
        if not was_closed:
            self._leave(self)
            self._call()

    def _call(self) -> None:
        if self._wake is not None:
            try:
                self._wake()
            except Exception as error:  # noqa: BLE001 - an event loop that is closed must not end a run
                self._wake = None
                log.debug("one who looks on cannot be woken", error=str(error))

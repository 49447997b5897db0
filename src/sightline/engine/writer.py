"""The last thread of a run: it tells what was found and gives finished samples to the sinks, in order.

One thread for all sinks, so that a sink needs no lock, and drawing or encoding never stands in the way of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

import structlog

from sightline.core.case import Case
from sightline.core.errors import SightlineError
from sightline.core.events import events_of
from sightline.core.plugins import Context, Sink
from sightline.core.sample import Sample
from sightline.engine.lanes import ALL_SOURCES, as_ours

log = structlog.get_logger()
_CAPACITY = 64  # parcels of finished samples that wait; beyond that the analysers wait, and live sources drop
_POLL_S = 0.2


class Writer:
    """Gives finished samples to the sinks of a case.

    Args:
        case: whose sinks.
        context: the world of the sinks.
        stop: ends the run because a sink failed.
        abandoned: set when what waits is no longer wanted.
        watch: shown every finished sample, rejected ones too.
    """

    def __init__(
        self,
        case: Case,
        context: Context,
        *,
        stop: Callable[[Exception], None],
        abandoned: Event,
        watch: Callable[[Sample[Any]], None] | None = None,
    ) -> None:
        self.error: SightlineError | None = None
        self._case = case
        self._context = context
        self._stop = stop
        self._abandoned = abandoned
        self._watch = watch
        self._sinks: list[Sink] = []
        self._broken: set[int] = set()
        self._written = 0
        self._lost: dict[str, int] = {}
        self._waiting: Queue[Sequence[Sample[Any]] | None] = Queue(_CAPACITY)
        self._thread = Thread(target=self._work, name="write", daemon=True)

    def open(self) -> None:
        """Open the sinks and begin; when one cannot be opened, those before it are closed again."""
        try:
            for sink in self._case.sinks:
                copy = replace(sink)
                copy.open(replace(self._context, source=ALL_SOURCES))
                self._sinks.append(copy)
        except BaseException:
            self._close_sinks()
            raise
        self._thread.start()

    def put(self, samples: Sequence[Sample[Any]]) -> None:
        """Hand over finished samples; wait while too many wait already."""
        while not self._abandoned.is_set():
            try:
                self._waiting.put(samples, timeout=_POLL_S)
            except Full:
                continue
            return

    def close(self, timeout_s: float | None = None) -> None:
        """Write what waits, then close the sinks."""
        if self._thread.is_alive():
            self.put_end()
            self._thread.join(timeout_s)

    def put_end(self) -> None:
        """Say that nothing follows."""
        while self._thread.is_alive():
            try:
                self._waiting.put(None, timeout=_POLL_S)
            except Full:
                continue
            return

    def made(self) -> dict[str, str]:
        """Return what the sinks leave behind for people to look at."""
        return {word: place for sink in self._sinks for word, place in sink.made.items()}

    def snapshot(self) -> Mapping[str, Any]:
        """Return the samples written, and those that a sink lost."""
        return {"written": self._written, "lost": dict(self._lost)}

    def _work(self) -> None:
        try:
            while (samples := self._next()) is not None:
                self._tell(samples)
                for position, sink in enumerate(self._sinks):
                    self._give(position, sink, samples)
                self._written += len(samples)
                if self._watch is not None:
                    for sample in samples:
                        self._watch(sample)
        except Exception as error:  # noqa: BLE001 - the run must end with the cause, not hang without a writer
            self._fail(error, "The writer")
            self._abandoned.set()
        finally:
            self._close_sinks()

    def _next(self) -> Sequence[Sample[Any]] | None:
        while not self._abandoned.is_set():
            try:
                return self._waiting.get(timeout=_POLL_S)
            except Empty:
                continue
        return None

    def _tell(self, samples: Sequence[Sample[Any]]) -> None:
        """Record the happenings among the findings as durable events, then publish them."""
        case, run = self._case.name, self._context.run
        events = [event for sample in samples for event in events_of(sample, case=case, run=run)]
        if events:
            self._context.ports.store.events.append(events)
            for event in events:
                self._context.ports.bus.publish(event)

    def _give(self, position: int, sink: Sink, samples: Sequence[Sample[Any]]) -> None:
        wanted = [sample for sample in samples if sample.rejected is None or sink.rejected]
        name = type(sink).__name__
        if not wanted:
            return
        if position in self._broken:
            self._lost[name] = self._lost.get(name, 0) + len(wanted)
            return
        try:
            sink.write(wanted)
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the other sinks must get theirs
            self._lost[name] = self._lost.get(name, 0) + len(wanted)
            if self._lost[name] == len(wanted):
                log.error("sink failed", sink=name, error=str(error))
            if sink.on_error == "stop":
                self._broken.add(position)
                self._fail(error, f"Sink {name}")

    def _fail(self, error: Exception, whose: str) -> None:
        self.error = self.error or as_ours(error, whose)
        self._stop(self.error)
        log.debug("writing failed", exc_info=error)

    def _close_sinks(self) -> None:
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:  # noqa: BLE001 - the other sinks must be closed too
                self._fail(error, f"Sink {type(sink).__name__}")

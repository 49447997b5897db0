"""The last thread of a run: it tells what was found and gives finished samples to the sinks, in order.

One thread for all sinks, so that a sink needs no lock, and drawing or encoding never stands in the way of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

import structlog

from sightline.core.case import Case
from sightline.core.errors import SightlineError
from sightline.core.events import events_of
from sightline.core.plugins import Context, Sink
from sightline.core.sample import Sample
from sightline.engine.outbox import Outbox
from sightline.engine.pipeline import kind_of
from sightline.engine.surroundings import ALL_SOURCES, as_ours

log = structlog.get_logger()
_CAPACITY = 8  # parcels of finished samples that wait, pictures and all; then analysers wait, and live sources drop
_POLL_S = 0.2
_NO_ROOM_FOR = "events"  # how the snapshot calls what no database took


@dataclass(frozen=True, eq=False)
class _Parcel:
    """Samples on their way to the sinks; or, `cut_off`, a last one once more with the ends of what went on."""

    samples: Sequence[Sample[Any]]
    cut_off: bool = False


class Writer:
    """Gives finished samples to the sinks of a case.

    Args:
        case: whose sinks.
        context: the world of the sinks.
        outbox: takes the happenings among the findings; recorded here, for this thread may wait.
        stop: ends the run because a sink failed.
        abandoned: set when what waits is no longer wanted.
        watch: shown every finished sample, rejected ones too.
    """

    def __init__(
        self,
        case: Case,
        context: Context,
        *,
        outbox: Outbox,
        stop: Callable[[Exception], None],
        abandoned: Event,
        watch: Callable[[Sample[Any]], None] | None = None,
    ) -> None:
        self.error: SightlineError | None = None
        self._case = case
        self._context = context
        self._outbox = outbox
        self._stop = stop
        self._abandoned = abandoned
        self._watch = watch
        self._sinks: list[Sink] = []
        self._broken: set[int] = set()
        self._written = 0
        self._lost: dict[str, int] = {}
        self._logged: set[tuple[int, str]] = set()
        self._watchers: tuple[Callable[[Sample[Any]], None], ...] = ()
        self._ended = Event()
        self._waiting: Queue[_Parcel | None] = Queue(_CAPACITY)
        self._thread = Thread(target=self._work, name="write", daemon=True)

    @property
    def running(self) -> bool:
        """True from `open` until everything is written and the sinks are closed."""
        return self._thread.is_alive()

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
        self._put(_Parcel(samples))

    def cut_off(self, sample: Sample[Any]) -> None:
        """Hand over the last sample of a source with the ends of what went on, behind all that was handed over."""
        self._put(_Parcel([sample], cut_off=True))

    def end(self) -> None:
        """Say that nothing follows: once what waits is written, the sinks are closed and `running` is over."""
        self._ended.set()
        with suppress(Full):  # the flag will do, a moment later
            self._waiting.put_nowait(None)

    def add_watcher(self, look: Callable[[Sample[Any]], None]) -> None:
        """Show every finished sample to one more, who is ours: quick, and never failing."""
        self._watchers = (*self._watchers, look)

    def settle(self) -> None:
        """Let the sinks finish what goes on behind their close, now that the end of the run is recorded."""
        for sink in self._sinks:
            try:
                sink.settle()
            except Exception as error:  # noqa: BLE001 - the run is over; the other sinks must come to their end
                log.error("sink did not settle", sink=type(sink).__name__, error=str(error))

    def made(self) -> dict[str, str]:
        """Return what the sinks leave behind for people to look at."""
        return {word: place for sink in self._sinks for word, place in sink.made.items()}

    def snapshot(self) -> Mapping[str, Any]:
        """Return the samples written, and those that a sink lost."""
        events = {_NO_ROOM_FOR: self._outbox.num_lost} if self._outbox.num_lost else {}
        return {"written": self._written, "lost": {**self._lost, **events}}

    def _put(self, parcel: _Parcel) -> None:
        while not self._abandoned.is_set():
            try:
                self._waiting.put(parcel, timeout=_POLL_S)
            except Full:
                continue
            return

    def _work(self) -> None:
        try:
            while (parcel := self._next()) is not None:
                self._tell(parcel)
                for position, sink in enumerate(self._sinks):
                    self._give(position, sink, parcel)
                self._outbox.record_due()  # what the sinks told
                if not parcel.cut_off:
                    self._written += len(parcel.samples)
                    self._show(parcel.samples)
        except Exception as error:  # noqa: BLE001 - the run must end with the cause, not hang without a writer
            self._fail(error, "The writer")
            self._abandoned.set()
        finally:
            self._close_sinks()

    def _next(self) -> _Parcel | None:
        while not self._abandoned.is_set():
            try:
                return self._waiting.get(timeout=_POLL_S)
            except Empty:
                if self._ended.is_set():
                    break
                self._outbox.record_due()  # also while all cameras are quiet
        return None

    def _tell(self, parcel: _Parcel) -> None:
        """Tell the happenings among the findings, which are recorded before the sinks get the samples."""
        case, run, cut_off = self._case.name, self._context.run, parcel.cut_off
        for sample in parcel.samples:
            self._outbox.tell(*events_of(sample, case=case, run=run, cut_off=cut_off))
        self._outbox.record_due()

    def _show(self, samples: Sequence[Sample[Any]]) -> None:
        """Show samples to the one who watches; when that fails, the run ends, and the sinks get the rest."""
        for look in self._watchers:
            for sample in samples:
                look(sample)
        for sample in samples:
            if self._watch is None:
                return
            try:
                self._watch(sample)
            except Exception as error:  # noqa: BLE001 - it is the caller's
                self._watch = None
                self._fail(error, "What watches the run")

    def _give(self, position: int, sink: Sink, parcel: _Parcel) -> None:
        wanted = [sample for sample in parcel.samples if sample.rejected is None or sink.rejected]
        name = type(sink).__name__
        if not wanted:
            return
        if position in self._broken:
            self._lose(name, len(wanted))
            return
        try:
            if parcel.cut_off:
                sink.cut_off(wanted[0])
            else:
                sink.write(wanted)
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the other sinks must get theirs
            self._lose(name, len(wanted))
            if self._is_news(position, error):
                log.error("sink failed", sink=name, error=str(error))
            if sink.on_error == "stop":
                self._broken.add(position)
                self._fail(error, f"Sink {name}")

    def _is_news(self, position: int, error: Exception) -> bool:
        """Return whether the sink at `position` had no error of this kind before."""
        seen = (position, kind_of(error)) in self._logged
        self._logged.add((position, kind_of(error)))
        return not seen

    def _lose(self, name: str, num: int) -> None:
        self._lost[name] = self._lost.get(name, 0) + num

    def _fail(self, error: Exception, whose: str) -> None:
        self.error = self.error or as_ours(error, whose)
        self._stop(self.error)
        log.debug("writing failed", exc_info=error)

    def _close_sinks(self) -> None:
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:  # noqa: BLE001 - the other sinks must be closed too
                log.error("sink did not close", sink=type(sink).__name__, error=str(error))
                if sink.on_error == "stop":
                    self._fail(error, f"Sink {type(sink).__name__}")

"""What happens to the sample of a request after it was answered: the sinks that want such samples get it.

A thread of its own with a bounded queue, so that a slow disk never stands in the way of an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import Any

import structlog

from sightline.core.case import Case
from sightline.core.plugins import Context, Sink
from sightline.core.sample import Sample
from sightline.engine.pipeline import described, kind_of

log = structlog.get_logger()
_CAPACITY = 64  # samples that wait, pictures and all
_POLL_S = 0.2
_JOIN_S = 5.0


class Afterwards:
    """Gives the samples of requests to the sinks of a case that have `requests: true`.

    A sample that a sink fails on, or for which there is no room, is lost to it and counted; the answer was given.

    Args:
        case: whose sinks.
        context: the world of the sinks.
    """

    def __init__(self, case: Case, context: Context) -> None:
        self._case = case.name
        self._wanted = [sink for sink in case.sinks if sink.requests]
        self._context = context
        self._waiting: Queue[Sample[Any]] = Queue(_CAPACITY)
        self._ended = Event()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._logged: set[tuple[int, str]] = set()

    def __bool__(self) -> bool:
        """Return whether any sink wants the samples of requests."""
        return bool(self._wanted)

    def put(self, sample: Sample[Any]) -> None:
        """Take a finished sample, a rejected one too; waits for nothing."""
        if not self._wanted or self._ended.is_set():
            return
        try:
            self._waiting.put_nowait(sample)
        except Full:
            self._lost("queue", "no room", 1)
            return
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = Thread(target=self._work, name=f"afterwards-{self._case}", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Write what waits, for a few seconds at most, and close the sinks."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _work(self) -> None:
        sinks = self._opened()
        try:
            while True:
                with suppress(Empty):
                    sample = self._waiting.get(timeout=_POLL_S)
                    for sink in sinks:
                        if sample.rejected is None or sink.rejected:
                            self._give(sink, [sample])
                    continue
                if self._ended.is_set():
                    return
        finally:
            for sink in sinks:
                try:
                    sink.close()
                except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the others are closed too
                    log.warning("sink did not close", case=self._case, error=described(error))

    def _opened(self) -> list[Sink]:
        """Return the sinks that could be opened."""
        sinks: list[Sink] = []
        for sink in self._wanted:
            copy = replace(sink)
            try:
                copy.open(self._context)
            except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; requests are answered without it
                log.error("sink gets no requests", case=self._case, sink=type(sink).__name__, error=described(error))
            else:
                sinks.append(copy)
        return sinks

    def _give(self, sink: Sink, samples: Sequence[Sample[Any]]) -> None:
        try:
            sink.write(samples)
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the answer was given
            kind = id(sink), kind_of(error)
            if kind not in self._logged:
                self._logged.add(kind)
                name = type(sink).__name__
                log.error("sink lost the sample of a request", case=self._case, sink=name, error=described(error))
            self._lost(type(sink).__name__, "failed", len(samples))

    def _lost(self, sink: str, reason: str, num: int) -> None:
        self._context.ports.meter.count("request_samples_lost", num, case=self._case, sink=sink, reason=reason)

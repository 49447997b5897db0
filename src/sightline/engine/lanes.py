"""One source of a running case: the thread that reads it and the thread that analyses what it gives.

A lane knows its source, its predictors and its collector. What it has finished it gives to the writer of the run; what
it has to tell goes to the run's counters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event, Lock, Thread
from typing import Any

import structlog

from sightline.core.case import Case
from sightline.core.errors import BrokenPlugin, SightlineError
from sightline.core.plugins import Collector, Context, Source, SourceState
from sightline.core.sample import Sample
from sightline.engine.call import Call, Priority
from sightline.engine.counters import RunCounters
from sightline.engine.feeds import Feed
from sightline.engine.pipeline import Chain, Failure, described, kind_of

log = structlog.get_logger()
ALL_SOURCES = "*"
_CAPACITY = 8  # samples of a file that wait for analysis; enough to keep the models busy while it decodes


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the lanes of a run share.

    Attributes:
        context: the world of a plug-in of this run; each lane fills in its source and epoch.
        finished: takes finished samples, in order; may wait.
        stop: ends the run because of an error.
        told: takes a change of a source's state and its reason.
        abandoned: set when even what was taken is no longer wanted.
        chunk: most samples that a file gives to the predictors at once.
    """

    case: Case
    context: Context
    counters: RunCounters
    finished: Callable[[Sequence[Sample[Any]]], None]
    stop: Callable[[Exception], None]
    told: Callable[[str, SourceState, str], None]
    abandoned: Event
    chunk: int

    def seen_by(self, source: str, epoch: int = 1) -> Context:
        """Return the world as a plug-in sees it that works for `source`."""
        return replace(
            self.context,
            source=source,
            epoch=epoch,
            dropped=lambda reason, num: self.counters.dropped(source, reason, num),
            state=lambda state, reason: self.told(source, state, reason),
        )

    def chain(self, source: str, epoch: int) -> Chain:
        """Return fresh predictors for `source`."""
        return Chain(
            self.case,
            self.seen_by(source, epoch),
            on_failure=lambda failure: self._failed(source, failure),
            call=lambda: Call(priority=Priority.STREAM),
        )

    def _failed(self, source: str, failure: Failure) -> None:
        reason = described(failure.error)
        # Logged once per kind: a predictor that fails on every frame must not fill the disk with one sentence.
        if self.counters.failed(source, failure.key, len(failure.samples), reason, kind_of(failure.error)):
            log.error("predictor failed", source=source, predictor=failure.key, error=reason)
        error = as_ours(failure.error, f"Predictor {failure.key!r}")
        self.counters.first_error = self.counters.first_error or error
        if self.case.on_error == "stop":
            self.stop(error)


class Tail:
    """What follows `validation`: the collector and the later stages, for one source or for all of a case."""

    def __init__(self, around: Surroundings, source: str) -> None:
        self._around = around
        self._source = source
        self._lock = Lock()
        self._chain: Chain | None = None
        self._collector: Collector | None = None

    def open(self) -> None:
        """Open a fresh copy of the collector; called once, before anything else."""
        collector = self._around.case.collector
        if collector is not None:
            copy = replace(collector)
            copy.open(self._around.seen_by(self._source))
            self._collector = copy

    def take(self, samples: Sequence[Sample[Any]]) -> None:
        """Collect and analyse samples, and hand over what is finished; rejected ones go past both."""
        with self._lock:
            if self._collector is None:
                self._analyse(samples)
                return
            self._hand_over([sample for sample in samples if sample.rejected is not None])
            fit = [sample for sample in samples if sample.rejected is None]
            if fit:
                ready = list(self._collector.collect(fit))
                self._count_late(self._collector)
                self._analyse(ready)

    def close(self) -> None:
        """Hand over what the collector still holds, and end."""
        with self._lock:
            try:
                if self._collector is not None and not self._around.abandoned.is_set():
                    ready = list(self._collector.flush())
                    self._count_late(self._collector)
                    self._analyse(ready)
            finally:
                collector, self._collector = self._collector, None
                chain, self._chain = self._chain, None
                if chain is not None:
                    chain.close()
                if collector is not None:
                    collector.close()

    def _analyse(self, samples: Sequence[Sample[Any]]) -> None:
        fit = [sample for sample in samples if sample.rejected is None]
        if fit:
            epoch = 1 if self._source == ALL_SOURCES else fit[-1].epoch
            if self._chain is None or self._chain.epoch != epoch:
                before, self._chain = self._chain, None
                if before is not None:
                    before.close()
                self._chain = self._around.chain(self._source, epoch)
            samples = self._chain.analyse(samples)
            self._around.counters.processed(self._source, sum(sample.rejected is None for sample in samples))
        self._hand_over(samples)

    def _hand_over(self, samples: Sequence[Sample[Any]]) -> None:
        if samples:
            self._around.finished(samples)

    def _count_late(self, collector: Collector) -> None:
        if num := collector.num_late:
            self._around.counters.late(self._source, num)


class Lane:
    """Reads and analyses one source.

    Args:
        around: what the lanes of the run share.
        name: id of the source.
        source: the source; a copy of it is read.
        joint: where all sources meet; None gives the source a tail of its own.
    """

    def __init__(self, around: Surroundings, name: str, source: Source, joint: Tail | None) -> None:
        self.name = name
        self.error: SightlineError | None = None
        self._around = around
        self._joint = joint
        self._source = replace(source)
        self._feed = Feed(
            live=self._source.is_live,
            capacity=_CAPACITY,
            superseded=lambda _: around.counters.dropped(name, "superseded"),
            abandoned=around.abandoned,
        )
        self._entered_s: float | None = None
        self._left = False
        around.counters.add(name)
        self._reader = Thread(target=self._read, name=f"read-{name}", daemon=True)
        self._analyser = Thread(target=self._analyse, name=f"analyse-{name}", daemon=True)

    @property
    def live(self) -> bool:
        """True when the source does not wait for us."""
        return self._source.is_live

    @property
    def running(self) -> bool:
        """True until the source has ended and everything that was read has been analysed."""
        return self._analyser.is_alive() or (self._reader.is_alive() and not self._left)

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()
        self._analyser.start()

    def stuck_s(self, since_s: float) -> float:
        """Return for how many seconds the reader has been inside the source's own code, counted from `since_s`."""
        entered_s = self._entered_s
        if entered_s is None or self._left or not self._reader.is_alive():
            return 0.0
        return time.monotonic() - max(entered_s, since_s)

    def leave(self) -> None:
        """Wait for the source no longer; what it gave until now is still analysed."""
        self._left = True
        self._feed.close()

    def _read(self) -> None:
        """Reader thread: samples from the source into the feed."""
        around, name = self._around, self.name
        metadata = {**around.case.metadata, **around.context.metadata}
        reason = "the source has ended"
        self._entered_s = time.monotonic()
        try:
            self._source.open(around.seen_by(name))
            for sample in self._source.read():
                self._entered_s = None
                around.counters.read(name, sample.epoch)
                if not self._feed.put(sample.with_metadata(metadata) if metadata else sample):
                    around.counters.dropped(name, "abandoned")
                self._entered_s = time.monotonic()
                if around.context.stopping.is_set():
                    reason = "the run was stopped"
                    break
        except Exception as error:  # a plug-in may raise anything; one source must not end the others
            self.error = as_ours(error, f"Source {name!r}")
            reason = str(self.error)
            log.warning("source ended with an error", source=name, error=reason)
            log.debug("source failed", source=name, exc_info=True)
        finally:
            self._entered_s = time.monotonic()
            self._feed.close()
            try:
                self._source.close()
            except Exception as error:  # noqa: BLE001 - it is over; its end must be told all the same
                log.warning("source did not close", source=name, error=described(error))
            if not self._left:  # then that was told already
                around.told(name, SourceState.STOPPED, reason)

    def _analyse(self) -> None:
        """Analyser thread: samples from the feed through the stages to the writer."""
        around = self._around
        head: Chain | None = None
        tail = self._joint or Tail(around, self.name)
        num_taken = 0  # of which nothing is counted yet
        try:
            if tail is not self._joint:
                tail.open()
            while samples := self._feed.take(1 if self.live else around.chunk):
                num_taken = len(samples)
                if head is None or head.epoch != samples[0].epoch:
                    if head is not None:
                        head.close()
                    head = around.chain(self.name, samples[0].epoch)
                checked = head.validate(samples)
                for sample in checked:
                    if sample.rejected is not None:
                        around.counters.rejected(self.name, sample.rejected.kind)
                num_taken = sum(sample.rejected is None for sample in checked)
                tail.take(checked)
                num_taken = 0
        except Exception as error:  # noqa: BLE001 - the run must end with the cause, not hang without an analyser
            self._failed(error)
        finally:
            if head is not None:
                head.close()
            if tail is not self._joint:
                try:
                    tail.close()
                except Exception as error:  # noqa: BLE001 - as above
                    self._failed(error)
            self._discard(num_taken)

    def _failed(self, error: Exception) -> None:
        self.error = self.error or as_ours(error, f"Case {self._around.case.name!r}")
        self._around.stop(self.error)
        log.debug("analysis failed", source=self.name, exc_info=error)

    def _discard(self, num: int) -> None:
        """Take until the reader ends, who may wait for room that nobody else would make; `num` are lost already."""
        while samples := self._feed.take(self._around.chunk):
            num += len(samples)
        if num := num + self._feed.drain():
            self._around.counters.dropped(self.name, "abandoned", num)


def as_ours(error: Exception, whose: str) -> SightlineError:
    """Return an error of our tree: itself, or a BrokenPlugin that says where it was raised."""
    if isinstance(error, SightlineError):
        return error
    ours = BrokenPlugin(f"{whose} failed: {described(error)}", cure="Run with --debug for the traceback.")
    ours.__cause__ = error
    return ours

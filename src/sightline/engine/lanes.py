"""One source of a running case: the thread that reads it and the thread that analyses what it gives.

A lane knows its source, its predictors and its collector. What it has finished it gives to the writer of the run; what
it has to tell goes to the run's counters.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from threading import Event, Lock, Thread
from typing import Any

import structlog

from sightline.core.errors import SightlineError
from sightline.core.plugins import Collector, Context, Source, SourceState
from sightline.core.sample import Sample
from sightline.engine.feeds import Feed
from sightline.engine.pipeline import Chain, described
from sightline.engine.surroundings import ALL_SOURCES, Surroundings, as_ours

log = structlog.get_logger()
_LOST = frozenset({SourceState.BACKOFF, SourceState.UNAUTHORISED})
_ANEW = "the source began anew"
_CAPACITY = 8  # samples of a file that wait for analysis; enough to keep the models busy while it decodes


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

    def cut_off(self, reason: str) -> None:
        """Tell the ends of what goes on, because nothing follows for a while."""
        with self._lock:
            self._around.end(self._chain, reason)

    def close(self, reason: str) -> None:
        """Hand over what the collector still holds, tell the ends of what goes on, and end."""
        with self._lock:
            try:
                if self._collector is not None and not self._around.abandoned.is_set():
                    ready = list(self._collector.flush())
                    self._count_late(self._collector)
                    self._analyse(ready)
                self._around.end(self._chain, reason)
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
                self._around.end(self._chain, _ANEW)
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

    It has a stop of its own, so that one source of a run can end while the others go on.

    Args:
        around: what the lanes of the run share.
        name: id of the source.
        source: the source; a copy of it is read.
        joint: where all sources meet; None gives the source a tail of its own.
        first_epoch: of the samples; a source that counts its epochs from 1 whatever it is told is set right.

    Attributes:
        wanted: the source as it was given.
        epoch: of the newest sample.
        error: why it ended, where that was an error.
        by: who asked that it begins, or ends; empty where nobody did, or that is told.
    """

    def __init__(
        self, around: Surroundings, name: str, source: Source, joint: Tail | None, first_epoch: int = 1
    ) -> None:
        self.name = name
        self.wanted = source
        self.epoch = first_epoch
        self.error: SightlineError | None = None
        self.by = ""
        self._first_epoch = first_epoch
        self._stopping = Event()
        self._why = "the run was stopped"
        self._lost = ""
        self._over = "the source has ended"
        self._stopped_s: float | None = None
        around = replace(around, context=replace(around.context, stopping=self._stopping))
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
        self._sign_s = 0.0  # when the source told a state for the last time
        self._left = False
        around.counters.add(name)
        self._reader = Thread(target=self._read, name=f"read-{name}", daemon=True)
        self._analyser = Thread(target=self._analyse, name=f"analyse-{name}", daemon=True)

    @property
    def source(self) -> Source:
        """The copy of the source that is read."""
        return self._source

    @property
    def silent_s(self) -> float:
        """For how many seconds the source has given no sample and told no state, while somebody waits for one."""
        entered_s, sign_s = self._entered_s, self._sign_s
        if entered_s is None or self._left or not self._reader.is_alive():
            return 0.0
        return time.monotonic() - max(entered_s, sign_s)

    @property
    def is_stuck(self) -> bool:
        """True when the thread of a source that nobody stopped does not come back from foreign code."""
        limit_s = self._source.stuck_after_s
        return limit_s is not None and self._stopped_s is None and self.silent_s > limit_s

    @property
    def thread_ids(self) -> tuple[int, ...]:
        """The threads that are at work for it, as the operating system knows them."""
        threads = (self._reader, self._analyser)
        return tuple(each.native_id for each in threads if each.native_id is not None and each.is_alive())

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

    def stop(self, why: str = "the run was stopped", by: str = "") -> None:
        """Read no more, and finish what was read; a second call does nothing."""
        if self._stopped_s is None:
            self._why, self.by, self._stopped_s = why, by, time.monotonic()
        self._stopping.set()

    @property
    def stuck_s(self) -> float:
        """For how many seconds the reader has been inside the source's own code since it was told to stop."""
        entered_s, stopped_s = self._entered_s, self._stopped_s
        if stopped_s is None or entered_s is None or self._left or not self._reader.is_alive():
            return 0.0
        return time.monotonic() - max(entered_s, stopped_s)

    def leave(self, why: str) -> None:
        """Wait for the source no longer, nor listen to it; what it gave until now is still analysed."""
        self._over = why
        self._left = True
        self._stopping.set()  # heard by other threads of the source, which would go on for ever
        self._feed.close()

    def _read(self) -> None:
        """Reader thread: samples from the source into the feed."""
        around, name = self._around, self.name
        metadata = {**around.case.metadata, **around.context.metadata}
        self._entered_s = time.monotonic()
        try:
            self._source.open(self._world())
            num_behind: int | None = None  # epochs that must be added to those of a source that begins at 1
            for sample in self._source.read():
                self._entered_s = None
                if num_behind is None:
                    num_behind = 0 if sample.epoch >= self._first_epoch else self._first_epoch - 1
                if num_behind:
                    sample = replace(sample, epoch=sample.epoch + num_behind)  # noqa: PLW2901 - the same one, set right
                if self._left:
                    break
                self.epoch = max(self.epoch, sample.epoch)
                around.saw(name, sample)
                if not self._feed.put(sample.with_metadata(metadata) if metadata else sample):
                    around.counters.dropped(name, "abandoned")
                self._entered_s = time.monotonic()
                if self._stopping.is_set():
                    break
            if self._stopping.is_set():
                self._over = self._why
        except Exception as error:  # a plug-in may raise anything; one source must not end the others
            self.error = as_ours(error, f"Source {name!r}")
            self._over = str(self.error)
            log.warning("source ended with an error", source=name, error=self._over)
            log.debug("source failed", source=name, exc_info=True)
        finally:
            self._entered_s = time.monotonic()
            self._feed.close()
            try:
                self._source.close()
            except Exception as error:  # noqa: BLE001 - it is over; its end must be told all the same
                log.warning("source did not close", source=name, error=described(error))
            if not self._left:  # then that was told already
                self._tell(SourceState.STOPPED, self._over)

    def _world(self) -> Context:
        """Return the world of the source, which is listened to until it is left behind."""
        world = self._around.seen_by(self.name, self._first_epoch)

        def dropped(reason: str, num: int) -> None:
            if not self._left:
                world.dropped(reason, num)

        def told(state: SourceState, reason: str) -> None:
            self._sign_s = time.monotonic()
            if self._left:
                return
            if state is SourceState.STOPPED:
                self._over = reason = self._why if self._stopping.is_set() else reason
            elif state in _LOST:
                self._lost = f"the source was lost: {reason}"
                self._feed.pause()
            self._tell(state, reason)

        return replace(world, dropped=dropped, state=told)

    def _tell(self, state: SourceState, reason: str) -> None:
        """Tell a state; what follows from nobody's wish, such as a camera that comes back, is told without a name."""
        asked = SourceState.STOPPED if self._stopping.is_set() else SourceState.CONNECTING
        by = self.by if state is asked else ""
        if asked is SourceState.CONNECTING:
            self.by = ""
        self._around.told(self.name, state, reason, by)

    def _analyse(self) -> None:
        """Analyser thread: samples from the feed through the stages to the writer."""
        around = self._around
        head: Chain | None = None
        tail = self._joint or Tail(around, self.name)
        num_taken = 0  # of which nothing is counted yet
        try:
            if tail is not self._joint:
                tail.open()
            while (samples := self._feed.take(1 if self.live else around.chunk)) is not None:
                if not samples:
                    self._cut_off(head, tail, self._lost)
                    continue
                num_taken = len(samples)
                begin_s = time.monotonic()
                if head is None or head.epoch != samples[0].epoch:
                    if head is not None:
                        self._cut_off(head, tail, self._lost or _ANEW)
                        head.close()
                    self._lost = ""
                    head = around.chain(self.name, samples[0].epoch)
                checked = head.validate(samples)
                for sample in checked:
                    if sample.rejected is not None:
                        around.counters.rejected(self.name, sample.rejected.kind)
                num_taken = sum(sample.rejected is None for sample in checked)
                tail.take(checked)
                around.observed(self.name, time.monotonic() - begin_s, len(samples))
                num_taken = 0
        except Exception as error:  # noqa: BLE001 - the run must end with the cause, not hang without an analyser
            self._failed(error)
        finally:
            if head is not None:
                around.end(head, self._over)
                head.close()
            if tail is not self._joint:
                try:
                    tail.close(self._over)
                except Exception as error:  # noqa: BLE001 - as above
                    self._failed(error)
            self._discard(num_taken)

    def _cut_off(self, head: Chain | None, tail: Tail, reason: str) -> None:
        """Tell the ends of what goes on; where all sources meet, it goes on with the others."""
        self._around.end(head, reason)
        if tail is not self._joint:
            tail.cut_off(reason)

    def _failed(self, error: Exception) -> None:
        self.error = self.error or as_ours(error, f"Case {self._around.case.name!r}")
        self._around.stop(self.error)
        log.debug("analysis failed", source=self.name, exc_info=error)

    def _discard(self, num: int) -> None:
        """Take until the reader ends, who may wait for room that nobody else would make; `num` are lost already."""
        while (samples := self._feed.take(self._around.chunk)) is not None:
            num += len(samples)
        if num := num + self._feed.drain():
            self._around.counters.dropped(self.name, "abandoned", num)

"""What the lanes of a run share: case, world of its plug-ins, numbers, and where all goes that they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

import structlog

from sightline.core.case import Case
from sightline.core.errors import BrokenPlugin, SightlineError
from sightline.core.plugins import Context, SourceState
from sightline.core.sample import Frame, Sample
from sightline.engine.call import Call, Priority
from sightline.engine.counters import RunCounters
from sightline.engine.pipeline import Chain, Failure, described, kind_of

log = structlog.get_logger()
ALL_SOURCES = "*"


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the lanes of a run share.

    Attributes:
        context: the world of a plug-in of this run; each lane fills in its source and epoch.
        finished: takes finished samples, in order; may wait.
        cut_off: takes a last sample with the ends of what went on, in the same order; see `Chain.cut_off`.
        stop: ends the run because of an error.
        told: takes a change of a source's state, its reason, and who asked for it; empty: nobody did.
        abandoned: set when even what was taken is no longer wanted.
        chunk: most samples that a file gives to the predictors at once.
    """

    case: Case
    context: Context
    counters: RunCounters
    finished: Callable[[Sequence[Sample[Any]]], None]
    cut_off: Callable[[Sample[Any]], None]
    stop: Callable[[Exception], None]
    told: Callable[[str, SourceState, str, str], None]
    abandoned: Event
    chunk: int

    def seen_by(self, source: str, epoch: int = 1) -> Context:
        """Return the world as a plug-in sees it that works for `source`."""
        return replace(
            self.context,
            source=source,
            epoch=epoch,
            dropped=lambda reason, num: self.counters.dropped(source, reason, num),
            state=lambda state, reason: self.told(source, state, reason, ""),
            retrying=lambda at, tries: self.counters.retrying(source, at, tries),
            warned=lambda text: self.warn(source, text),
            first_size=self.counters.first_size(source),
        )

    def saw(self, source: str, sample: Sample[Any]) -> None:
        """Count a sample that the source gave, and notice a picture of another size."""
        self.counters.read(source, sample.epoch)
        if isinstance(sample.payload, Frame) and (text := self.counters.pictured(source, sample.payload.size)):
            self.warn(source, text)

    def warn(self, source: str, text: str) -> None:
        """Show with a source what somebody should mend."""
        if self.counters.warned(source, text):
            log.warning("something to mend", source=source, what=text)

    def chain(self, source: str, epoch: int) -> Chain:
        """Return fresh predictors for `source`."""
        return Chain(
            self.case,
            self.seen_by(source, epoch),
            on_failure=lambda failure: self._failed(source, failure),
            call=lambda: Call(priority=Priority.STREAM),
            keeps_last=True,
        )

    def end(self, chain: Chain | None, reason: str) -> None:
        """Tell the ends of what goes on in a chain, because nothing follows."""
        if chain is not None and not self.abandoned.is_set() and (ends := chain.cut_off(reason)) is not None:
            self.cut_off(ends)

    def observed(self, source: str, seconds: float, num: int) -> None:
        """Tell the meter how long each of `num` samples took, from its feed to the writer."""
        for _ in range(num):
            self.context.ports.meter.observe("frame_seconds", seconds / num, case=self.case.name, source=source)

    def _failed(self, source: str, failure: Failure) -> None:
        reason = described(failure.error)
        # Logged once per kind: a predictor that fails on every frame must not fill the disk with one sentence.
        if self.counters.failed(source, failure.key, len(failure.samples), reason, kind_of(failure.error)):
            log.error("predictor failed", source=source, predictor=failure.key, error=reason)
        error = as_ours(failure.error, f"Predictor {failure.key!r}")
        self.counters.first_error = self.counters.first_error or error
        if self.case.on_error == "stop":
            self.stop(error)


def as_ours(error: Exception, whose: str) -> SightlineError:
    """Return an error of our tree: itself, or a BrokenPlugin that says where it was raised."""
    if isinstance(error, SightlineError):
        return error
    ours = BrokenPlugin(f"{whose} failed: {described(error)}", cure="Run with --debug for the traceback.")
    ours.__cause__ = error
    return ours

"""Collectors that look at order and number, not at time (`windows` does).

Knows samples; knows nothing of what is in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sightline.core.errors import ConfigError
from sightline.core.plugins import Collector, Context
from sightline.core.sample import Clocks, Sample, Window

_TICK = timedelta(microseconds=1)


def window_sample(
    samples: Sequence[Sample[Any]], start: datetime, end: datetime, *, seq: int, num_late: int = 0
) -> Sample[Window]:
    """Return the sample that stands for `samples`, which are sorted by time and at least one.

    Its source is theirs, or `*` where they are of several; epoch, metadata and the monotonic clock are those of
    the newest. Its time is the end of the window: then it was known. It has no media time and no sender's clock,
    as no single one is right for all of its samples.
    """
    newest = samples[-1]
    return Sample(
        payload=Window(samples=tuple(samples), start=start, end=end, num_late=num_late),
        source=newest.source if all(sample.source == newest.source for sample in samples) else "*",
        seq=seq,
        clocks=Clocks(pts_s=None, monotonic_s=newest.clocks.monotonic_s, wall=end),
        epoch=newest.epoch,
        metadata=newest.metadata,
    )


@dataclass(kw_only=True)
class Each(Collector):
    """Passes every sample on as it is."""

    def collect(self, samples: Sequence[Sample[Any]]) -> Iterable[Sample[Any]]:
        """Return the samples."""
        return samples


@dataclass(kw_only=True)
class Latest(Collector):
    """Of the samples that came together, passes on only the newest of each source.

    The others are counted as dropped, with the reason `superseded`.
    """

    def collect(self, samples: Sequence[Sample[Any]]) -> Iterable[Sample[Any]]:
        """Return the newest sample of each source, in the order of arrival."""
        newest: dict[str, Sample[Any]] = {}
        for sample in samples:
            known = newest.get(sample.source)
            if known is None or (sample.epoch, sample.seq) >= (known.epoch, known.seq):
                newest[sample.source] = sample
        if num_passed_over := len(samples) - len(newest):
            self.context.dropped("superseded", num_passed_over)
        kept = {id(sample) for sample in newest.values()}
        return [sample for sample in samples if id(sample) in kept]


@dataclass(kw_only=True)
class Count(Collector):
    """Puts every `size` samples into a window, in the order of arrival; the end of the source gives the rest.

    Attributes:
        size: samples of a window.
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"count: size is {self.size}, it must be at least 1.")

    def open(self, context: Context) -> None:
        """Begin with an empty window."""
        super().open(context)
        self._held: list[Sample[Any]] = []
        self._seq = 0

    def collect(self, samples: Sequence[Sample[Any]]) -> Iterable[Sample[Any]]:
        """Return the windows that are full."""
        full = []
        for sample in samples:
            self._held.append(sample)
            if len(self._held) == self.size:
                full.append(self._window())
        return full

    def flush(self) -> Iterable[Sample[Any]]:
        """Return the rest."""
        return [self._window()] if self._held else []

    def _window(self) -> Sample[Window]:
        held = sorted(self._held, key=lambda sample: sample.time)
        made = window_sample(held, held[0].time, held[-1].time + _TICK, seq=self._seq)
        self._held, self._seq = [], self._seq + 1
        return made

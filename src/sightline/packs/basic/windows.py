"""Windows in event time: which samples belong together is said by when they were taken, not by when they came.

The watermark is the newest event time seen, less the allowed lateness. A window closes when the watermark
reaches its end; a sample that belongs to closed windows only is late: it is counted, and goes no further. These are
the rules of the Dataflow model (Akidau et al., VLDB 2015), without later corrections of a window.

Times are integer microseconds since the Unix epoch, so that no border moves by rounding.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from sightline.core.errors import ConfigError
from sightline.core.plugins import Collector, Context
from sightline.core.sample import Sample, Window
from sightline.packs.basic.collectors import window_sample

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)

_Held: TypeAlias = tuple[int, str, int, int, int, Sample[Any]]
"""Time in microseconds, source, epoch, seq, order of arrival (so that samples are never compared), sample."""


@dataclass(kw_only=True)
class _EventTime(Collector):
    """What all windows in event time have in common."""

    allowed_lateness_s: float = 0.0
    max_samples: int = 100_000
    idle_s: float = 30.0

    def __post_init__(self) -> None:
        self._check(
            allowed_lateness_s=(self.allowed_lateness_s, 0.0),
            max_samples=(self.max_samples, 1),
            idle_s=(self.idle_s, 0.0),
        )

    def _check(self, **fields: tuple[float, float]) -> None:
        """Raise ConfigError for a field whose value is under its least."""
        for name, (value, least) in fields.items():
            if not least <= value < float("inf"):
                raise ConfigError(f"{type(self).__name__}: {name} is {value}, it must be at least {least:g}.")

    def open(self, context: Context) -> None:
        """Begin without samples."""
        super().open(context)
        self._lateness = _microseconds(self.allowed_lateness_s)
        self._idle = _microseconds(self.idle_s)
        self._newest: dict[str, int] = {}
        self._passed: int | None = None
        self._num_arrived = 0
        self._num_late = 0
        self._seq = 0

    @property
    def num_late(self) -> int:
        """Samples that came after their windows had closed."""
        return self._num_late

    def collect(self, samples: Sequence[Sample[Any]]) -> Iterable[Sample[Any]]:
        """Return the windows that the samples closed, the oldest first."""
        closed: list[Sample[Any]] = []
        num_crowded_out = 0
        for sample in samples:
            time = (sample.time - _EPOCH) // _TICK
            self._num_arrived += 1
            if self._passed is None:
                # Another source may be behind the one that came first.
                self._passed = time - self._lateness - (self._idle if self._others(sample.source) else 0)
                self._begin(self._passed)
            if self._take((time, sample.source, sample.epoch, sample.seq, self._num_arrived, sample)):
                num_crowded_out += self._make_room()
            else:
                self._num_late += 1
            if time > self._newest.get(sample.source, time - 1):
                self._newest[sample.source] = time
                if (watermark := self._slowest() - self._lateness) > self._passed:
                    self._passed = watermark
                    closed.extend(self._advance(watermark))
        if num_crowded_out:
            self.context.dropped("window_full", num_crowded_out)
        return closed

    def _others(self, source: str) -> bool:
        """Return whether samples of other sources than `source` may come."""
        return self.across_sources and any(other != source for other in self.context.sources)

    def _slowest(self) -> int:
        """Return the newest time of the source that is furthest behind, of those that are waited for."""
        latest = max(self._newest.values())
        if not self.across_sources:
            return latest
        # A source that has sent nothing yet counts as being as far behind as is waited for.
        waited = (self._newest.get(source, latest - self._idle) for source in self.context.sources)
        return min((time for time in waited if latest - time <= self._idle), default=latest)

    def flush(self) -> Iterable[Sample[Any]]:
        """Return the windows that are still open."""
        return list(self._advance(None))

    def _made(self, held: Sequence[_Held], start: int, end: int) -> Sample[Window]:
        made = window_sample(
            [entry[-1] for entry in held],
            _EPOCH + start * _TICK,
            _EPOCH + end * _TICK,
            seq=self._seq,
            num_late=self._num_late,
        )
        self._seq += 1
        return made

    @abstractmethod
    def _begin(self, watermark: int) -> None:
        """Know the first watermark."""

    @abstractmethod
    def _take(self, entry: _Held) -> bool:
        """Hold the sample, or return False when it is late."""

    @abstractmethod
    def _make_room(self) -> int:
        """Forget the oldest samples above `max_samples`; return how many."""

    @abstractmethod
    def _advance(self, watermark: int | None) -> Iterator[Sample[Window]]:
        """Yield the windows that end at the watermark or before; None: all."""


@dataclass(kw_only=True)
class _Aligned(_EventTime):
    """Windows whose borders the clock gives: window k covers [k * every, k * every + size)."""

    size_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(size_s=(self.size_s, 1e-6))

    @property
    def _step_s(self) -> float:
        return self.size_s

    def open(self, context: Context) -> None:
        """Begin without samples."""
        super().open(context)
        self._size, self._every = _microseconds(self.size_s), _microseconds(self._step_s)
        self._held: list[_Held] = []  # sorted; each sample once, however many windows it is in
        self._closed = 0  # number of the last closed window

    def _begin(self, watermark: int) -> None:
        self._closed = self._last_ended(watermark)

    def _take(self, entry: _Held) -> bool:
        if entry[0] // self._every <= self._closed:
            return False
        insort(self._held, entry)
        return True

    def _make_room(self) -> int:
        num_over = max(0, len(self._held) - self.max_samples)
        del self._held[:num_over]
        return num_over

    def _advance(self, watermark: int | None) -> Iterator[Sample[Window]]:
        last = None if watermark is None else self._last_ended(watermark)
        while self._held:
            # The next window that is not empty is the first open one that covers the oldest sample.
            number = max(self._closed, self._last_ended(self._held[0][0])) + 1
            if last is not None and number > last:
                break
            start = number * self._every
            end = start + self._size
            covered = self._held[bisect_left(self._held, (start,)) : bisect_left(self._held, (end,))]
            self._closed = number
            del self._held[: bisect_left(self._held, (start + self._every,))]
            yield self._made(covered, start, end)
        if last is not None:
            self._closed = max(self._closed, last)

    def _last_ended(self, time: int) -> int:
        """Return the number of the last window that ends at `time` or before."""
        return (time - self._size) // self._every


@dataclass(kw_only=True)
class Tumbling(_Aligned):
    """Windows of `size_s` seconds, one behind the other; each sample is in exactly one.

    Windows are aligned to the Unix epoch, begin inclusive, end exclusive; empty ones are not given.

    Attributes:
        size_s: length of a window in seconds of event time.
        allowed_lateness_s: how long a window waits for samples that come out of order, in seconds of event time.
        max_samples: samples held at most; beyond, the oldest are dropped with the reason `window_full`.
        idle_s: with `across_sources`, how far behind the others, in seconds of event time, a source may be before it
            is no longer waited for.
    """


@dataclass(kw_only=True)
class Sliding(_Aligned):
    """Windows of `size_s` seconds, a new one every `every_s`; a sample is in each that covers it.

    Windows are aligned to the Unix epoch, begin inclusive, end exclusive; empty ones are not given. A sample that is
    late for some of its windows still enters the others, and is not counted as late.

    Attributes:
        size_s: length of a window in seconds of event time.
        every_s: time from the begin of a window to the begin of the next, in seconds; at most `size_s`.
        allowed_lateness_s: how long a window waits for samples that come out of order, in seconds of event time.
        max_samples: samples held at most; beyond, the oldest are dropped with the reason `window_full`.
        idle_s: with `across_sources`, how far behind the others, in seconds of event time, a source may be before it
            is no longer waited for.
    """

    every_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(every_s=(self.every_s, 1e-6))
        if self.every_s > self.size_s:
            raise ConfigError(
                f"Sliding: every_s is {self.every_s:g}, more than size_s, which is {self.size_s:g}.",
                cure="Samples between two windows would be lost: make every_s at most size_s.",
            )

    @property
    def _step_s(self) -> float:
        return self.every_s


@dataclass(kw_only=True)
class SessionWindow(_EventTime):
    """Windows that last as long as samples follow one another in less than `gap_s` seconds.

    A window begins with its first sample and ends `gap_s` after its last, exclusive.

    Attributes:
        gap_s: time without samples, in seconds of event time, that ends a window.
        allowed_lateness_s: how long a window waits for samples that come out of order, in seconds of event time.
        max_samples: samples held at most; beyond, the oldest are dropped with the reason `window_full`.
        idle_s: with `across_sources`, how far behind the others, in seconds of event time, a source may be before it
            is no longer waited for.
    """

    gap_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(gap_s=(self.gap_s, 1e-6))

    def open(self, context: Context) -> None:
        """Begin without samples."""
        super().open(context)
        self._gap = _microseconds(self.gap_s)
        self._sessions: list[list[_Held]] = []  # open ones in order of time, each sorted
        self._num_held = 0
        self._watermark = 0

    def _begin(self, watermark: int) -> None:
        self._watermark = watermark

    def _take(self, entry: _Held) -> bool:
        time = entry[0]
        after = bisect_left(self._sessions, time, key=lambda held: held[0][0])  # sessions before it begin earlier
        joins_before = after > 0 and time - self._sessions[after - 1][-1][0] < self._gap
        joins_after = after < len(self._sessions) and self._sessions[after][0][0] - time < self._gap
        if joins_before and joins_after:  # the sample closes the gap between two
            self._sessions[after - 1] += self._sessions.pop(after)
        if joins_before:
            insort(self._sessions[after - 1], entry)
        elif joins_after:
            insort(self._sessions[after], entry)
        elif time + self._gap <= self._watermark:
            return False
        else:
            self._sessions.insert(after, [entry])
        self._num_held += 1
        return True

    def _make_room(self) -> int:
        num_over = max(0, self._num_held - self.max_samples)
        for _ in range(num_over):
            del self._sessions[0][0]
            if not self._sessions[0]:
                del self._sessions[0]
        self._num_held -= num_over
        return num_over

    def _advance(self, watermark: int | None) -> Iterator[Sample[Window]]:
        if watermark is not None:
            self._watermark = watermark
        while self._sessions:
            held = self._sessions[0]
            end = held[-1][0] + self._gap
            if watermark is not None and end > watermark:
                break
            del self._sessions[0]
            self._num_held -= len(held)
            yield self._made(held, held[0][0], end)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)

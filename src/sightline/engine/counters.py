"""What a run has seen, per source: numbers that a person can trust, because everything is counted once.

Without a collector `read = processed + rejected + failed + waiting`, plus what was `superseded` or `abandoned` of
`dropped`: nothing goes without a reason.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from sightline.core.codec import encode_time
from sightline.core.errors import SightlineError
from sightline.core.plugins import SourceState

_RATE_WINDOW_S = 5.0
_TOTALS = ("reconnects", "read", "processed", "late", "stuck")
_TOTALS_BY = ("dropped", "rejected", "failed")
_MOST_WARNINGS = 20  # of one source; a plug-in that finds a new sentence each time must not fill the memory


class Rate:
    """How often something happens a second, over the last seconds."""

    def __init__(self) -> None:
        self._begin_s: float | None = None
        self._moments: deque[float] = deque()

    def count(self, num: int, now_s: float) -> None:
        """Note that it happened `num` times at once."""
        if self._begin_s is None and num:
            self._begin_s = now_s
        self._moments.extend([now_s] * num)
        self._forget(now_s)

    def per_s(self, now_s: float) -> float | None:
        """Return the rate; 0 once it has ended, None until it can be known."""
        self._forget(now_s)
        if self._begin_s is None:
            return None
        span_s = min(_RATE_WINDOW_S, now_s - self._begin_s)
        # The first of all begins the first interval; in a window that slides, each one ends one.
        num = len(self._moments) - (now_s - self._begin_s < _RATE_WINDOW_S)
        return round(num / span_s, 2) if span_s > 0.5 else None

    def _forget(self, now_s: float) -> None:
        while self._moments and self._moments[0] <= now_s - _RATE_WINDOW_S:
            self._moments.popleft()


@dataclass(kw_only=True)
class SourceCounts:
    """The numbers of one source.

    Attributes:
        since: when the state began.
        epoch: of the newest sample.
        reconnects: how often the epoch rose while the source was being read.
        read: samples that the source gave.
        processed: samples that went through all stages (windows, where a collector makes windows).
        trouble: the last reason before it stopped.
        late: samples that came after their window had closed.
        late_before: of these, those of an earlier collector.
        lost_since: when its last sample came before it was lost; None while it is not.
        retry_at: when it will be opened again; None where it does not wait for that.
        tries: how often that was tried since it was lost.
        stuck: threads that were left behind because they did not come back from foreign code.
        dropped: samples that were never analysed, by reason; most of them were never read either.
        rejected: samples that `validation` refused, by kind.
        failed: samples that were lost to an error, by predictor.
        errors: text of the first error of each predictor.
        kinds: predictors and the kinds of error that they have had.
        warnings: what somebody should mend, in the order in which it was first told.
        first_size: width and height of its first picture.
        size: those of its newest one.
    """

    state: SourceState = SourceState.CONNECTING
    reason: str = ""
    trouble: str = ""
    since: datetime | None = None
    lost_since: datetime | None = None
    retry_at: datetime | None = None
    tries: int = 0
    epoch: int = 0
    reconnects: int = 0
    read: int = 0
    processed: int = 0
    late: int = 0
    late_before: int = 0
    stuck: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    errors: dict[str, str] = field(default_factory=dict)
    kinds: set[tuple[str, str]] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    first_size: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    last_s: float | None = None
    arriving: Rate = field(default_factory=Rate)
    analysed: Rate = field(default_factory=Rate)


class RunCounters:
    """The numbers of a run; written by its threads, read by anybody.

    Args:
        now: a clock in seconds.
        clock: the time in UTC.

    Attributes:
        first_error: the first error of a predictor.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.first_error: SightlineError | None = None
        self._sources: dict[str, SourceCounts] = {}
        self._removed: list[int] = [0, 0, 0]
        self._lock = Lock()
        self._now = now
        self._clock = clock
        self._begin = now()

    def resume(self, status: Mapping[str, Any], sources: Container[str]) -> None:
        """Go on counting where an earlier holder of the run stopped.

        Args:
            status: what its `snapshot` said last.
            sources: those that are read on; the others stay in the totals.
        """
        with self._lock:
            self._begin = self._now() - float(status.get("elapsed_s", 0))
            self._removed = [int(total) for total in status.get("removed", self._removed)]
            for name, numbers in status.get("sources", {}).items():
                counts = self._sources[name] = SourceCounts()
                for total in _TOTALS:
                    setattr(counts, total, int(numbers.get(total, 0)))
                for total in _TOTALS_BY:
                    setattr(counts, total, Counter(numbers.get(total, {})))
                counts.errors, counts.late_before = dict(numbers.get("errors", {})), counts.late
        for name in [name for name in self._sources if name not in sources]:
            self.remove(name)

    def add(self, source: str) -> None:
        """Begin to count for a source; one that was there goes on counting, but connects and measures anew."""
        with self._lock:
            counts = self._sources.setdefault(source, SourceCounts())
            counts.state, counts.reason, counts.trouble, counts.epoch = SourceState.CONNECTING, "", "", 0
            counts.since, counts.lost_since, counts.retry_at, counts.tries = self._clock(), None, None, 0
            counts.last_s, counts.arriving, counts.analysed = None, Rate(), Rate()
            counts.warnings, counts.first_size, counts.size = [], None, None
            counts.late_before = counts.late

    def remove(self, source: str) -> None:
        """Show a source no longer; its samples stay in the totals."""
        with self._lock:
            counts = self._sources.pop(source, None)
            if counts is not None:
                self._removed = [all_ + one for all_, one in zip(self._removed, _totals(counts), strict=True)]

    def has(self, source: str) -> bool:
        """Return whether there are numbers of a source."""
        return source in self._sources

    def _of(self, source: str) -> SourceCounts:
        """Return the numbers of a source; what collects from all sources of a case is one too, once it has news."""
        return self._sources.setdefault(source, SourceCounts(state=SourceState.LIVE))

    def state(self, source: str, state: SourceState, reason: str = "") -> bool:
        """Note where a source is; return True when that is news."""
        with self._lock:
            counts = self._of(source)
            if counts.state is state is SourceState.STOPPED:
                return False  # who stopped first knows why
            changed = (counts.state, counts.reason) != (state, reason)
            if counts.state is not state or counts.since is None:
                counts.since = self._clock()
            counts.state, counts.reason = state, reason
            if state not in (SourceState.BACKOFF, SourceState.UNAUTHORISED):
                counts.retry_at = None
            if state is SourceState.LIVE:
                counts.tries = 0
            if state is not SourceState.STOPPED and reason:
                counts.trouble = reason
            return changed

    def retrying(self, source: str, at: datetime, tries: int) -> None:
        """Note when a source that is lost will be opened again, and for which time."""
        with self._lock:
            counts = self._of(source)
            counts.retry_at, counts.tries = at, tries

    def lost(self, source: str, since: datetime | None) -> None:
        """Note since when a source is lost; None: it is not."""
        with self._lock:
            self._of(source).lost_since = since

    def read(self, source: str, epoch: int) -> None:
        """Count a sample that the source gave."""
        with self._lock:
            counts = self._of(source)
            counts.read += 1
            counts.reconnects += 0 < counts.epoch < epoch
            counts.epoch = epoch
            counts.last_s = self._now()
            counts.arriving.count(1, counts.last_s)

    def pictured(self, source: str, size: tuple[int, int]) -> str:
        """Note the size of a picture; return what is to be told where it is another one than before, else nothing."""
        with self._lock:
            counts = self._of(source)
            before, counts.size = counts.size, size
            counts.first_size = counts.first_size or size
        if before is None or before == size:
            return ""
        return f"The picture changed from {before[0]}x{before[1]} to {size[0]}x{size[1]}; lines and zones are scaled."

    def first_size(self, source: str) -> tuple[int, int] | None:
        """Return width and height of the first picture of a source; None where it had none yet."""
        counts = self._sources.get(source)
        return None if counts is None else counts.first_size

    def warned(self, source: str, text: str) -> bool:
        """Note what somebody should mend; return True when that is news."""
        with self._lock:
            warnings = self._of(source).warnings
            if text in warnings or len(warnings) >= _MOST_WARNINGS:
                return False
            warnings.append(text)
            return True

    def stuck(self, source: str) -> None:
        """Count a thread that was left behind."""
        with self._lock:
            self._of(source).stuck += 1

    def silent_s(self, source: str) -> float | None:
        """Return how long a source that is live has given no sample; None where it is not live, or gave none yet."""
        with self._lock:
            counts = self._sources.get(source)
            if counts is None or counts.last_s is None or counts.state is not SourceState.LIVE:
                return None
            return self._now() - counts.last_s

    def is_stalled(self, source: str) -> bool:
        """Return whether a source has been told stalled."""
        counts = self._sources.get(source)
        return counts is not None and counts.state is SourceState.STALLED

    def age_s(self, source: str) -> float | None:
        """Return the age of the newest sample of a source; None where there is none."""
        with self._lock:
            counts = self._sources.get(source)
            return None if counts is None or counts.last_s is None else self._now() - counts.last_s

    def dropped(self, source: str, reason: str, num: int = 1) -> None:
        """Count samples that will never be analysed."""
        with self._lock:
            self._of(source).dropped[reason] += num

    def rejected(self, source: str, kind: str) -> None:
        """Count a sample that `validation` refused."""
        with self._lock:
            self._of(source).rejected[kind] += 1

    def failed(self, source: str, predictor: str, num: int, error: str, kind: str) -> bool:
        """Count samples lost to an error; return True when this predictor had none of this kind before."""
        with self._lock:
            counts = self._of(source)
            counts.failed[predictor] += num
            counts.errors.setdefault(predictor, error)
            news = (predictor, kind) not in counts.kinds
            counts.kinds.add((predictor, kind))
            return news

    def late(self, source: str, num: int) -> None:
        """Set the number of samples that came after their window, as the collector of now counts them."""
        with self._lock:
            counts = self._of(source)
            counts.late = counts.late_before + num

    def processed(self, source: str, num: int) -> None:
        """Count samples that went through all stages."""
        with self._lock:
            counts = self._of(source)
            counts.processed += num
            counts.analysed.count(num, self._now())

    def totals(self) -> tuple[int, int, int]:
        """Return the samples read, processed and failed, over all sources, those that were removed too."""
        with self._lock:
            read, processed, failed = zip(self._removed, *map(_totals, self._sources.values()), strict=True)
        return sum(read), sum(processed), sum(failed)

    def snapshot(self) -> dict[str, Any]:
        """Return all numbers as JSON."""
        now = self._now()
        with self._lock:
            return {
                "elapsed_s": round(now - self._begin, 3),
                "removed": list(self._removed),
                "sources": {name: _encoded(counts, now) for name, counts in self._sources.items()},
            }


def _totals(counts: SourceCounts) -> tuple[int, int, int]:
    return counts.read, counts.processed, counts.failed.total()


def _time(time: datetime | None) -> str | None:
    return None if time is None else encode_time(time)


def _encoded(counts: SourceCounts, now: float) -> dict[str, Any]:
    return {
        "state": counts.state.value,
        "reason": counts.reason,
        "trouble": counts.trouble,
        "since": _time(counts.since),
        "lost_since": _time(counts.lost_since),
        "retry_at": _time(counts.retry_at),
        "tries": counts.tries,
        "epoch": counts.epoch,
        "reconnects": counts.reconnects,
        "read": counts.read,
        "processed": counts.processed,
        "fps": counts.analysed.per_s(now),
        "source_fps": counts.arriving.per_s(now),
        "age_s": None if counts.last_s is None else round(now - counts.last_s, 3),
        "dropped": dict(counts.dropped),
        "rejected": dict(counts.rejected),
        "failed": dict(counts.failed),
        "errors": dict(counts.errors),
        "warnings": list(counts.warnings),
        "size": None if counts.size is None else list(counts.size),
        "late": counts.late,
        "stuck": counts.stuck,
    }

"""What a run has seen, per source: numbers that a person can trust, because everything is counted once.

Without a collector `read = processed + rejected + failed + waiting`, plus what was `superseded` or `abandoned` of
`dropped`: nothing goes without a reason.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from sightline.core.errors import SightlineError
from sightline.core.plugins import SourceState

_RATE_WINDOW_S = 5.0


@dataclass(kw_only=True)
class SourceCounts:
    """The numbers of one source.

    Attributes:
        read: samples that the source gave.
        processed: samples that went through all stages (windows, where a collector makes windows).
        trouble: the last reason before it stopped.
        dropped: samples that were never analysed, by reason; most of them were never read either.
        rejected: samples that `validation` refused, by kind.
        failed: samples that were lost to an error, by predictor.
        errors: text of the first error of each predictor.
        kinds: predictors and the kinds of error that they have had.
    """

    state: SourceState = SourceState.CONNECTING
    reason: str = ""
    trouble: str = ""
    epoch: int = 0
    read: int = 0
    processed: int = 0
    late: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    errors: dict[str, str] = field(default_factory=dict)
    kinds: set[tuple[str, str]] = field(default_factory=set)
    last_s: float | None = None
    moments: deque[float] = field(default_factory=deque)


class RunCounters:
    """The numbers of a run; written by its threads, read by anybody.

    Attributes:
        first_error: the first error of a predictor.
    """

    def __init__(self) -> None:
        self.first_error: SightlineError | None = None
        self._sources: dict[str, SourceCounts] = {}
        self._lock = Lock()
        self._begin = time.monotonic()

    def add(self, source: str) -> None:
        """Begin to count for a source."""
        with self._lock:
            self._sources.setdefault(source, SourceCounts())

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
            counts.state, counts.reason = state, reason
            if state is not SourceState.STOPPED and reason:
                counts.trouble = reason
            return changed

    def read(self, source: str, epoch: int) -> None:
        """Count a sample that the source gave."""
        with self._lock:
            counts = self._of(source)
            counts.read += 1
            counts.epoch = epoch
            counts.last_s = time.monotonic()

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
        """Set the number of samples that came after their window."""
        with self._lock:
            self._of(source).late = num

    def processed(self, source: str, num: int) -> None:
        """Count samples that went through all stages."""
        now = time.monotonic()
        with self._lock:
            counts = self._of(source)
            counts.processed += num
            counts.moments.extend([now] * num)
            while counts.moments and counts.moments[0] < now - _RATE_WINDOW_S:
                counts.moments.popleft()

    def totals(self) -> tuple[int, int, int]:
        """Return the samples read, processed and failed, over all sources."""
        with self._lock:
            all_ = self._sources.values()
            return (
                sum(counts.read for counts in all_),
                sum(counts.processed for counts in all_),
                sum(counts.failed.total() for counts in all_),
            )

    def snapshot(self) -> dict[str, Any]:
        """Return all numbers as JSON."""
        now = time.monotonic()
        with self._lock:
            return {
                "elapsed_s": round(now - self._begin, 3),
                "sources": {name: _encoded(counts, now) for name, counts in self._sources.items()},
            }


def _encoded(counts: SourceCounts, now: float) -> dict[str, Any]:
    recent = [moment for moment in counts.moments if moment >= now - _RATE_WINDOW_S]
    span = now - recent[0] if recent else 0.0
    return {
        "state": counts.state.value,
        "reason": counts.reason,
        "trouble": counts.trouble,
        "epoch": counts.epoch,
        "read": counts.read,
        "processed": counts.processed,
        "fps": round(len(recent) / span, 2) if span > 0.5 else None,
        "age_s": None if counts.last_s is None else round(now - counts.last_s, 3),
        "dropped": dict(counts.dropped),
        "rejected": dict(counts.rejected),
        "failed": dict(counts.failed),
        "errors": dict(counts.errors),
        "late": counts.late,
    }

"""Traffic for two versions of a model: shares of the calls for each, and copies of calls for one that nobody hears.

Both need versions that can take each other's place; who starts them (`engine/sessions`) checks that.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from threading import Condition, Thread

import numpy as np
import structlog

from sightline.core.errors import InvalidInput, Overloaded
from sightline.core.ports import Array, Tensors
from sightline.core.prediction import JsonObject
from sightline.engine.call import Call, Priority
from sightline.engine.versions import Version
from sightline.engine.work import Work

log = structlog.get_logger()
_GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples, without their whole parts, are spread evenly over 0 to 1
_MOST_WAITING = 16  # copies; each keeps its inputs in memory
_MOST_TIMES = 10_000  # newest latencies that percentiles are made of
_PATIENCE_S = 10.0  # how long a copy may wait for its answer
_RTOL, _ATOL = 1e-3, 1e-4  # two exports of one net differ by less, two nets by more


class Evenly:
    """Numbers between 0 and 1 that fill the range evenly, so that shares come out right after few calls."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def next(self) -> float:
        """Return the next number; any thread may ask, and none waits."""
        return next(self._numbers) * _GOLDEN % 1.0


class Split:
    """Shares of the calls of one model for several of its versions.

    Args:
        versions: each with its weight; they need not add up to 1.
    """

    def __init__(self, versions: Sequence[tuple[Version, float]]) -> None:
        total, edge = sum(weight for _, weight in versions), 0.0
        self._edges: list[tuple[float, Version]] = []
        for version, weight in versions:
            if weight > 0:
                edge += weight / total
                self._edges.append((edge, version))
        self._numbers = Evenly()

    @property
    def versions(self) -> list[Version]:
        """The versions that get calls."""
        return [version for _, version in self._edges]

    @property
    def shares(self) -> dict[str, float]:
        """Share of the calls of each version."""
        begins = [0.0, *(edge for edge, _ in self._edges)]
        return {
            version.number: round(edge - begin, 6)
            for begin, (edge, version) in zip(begins[:-1], self._edges, strict=True)
        }

    def pick(self) -> Version:
        """Return the version for the next call."""
        number = self._numbers.next()
        for edge, version in self._edges:
            if number < edge:
                return version
        return self._edges[-1][1]


def checked_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Return `weights`, which may be none at all.

    Raises:
        InvalidInput: one is negative or no number, or all are 0.
    """
    for version, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise InvalidInput(f"The weight of version {version!r} is {weight}.", cure="Give a number of at least 0.")
    if weights and not any(weights.values()):
        raise InvalidInput("All weights are 0.", cure='Give shares such as {"3": 0.9, "4": 0.1}.')
    return dict(weights)


@dataclass
class _Comparison:
    """What the copies showed so far."""

    compared: int = 0
    agreed: int = 0
    ranked: int = 0
    same_best: int = 0
    largest: float = 0.0
    errors: int = 0
    dropped: int = 0
    last_error: str = ""
    current_s: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST_TIMES))
    candidate_s: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST_TIMES))


class Shadow:
    """Sends copies of a share of the calls to a candidate, and compares the answers.

    A call is never delayed: its copy begins after it was answered, one copy at a time, as a job. When more than a few
    copies wait, new ones are dropped and counted.

    Args:
        candidate: the version on trial.
        share: share of the calls that is copied, 0 to 1.

    Raises:
        InvalidInput: the share is not above 0 and at most 1.
    """

    def __init__(self, candidate: Version, share: float) -> None:
        if not 0 < share <= 1:
            raise InvalidInput(f"A share of {share} is not above 0 and at most 1.", cure="Give 0.1 for one in ten.")
        self.candidate = candidate
        self.share = share
        self._numbers = Evenly()
        self._seen = _Comparison()
        self._waiting: deque[tuple[Tensors, Work]] = deque()
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._work, name=f"shadow-{candidate.ref}", daemon=True)
        self._thread.start()

    def copy(self, feeds: Tensors, work: Work) -> None:
        """Copy the call when it has been answered, if it belongs to the share."""
        if self._numbers.next() <= self.share:
            work.future.add_done_callback(lambda future: self._answered(feeds, work, future))

    def report(self) -> JsonObject:
        """Return what the copies showed so far.

        Shares are None before anything was compared. `latency_ms` is the model's own time for one call, or for the
        batch that it was in. `agreement` is the share of copies whose outputs are all close (relative 0.001, absolute
        0.0001), `same_best` that of rows of outputs of two axes whose largest value stands at the same place.
        """
        with self._changed:
            seen = self._seen
            return {
                "candidate": self.candidate.ref,
                "share": self.share,
                "compared": seen.compared,
                "agreement": seen.agreed / seen.compared if seen.compared else None,
                "same_best": seen.same_best / seen.ranked if seen.ranked else None,
                "largest_difference": seen.largest,
                "errors": seen.errors,
                "last_error": seen.last_error,
                "dropped": seen.dropped,
                "waiting": len(self._waiting),
                "latency_ms": {"current": _figures(seen.current_s), "candidate": _figures(seen.candidate_s)},
            }

    def close(self) -> None:
        """Copy nothing more."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _answered(self, feeds: Tensors, work: Work, future: Future[dict[str, Array]]) -> None:
        if future.cancelled() or future.exception() is not None:
            return  # there is nothing to compare with
        with self._changed:
            if self._closed:
                return
            if len(self._waiting) >= _MOST_WAITING:
                self._seen.dropped += 1
                return
            self._waiting.append((feeds, work))
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                feeds, work = self._waiting.popleft()
            self._compare(feeds, work)

    def _compare(self, feeds: Tensors, work: Work) -> None:
        call = Call(priority=Priority.JOB, deadline_s=time.monotonic() + _PATIENCE_S)
        try:
            copy = self.candidate.submit(feeds, call, wait=False)
            answer = copy.future.result(_PATIENCE_S)
            differing = _differences(work.future.result(), answer)
        except Overloaded:
            with self._changed:
                self._seen.dropped += 1
            return
        except Exception as error:  # noqa: BLE001 - whatever the candidate does is what the report is for
            with self._changed:
                self._seen.errors += 1
                self._seen.last_error = f"{type(error).__name__}: {error}"[:300]
            return
        close, largest, ranked, same_best = differing
        with self._changed:
            seen = self._seen
            seen.compared += 1
            seen.agreed += close
            seen.largest = max(seen.largest, largest)
            seen.ranked += ranked
            seen.same_best += same_best
            seen.current_s.append(work.inference_s or 0.0)
            seen.candidate_s.append(copy.inference_s or 0.0)


def _differences(current: Mapping[str, Array], candidate: Mapping[str, Array]) -> tuple[bool, float, int, int]:
    """Return whether all outputs are close, the largest difference, rows with a best value, those with the same."""
    close, largest, ranked, same_best = current.keys() == candidate.keys(), 0.0, 0, 0
    for name in current.keys() & candidate.keys():
        one, other = current[name], candidate[name]
        if one.shape != other.shape:
            close = False
            continue
        if one.dtype.kind not in "biufc" or other.dtype.kind not in "biufc":
            close = close and bool(np.array_equal(one, other))
            continue
        close = close and bool(np.allclose(one, other, rtol=_RTOL, atol=_ATOL, equal_nan=True))
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
        if (finite := apart[np.isfinite(apart)]).size:
            largest = max(largest, float(finite.max()))
        if one.ndim == 2 and one.size:
            ranked += len(one)
            same_best += int((one.argmax(axis=1) == other.argmax(axis=1)).sum())
    return close, largest, ranked, same_best


def _figures(seconds: Sequence[float]) -> JsonObject:
    if not seconds:
        return {"mean": None, "p50": None, "p95": None}
    times_ms = 1000 * np.array(seconds)
    p50, p95 = np.percentile(times_ms, [50, 95])
    return {"mean": round(float(times_ms.mean()), 3), "p50": round(float(p50), 3), "p95": round(float(p95), 3)}

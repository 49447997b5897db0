"""CloudWatch embedded metric lines: one JSON line on stdout for every so many frames or requests.

Whoever ships stdout to CloudWatch Logs (an agent, a container platform, a function) gets metrics out of these lines.
Their latencies are measurements, so that CloudWatch can tell any percentile. All other numbers go past this meter.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Lock, Thread
from typing import Any

from sightline.core.errors import InvalidInput
from sightline.core.ports import Meter

MOST_VALUES = 100
"""Measurements that the format allows for one metric of a line."""
_MOST_WAITING = 1000  # lines that nobody takes; the oldest goes then
_LATENCIES = {"frame_seconds": "frames", "request_seconds": "requests"}
_METRICS = (("Latency", "Milliseconds"), ("FPS", "Count/Second"), ("Errors", "Count"))


class EmfMeter(Meter):
    """Passes every number on to another meter, and writes lines about frames and requests.

    `frame_seconds` and `request_seconds` are the latencies; the one counts as a frame, the other as a request.
    Errors are `frames_failed`, and `requests` whose status is 500 or more. A line is about frames or about requests
    (its dimension `kind`), and has the values since the line before. More than 100 latencies become several lines.

    No caller ever waits for stdout: a thread writes, and of lines that nobody reads the oldest are given up.

    Args:
        meter: takes all numbers too.
        namespace: CloudWatch namespace of the metrics.
        service: value of the dimension `service`.
        log_every: frames or requests between two lines.
        write: takes one whole line with its end; stdout when not given.
        now: seconds since 1970.
        clock: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        namespace: str = "Sightline",
        service: str = "sightline",
        log_every: int = 50,
        write: Callable[[bytes], None] | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, text in (("namespace", namespace), ("service", service)):
            if not 1 <= len(text) <= 255:
                raise InvalidInput(f"The {name} of CloudWatch lines must have 1 to 255 letters, not {len(text)}.")
        self.meter = meter
        self._head = {"Namespace": namespace, "Dimensions": [["service"], ["service", "kind"]]}
        self._service = service
        self._log_every = log_every
        self._now = now
        self._clock = clock
        self._tallies = {kind: _Tally(clock()) for kind in _LATENCIES.values()}
        self._lock = Lock()
        self._lines = _Lines(write or _to_stdout)

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Pass on, and add to the errors what is one."""
        self.meter.count(name, value, **labels)
        if name == "frames_failed":
            self._tallies["frames"].fail(value)
        elif name == "requests" and labels.get("status", "") >= "500":
            self._tallies["requests"].fail(value)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Pass on."""
        self.meter.gauge(name, value, **labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Pass on; the latency that completes a line hands it to the thread that writes."""
        self.meter.observe(name, value, **labels)
        kind = _LATENCIES.get(name)
        if kind is not None and self._tallies[kind].add(1000 * value) >= self._log_every:
            self._tell(kind, self._log_every)

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page of the meter behind, for `/metrics`."""
        page: tuple[bytes, str] = self.meter.page(accept)  # type: ignore[attr-defined]
        return page

    def close(self) -> None:
        """Write what has not filled a line yet, and end; a second call does nothing."""
        for kind in self._tallies:
            self._tell(kind, 1)
        self._lines.close()

    def _tell(self, kind: str, least: int) -> None:
        """Hand over the lines of a tally that has `least` values; another thread may have been faster."""
        with self._lock:  # so that lines of one kind stay in order
            taken = self._tallies[kind].take(least, self._clock())
            if taken is None:
                return
            values, errors, elapsed_s = taken
            rate = round(len(values) / elapsed_s, 3) if elapsed_s > 0 else 0.0
            self._put(kind, {"Latency": values[:MOST_VALUES], "FPS": rate, "Errors": errors})
            for begin in range(MOST_VALUES, len(values), MOST_VALUES):
                self._put(kind, {"Latency": values[begin : begin + MOST_VALUES]})

    def _put(self, kind: str, metrics: dict[str, Any]) -> None:
        named = [{"Name": name, "Unit": unit} for name, unit in _METRICS if name in metrics]
        about = {"Timestamp": int(1000 * self._now()), "CloudWatchMetrics": [{**self._head, "Metrics": named}]}
        document = {"_aws": about, "service": self._service, "kind": kind, **metrics}
        self._lines.put(json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n")


class _Tally:
    """Latencies and errors since the last line."""

    def __init__(self, begin_s: float) -> None:
        self._values: list[float] = []
        self._errors = 0.0
        self._begin_s = begin_s
        self._lock = Lock()

    def add(self, latency_ms: float) -> int:
        """Take a measurement, if it is a number at all; return how many there are."""
        with self._lock:
            if 0 <= latency_ms < float("inf"):
                self._values.append(latency_ms)
            return len(self._values)

    def fail(self, num: float) -> None:
        with self._lock:
            self._errors += num

    def take(self, least: int, now_s: float) -> tuple[Sequence[float], float, float] | None:
        """Return latencies, errors and the seconds that they took, and begin anew; None where there are too few."""
        with self._lock:
            if len(self._values) < least:
                return None
            values, self._values = self._values, []
            errors, self._errors = self._errors, 0.0
            begin_s, self._begin_s = self._begin_s, now_s
        return [round(value, 3) for value in values], errors, now_s - begin_s


class _Lines:
    """Lines on their way out, and the thread that writes them; it starts with the first."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._changed = Condition()
        self._thread: Thread | None = None
        self._closed = False

    def put(self, line: bytes) -> None:
        with self._changed:
            if self._closed:
                return
            self._waiting.append(line)
            self._changed.notify()
            if self._thread is None:
                self._thread = Thread(target=self._run, name="emf", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Wait a moment for the lines that wait, but not for a reader who never comes."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closed:
                        return
                    self._changed.wait(60.0)
                line = self._waiting.popleft()
            try:
                self._write(line)
            except (OSError, ValueError):  # the reader has gone, or stdout was closed; nobody else may notice
                with self._changed:
                    self._closed = True
                return


def _to_stdout(line: bytes) -> None:
    """Write one whole line, asked for anew each time: a progress display puts its own stream in its place."""
    stream = sys.stdout
    stream.write(line.decode())
    stream.flush()

"""Operational numbers for Prometheus, which reads them from `/metrics`.

Every name gets the prefix `sightline_`; a number that only rises also gets the suffix `_total`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Lock
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from sightline.core.errors import ConfigError, InvalidInput
from sightline.core.ports import Meter

PREFIX = "sightline_"
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper edges of a histogram in seconds: from a tiny model to a whole volume."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")  # Prometheus takes any text by now; those who read it want plain words

_Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
_Metric: TypeAlias = Counter | Gauge | Histogram


class PrometheusMeter(Meter):
    """Numbers of one process in a registry of their own."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # memory, CPU time and open files of this process, read when asked
        self._metrics: dict[str, tuple[_Kind, tuple[str, ...], _Metric]] = {}
        self._lock = Lock()

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to the counter `sightline_{name}_total`."""
        if not value >= 0:
            raise InvalidInput(f"The number {name!r} only rises: {value} cannot be added.")
        self._series("counter", name, labels).inc(value)  # type: ignore[union-attr]

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set the gauge `sightline_{name}`."""
        self._series("gauge", name, labels).set(value)  # type: ignore[union-attr]

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add to the histogram `sightline_{name}`."""
        self._series("histogram", name, labels).observe(value)  # type: ignore[union-attr]

    def render(self) -> bytes:
        """Return all numbers in the text form of Prometheus; its type is `content_type`."""
        return generate_latest(self._registry)

    def _series(self, kind: _Kind, name: str, labels: dict[str, str]) -> _Metric:
        """Return the metric of these labels, made at its first use."""
        known = self._metrics.get(name) or self._made(kind, name, tuple(sorted(labels)))
        if known[0] != kind or len(known[1]) != len(labels) or not labels.keys() >= set(known[1]):
            raise ConfigError(
                f"The number {name!r} is a {known[0]} with labels {list(known[1])}, "
                f"not a {kind} with labels {sorted(labels)}.",
                cure="Give each number one name, one kind and the same labels everywhere.",
            )
        metric = known[2]
        return metric.labels(*(labels[key] for key in known[1])) if labels else metric

    def _made(self, kind: _Kind, name: str, labels: tuple[str, ...]) -> tuple[_Kind, tuple[str, ...], _Metric]:
        makers: dict[_Kind, Callable[[], _Metric]] = {
            "counter": lambda: Counter(PREFIX + name, name, labels, registry=self._registry),
            "gauge": lambda: Gauge(PREFIX + name, name, labels, registry=self._registry),
            "histogram": lambda: Histogram(PREFIX + name, name, labels, registry=self._registry, buckets=BUCKETS_S),
        }
        with self._lock:
            if name not in self._metrics:
                problem = "" if all(map(_NAME.fullmatch, (name, *labels))) else "no plain words"
                try:
                    made = None if problem else makers[kind]()
                except ValueError as error:
                    made, problem = None, str(error)
                if made is None:
                    raise ConfigError(
                        f"The number {name!r} with labels {list(labels)} cannot be kept: {problem}.",
                        cure="Use lower-case words joined by underscores, and no name twice.",
                    )
                self._metrics[name] = (kind, labels, made)
            return self._metrics[name]

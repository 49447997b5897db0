"""Operational numbers for Prometheus, which reads them from `/metrics`.

Every name gets the prefix `sightline_`; a number that only rises also gets the suffix `_total`. The edges of a
histogram follow from the unit at the end of its name: `_seconds`, `_rows` or `_bytes`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from threading import Lock
from typing import Any, Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sightline.core.errors import ConfigError, InvalidInput
from sightline.core.numbers import meaning
from sightline.core.ports import Meter

PREFIX = "sightline_"
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper edges of a histogram in seconds: from a tiny model to a whole volume; also of one without a unit."""
BUCKETS_LONG_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Durations of work that nobody waits for on a line."""
BUCKETS_ROWS = tuple(float(2**power) for power in range(11))
"""From one row to 1024: batches and queues are powers of two."""
BUCKETS_BYTES = tuple(float(4**power * 1024) for power in range(1, 11))
"""From 4 KiB, a small answer, to 1 GiB."""
MOST_SERIES = 1000
"""Sets of labels that one name may have; those that come later share one whose labels all say `other`."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")  # Prometheus takes any text by now; those who read it want plain words

_Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
_Metric: TypeAlias = Counter | Gauge | Histogram
_Write: TypeAlias = Callable[[float], None]
_Key: TypeAlias = tuple[str, ...]


class PrometheusMeter(Meter):
    """Numbers of one process in a registry of their own.

    A number that was written before costs one look-up by its name and labels, then a lock and an addition.

    Attributes:
        nvml: the library that tells of GPUs; None looks for the one of `sightline[gpu]`.
    """

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, *, nvml: Any = None) -> None:
        self._registry = _Registry()
        ProcessCollector(registry=self._registry)  # memory, CPU time and open files of this process, read when asked
        self._registry.register(_Threads())
        self._registry.register(_Gpus(nvml))
        self._metrics: dict[str, tuple[_Kind, tuple[str, ...], _Metric]] = {}
        self._num_series: dict[str, int] = {}
        self._lock = Lock()
        # By name, names of labels and their values in one flat tuple: the number of parts says which is which.
        self._incs: dict[_Key, _Write] = {}
        self._sets: dict[_Key, _Write] = {}
        self._observes: dict[_Key, _Write] = {}

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to the counter `sightline_{name}_total`."""
        if not value >= 0:
            raise InvalidInput(f"The number {name!r} only rises: {value} cannot be added.")
        key = (name, *labels, *labels.values())
        write = self._incs.get(key)
        if write is None:
            write = self._series("counter", name, labels, self._incs, key)
        write(value)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set the gauge `sightline_{name}`."""
        key = (name, *labels, *labels.values())
        write = self._sets.get(key)
        if write is None:
            write = self._series("gauge", name, labels, self._sets, key)
        write(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add to the histogram `sightline_{name}`."""
        key = (name, *labels, *labels.values())
        write = self._observes.get(key)
        if write is None:
            write = self._series("histogram", name, labels, self._observes, key)
        write(value)

    def render(self) -> bytes:
        """Return all numbers in the text form of Prometheus; its type is `content_type`."""
        return generate_latest(self._registry)

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """Return all numbers and their content type, as OpenMetrics where the header `Accept` asks for it.

        Takes some 50 us a histogram: to be called by a thread, not by an event loop.
        """
        # The newer text form of Prometheus differs in how strange names are written, and ours are plain.
        if "application/openmetrics-text" not in accept:
            return self.render(), self.content_type
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type

    def _series(self, kind: _Kind, name: str, labels: dict[str, str], writes: dict[_Key, _Write], key: _Key) -> _Write:
        """Return what writes to the number of these labels, made at its first use."""
        known = self._metrics.get(name) or self._made(kind, name, tuple(sorted(labels)))
        if known[0] != kind or len(known[1]) != len(labels) or not labels.keys() >= set(known[1]):
            raise ConfigError(
                f"The number {name!r} is a {known[0]} with labels {list(known[1])}, "
                f"not a {kind} with labels {sorted(labels)}.",
                cure="Give each number one name, one kind and the same labels everywhere.",
            )
        metric = known[2]
        with self._lock:
            num = self._num_series.get(name, 0)
            is_full = num >= MOST_SERIES
            if labels:
                metric = metric.labels(*("other" if is_full else str(labels[label]) for label in known[1]))
            write: _Write = metric.observe if isinstance(metric, Histogram) else _write_of(metric)
            if not is_full:
                writes[key] = write
                self._num_series[name] = num + 1
        return write

    def _made(self, kind: _Kind, name: str, labels: tuple[str, ...]) -> tuple[_Kind, tuple[str, ...], _Metric]:
        told = PREFIX + name, meaning(name), labels
        makers: dict[_Kind, Callable[[], _Metric]] = {
            "counter": lambda: Counter(*told, registry=self._registry),
            "gauge": lambda: Gauge(*told, registry=self._registry),
            "histogram": lambda: Histogram(*told, registry=self._registry, buckets=buckets_of(name)),
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


def buckets_of(name: str) -> tuple[float, ...]:
    """Return the upper edges of the histogram called `name`."""
    if name.endswith("_rows"):
        return BUCKETS_ROWS
    if name.startswith("job_"):
        return BUCKETS_LONG_S
    return BUCKETS_BYTES if name.endswith("_bytes") else BUCKETS_S


def _write_of(metric: Counter | Gauge) -> _Write:
    return metric.set if isinstance(metric, Gauge) else metric.inc


class _Registry(CollectorRegistry):
    """Leaves out when each series was made: half as much to read again, of use to nobody here."""

    def collect(self) -> Iterable[Metric]:
        for family in super().collect():
            if family.type in ("counter", "histogram"):
                family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class _Threads(Collector):
    """The threads of Python, which a leak shows first."""

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("python_threads", "Threads of Python.", value=threading.active_count())


class _Gpus(Collector):
    """NVIDIA GPUs of this machine, by the library that comes with `sightline[gpu]`; nothing where either is missing."""

    def __init__(self, nvml: Any = None) -> None:
        self._nvml = nvml
        self._devices: list[tuple[Any, list[str]]] | None = None

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that no GPU is looked for before somebody reads."""
        return ()

    def collect(self) -> Iterator[Metric]:
        if self._devices is None:
            self._devices = self._found()
        if not self._devices:
            return
        labels = ["gpu", "name"]
        used = GaugeMetricFamily(PREFIX + "gpu_memory_used_bytes", "Memory in use.", labels=labels)
        total = GaugeMetricFamily(PREFIX + "gpu_memory_total_bytes", "Memory of the GPU.", labels=labels)
        busy = GaugeMetricFamily(
            PREFIX + "gpu_busy_ratio", "Share of the last moment with work, 0 to 1.", labels=labels
        )
        heat = GaugeMetricFamily(PREFIX + "gpu_temperature_celsius", "Temperature.", labels=labels)
        power = GaugeMetricFamily(PREFIX + "gpu_power_watts", "Power draw.", labels=labels)
        nvml = self._nvml
        for device, values in self._devices:
            try:
                memory = nvml.nvmlDeviceGetMemoryInfo(device)
                used.add_metric(values, memory.used)
                total.add_metric(values, memory.total)
                busy.add_metric(values, nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100)
                heat.add_metric(values, nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU))
                power.add_metric(values, nvml.nvmlDeviceGetPowerUsage(device) / 1000)
            except nvml.NVMLError:  # a GPU that tells less than others, or one that was taken away
                continue
        yield from (family for family in (used, total, busy, heat, power) if family.samples)

    def _found(self) -> list[tuple[Any, list[str]]]:
        if self._nvml is None:
            try:
                self._nvml = import_module("pynvml")  # here, for it is an extra
            except ImportError:
                return []
        nvml = self._nvml
        try:
            nvml.nvmlInit()
            devices = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
            return [
                (device, [str(index), _text(nvml.nvmlDeviceGetName(device))]) for index, device in enumerate(devices)
            ]
        except nvml.NVMLError:  # no driver, no GPU
            return []


def _text(name: str | bytes) -> str:
    """Older versions of the library give bytes."""
    return name.decode("utf-8", errors="replace") if isinstance(name, bytes) else name

"""Numbers that others count already, told to the meter: what streams have seen, and what the open models hold.

Called about once a second and before `/metrics` is read. Works with any meter, for it tells only what was added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any, Protocol, TypeAlias

from sightline.core.ports import Meter

Snapshot: TypeAlias = tuple[str, str, Mapping[str, Any], Mapping[str, Any]]
"""Id of a run, name of its case, what `snapshot` of its counters says, and said when this process took the run up."""

_TOTALS = {"read": "frames", "processed": "frames_processed", "late": "frames_late"}
_TOTALS_BY = {
    "dropped": ("frames_dropped", "reason"),
    "rejected": ("frames_rejected", "reason"),
    "failed": ("frames_failed", "predictor"),
}


class StreamNumbers:
    """Counts `frames`, `frames_processed`, `frames_dropped{reason}`, ... by case and source.

    Sources that are there now also have `source_live` (1 or 0) and, once known, `source_fps`.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._told: dict[str, dict[tuple[str, ...], float]] = {}
        self._gauges: set[tuple[str, str]] = set()
        self._lock = Lock()

    def update(self, snapshots: Iterable[Snapshot]) -> None:
        """Tell the meter what was added since the last call; runs that are not named any more are forgotten."""
        with self._lock:
            known, self._told = self._told, {}
            gauges, self._gauges = self._gauges, set()
            for run, case, snapshot, before in snapshots:
                told = self._told[run] = known[run] if run in known else _counted(before)
                for source, counts in snapshot.get("sources", {}).items():
                    self._count(told, case, source, counts)
                    self._gauges.add((case, source))
                    is_live = float(counts.get("state") == "live")
                    self._meter.gauge("source_live", is_live, case=case, source=source)
                    self._meter.gauge("source_fps", counts.get("fps") or 0.0, case=case, source=source)
            for case, source in gauges - self._gauges:
                self._meter.gauge("source_live", 0, case=case, source=source)
                self._meter.gauge("source_fps", 0, case=case, source=source)

    def _count(self, told: dict[tuple[str, ...], float], case: str, source: str, counts: Mapping[str, Any]) -> None:
        for field, name in _TOTALS.items():
            more = _added(told, (source, field), counts.get(field, 0))
            if more or field == "read":  # a source that gave nothing yet is seen as 0, not as nothing
                self._meter.count(name, more, case=case, source=source)
        for field, (name, label) in _TOTALS_BY.items():
            for key, total in counts.get(field, {}).items():
                if more := _added(told, (source, field, key), total):
                    self._meter.count(name, more, case=case, source=source, **{label: key})


def _counted(before: Mapping[str, Any]) -> dict[tuple[str, ...], float]:
    """Return what an earlier process counted, so that nothing is counted twice."""
    told: dict[tuple[str, ...], float] = {}
    for source, counts in before.get("sources", {}).items():
        told |= {(source, field): counts.get(field, 0) for field in _TOTALS}
        told |= {(source, field, key): total for field in _TOTALS_BY for key, total in counts.get(field, {}).items()}
    return told


def _added(told: dict[tuple[str, ...], float], key: tuple[str, ...], total: float) -> float:
    """Return what was added since the last call; a source that began anew counts from 0."""
    before = told.get(key, 0)
    told[key] = total
    return total - before if total >= before else total


class Loaded(Protocol):
    """What `ModelSessions.loaded` says of a model."""

    @property
    def ref(self) -> str:
        """`name@version`."""
        ...

    @property
    def is_open(self) -> bool:
        """False when the next use opens it."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Estimate of what it takes now."""
        ...

    @property
    def queue_rows(self) -> int:
        """Rows that wait for it."""
        ...


class ModelNumbers:
    """Sets `model_queue_rows` and `model_memory_bytes` by model, and `models_open`."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._seen: set[str] = set()
        self._lock = Lock()

    def update(self, loaded: Iterable[Loaded]) -> None:
        """Tell the meter what the open models hold; those that were closed hold nothing."""
        with self._lock:
            before, self._seen = self._seen, set()
            num_open = 0
            for model in loaded:
                num_open += model.is_open
                self._seen.add(model.ref)
                self._meter.gauge("model_queue_rows", model.queue_rows, model=model.ref)
                self._meter.gauge("model_memory_bytes", model.memory_bytes, model=model.ref)
            for ref in before - self._seen:
                self._meter.gauge("model_queue_rows", 0, model=ref)
                self._meter.gauge("model_memory_bytes", 0, model=ref)
            self._meter.gauge("models_open", num_open)

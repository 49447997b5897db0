"""Model sessions: expensive, opened on use, shared by every case, run and request of the process.

A handle belongs to a caller and costs little; behind it stands a slot for the reference that it was opened with, and
behind that the version of the model which the reference means now, with its queue, its worker threads and one runtime
session. Versions open on use, make room for each other under a memory limit, and take over from each other between
two batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import structlog

from sightline.core.errors import Cancelled, SightlineError, Unavailable
from sightline.core.events import Event, make_event
from sightline.core.ports import Meter, ModelHandle, Runtime
from sightline.core.prediction import JsonObject
from sightline.engine.layouts import LayoutFiles, SessionLayout
from sightline.engine.measuring import Measuring
from sightline.engine.memory import MemoryBudget
from sightline.engine.registry import Located, ModelRegistry
from sightline.engine.routing import Routing
from sightline.engine.slots import Handle, Slot
from sightline.engine.traffic import checked_weights
from sightline.engine.versions import Surroundings, Version

__all__ = ["LoadedModel", "ModelSessions", "SessionLayout"]
log = structlog.get_logger()
_JOIN_S = 5.0  # a worker inside one call of the runtime cannot be interrupted; this is how long all are waited for
_QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95}
_REST = 20  # times as long as it took to find that a version cannot take over, it is not tried again
_LEFT_S = 1.0  # a version that no reference means any more is closed when nobody has asked it for this long


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model version of this process.

    Attributes:
        ref: `name@version`.
        is_open: False when it was closed to make room, or unloaded; the next use opens it.
        memory_bytes: estimate of what it takes now.
        queue_rows: rows that wait.
        max_batch: most rows in one call; 0 while closed, and so the next two.
        workers: calls side by side.
        threads: threads inside each call.
        idle_s: seconds since the last call; None before the first.
        loads: how often it was opened.
        batches: how many it has answered since it was opened.
        batch_rows: mean rows of the last batches; None before the first, and so the next two.
        p50_ms, p95_ms: what the last batches took in the model.
    """

    ref: str
    name: str
    version: str
    is_open: bool
    memory_bytes: int
    queue_rows: int
    max_batch: int
    workers: int
    threads: int
    idle_s: float | None
    loads: int = 0
    batches: int = 0
    batch_rows: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None


class ModelSessions:
    """All models that are open in this process.

    Args:
        registry: finds models by reference.
        runtime: opens them.
        meter: receives batch sizes and times.
        layout: how much of the machine each model gets.
        folder: where layouts that were measured are remembered; None: nowhere.
        tell: receives the events of what happens to models; None: nobody.
        now: gives the time in seconds by which layouts are measured.
    """

    def __init__(
        self,
        *,
        registry: ModelRegistry,
        runtime: Runtime,
        meter: Meter,
        layout: SessionLayout | None = None,
        folder: Path | None = None,
        tell: Callable[[Event], None] | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._registry = registry
        self._meter = meter
        self._tell = tell
        self._layout = layout = layout or SessionLayout()
        files = LayoutFiles(folder, runtime=runtime.version, settings=layout) if folder is not None else None
        self._memory = MemoryBudget(layout.memory_bytes, self._all_versions)
        self._measuring = Measuring(runtime=runtime, layout=layout, files=files, is_idle=self._is_idle, now=now)
        self._around = Surroundings(
            runtime=runtime,
            meter=meter,
            layout=layout,
            memory=self._memory,
            files=files,
            to_measure=self._measuring.add,
        )
        self._versions: dict[str, Version] = {}
        self._routing = Routing()
        self._lock = Lock()  # held for moments
        self._swapping = Lock()  # held while one version is opened to take over from another
        self._again_s: dict[int, float] = {}  # id of a version that could not take over -> when it is tried again
        self._closed = False

    def open(self, ref: str) -> ModelHandle:
        """Return a handle for the model that `ref` means; the model itself is opened at first use.

        Raises:
            ModelNotFound: nothing has that name.
            InvalidModel: the file is no ONNX model.
        """
        return Handle(self._slot(ref), self._pinned)

    def load(self, ref: str) -> ModelHandle:
        """Open the model that `ref` means now, run it once, and return a handle.

        Raises:
            ModelNotFound: nothing has that name.
            InvalidModel: the file is no usable model.
        """
        slot = self._slot(ref)
        for version in slot.versions():
            version.warm()
        return Handle(slot, self._pinned)

    def unload(self, ref: str) -> int:
        """Close a model when it has done what it accepted; return how many versions were open.

        A name means all its versions, `name@version` that one, a path the file. The next use opens it again.

        Raises:
            ModelNotFound: nothing has that name.
        """
        with self._lock:
            found = [version for version in self._versions.values() if ref in (version.name, version.ref)]
        slot = self._routing.find(ref)
        if not found:
            found = [slot.current if slot is not None else self._version(self._registry.locate(ref))]
        return sum(version.put_away() for version in found)

    def loaded(self) -> list[LoadedModel]:
        """Return the versions that were used in this process, those that are closed now too."""
        models = []
        for version in sorted(self._all_versions(), key=lambda version: version.ref):
            opened = version.opened
            models.append(
                LoadedModel(
                    ref=version.ref,
                    name=version.name,
                    version=version.number,
                    is_open=opened is not None,
                    memory_bytes=version.open_bytes,
                    queue_rows=opened.queue.rows if opened else 0,
                    max_batch=opened.max_batch if opened else 0,
                    workers=opened.layout.num_workers if opened else 0,
                    threads=opened.layout.num_threads if opened else 0,
                    idle_s=time.monotonic() - version.last_used_s if version.last_used_s else None,
                    loads=version.num_loads,
                    batches=opened.num_batches if opened else 0,
                    **_figures(opened.recent if opened else ()),
                )
            )
        return models

    def refresh(self) -> int:
        """Look where references point now, and let new versions take over; return how many did.

        A new version is opened and run once before it takes over; one that cannot be opened does not. What the old one
        has accepted it finishes. Versions that nobody means or asks for any more are closed, and numbers are told to
        the meter. Call it about once a second, and after an alias was moved.
        """
        num_swapped = 0
        for slot in self._routing.slots():
            try:
                num_swapped += self._follow(slot, self._registry.locate(slot.ref))
            except Unavailable as error:
                log.info("models were not looked up", error=str(error))
                break
            except SightlineError as error:  # deleted, or half copied: what runs goes on
                log.debug("reference means nothing now", ref=slot.ref, error=str(error))
        self._close_what_is_left()
        self._memory.trim()
        for version in self._all_versions():
            opened = version.opened
            self._meter.gauge("model_queue_rows", opened.queue.rows if opened else 0, model=version.ref)
            self._meter.gauge("model_memory_bytes", version.open_bytes, model=version.ref)
        return num_swapped

    def split(self, name: str, weights: Mapping[str, float]) -> None:
        """Give each version of a model its share of the calls of `name`; no weights: all to the current one again.

        It ends by itself when `name` comes to mean another version. All versions are opened and run once before.

        Raises:
            ModelNotFound: there is no such model or version.
            InvalidInput: a weight is negative, or all are 0.
            Conflict: a version is read in another way than the current one, so callers could not use its answers.
        """
        parts = [(self._numbered(name, number), weight) for number, weight in checked_weights(weights).items()]
        self._routing.split(self._slot(name).current, parts)

    def shares(self, name: str) -> dict[str, float]:
        """Return the share of each version between which calls of `name` are split; empty where they are not."""
        return self._routing.shares(name)

    def shadow(self, name: str, candidate: str, share: float = 0.1) -> None:
        """Give copies of a share of the calls of `name` to its version `candidate` and compare the answers.

        What an earlier shadow of this model found is forgotten.

        Raises:
            ModelNotFound: there is no such model or version.
            InvalidInput: the share is not above 0 and at most 1.
            Conflict: the candidate takes other inputs, or is the current version.
        """
        self._routing.shadow(self._slot(name).current, self._numbered(name, candidate), share)

    def shadow_report(self, name: str) -> JsonObject:
        """Return what the shadow of `name` has found so far; see `Shadow.report`.

        Raises:
            ModelNotFound: the model has no shadow.
        """
        report = self._routing.report(name)
        return {"model": name, "current": self._slot(name).current.ref, **report}

    def has_shadow(self, name: str) -> bool:
        """Return whether calls of `name` are copied; then `shadow_report` says what came of it."""
        return self._routing.has_shadow(name)

    def stop_shadow(self, name: str) -> None:
        """Copy no more calls of `name`; where nothing is copied, do nothing."""
        self._routing.stop_shadow(name)

    def close(self) -> None:
        """Finish what runs, refuse what waits, and give the memory back."""
        with self._lock:
            self._closed = True
            versions, self._versions = list(self._versions.values()), {}
        self._routing.close()
        for version in versions:
            version.close()
        self._measuring.close()
        until_s = time.monotonic() + _JOIN_S
        for version in versions:
            version.join(until_s)

    def _slot(self, ref: str) -> Slot:
        """Return the slot of a reference, which means now what the registry says."""
        slot = self._routing.find(ref)
        try:
            located = self._registry.locate(ref)
            if slot is None:
                return self._routing.add(ref, self._version(located))
            self._follow(slot, located)
        except Unavailable:
            # The database is away: whoever reconnects meanwhile goes on with what this reference meant before.
            if slot is None:
                raise
        return slot

    def _version(self, located: Located) -> Version:
        """Return the version at a place, made when it is first asked for."""
        # A path may change under its name between two runs of one process; its modification time tells.
        key = f"{located.ref}:{located.path}:{located.path.stat().st_mtime_ns}"
        with self._lock:
            if self._closed:
                raise Cancelled("The models are being closed.")
            if key not in self._versions:
                self._versions[key] = Version(located, self._around)
            return self._versions[key]

    def _pinned(self, slot: Slot, number: str) -> Version:
        """Return the version that a call insists on."""
        if slot.current.number == number:
            return slot.current
        return self._numbered(slot.name, number)

    def _numbered(self, name: str, number: str) -> Version:
        return self._version(self._registry.locate(f"{name}@{number}"))

    def _follow(self, slot: Slot, located: Located) -> bool:
        """Let the version at `located` take over in `slot` if it is another one and can be opened."""
        version, before = self._version(located), slot.current
        if version is before:
            return False
        with self._swapping:
            # The reference may have moved on while another thread swapped; what was found before that is old.
            version, before = self._version(self._registry.locate(slot.ref)), slot.current
            if version is before:
                return False
            if (before.opened is not None or before.card is not None) and not self._can_take_over(version, before):
                return False
            self._routing.move(slot, version)
        log.info("model swapped", ref=slot.ref, old=before.ref, new=version.ref)
        if self._tell is not None:
            self._tell(
                make_event(
                    "model.swapped",
                    source=f"/models/{version.name}",
                    subject=version.number,
                    time=datetime.now(UTC),
                    data={"name": version.name, "reference": slot.ref, "old": before.number, "new": version.number},
                )
            )
        return True

    def _can_take_over(self, version: Version, running: Version) -> bool:
        """Open a version and run it once; a failure is told once, and tries take little of the time."""
        begin_s = time.monotonic()
        if begin_s < self._again_s.get(id(version), 0.0):
            return False
        try:
            version.warm()
        except SightlineError as error:
            level = log.debug if id(version) in self._again_s else log.error
            level("new version cannot take over", model=version.ref, running=running.ref, error=str(error))
            end_s = time.monotonic()
            self._again_s[id(version)] = end_s + _REST * (end_s - begin_s)
            return False
        self._again_s.pop(id(version), None)
        return True

    def _all_versions(self) -> list[Version]:
        with self._lock:
            return list(self._versions.values())

    def _is_idle(self, for_s: float) -> bool:
        """Return whether no model has anything to do, nor was asked for that long."""
        asked_s = time.monotonic() - for_s
        return all(version.is_idle and version.last_used_s < asked_s for version in self._all_versions())

    def _close_what_is_left(self) -> None:
        """Close versions that no reference means, when nobody has asked them for a while."""
        wanted = self._routing.wanted()
        for version in self._all_versions():
            if id(version) in wanted or version.opened is None:
                continue
            if time.monotonic() - version.last_used_s > _LEFT_S and version.evict():
                log.info("old version closed", model=version.ref)


def _figures(recent: Iterable[tuple[float, int]]) -> dict[str, float]:
    """Return mean rows and quantiles of the last batches; nothing where there were none."""
    batches = list(recent)
    if not batches:
        return {}
    ms = sorted(1000 * seconds for seconds, _ in batches)
    at = {name: round(ms[min(len(ms) - 1, int(share * len(ms)))], 3) for name, share in _QUANTILES.items()}
    return {"batch_rows": round(sum(rows for _, rows in batches) / len(batches), 2), **at}

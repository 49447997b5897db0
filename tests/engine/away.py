"""A store that is away now and then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sightline.core.errors import Unavailable
from sightline.core.events import Event
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunState
from sightline.core.stores import EventStore, MetadataStore, RunStore


class Away:
    """A real store, of which some calls fail while it is away."""

    def __init__(self, store: MetadataStore) -> None:
        self.runs: RunStore = _Runs(store.runs, self)
        self.events: EventStore = _Events(store.events, self)
        self.models = store.models
        self.predictions = store.predictions
        self.failing: set[str] = set()
        self.failed: list[str] = []
        self.reports: list[JsonObject] = []
        self.on_failure: Callable[[str], None] = lambda _: None

    def check(self, call: str) -> None:
        if call in self.failing:
            self.failed.append(call)
            self.on_failure(call)
            raise Unavailable("The database does not answer.")

    def close(self) -> None:
        """The fixture closes the real one."""


class _Runs(RunStore):
    def __init__(self, real: RunStore, away: Away) -> None:
        self._real = real
        self._away = away

    def create(self, run: Run, **others: Any) -> Run:
        return self._real.create(run, **others)

    def get(self, run_id: str) -> Run:
        return self._real.get(run_id)

    def list(self, **others: Any) -> Sequence[Run]:
        return self._real.list(**others)

    def report(self, run_id: str, token: int, status: JsonObject, **others: Any) -> Run:
        self._away.check("report")
        self._away.reports.append(status)
        return self._real.report(run_id, token, status, **others)

    def finish(self, run_id: str, token: int, state: RunState, **others: Any) -> Run:
        self._away.check("finish")
        return self._real.finish(run_id, token, state, **others)

    def claim(self, run_id: str, worker: str, **others: Any) -> Run:
        self._away.check("claim")
        return self._real.claim(run_id, worker, **others)

    def expire(self, events: Callable[[Run], Sequence[Event]] = lambda _: ()) -> Sequence[Run]:
        self._away.check("expire")
        return self._real.expire(events)

    def amend(self, run_id: str, **others: Any) -> Run:
        self._away.check("amend")
        return self._real.amend(run_id, **others)


class _Events(EventStore):
    def __init__(self, real: EventStore, away: Away) -> None:
        self._real = real
        self._away = away

    def append(self, events: Sequence[Event]) -> None:
        self._away.check("append")
        self._real.append(events)

    def position(self, event_id: str | None = None) -> int | None:
        self._away.check("position")
        return self._real.position(event_id)

    def list(self, **others: Any) -> Sequence[tuple[int, Event]]:
        self._away.check("events")
        return self._real.list(**others)

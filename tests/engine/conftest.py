"""A world for runs: a real SQLite store, a real bus, and a watch over runs that never end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.engine.bench import Bench, OwnRuntime
from tests.engine.job_world import JobWorld, Journal, make_case

from sightline.adapters.artifacts import ObjectStore
from sightline.adapters.bus_memory import MemoryBus
from sightline.adapters.database import SqlStore
from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.adapters.runtime_onnx import OnnxRuntime
from sightline.core.case import Case
from sightline.core.events import Event
from sightline.core.plugins import Context
from sightline.core.ports import ArtifactStore, EventBus, Gap, Meter, Runtime
from sightline.core.run import Run
from sightline.core.stores import MetadataStore
from sightline.engine.streams import Outcome, StreamRun


@dataclass
class OwnPorts:
    store: MetadataStore
    bus: EventBus = field(default_factory=MemoryBus)
    artifacts: ArtifactStore = field(default_factory=lambda: ObjectStore("memory://"))
    runtime: Runtime = field(default_factory=OnnxRuntime)
    meter: Meter = field(default_factory=PrometheusMeter)


class World:
    """Makes runs on real ports, and sees how they went."""

    def __init__(self, store: MetadataStore) -> None:
        self.ports = OwnPorts(store)
        self.heard = self.ports.bus.subscribe(capacity=100_000)

    def stream(self, case: Case, *, metadata: dict[str, str] | None = None, **others: Any) -> StreamRun:
        context = Context(ports=self.ports, metadata=metadata or {})
        return StreamRun(case, context, Run(case=case.name, metadata=metadata or {}), **others)

    def execute(self, case: Case, **others: Any) -> Outcome:
        return ended(self.stream(case, **others))

    def published(self) -> list[Event]:
        events = []
        while (event := self.heard.get(0)) is not None:
            assert not isinstance(event, Gap)
            events.append(event)
        return events

    def recorded(self, run: Run, types: Sequence[str] = ()) -> list[Event]:
        found = self.ports.store.events.list(types=types, limit=100_000)
        return [event for _, event in found if event.data["run"] == run.id]


def ended(stream: StreamRun, timeout_s: float = 20) -> Outcome:
    """Execute in a thread of its own, so that a run that hangs fails its test alone."""
    outcomes: list[Outcome] = []
    thread = Thread(target=lambda: outcomes.append(stream.execute()), daemon=True)
    thread.start()
    thread.join(timeout_s)
    assert outcomes, "the run does not end"
    return outcomes[0]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    folder: Path = tmp_path_factory.mktemp("store")
    with closing(SqlStore(f"sqlite:///{folder}/store.db")) as store:
        yield store


@pytest.fixture
def world(store: SqlStore) -> World:
    return World(store)


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[World]:
    """A world whose database no other test has: workers take whatever they find there."""
    with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store:
        yield World(store)


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def texts(lone: World, journal: Journal) -> JobWorld:
    """Jobs of a case with one predictor and one sink."""
    return JobWorld(lone, make_case(journal))


@pytest.fixture
def own() -> OwnRuntime:
    return OwnRuntime()


@pytest.fixture
def bench(tmp_path: Path, own: OwnRuntime) -> Iterator[Bench]:
    made = Bench(tmp_path, own)
    yield made
    own.gate.set()
    made.sessions.close()

"""What goes on when the database, a model or a camera is away for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tests.engine.conftest import World
from tests.engine.nets import doubling_net
from tests.engine.plugins import Numbers

from sightline.adapters.artifacts import ObjectStore
from sightline.adapters.database import SqlStore
from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.adapters.runtime_onnx import OnnxRuntime
from sightline.core.case import Case
from sightline.core.errors import Overloaded, Unavailable
from sightline.core.plugins import Predictor, SourceState
from sightline.core.prediction import Prediction
from sightline.core.sample import Sample
from sightline.core.stores import ModelStore
from sightline.engine.registry import ModelRegistry
from sightline.engine.sessions import ModelSessions


@dataclass(kw_only=True)
class Flaky(Numbers):
    """A camera that tells what a camera tells that is down for long."""

    def read(self) -> Iterator[Sample[Any]]:
        for _ in range(20):
            self.context.state(SourceState.CONNECTING, "")
            self.context.state(SourceState.BACKOFF, "connection refused")
        yield from super().read()
        self.context.state(SourceState.STOPPED, "end of file")


@dataclass(kw_only=True)
class Busy(Predictor):
    """Is always overloaded, and counts how often it was asked."""

    asked: ClassVar[list[int]] = []

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        self.asked.append(len(samples))
        raise Overloaded("too much waits")


def test_a_model_that_is_known_needs_no_database_when_a_camera_comes_back(tmp_path: Path) -> None:
    away = False

    with closing(SqlStore(tmp_path / "a?%41.db")) as store:

        def models() -> ModelStore:
            if away:
                raise Unavailable("The database is being restarted.")
            return store.models

        doubling_net(tmp_path / "shipped" / "double.onnx")
        registry = ModelRegistry(
            models=models, artifacts=lambda: ObjectStore("memory://"), root=tmp_path, shipped=tmp_path / "shipped"
        )
        sessions = ModelSessions(registry=registry, runtime=OnnxRuntime(), meter=PrometheusMeter())
        first = sessions.open("double").run({"x": np.ones((1, 2), np.float32)})
        away = True
        again = sessions.open("double").run({"x": np.ones((1, 2), np.float32)})
        sessions.close()

    np.testing.assert_array_equal(first["y"], again["y"])
    # The path of the database is a file's path, not an address: nothing in it is read as a query or an escape.
    assert (tmp_path / "a?%41.db").is_file()


def test_an_outage_of_a_camera_is_recorded_once_and_published_each_time(world: World) -> None:
    outcome = world.execute(Case(name="case", sources={"cam": Flaky(num=3)}))

    recorded = [event.short_type for event in world.recorded(outcome.run) if event.short_type.startswith("source.")]
    published = [event.short_type for event in world.published() if event.short_type.startswith("source.")]
    assert recorded == ["source.backoff", "source.stopped"]
    assert published.count("source.backoff") == 20


def test_the_end_of_a_source_is_told_once_with_its_own_reason(world: World) -> None:
    outcome = world.execute(Case(name="case", sources={"cam": Flaky(num=3)}))

    [stopped] = world.recorded(outcome.run, ["source.stopped"])
    assert stopped.data["reason"] == "end of file"
    assert outcome.run.status["sources"]["cam"]["reason"] == "end of file"


def test_a_busy_model_is_not_asked_again_for_each_sample(world: World) -> None:
    Busy.asked.clear()
    world.execute(Case(name="case", sources={"a": Numbers(num=8)}, stages={"analytics": {"busy": Busy()}}))

    assert sum(Busy.asked) == 8

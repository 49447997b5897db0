"""Model sessions on runtimes that tests look into.

Shape letters: N rows, C columns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np
from tests.engine.nets import doubling_net

from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.core.errors import InvalidInput
from sightline.core.model import ModelCard, TensorSpec
from sightline.core.ports import Array, Runtime, Session, Tensors
from sightline.core.stores import ModelStore
from sightline.engine.layouts import num_cores
from sightline.engine.registry import ModelRegistry
from sightline.engine.sessions import ModelSessions, SessionLayout

ROWS: tuple[int | str | None, ...] = ("n", 2)


class OwnSession(Session):
    """Doubles x; `gate` holds every call until it is set, `first` runs before it."""

    def __init__(self, card: ModelCard, gate: Event) -> None:
        self.card = card
        self.gate = gate
        self.entered = Event()
        self.sizes: list[int] = []
        self.closed = False
        self.first: Callable[[], None] = lambda: None

    def run(self, feeds: Tensors) -> dict[str, Array]:
        self.first()
        self.entered.set()
        self.gate.wait(30)
        self.sizes.append(len(feeds["x"]))
        if (feeds["x"] == 13).any():
            raise InvalidInput("13 is unlucky.")
        return {"y": feeds["x"] * 2}

    def close(self) -> None:
        self.closed = True


class OwnRuntime(Runtime):
    """Opens sessions of its own making; `before` runs while it opens one."""

    def __init__(self, shape: tuple[int | str | None, ...] = ROWS, *, batchable: bool = True) -> None:
        self.sessions: list[OwnSession] = []
        self.opened: list[Path] = []
        self.before: Callable[[], None] = lambda: None
        self.gate = Event()
        self.gate.set()
        self._inputs = (TensorSpec(name="x", dtype="float32", shape=shape),)
        self._batchable = batchable

    def open(self, path: Path, *, name: str = "", device: str = "auto") -> OwnSession:
        self.opened.append(path)
        self.before()
        card = ModelCard(name=name, inputs=self._inputs, batchable=self._batchable)
        self.sessions.append(OwnSession(card, self.gate))
        return self.sessions[-1]

    def devices(self) -> Sequence[str]:
        return ("cpu",)


class Clock:
    """Time that passes by the calls of models alone, so that a busy machine changes nothing; a call has a core."""

    def __init__(self) -> None:
        self._cores = [0.0] * num_cores()  # when each is free
        self._lock = Lock()

    def now(self) -> float:
        with self._lock:
            self._cores = [max(self._cores)] * len(self._cores)
            return self._cores[0]

    def spend(self, seconds: float, *, side_by_side: int = 1) -> None:
        """Take the first core that is free of as many as may work side by side."""
        with self._lock:
            first = self._cores.index(min(self._cores[:side_by_side]))
            self._cores[first] += seconds


def no_store() -> ModelStore:
    raise AssertionError("a path needs no store")


class Bench:
    """Model sessions on a runtime, with a model to open."""

    def __init__(
        self,
        folder: Path,
        runtime: Runtime,
        *,
        remembered: Path | None = None,
        now: Callable[[], float] = time.perf_counter,
        **layout: Any,
    ) -> None:
        self.path = doubling_net(folder / "double.onnx")
        registry = ModelRegistry(models=no_store, artifacts=lambda: None, root=folder, shipped=folder)  # type: ignore[arg-type,return-value]
        self.meter = PrometheusMeter()
        self.sessions = ModelSessions(
            registry=registry,
            runtime=runtime,
            meter=self.meter,
            layout=SessionLayout(**{"num_workers": 2, **layout}),
            folder=remembered,
            now=now,
        )


def x(value: float = 1, rows: int = 1) -> dict[str, Array]:
    return {"x": np.full((rows, 2), value, np.float32)}

"""Fakes that work: a clock that is turned by hand, a model that answers what it was told, ports of their own.

Pack tests build their world with `make_context`, their samples with `make_frame` and `make_reading`. Nothing
here patches anything: time and models come in through `Context`, as in a real run.

Shape letters: H rows, W columns, C colours (blue, green, red).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from weakref import finalize

import numpy as np
import numpy.typing as npt

from sightline.core.errors import ModelNotFound
from sightline.core.model import ModelCard
from sightline.core.plugins import Context
from sightline.core.ports import Array, ArtifactStore, EventBus, Meter, ModelHandle, Runtime, Session, Tensors
from sightline.core.prediction import JsonObject, frozen
from sightline.core.sample import Clocks, Frame, Reading, Sample
from sightline.core.stores import MetadataStore
from sightline.engine.isolation import run_isolated

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
"""When the world of the fakes begins."""


class FakeClock:
    """A clock that stands still until it is told to go on; `clock()` is the time in UTC."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._passed_s = 0.0

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=self._passed_s)

    def monotonic(self) -> float:
        """Return the seconds that have passed since the clock was made."""
        return self._passed_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._passed_s += seconds


class Tally(Counter[str]):
    """Takes the place of `context.dropped`, and holds the number by reason."""

    def __call__(self, reason: str, num: int) -> None:
        self[reason] += num


class FakeSession(Session):
    """A model that answers what it was told.

    Args:
        outputs: arrays by output name, the same at each call; or a function of the feeds.
        card: its card; by default a nameless one without inputs.

    `feeds` holds what it was asked, call by call.
    """

    def __init__(
        self,
        outputs: Mapping[str, Array] | Callable[[Tensors], Mapping[str, Array]],
        card: ModelCard | None = None,
    ) -> None:
        self._outputs = outputs
        self.card = card or ModelCard(name="fake")
        self.feeds: list[dict[str, Array]] = []
        self.closed = False

    def run(self, feeds: Tensors) -> dict[str, Array]:
        self.feeds.append({name: np.array(array) for name, array in feeds.items()})
        return dict(self._outputs(feeds) if callable(self._outputs) else self._outputs)

    def close(self) -> None:
        self.closed = True


class FakeHandle(ModelHandle):
    """What `context.open_model` returns in a test: a session that is asked at once, in the calling thread."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def card(self) -> ModelCard:
        return self._session.card

    @property
    def version(self) -> str:
        return self._session.card.ref

    def run(self, feeds: Tensors) -> dict[str, Array]:
        return self._session.run(feeds)

    def submit(self, feeds: Tensors) -> Future[dict[str, Array]]:
        answer: Future[dict[str, Array]] = Future()
        try:
            answer.set_result(self.run(feeds))
        except Exception as error:  # noqa: BLE001  the future carries it, as that of a real handle does
            answer.set_exception(error)
        return answer


class FakePorts:
    """The ports of a process, each made when it is first asked for; they leave nothing behind.

    They are the shipped adapters, in memory but for the database, so that a test which passes here means something.
    """

    @cached_property
    def artifacts(self) -> ArtifactStore:
        from sightline.adapters.artifacts import ObjectStore  # each adapter brings its own library

        return ObjectStore("memory://")

    @cached_property
    def store(self) -> MetadataStore:
        from sightline.adapters.database import SqlStore

        folder = mkdtemp(prefix="sightline-")  # SQLite shares a database between threads only in a file
        store = SqlStore(f"sqlite:///{folder}/fake.db")
        finalize(self, _give_up, store, folder)
        return store

    @cached_property
    def bus(self) -> EventBus:
        from sightline.adapters.bus_memory import MemoryBus

        return MemoryBus()

    @cached_property
    def runtime(self) -> Runtime:
        from sightline.adapters.runtime_onnx import OnnxRuntime

        return OnnxRuntime()

    @cached_property
    def meter(self) -> Meter:
        from sightline.adapters.meter_prometheus import PrometheusMeter

        return PrometheusMeter()


def _give_up(store: MetadataStore, folder: str) -> None:
    store.close()
    rmtree(folder, ignore_errors=True)


def fake_ports() -> FakePorts:
    """Return fresh ports in memory."""
    return FakePorts()


def make_context(
    *,
    session: Session | None = None,
    models: Mapping[str, Session] | None = None,
    ports: FakePorts | None = None,
    clock: Callable[[], datetime] | None = None,
    case: str = "case",
    run: str = "run",
    source: str = "camera",
    outputs: Path = Path("runs"),
    **others: Any,
) -> Context:
    """Return a context for `plugin.open`.

    `session` answers for every model reference that `models` (sessions by reference) does not name. `clock`
    gives `context.now`, by default a `FakeClock` that stands at `START`. `others` are further fields of
    `Context`, for instance `dropped=Tally()`.
    """

    def open_model(ref: str) -> ModelHandle:
        found = (models or {}).get(ref, session)
        if found is None:
            raise ModelNotFound(f"No model is called {ref!r}.")
        return FakeHandle(found)

    return Context(
        ports=ports or FakePorts(),
        case=case,
        run=run,
        source=source,
        outputs=outputs,
        now=clock or FakeClock(),
        **{"open_model": open_model, "isolation": run_isolated, **others},
    )


def make_clocks(seconds: float, *, pts: bool = True, sender: bool = False) -> Clocks:
    """Return the clocks of a sample taken `seconds` after `START`; `pts` and `sender`: whether it has those."""
    wall = START + timedelta(seconds=seconds)
    return Clocks(
        pts_s=seconds if pts else None,
        monotonic_s=seconds,
        wall=wall,
        sender=wall if sender else None,
    )


def make_frame(
    pixels_HWC: npt.NDArray[np.uint8] | int = 128,
    *,
    size: tuple[int, int] = (64, 48),
    seconds: float | None = None,
    seq: int = 0,
    source: str = "camera",
    epoch: int = 1,
    metadata: JsonObject | None = None,
) -> Sample[Frame]:
    """Return a sample with a picture.

    `pixels_HWC` is the picture, uint8 [H, W, 3], or the grey of an even one of `size` (width, height). `seconds`
    is its media time, and its time after `START`; by default `seq` at 25 pictures a second.
    """
    if isinstance(pixels_HWC, int):
        pixels_HWC = np.full((size[1], size[0], 3), pixels_HWC, np.uint8)
    return Sample(
        payload=Frame(frozen(pixels_HWC)),
        source=source,
        seq=seq,
        epoch=epoch,
        clocks=make_clocks(seq / 25 if seconds is None else seconds),
        metadata=metadata or {},
    )


def make_reading(
    values: Mapping[str, float] | float = 0.0,
    *,
    seconds: float | None = None,
    seq: int = 0,
    source: str = "sensor",
    epoch: int = 1,
    metadata: JsonObject | None = None,
) -> Sample[Reading]:
    """Return a sample with a reading.

    `values` are numbers by channel; a bare number is that of the channel `value`. `seconds` is its time after
    `START` by the sender's clock; by default `seq`, one a second.
    """
    return Sample(
        payload=Reading({"value": float(values)} if isinstance(values, int | float) else dict(values)),
        source=source,
        seq=seq,
        epoch=epoch,
        clocks=make_clocks(float(seq) if seconds is None else seconds, pts=False, sender=True),
        metadata=metadata or {},
    )

"""What the platform needs from outside. The docstrings are the contract; `sightline.testing.contracts` proves it.

All ports block and may be called from any thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy.typing as npt

from sightline.core.errors import InvalidInput
from sightline.core.events import Event
from sightline.core.model import Model, ModelCard
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunKind, RunState
from sightline.core.sample import Sample

Array: TypeAlias = npt.NDArray[Any]
Tensors: TypeAlias = Mapping[str, Array]


class ArtifactStore(ABC):
    """Bytes by key. Keys look like relative POSIX paths: `models/person/3/model.onnx`.

    No key may be the folder of another key. Every method that takes a key raises InvalidInput for one that is
    not relative, or has an empty part or a part that starts with a dot (`checked_key`).
    Every adapter passes `sightline.testing.contracts.ArtifactStoreContract`.
    """

    @abstractmethod
    def put(self, key: str, data: BinaryIO | bytes) -> int:
        """Write `data` at `key`, whole or not at all, replacing what was there; return the number of bytes.

        A `BinaryIO` is read in pieces from where it stands; it is never held in memory as a whole.

        Raises:
            StorageFull: there is no room.
        """

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Return a readable, seekable binary stream of the bytes at `key`; the caller closes it.

        Raises:
            NotFound: nothing is stored at `key`.
        """

    @abstractmethod
    def size(self, key: str) -> int:
        """Return the number of bytes at `key`.

        Raises:
            NotFound: nothing is stored at `key`.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, in order, the keys that start with `prefix`."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove `key`; an absent key is no error."""


def checked_key(key: str) -> str:
    """Return `key`.

    Raises:
        InvalidInput: it is no store key.
    """
    parts = key.split("/")
    if "\\" in key or "\0" in key or any(not part or part.startswith(".") for part in parts):
        raise InvalidInput(
            f"Not a store key: {key!r}.", cure="Keys are relative paths such as models/person/3/model.onnx"
        )
    return key


class RunStore(ABC):
    """Runs. Every change of state commits together with the `events` that tell of it.

    The clock is the database's. A holder proves itself by the token that `create` or a later claim gave it.
    """

    @abstractmethod
    def create(
        self,
        run: Run,
        *,
        worker: str | None = None,
        lease: timedelta = timedelta(seconds=15),
        events: Sequence[Event] = (),
    ) -> Run:
        """Record `run` as submitted; with `worker` as running and already claimed by it, with token 1.

        Return it with the times that the database gave.

        Raises:
            Conflict: a run of this id exists.
        """

    @abstractmethod
    def get(self, run_id: str) -> Run:
        """Return the run.

        Raises:
            NotFound: there is none of this id.
        """

    @abstractmethod
    def list(
        self,
        *,
        case: str | None = None,
        kind: RunKind | None = None,
        state: RunState | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Sequence[Run]:
        """Return runs, the newest first, those behind the run of id `after`."""

    @abstractmethod
    def report(
        self,
        run_id: str,
        token: int,
        status: JsonObject,
        *,
        lease: timedelta = timedelta(seconds=15),
        events: Sequence[Event] = (),
    ) -> Run:
        """Write what the holder sees and extend its lease; return the run as it is now.

        Raises:
            Conflict: the token is not the newest, or the run is over.
            NotFound: there is none of this id.
        """

    @abstractmethod
    def finish(
        self,
        run_id: str,
        token: int,
        state: RunState,
        *,
        status: JsonObject,
        error: str | None = None,
        events: Sequence[Event] = (),
    ) -> Run:
        """Put the run in a final state.

        Raises:
            Conflict: the token is not the newest, or the run is over.
            NotFound: there is none of this id.
        """

    @abstractmethod
    def expire(self) -> Sequence[Run]:
        """Fail every running run with `restart: never` whose lease has passed; return those."""


class ModelStore(ABC):
    """Model versions and their aliases. Every change commits together with its `events`."""

    @abstractmethod
    def add(self, model: Model, *, events: Sequence[Event] = ()) -> Model:
        """Record a version; return it with the time that the database gave.

        Raises:
            Conflict: this name and version exist.
        """

    @abstractmethod
    def get(self, name: str, version: str | None = None) -> Model:
        """Return the version called `version`, or that an alias of this name points at.

        None means the alias `production` where it is set, else the version that was added last.

        Raises:
            ModelNotFound: there is no such model, version or alias.
        """

    @abstractmethod
    def list(self, name: str | None = None) -> Sequence[Model]:
        """Return all versions by name, the newest first within a name."""

    @abstractmethod
    def point(
        self,
        name: str,
        alias: str,
        version: str,
        *,
        expected: str | None,
        events: Sequence[Event] = (),
    ) -> None:
        """Move `alias` to `version` if it points at `expected` now (None: nowhere), and keep the history.

        Raises:
            Conflict: the alias points elsewhere.
            ModelNotFound: there is no such version.
        """

    @abstractmethod
    def history(self, name: str, alias: str) -> Sequence[tuple[datetime, str]]:
        """Return when the alias was moved to which version, the newest first."""


class EventStore(ABC):
    """The outbox: durable events in the order of their commit."""

    @abstractmethod
    def append(self, events: Sequence[Event]) -> None:
        """Record events that go with no other change, all or none; an id that is known is passed over."""

    @abstractmethod
    def list(
        self,
        *,
        after: int = 0,
        types: Sequence[str] = (),
        source: str = "",
        limit: int = 100,
    ) -> Sequence[tuple[int, Event]]:
        """Return events with their positions, oldest first, those behind position `after`.

        `types` are short types; `source` is a prefix of the event's source.
        """


class PredictionStore(ABC):
    """What was predicted, a row a sample, whether it came from a stream or from a request."""

    @abstractmethod
    def record(self, run_id: str, case: str, samples: Sequence[Sample[Any]]) -> None:
        """Record the samples without their payloads, all or none."""

    @abstractmethod
    def list(
        self,
        *,
        run_id: str | None = None,
        case: str | None = None,
        source: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[tuple[int, JsonObject]]:
        """Return rows with their positions in the wire form of a sample, oldest first."""


class MetadataStore(ABC):
    """What the platform records, by kind. Every adapter passes `MetadataStoreContract`."""

    runs: RunStore
    models: ModelStore
    events: EventStore
    predictions: PredictionStore

    @abstractmethod
    def close(self) -> None:
        """Give up all connections; a second call does nothing."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Stands where a slow subscriber lost events."""

    num_lost: int


class Subscription(ABC):
    """One reader of the bus."""

    @abstractmethod
    def get(self, timeout_s: float | None = None) -> Event | Gap | None:
        """Return the next event, or a Gap before the first event that follows lost ones.

        None when nothing came within the timeout, or the subscription is closed and empty.
        """

    @abstractmethod
    def close(self) -> None:
        """Receive nothing more; a waiting `get` returns. A second call does nothing."""


class EventBus(ABC):
    """What happens now. Every adapter passes `sightline.testing.contracts.EventBusContract`."""

    @abstractmethod
    def publish(self, event: Event) -> None:
        """Give the event to all subscribers that want it, in the order of the calls; never wait for one."""

    @abstractmethod
    def subscribe(self, *, types: Sequence[str] = (), source: str = "", capacity: int = 256) -> Subscription:
        """Return a subscription to the short `types` (none: all) whose source starts with `source`.

        A subscriber that falls behind by more than `capacity` events loses the oldest.
        """

    @abstractmethod
    def close(self) -> None:
        """Close all subscriptions; later events go nowhere."""


class Session(ABC):
    """A model opened on a device."""

    card: ModelCard

    @abstractmethod
    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Return all outputs by name; may be called by several threads at once.

        Raises:
            InvalidInput: an input is missing, unknown, or of a wrong type or shape.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back the memory; a second call does nothing."""


class Runtime(ABC):
    """Opens models. Every adapter passes `sightline.testing.contracts.RuntimeContract`."""

    @abstractmethod
    def open(self, path: Path, *, name: str = "", device: str = "auto") -> Session:
        """Open the model file; `name` is used where its card has none.

        `device` is `auto`, `cpu`, `cuda`, `cuda:1`, ...

        Raises:
            FileMissing: there is no such file.
            InvalidModel: the file is no usable model.
            ConfigError: the device is not there.
        """

    @abstractmethod
    def devices(self) -> Sequence[str]:
        """Return the devices that can be asked for, the one that `auto` takes first."""


class Meter(ABC):
    """Operational numbers. Names and label names must stay the same from call to call.

    Every adapter passes `sightline.testing.contracts.MeterContract`.
    """

    @abstractmethod
    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a number that only rises."""

    @abstractmethod
    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a number that rises and falls."""

    @abstractmethod
    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a measurement to a histogram; durations are in seconds."""


class ModelHandle(ABC):
    """What `context.open_model` returns: a model that loads on use and is shared by all callers."""

    @property
    @abstractmethod
    def card(self) -> ModelCard:
        """The card of the version that runs now."""

    @property
    @abstractmethod
    def version(self) -> str:
        """`name@version` of what runs now."""

    @abstractmethod
    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Return all outputs for `feeds`; the first axis of every tensor counts rows.

        Raises:
            InvalidInput: the feeds do not fit the model.
            Overloaded: the queue is full and the call may not wait.
            DeadlineExceeded: the deadline passed while the work was waiting.
            Cancelled: the caller gave up.
        """

    @abstractmethod
    def submit(self, feeds: Tensors) -> Future[dict[str, Array]]:
        """As `run`, without waiting for the answer."""


class Ports(Protocol):
    """The ports of one process; `sightline.build.CaseBuildContext` is the real one."""

    @property
    def artifacts(self) -> ArtifactStore:
        """Bytes by key."""
        ...

    @property
    def store(self) -> MetadataStore:
        """What the platform records."""
        ...

    @property
    def bus(self) -> EventBus:
        """What happens now."""
        ...

    @property
    def runtime(self) -> Runtime:
        """Opens models."""
        ...

    @property
    def meter(self) -> Meter:
        """Operational numbers."""
        ...

"""What the platform needs from outside. The docstrings are the contract; `sightline.testing.contracts` proves it.

All ports block and may be called from any thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy.typing as npt

from sightline.core.errors import InvalidInput, NotFound
from sightline.core.events import Event
from sightline.core.model import ModelCard
from sightline.core.stores import MetadataStore

Array: TypeAlias = npt.NDArray[Any]
Tensors: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What an artifact store has at one key.

    Attributes:
        modified: when it was put, UTC, by the store's clock; None where the store does not know.
    """

    key: str
    num_bytes: int
    modified: datetime | None


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

    def checksum(self, key: str) -> str | None:
        """Return the SHA-256 of what was put at `key`, hexadecimal, as it was counted on its way in.

        None where the store keeps none, and for what another program has put there.

        Raises:
            NotFound: nothing is stored at `key`.
        """
        self.size(key)
        return None

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, in order, the keys that start with `prefix`."""

    def entries(self, prefix: str = "") -> Iterator[Stored]:
        """Yield, in the order of their keys, what is stored at the keys that start with `prefix`.

        What goes meanwhile may be left out. An adapter that learns sizes with the names overrides this.
        """
        for key in self.list(prefix):
            with suppress(NotFound):
                yield Stored(key=key, num_bytes=self.size(key), modified=None)

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


@dataclass(frozen=True, slots=True)
class Gap:
    """Stands where a subscriber lost events: it was slow, or came back too late.

    Attributes:
        num_lost: how many; None where nobody knows.
    """

    num_lost: int | None


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
        """Give the event to all subscribers that want it, in the order of the calls; never wait for one.

        An event whose id came a moment ago is passed over, so that it does no harm to tell it twice.
        """

    @abstractmethod
    def subscribe(
        self,
        *,
        types: Sequence[str] = (),
        source: str = "",
        capacity: int = 256,
        after: str | None = None,
        wake: Callable[[], None] | None = None,
    ) -> Subscription:
        """Return a subscription to the short `types` (none: all) whose source starts with `source`.

        A subscriber that falls behind by more than `capacity` events loses the oldest. With `after`, the id of the
        last event that he had, it begins with those that came since, as far as the bus still has them; a Gap comes
        first where it does not know that id any more. `wake` is called, by any thread and quickly, whenever `get`
        would return something at once: so an event loop needs no thread to wait.
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

    @property
    def version(self) -> str:
        """Name and version of what runs models: what was measured with one does not hold for another."""
        return ""

    def with_threads(self, num: int) -> Runtime | None:
        """Return a runtime whose sessions use `num` threads inside each call; None where that cannot be chosen."""
        return self if num == 1 else None


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
    """What `context.open_model` returns: a model that loads on use and is shared by all callers.

    A handle stands for a reference. When that comes to mean another version (an alias was moved, a share of the calls
    goes to a candidate), later calls run the new one, and `Call.versions` says which ran. All that is done within one
    `Call` is done by one version. Whoever has read `card` has built on it: where the new version's card differs in
    inputs, outputs, labels, preprocessing or postprocessing, this handle goes on with the version it began with, and
    `is_stale` turns true. Its owner then opens the reference anew, when it suits: a chain between two samples, a pool
    before the next request. Nothing fails meanwhile.
    """

    @property
    @abstractmethod
    def card(self) -> ModelCard:
        """The card of the version that runs now."""

    @property
    @abstractmethod
    def version(self) -> str:
        """`name@version` of what runs now."""

    @property
    def is_open(self) -> bool:
        """True when `submit` returns at once; else the next use opens the model, which takes a while."""
        return True

    @property
    def is_stale(self) -> bool:
        """True when the reference means a version now that is read in another way than the `card` of this handle."""
        return False

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

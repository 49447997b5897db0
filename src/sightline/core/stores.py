"""The port MetadataStore: what the platform records, in four small stores.

Every change of state commits together with the events that tell of it. The docstrings are the contract;
`sightline.testing.contracts.MetadataStoreContract` proves it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sightline.core.events import Event
from sightline.core.model import Model
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunKind, RunState
from sightline.core.sample import Sample


def _no_events(_: Run) -> Sequence[Event]:
    return ()


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
    def expire(self, events: Callable[[Run], Sequence[Event]] = _no_events) -> Sequence[Run]:
        """Fail every running run with `restart: never` whose lease has passed; return those.

        `events` is asked for the events of each failed run, which commit with its change.
        """


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

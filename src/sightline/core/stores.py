"""The port MetadataStore: what the platform records, in small stores; those of jobs are in `jobs`.

Every change of state commits together with the events that tell of it. The docstrings are the contract;
`sightline.testing.contracts.MetadataStoreContract` proves it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from sightline.core.access import ApiKey, RequestRow
from sightline.core.audit import AuditStore
from sightline.core.deliveries import DeliveryStore
from sightline.core.events import Event
from sightline.core.jobs import JobStore, ScheduleStore, no_events
from sightline.core.model import Model
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunKind, RunState
from sightline.core.sample import Sample

Kept: TypeAlias = Literal["requests", "events", "predictions", "runs", "deliveries", "audit"]
"""What `MetadataStore.forget` deletes the old rows of."""


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
        project: str | None = None,
        tags: Sequence[tuple[str, str | None]] = (),
        limit: int = 50,
        after: str | None = None,
    ) -> Sequence[Run]:
        """Return runs, the newest first, those behind the run of id `after`.

        With `tags` only those that have each name in their metadata, with its value; None: with any.
        """

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
        """Put the run in a final state; or give it back, with the state submitted, for somebody else to claim.

        Raises:
            Conflict: the token is not the newest, or the run is over.
            NotFound: there is none of this id.
        """

    @abstractmethod
    def claim(
        self,
        run_id: str,
        worker: str,
        *,
        lease: timedelta = timedelta(seconds=15),
        instead_of: str | None = None,
        events: Sequence[Event] = (),
    ) -> Run:
        """Hold a run that nobody holds, under a new token; return it as it is now.

        It is one that was submitted, or whose lease has passed, where `restart` is not `never`. `instead_of` is a
        worker whom the caller knows to be dead: his lease need not have passed.

        Raises:
            Conflict: somebody holds it, it shall end, or it is over.
            NotFound: there is none of this id.
        """

    @abstractmethod
    def expire(self, events: Callable[[Run], Sequence[Event]] = no_events) -> Sequence[Run]:
        """Fail every running run with `restart: never`, or that shall end, whose lease has passed; return those.

        Jobs are not touched: `JobStore.take` gives them to another worker.
        `events` is asked for the events of each failed run, which commit with its change.
        """

    @abstractmethod
    def amend(
        self,
        run_id: str,
        *,
        revision: int | None = None,
        spec: JsonObject | None = None,
        cancel: bool = False,
        events: Sequence[Event] = (),
    ) -> Run:
        """Write what is wanted of a run, whoever holds it; return the run as it is now.

        `spec` replaces the spec and raises the revision; `revision` is the one that the caller has seen. With
        `cancel` a run that nobody holds is cancelled at once, another one is `cancelling` until its holder ends it.

        Raises:
            Conflict: the revision is not the newest, or the run is over.
            NotFound: there is none of this id.
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
    def taken(self, name: str) -> Sequence[str]:
        """Return every version that a name ever had, those that were removed too; none of them is given again."""

    @abstractmethod
    def remove(self, name: str, version: str, *, events: Sequence[Event] = ()) -> None:
        """Take a version away for good: nothing finds it any more, and `add` refuses another one of its number.

        Raises:
            Conflict: an alias points at it.
            ModelNotFound: there is no such version.
        """

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
    def position(self, event_id: str | None = None) -> int | None:
        """Return the position of the event of this id (None: not kept); without an id the newest one, or 0."""

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
        subject: str | Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[tuple[int, Event]]:
        """Return events with their positions, oldest first, those behind position `after`.

        With `before` the newest first, those before that position (0: from the end). `types` are short types, or
        `line.*` for all that begin with `line.`; `subject` is one, or any of several; `source` is a prefix of the
        event's source; `since` (inclusive) and `until` (exclusive) bound its time.
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


class KeyStore(ABC):
    """API keys: what recognises them, never the keys themselves."""

    @abstractmethod
    def add(self, key: ApiKey) -> ApiKey:
        """Record a key; return it with the time that the database gave.

        Raises:
            Conflict: a key of this id exists.
        """

    @abstractmethod
    def list(self) -> Sequence[ApiKey]:
        """Return all keys, also those that are expired or revoked, the newest first."""

    @abstractmethod
    def revoke(self, key_id: str) -> ApiKey:
        """Refuse the key from now on; one that is revoked already stays as it is.

        Raises:
            NotFound: there is none of this id.
        """


class RequestStore(ABC):
    """The request log: who asked for what, when, and how it went."""

    @abstractmethod
    def record(self, rows: Sequence[RequestRow]) -> None:
        """Record rows, all or none."""

    @abstractmethod
    def list(
        self,
        *,
        route: str | None = None,
        model: str | None = None,
        caller: str | None = None,
        least_status: int | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[tuple[int, RequestRow]]:
        """Return rows with their positions, the newest first, those before position `before`."""


class MetadataStore(ABC):
    """What the platform records, by kind. Every adapter passes `MetadataStoreContract`."""

    runs: RunStore
    models: ModelStore
    events: EventStore
    predictions: PredictionStore
    keys: KeyStore
    requests: RequestStore
    jobs: JobStore
    schedules: ScheduleStore
    audit: AuditStore
    deliveries: DeliveryStore

    @abstractmethod
    def forget(self, what: Kept, before: datetime, *, most: int = 1000) -> int:
        """Delete at most `most` rows that are older than `before`, the oldest first; return how many went.

        Of runs only those that are over; of events none that the newest position was given to; of the audit chain see
        `AuditStore.forget`.
        """

    @abstractmethod
    def close(self) -> None:
        """Give up all connections; a second call does nothing."""

"""Two parts of the port MetadataStore: the queue of jobs, and the schedules that fill it.

A job is a Run of kind JOB; `RunStore` reads, reports and cancels it like every other run. The clock is the
database's, and every change of state commits together with the `events` that tell of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sightline.core.events import Event
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunState

KEY_KEPT = timedelta(hours=24)
"""How long an idempotency key means the run that it was first given with."""


def no_events(_: Run) -> Sequence[Event]:
    """Return no events, whatever happened to a run."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What the jobs of one case may take together, over all workers; None: as much as there is.

    Attributes:
        concurrency: jobs that are worked on at the same time.
        rate_per_minute: jobs that are taken up within any minute.
    """

    concurrency: int | None = None
    rate_per_minute: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Where a job stands.

    Attributes:
        position: 1 for the one that is taken next; 0 when it does not wait.
        expected_wait_s: seconds until it is taken, from how long jobs took lately; None where nothing is known.
    """

    position: int
    expected_wait_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A job that is submitted again and again.

    Attributes:
        name: of the schedule; part of the idempotency key of each job.
        cron: five fields as crontab(5) has them, in UTC.
        spec: of the jobs.
        metadata: tags of the jobs.
        due: when the next job is to be submitted.
        created: by the database's clock.
    """

    name: str
    case: str
    cron: str
    spec: JsonObject = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    due: datetime | None = None
    created: datetime | None = None


class JobStore(ABC):
    """The queue of jobs. A holder proves itself by the token that `take` gave it."""

    @abstractmethod
    def submit(
        self,
        run: Run,
        *,
        key: str | None = None,
        digest: str = "",
        names: Sequence[str] = (),
        within: timedelta | None = None,
        events: Sequence[Event] = (),
    ) -> tuple[Run, bool]:
        """Record a job as submitted, once for each `key`; return it, and whether it is new.

        Args:
            run: what is wanted.
            key: a second submission under it returns the first run, as long as `KEY_KEPT` has not passed.
            digest: of what is wanted, so that a key is not used for two things.
            names: stems of results; the first that no other job holds is held by this one from now on, and put into
                its spec as `output`. Without names the `output` of the spec is held, whoever holds it too.
            within: the deadline, from now on.
            events: tell of the submission; they are not recorded for a run that is not new.

        Raises:
            Conflict: the key was used with another digest, a run of this id exists, or no name is free.
        """

    @abstractmethod
    def keyed(self, project: str, key: str, digest: str) -> Run | None:
        """Return the run that was submitted under `key`; None where there is none, or `KEY_KEPT` has passed.

        Raises:
            Conflict: the key was used with another digest.
        """

    @abstractmethod
    def take(
        self,
        worker: str,
        *,
        cases: Sequence[str] | None = None,
        lease: timedelta = timedelta(seconds=15),
        limits: Mapping[str, Limit] | None = None,
        events: Callable[[Run], Sequence[Event]] = no_events,
    ) -> Run | None:
        """Hold the next job under a new token, with one more attempt; None where there is none.

        First come those whose holder let his lease pass; then those that wait and are due, the highest priority first,
        then the oldest. A case that has reached its limit is passed over. One that shall end, or whose deadline has
        passed, is given too: its new holder ends it. Of several who ask at once, each gets another one.

        Args:
            worker: who asks.
            cases: only jobs of these; None: of all.
            lease: how long the holder need not be doubted.
            limits: case -> what its jobs may take.
            events: is asked for the events of the run as it is now; they commit with the change.
        """

    @abstractmethod
    def checkpoint(
        self,
        run_id: str,
        token: int,
        steps: Mapping[str, JsonObject],
        *,
        status: JsonObject,
        lease: timedelta = timedelta(seconds=15),
        events: Sequence[Event] = (),
    ) -> None:
        """Record that steps are done, with their outcomes, report `status` and extend the lease.

        The same once more, under the same token, changes nothing: a caller may have lost the answer.

        Raises:
            Conflict: the token is not the newest, the run is over, or a step is done already.
            NotFound: there is none of this id.
        """

    @abstractmethod
    def checkpoints(self, run_id: str) -> Mapping[str, JsonObject]:
        """Return the outcomes of the steps that are done, in the order in which they were."""

    @abstractmethod
    def finish(
        self,
        run_id: str,
        token: int,
        state: RunState,
        *,
        status: JsonObject,
        error: str | None = None,
        steps: Mapping[str, JsonObject] | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """Put a job in a final state; `steps` are recorded with it, see `checkpoint`.

        Raises:
            Conflict: the token is not the newest, the run is over, or a step is done already.
            NotFound: there is none of this id.
        """

    @abstractmethod
    def put_back(
        self,
        run_id: str,
        token: int,
        *,
        after: timedelta,
        status: JsonObject,
        error: str | None = None,
        used: bool = True,
        steps: Mapping[str, JsonObject] | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """Let a job wait for its next attempt, which begins `after` from now at the earliest.

        One that shall end is due at once, so that the next worker ends it. With `used=False` the attempt does not
        count: it ended for no fault of the job. `steps` are recorded with it, see `checkpoint`.

        Raises:
            Conflict: the token is not the newest, the run is over, or a step is done already.
            NotFound: there is none of this id.
        """

    @abstractmethod
    def again(self, run_id: str, *, events: Sequence[Event] = ()) -> Run:
        """Submit a job that failed or was cancelled anew, without its deadline; steps that are done stay done.

        Raises:
            Conflict: it goes on, or it completed.
            NotFound: there is none of this id.
        """

    @abstractmethod
    def queue(self, run_id: str) -> Queue:
        """Return where a job stands.

        Raises:
            NotFound: there is none of this id.
        """

    @abstractmethod
    def overdue(self, events: Callable[[Run], Sequence[Event]] = no_events) -> Sequence[Run]:
        """Fail the jobs that wait though their deadline has passed, and return those; `events` tell of each.

        Their status says `error_kind: timeout`.
        """


class ScheduleStore(ABC):
    """Schedules by name."""

    @abstractmethod
    def put(self, schedule: Schedule) -> Schedule:
        """Record a schedule, or put it in the place of the one of its name; return it."""

    @abstractmethod
    def list(self) -> Sequence[Schedule]:
        """Return all schedules by name."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Take a schedule away.

        Raises:
            NotFound: there is none of this name.
        """

    @abstractmethod
    def due(self) -> Sequence[tuple[Schedule, datetime]]:
        """Return the schedules whose time has come, each with the time that it is now."""

    @abstractmethod
    def move(self, name: str, seen: datetime, due: datetime) -> bool:
        """Say when a schedule is due next, where it still is due at `seen`; return whether it was."""

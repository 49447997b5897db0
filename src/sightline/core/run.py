"""One execution of a case: streams, jobs, trainings and evaluations share one life cycle and one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import uuid4

from sightline.core.prediction import JsonObject


class RunKind(StrEnum):
    """What a run does."""

    STREAM = "stream"
    JOB = "job"
    TRAINING = "training"
    EVALUATION = "evaluation"


class RunState(StrEnum):
    """Where a run is in its life; the last three are final."""

    SUBMITTED = "submitted"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when the run will not change any more."""
        return self in (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a case.

    Attributes:
        spec: what is wanted (sources, settings); whoever changes it raises `revision`.
        status: what is seen: counters per source, progress; written by the holder of the lease.
        cancelling: somebody wants it to end; its holder will see to it.
        restart: `always`, `on_failure` or `never`; what happens when its process dies.
        worker: who holds the lease; None when nobody does.
        token: fencing token, raised at each claim; a holder with an older one may write nothing.
        lease_until: until when the holder need not be doubted, by the database's clock.
        error: one line of cause when it failed; of a run that waits for its next attempt, of the last one.
        priority: of a job: those with a higher one are taken first.
        deadline: of a job: not ended by then it fails, by the database's clock.
        due: of a job that waits: not to be taken before.
        attempts: how often a job was taken up.
        key: of a job: the idempotency key under which it was submitted.
    """

    case: str
    kind: RunKind = RunKind.STREAM
    id: str = field(default_factory=lambda: uuid4().hex)
    project: str = "default"
    parent: str | None = None
    state: RunState = RunState.SUBMITTED
    spec: JsonObject = field(default_factory=dict)
    revision: int = 1
    status: JsonObject = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    cancelling: bool = False
    restart: str = "never"
    worker: str | None = None
    token: int = 0
    lease_until: datetime | None = None
    created: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    error: str | None = None
    priority: int = 0
    deadline: datetime | None = None
    due: datetime | None = None
    attempts: int = 0
    key: str | None = None

"""Jobs that are submitted again and again: each time once, whichever process notices it first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import structlog

from sightline.core.codec import encode_time
from sightline.core.errors import InvalidInput, SightlineError, Unavailable
from sightline.core.jobs import Schedule
from sightline.core.prediction import JsonObject
from sightline.engine.cron import Cron
from sightline.engine.runs import Jobs

log = structlog.get_logger()
DEFAULT_PROJECT = "default"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)  # so that an address can name it


def project_of(schedule: Schedule) -> str:
    """Return the project to which the jobs of a schedule belong."""
    return str(schedule.spec.get("project") or DEFAULT_PROJECT)


class Schedules:
    """Adds, lists and removes schedules, and submits what is due.

    A time that passed while no process ran is made up for once, not once for each time that was missed.

    Args:
        jobs: submits.
        now: the time in UTC, from which the first time of a schedule counts.
    """

    def __init__(self, jobs: Jobs, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._jobs = jobs
        self._now = now

    def add(
        self,
        name: str,
        case: str,
        object_: str,
        cron: str,
        *,
        parameters: JsonObject | None = None,
        output: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: int = 0,
        deadline_s: float | None = None,
        project: str = DEFAULT_PROJECT,
    ) -> Schedule:
        """Record a schedule in the place of the one of its name; what a job of it wants is checked now.

        Raises:
            CaseNotFound: there is no such case.
            InvalidInput: the name, the times, a parameter or a key cannot be so.
        """
        times = Cron(cron)
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"A schedule cannot be called {name[:80]!r}.",
                cure="Up to 128 letters, digits, dots, dashes or _.",
            )
        wanted = dict(parameters or {})
        self._jobs.check(case, object_, wanted, output=output, deadline_s=deadline_s)
        spec = {"object": object_, "parameters": wanted, "output": output, "deadline_s": deadline_s, "project": project}
        due = times.after(self._now())
        return self._jobs.ports.store.schedules.put(
            Schedule(name=name, case=case, cron=cron, spec=spec, metadata=dict(tags or {}), priority=priority, due=due)
        )

    def list(self) -> Sequence[Schedule]:
        """Return all schedules by name."""
        return self._jobs.ports.store.schedules.list()

    def remove(self, name: str) -> None:
        """Take one away.

        Raises:
            NotFound: there is none of this name.
        """
        self._jobs.ports.store.schedules.remove(name)

    def tick(self) -> None:
        """Submit what is due. The key of a job is made of the time at which it was due: two who notice it submit one.

        Raises:
            Unavailable: the database is away.
        """
        for schedule, now in self._jobs.ports.store.schedules.due():
            assert schedule.due is not None  # noqa: S101 - it is due
            try:
                self._submit(schedule, schedule.due)
            except Unavailable:
                raise
            except SightlineError as error:  # the case is gone, for instance; the next time may be better
                log.error("a scheduled job was not submitted", schedule=schedule.name, error=str(error))
            self._jobs.ports.store.schedules.move(schedule.name, schedule.due, Cron(schedule.cron).after(now))

    def _submit(self, schedule: Schedule, due: datetime) -> None:
        spec = schedule.spec
        run, is_new = self._jobs.submit(
            schedule.case,
            str(spec["object"]),
            parameters=spec.get("parameters"),
            output=spec.get("output"),
            deadline_s=spec.get("deadline_s"),
            tags={**schedule.metadata, "schedule": schedule.name},
            priority=schedule.priority,
            key=f"schedule/{schedule.name}/{encode_time(due)}",
            looked=False,
            project=project_of(schedule),
        )
        if is_new:
            log.info("scheduled job submitted", schedule=schedule.name, run=run.id, case=run.case)

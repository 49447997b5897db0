"""Workers for jobs, as the settings say; the same for `sightline serve` and for `sightline worker`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sightline.build.context import CaseBuildContext
from sightline.build.folders import find_case, list_cases
from sightline.build.job_cases import JobCases
from sightline.build.manifest import load_case
from sightline.engine.attempt import AttemptRules
from sightline.engine.runs import Jobs
from sightline.engine.schedules import Schedules
from sightline.engine.worker import JobWorkers, WorkerRules


def job_workers(jobs: Jobs, cases: JobCases, context: CaseBuildContext, *, workers: int) -> JobWorkers:
    """Return workers for the jobs of `cases`, not begun; they submit the jobs of schedules too."""
    settings = context.settings.jobs
    attempt = AttemptRules(
        lease=timedelta(seconds=settings.lease_s), attempts=settings.attempts, retry_s=settings.retry_s
    )
    return JobWorkers(
        jobs,
        cases.made,
        WorkerRules(workers=workers, poll_s=settings.poll_s, attempt=attempt),
        cases=cases.names,
        limits=cases.limits,
        tend=Schedules(jobs).tick,
    )


def named_cases(context: CaseBuildContext, wanted: Sequence[str]) -> JobCases:
    """Return the cases of a worker: those that are named, by name or path; all of the case folders without any.

    Raises:
        CaseNotFound: there is none of a name.
    """
    if not wanted:
        return JobCases(context)
    given = {find_case(context.loaded, name).name: name for name in wanted}
    return JobCases(
        context,
        lambda name: load_case(given.get(name, name), context=context),
        lambda: {name: find_case(context.loaded, path) for name, path in given.items()},
    )


def known_cases(context: CaseBuildContext, case: str) -> tuple[JobCases, str]:
    """Return the cases for one who submits a job, and the name of the one that he means by a name or a path.

    Raises:
        CaseNotFound: there is none.
    """
    place = find_case(context.loaded, case)
    listed = {each.name: each for each in list_cases(context.loaded) if not each.hidden_by}
    if place.name in listed and listed[place.name].folder == place.folder:
        return JobCases(context), place.name
    return named_cases(context, [case]), place.name

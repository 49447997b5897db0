"""`sightline runs`: what is done, was done and shall be done again."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.core.errors import InvalidInput, NotFound
from sightline.serve.cli.run import CaseName
from sightline.serve.cli.session import print_json, session_of
from sightline.serve.cli.submit import (
    Deadline,
    ObjectName,
    Output,
    Parameters,
    Priority,
    Tags,
    fields_of,
    made_lines,
    run_facts,
    step_lines,
    stored_object,
    texts_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sightline.build import CaseBuildContext
    from sightline.core.jobs import Schedule
    from sightline.core.run import Run
    from sightline.engine.runs import Jobs

app = typer.Typer(help="List, show, cancel and retry runs, and submit jobs by the clock.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or its first characters.")]
_FEWEST = 4  # characters of an id
_MOST = 1000


@app.command("list")
def list_(
    context: typer.Context,
    *,
    case: Annotated[str | None, typer.Option(metavar="CASE", help="Only of this case.")] = None,
    state: Annotated[str | None, typer.Option(help="submitted, running, completed, failed or cancelled.")] = None,
    kind: Annotated[str | None, typer.Option(help="stream or job.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most runs.")] = 20,
    json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        from sightline.core.run import RunKind, RunState

        wanted = {"kind": _one_of(RunKind, kind, "--kind"), "state": _one_of(RunState, state, "--state")}
        found = build.store.runs.list(case=case, limit=limit, **wanted)  # type: ignore[arg-type]
        if json:
            print_json([run_facts(run) for run in found])
            return
        for run in found:
            typer.echo(_line(run))
        if not found:
            typer.echo("there is no such run" if case or state or kind else "there is no run yet", err=True)


@app.command("show")
def show(context: typer.Context, run: RunId, *, json: AsJson = False) -> None:
    """Show a run: where it stands, its steps, what it made."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        found = _found(build, run)
        queue = build.store.jobs.queue(found.id)
        waits = {"position": queue.position, "expected_wait_s": queue.expected_wait_s}
        if json:
            print_json(run_facts(found) | {"queue": waits})
            return
        typer.echo(_line(found))
        if queue.position:
            wait = "" if queue.expected_wait_s is None else f", in about {queue.expected_wait_s:.0f} s"
            typer.echo(f"  waits         number {queue.position}{wait}")
        facts = {"object": found.spec.get("object"), "attempts": found.attempts or None, "error": found.error}
        facts["cure"] = found.status.get("cure") if found.error else None
        for name, value in facts.items():
            if value is not None:
                typer.echo(f"  {name:<13} {value}")
        for line in step_lines(found):
            typer.echo(line)
        for line in made_lines(found):
            typer.echo(line)


@app.command("cancel")
def cancel(context: typer.Context, run: RunId, *, json: AsJson = False) -> None:
    """End a run: at once where nobody works on it, else as soon as who does has seen it."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        from sightline.core.run import RunKind

        found = _found(build, run)
        is_job = found.kind is RunKind.JOB
        now = _jobs(build).cancel(found.id) if is_job else build.store.runs.amend(found.id, cancel=True)
        print_json(run_facts(now)) if json else typer.echo(_line(now))


@app.command("retry")
def retry(context: typer.Context, run: RunId, *, json: AsJson = False) -> None:
    """Try a job again that failed or was cancelled; the steps that are done stay done."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        now = _jobs(build).retry(_found(build, run).id)
        print_json(run_facts(now)) if json else typer.echo(_line(now))


@app.command("logs")
def logs(context: typer.Context, run: RunId, *, json: AsJson = False) -> None:
    """Print what happened to a job: its events and its steps."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        from sightline.engine.job_log import job_log

        for line in job_log(build.store, _found(build, run).id):
            if json:
                print_json(dict(line))
                continue
            rest = "  ".join(f"{name}={value}" for name, value in line.items() if name not in ("time", "what"))
            typer.echo(f"{line['time']}  {line['what']:<15} {rest}".rstrip())


@app.command("schedule")
def schedule(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it; another one of its name goes.")],
    case: CaseName,
    object_: ObjectName,
    *,
    cron: Annotated[str, typer.Option(metavar="LINE", help='When, in UTC: "30 3 * * mon-fri", @hourly, @daily.')],
    parameter: Parameters = None,
    priority: Priority = 0,
    deadline: Deadline = None,
    tag: Tags = None,
    output: Output = None,
    json: AsJson = False,
) -> None:
    """Submit a job again and again."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        from sightline.build.job_workers import known_cases
        from sightline.engine.runs import Jobs
        from sightline.engine.schedules import Schedules

        cases, known = known_cases(build, case)
        made = Schedules(Jobs(build, cases.case)).add(
            name,
            known,
            stored_object(build.artifacts, object_),
            cron,
            parameters=fields_of(parameter or []),
            output=output,
            tags=texts_of(tag or [], "--tag"),
            priority=priority,
            deadline_s=deadline,
        )
        if json:
            print_json(_schedule_facts(made))
        else:
            typer.echo(f"{made.name}  next {made.due:%Y-%m-%d %H:%M} UTC")


@app.command("schedules")
def schedules(context: typer.Context, *, json: AsJson = False) -> None:
    """List schedules."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        found = [_schedule_facts(each) for each in build.store.schedules.list()]
        if json:
            print_json(found)
            return
        for each in found:
            typer.echo(f"{each['name']:<20} {each['case']:<24} {each['cron']:<20} next {each['due']}")


@app.command("unschedule")
def unschedule(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")],
    *,
    json: AsJson = False,
) -> None:
    """Take a schedule away."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        try:
            build.store.schedules.remove(name)
        except NotFound as error:
            error.cure = "See sightline runs schedules."
            raise
        print_json({"name": name, "removed": True}) if json else typer.echo(f"removed {name}")


def _one_of(words: type[StrEnum], value: str | None, option: str) -> StrEnum | None:
    try:
        return None if value is None else words(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(words)}.", param_hint=option) from None


def _schedule_facts(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as JSON."""
    from sightline.core.codec import encode_time

    due = None if schedule.due is None else encode_time(schedule.due)
    return {**{name: getattr(schedule, name) for name in ("name", "case", "cron", "spec")}, "due": due}


def _jobs(build: CaseBuildContext) -> Jobs:
    from sightline.build.job_cases import JobCases
    from sightline.engine.runs import Jobs

    return Jobs(build, JobCases(build).case)


def _found(build: CaseBuildContext, run_id: str) -> Run:
    """Return the run of an id, or of its first characters.

    Raises:
        NotFound: there is none.
        InvalidInput: several ids begin so.
    """
    try:
        return build.store.runs.get(run_id)
    except NotFound as error:
        error.cure = "See sightline runs list."
        if len(run_id) < _FEWEST:
            raise
        found = [run for run in build.store.runs.list(limit=_MOST) if run.id.startswith(run_id)]
        if not found:
            raise
        if len(found) > 1:
            raise InvalidInput(
                f"{len(found)} runs have ids that begin with {run_id}.", cure="Give more of it."
            ) from None
        return found[0]


def _line(run: Run) -> str:
    status: Mapping[str, Any] = run.status
    when = "" if run.created is None else f"{run.created:%Y-%m-%d %H:%M:%S}"
    share = f"{100 * float(status.get('progress') or 0):3.0f} %" if run.kind == "job" else "     "
    what = run.error or (status.get("stage") if run.state == "running" else "") or ""
    return f"{run.id[:12]}  {run.kind:<6} {run.state:<9} {share}  {when}  {run.case}  {what}".rstrip()

"""`sightline submit`: a durable job on one object; with `--wait` until it is over."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.core.errors import FileMissing, InvalidInput, NotFound, SightlineError
from sightline.serve.cli.run import CaseName
from sightline.serve.cli.session import print_json, session_of
from sightline.serve.errors import INTERRUPTED
from sightline.serve.lines import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from sightline.core.ports import ArtifactStore
    from sightline.core.run import Run

ObjectName = Annotated[
    str,
    typer.Argument(
        metavar="OBJECT", help="Key in the artifact store, or a file or folder here: it is put there first."
    ),
]
Parameters = Annotated[
    list[str] | None, typer.Option("-p", "--parameter", metavar="FIELD=VALUE", help="Field of the case's plug-ins.")
]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Put on its events and samples.")]
Priority = Annotated[int, typer.Option(help="Those with a higher one are worked on first.")]
Deadline = Annotated[float | None, typer.Option(metavar="SECONDS", help="After which it fails.")]
Output = Annotated[str | None, typer.Option(metavar="STEM", help="Key of the results, without their suffixes.")]
_PIECE = 1 << 20
_DRAIN_S = 5.0  # what the step that is under way may take after Ctrl-C; the job goes back to the queue
_HINT_S = 3.0  # a job that waits longer may have nobody who works on it


def submit(
    context: typer.Context,
    case: CaseName,
    object_: ObjectName,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until it is over.")] = False,
    here: Annotated[
        bool, typer.Option("--here", help="Work on it in this process, without any worker; waits too.")
    ] = False,
    parameter: Parameters = None,
    priority: Priority = 0,
    deadline: Deadline = None,
    tag: Tags = None,
    output: Output = None,
    debug_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep what it is made of there, where the case can.")
    ] = None,
    profile_run: Annotated[bool, typer.Option("--profile-run", help="Show time and memory of each step.")] = False,
    media_type: Annotated[str, typer.Option(metavar="TYPE", help="Of the object; default: by its name.")] = "",
    key: Annotated[str | None, typer.Option(help="Idempotency key: a second submission is the same job.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
) -> None:
    """Submit a job: a case works on a stored object, whatever happens to the processes meanwhile."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        from sightline.build.job_workers import job_workers, known_cases
        from sightline.engine.runs import Jobs

        cases, name = known_cases(build, case)
        jobs = Jobs(build, cases.case)
        parameters, tags = fields_of(parameter or []), texts_of(tag or [], "--tag")
        if debug_dir is not None:
            parameters["debug_dir"] = str(debug_dir.absolute())
        jobs.check(name, "any", parameters, output=output, deadline_s=deadline)  # before a large file travels
        run, _ = jobs.submit(
            name,
            stored_object(build.artifacts, object_),
            parameters=parameters,
            media_type=media_type,
            output=output,
            priority=priority,
            deadline_s=deadline,
            tags=tags,
            key=key,
        )
        if not (wait or here):
            print_json(run_facts(run)) if json else typer.echo(run.id)
            return
        workers = job_workers(jobs, cases, build, workers=1) if here else None
        if workers is not None:
            workers.start()
        with _shown(quiet=json) as seen:
            try:
                run = jobs.wait(run.id, seen=seen)
            except KeyboardInterrupt:
                say("goes on:", "yellow", f"{run.id}; sightline runs cancel {run.id} ends it.")
                raise typer.Exit(INTERRUPTED) from None
            finally:
                if workers is not None:
                    workers.close(_DRAIN_S)
        print_json(run_facts(run)) if json else _print_end(run)
        if profile_run and not json:
            for line in step_lines(run):
                typer.echo(line)
        if run.state == "failed":
            raise session.failed(SightlineError(f"The job failed: {run.error}", cure=_cure(run)))
        if run.state == "cancelled":
            raise typer.Exit(INTERRUPTED)


def fields_of(pairs: list[str]) -> dict[str, Any]:
    """Return `FIELD=VALUE` pairs, each value as YAML reads it."""
    import yaml

    found: dict[str, Any] = {}
    for name, text in texts_of(pairs, "-p").items():
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        is_json = value is None or isinstance(value, str | bool | int | float | list | dict)
        found[name] = value if is_json and text else text
    return found


def texts_of(pairs: list[str], option: str) -> dict[str, str]:
    """Return `KEY=VALUE` pairs."""
    found: dict[str, str] = {}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint=option)
        found[name] = value
    return found


def stored_object(artifacts: ArtifactStore, name: str) -> str:
    """Return the key of an object; a file or folder of this machine is put into the store first, under its content.

    Raises:
        NotFound: it is neither.
    """
    from sightline.core.plugins import is_elsewhere

    path = Path(name).expanduser()
    if path.is_file():
        return _put(artifacts, path, f"uploads/{_digest([path])}/{_key_name(path)}")
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith("."))
        if not files:
            raise InvalidInput(f"The folder {path} holds no file.")
        folder = f"uploads/{_digest(files)}/"
        for each in files:
            _put(artifacts, each, folder + "/".join(_key_part(part) for part in each.relative_to(path).parts))
        return folder
    try:
        if not name.endswith("/") and not is_elsewhere(name):
            artifacts.size(name)
    except InvalidInput:  # no key: it was meant as a path
        raise FileMissing(f"There is no file {name}.", cure="Check the path, or name a key of the store.") from None
    except NotFound:
        raise NotFound(
            f"{name} is neither a file here nor an object of the artifact store.", cure="Check the name."
        ) from None
    return name


def run_facts(run: Run) -> dict[str, Any]:
    """Return a run as JSON."""
    from sightline.core.codec import encode_time

    times = {name: getattr(run, name) for name in ("created", "started", "finished", "deadline", "due")}
    return {
        "id": run.id,
        "case": run.case,
        "kind": run.kind.value,
        "state": run.state.value,
        "spec": dict(run.spec),
        "status": dict(run.status),
        "metadata": dict(run.metadata),
        "priority": run.priority,
        "attempts": run.attempts,
        "key": run.key,
        "worker": run.worker,
        "cancelling": run.cancelling,
        "error": run.error,
        **{name: None if time is None else encode_time(time) for name, time in times.items()},
    }


def step_lines(run: Run) -> list[str]:
    """Return the steps of a job with their state, time and most memory, a line each."""
    lines = []
    for step in run.status.get("steps") or ():
        cost = f"{step['seconds']:9.3f} s {step['peak_mb']:9.1f} MB" if "seconds" in step else ""
        lines.append(f"  {step['name']:<20} {step['state']:<8} {cost}".rstrip())
    return lines


def _put(artifacts: ArtifactStore, path: Path, key: str) -> str:
    """Put a file at a key that is made of its content; one that is there already need not travel."""
    try:
        if artifacts.size(key) == path.stat().st_size:
            return key
    except NotFound:
        pass
    with path.open("rb") as file:
        artifacts.put(key, file)
    return key


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()[:32]


def _key_name(path: Path) -> str:
    return _key_part(path.resolve().name)


def _key_part(name: str) -> str:
    return name.lstrip(".").replace("\\", "_") or "file"


@contextmanager
def _shown(*, quiet: bool) -> Iterator[Callable[[Run], None]]:
    """Show a bar on a terminal; elsewhere a line for each stage."""
    import time

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    begin_s, hinted, stages = time.monotonic(), False, [""]
    console = Console(stderr=True, quiet=quiet)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    is_terminal = sys.stderr.isatty() and not quiet
    with Progress(*columns, console=console, transient=True, disable=not is_terminal) as progress:
        bar = progress.add_task("waits", total=1.0)

        def seen(now: Run) -> None:
            nonlocal hinted
            status: Mapping[str, Any] = now.status
            stage = str(status.get("stage") or "") if now.state == "running" else now.state.value
            said = f"{stage} {status.get('message') or ''}".strip()
            progress.update(bar, completed=float(status.get("progress") or 0), description=said[:60])
            if not is_terminal and stage and stage != stages[-1]:
                console.print(f"{now.id[:8]}  {stage}", highlight=False)
                stages.append(stage)
            if now.state == "submitted" and not hinted and time.monotonic() - begin_s > _HINT_S:
                hinted = True
                console.print("It waits for a worker: sightline worker, sightline serve, or --here.", highlight=False)

        yield seen


def _print_end(run: Run) -> None:
    """Print where the results are."""
    typer.echo(f"{run.id}  {run.state.value}")
    for line in made_lines(run):
        typer.echo(line)


def made_lines(run: Run) -> list[str]:
    """Return what a job made, a word and a key a line; how many intermediates it kept, which are many."""
    made, files = run.status.get("made") or {}, run.status.get("files") or {}
    kept = [word for word in made if word.startswith("debug/")]
    sizes = {
        word: f"  ({file['num_bytes']} bytes)" for word, file in files.items() if file.get("num_bytes") is not None
    }
    lines = [f"  {word:<12} {key}{sizes.get(word, '')}" for word, key in made.items() if word not in kept]
    return [*lines, *([f"  {'debug':<12} {len(kept)} files; the page of the study shows them"] if kept else [])]


def _cure(run: Run) -> str:
    if cure := run.status.get("cure"):
        return str(cure)
    if run.status.get("error_kind") == "validation":
        return "Submit another object, or other parameters."
    return f"See sightline runs logs {run.id}; sightline runs retry {run.id} tries again."

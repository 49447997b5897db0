"""`sightline doctor`: does everything that Sightline needs work on this machine?"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from sightline.core.errors import SightlineError
from sightline.serve.cli.session import as_ours, print_json, session_of
from sightline.serve.errors import cure

if TYPE_CHECKING:
    from sightline.build import CaseBuildContext

_LEAST_FREE = 1 << 30  # bytes; below this a camera that captures fills the disk within hours
_MOST_COUNTED = 1000


def doctor(
    context: typer.Context,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try the settings, ports, models, plug-ins and cases one by one, and say what is wrong and what to do."""
    session = session_of(context)
    results: list[dict[str, str]] = []
    with session.errors():
        loaded = session.settings()
        results.append({"what": "settings", "state": "ok", "detail": str(loaded.file or "defaults and environment")})
    with session.errors(), session.build() as build:
        for what, attempt in _attempts(build):
            try:
                results.append({"what": what, "state": "ok", "detail": attempt()})
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one thing, the others are tried too
                ours = as_ours(error)
                results.append({"what": what, "state": "failed", "detail": str(ours), "cure": cure(ours)})
        results += _broken(build)
    failed = sum(result["state"] == "failed" for result in results)
    if json:
        print_json(results)
    else:
        _show(results)
        typer.echo(f"{failed} failed" if failed else "all is well")
    if failed:
        raise typer.Exit(1)


def _show(results: list[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    width = max(len(result["what"]) for result in results)
    for result in results:
        is_ok = result["state"] == "ok"
        mark = Text(f"{result['state']:<6}", style="green" if is_ok else "bold red")
        detail = " ".join(result["detail"].split())
        console.print(Text.assemble(mark, f"  {result['what']:<{width}}  {detail}"))
        if not is_ok and result.get("cure"):
            console.print(Text.assemble(" " * (width + 10), ("cure: ", "green"), result["cure"]))


def _attempts(build: CaseBuildContext) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "python", lambda: f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "disk", lambda: _disk(build)
    yield "artifacts", lambda: _artifacts(build)
    yield "database", lambda: _database(build)
    yield "event bus", lambda: type(build.bus).__name__
    yield "meter", lambda: type(build.meter).__name__
    yield "devices", lambda: ", ".join(build.runtime.devices())
    for model in _shipped(build):
        yield f"model {model}", lambda model=model: _model(build, model)  # type: ignore[misc]


def _disk(build: CaseBuildContext) -> str:
    root = build.settings.data_root
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if free < _LEAST_FREE:
        raise SightlineError(f"Only {free >> 20} MiB are free below {root}.", cure="Make room, or set data_root.")
    return f"{free >> 30} GiB free below {root}"


def _artifacts(build: CaseBuildContext) -> str:
    key, data = f"doctor/{uuid4().hex}", b"sightline"
    build.artifacts.put(key, data)
    try:
        with build.artifacts.open(key) as file:
            if file.read() != data:
                raise SightlineError("What was written did not come back.", cure="Check the store.")
    finally:
        build.artifacts.delete(key)
    return f"write, read and delete work ({type(build.artifacts).__name__})"


def _database(build: CaseBuildContext) -> str:
    num = len(build.store.runs.list(limit=_MOST_COUNTED))
    shown = f"{num}{'+' if num == _MOST_COUNTED else ''} run{'s' * (num != 1)} recorded"
    return f"{shown} ({type(build.store).__name__})"


def _shipped(build: CaseBuildContext) -> list[str]:
    try:
        return [model.name for model in build.registry.list()]
    except Exception:  # noqa: BLE001 - what is wrong with the database has been told above
        return []


def _model(build: CaseBuildContext, name: str) -> str:
    from sightline.core.errors import InvalidModel
    from sightline.core.onnx_metadata import digest

    located = build.registry.locate(name)
    with located.path.open("rb") as file:
        found = digest(file)
    if located.card.digest and found != located.card.digest:
        raise InvalidModel(f"{located.path} was changed: its digest is {found[:19]}...", cure="Install it again.")
    build.runtime.open(located.path, name=name, device=build.settings.device).close()
    return f"{located.ref}, {located.card.task}, opens on {build.settings.device}"


def _broken(build: CaseBuildContext) -> list[dict[str, str]]:
    from sightline.build.checking import check_all

    problems = check_all(build)
    num = len(build.catalog.listed())
    if not problems:
        return [{"what": "plug-ins and cases", "state": "ok", "detail": f"all can be loaded ({num} plug-ins)"}]
    return [
        {"what": problem["what"], "state": "failed", "detail": problem["message"], "cure": problem["cure"]}
        for problem in problems
    ]

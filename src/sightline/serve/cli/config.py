"""`sightline config`: which settings hold, and where each came from."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.serve.cli.session import print_json, session_of

app = typer.Typer(help="Show and check the settings.", no_args_is_help=True)


@app.command("show")
def show(
    context: typer.Context,
    *,
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the defaults.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print each setting with its value and its origin; secrets are hidden."""
    session = session_of(context)
    with session.errors():
        rows = [row for row in session.settings().rows() if not changed or row.origin != "default"]
        if json:
            print_json([row._asdict() for row in rows])
            return
        width = max((len(row.path) for row in rows), default=0)
        for path, value, origin in rows:
            shown = "" if value is None else str(value)
            typer.echo(f"{path:<{width}}  {shown:<40} {origin}".rstrip())


@app.command("check")
def check(context: typer.Context) -> None:
    """Check the settings, and import every case and plug-in."""
    session = session_of(context)
    with session.errors():
        from sightline.build.checking import check_all

        with session.build() as build:
            loaded = build.loaded
            problems = check_all(build)
        for problem in problems:
            typer.echo(f"broken: {problem['what']}: {problem['message']}", err=True)
            if problem["cure"]:
                typer.echo(f"  cure: {problem['cure']}", err=True)
        where = loaded.file or "no settings file"
        given = sum(row.origin != "default" for row in loaded.rows())
        typer.echo(f"{where}: {given} settings differ from the defaults; {len(problems)} problems")
        if problems:
            raise typer.Exit(4)

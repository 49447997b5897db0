"""`sightline config`: which settings hold, and where each came from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sightline.core.errors import SightlineError
from sightline.serve.cli.session import print_json, session_of, show_problems
from sightline.serve.errors import cure

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
app = typer.Typer(help="Show and check the settings.", no_args_is_help=True)


@app.command("show")
def show(
    context: typer.Context,
    *,
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the defaults.")] = False,
    json: AsJson = False,
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
            typer.echo(f"{path:<{width}}  {_shown(value):<40}  {origin}".rstrip())


@app.command("check")
def check(context: typer.Context, *, json: AsJson = False) -> None:
    """Check the settings and the public keys they name, and import every case and plug-in."""
    session = session_of(context)
    with session.errors():
        from sightline.build.checking import check_all

        with session.build() as build:
            loaded = build.loaded
            problems = [*_keys(build.settings.auth.jwks), *check_all(build)]
        given = sum(row.origin != "default" for row in loaded.rows())
        if json:
            print_json({"file": loaded.file, "num_changed": given, "problems": problems})
        else:
            show_problems(problems)
            where = loaded.file or "no settings file"
            differ = "1 setting differs" if given == 1 else f"{given} settings differ"
            typer.echo(f"{where}: {differ} from the defaults; problems: {len(problems) or 'none'}")
        if problems:
            raise typer.Exit(4)


def _keys(place: str | None) -> list[dict[str, str]]:
    """Return what is wrong with the public keys that sign tokens."""
    from sightline.serve.auth import jwks  # with cryptography, which takes a while to load

    try:
        if place is not None:
            jwks.check(place)
    except SightlineError as error:
        return [{"what": "setting auth.jwks", "code": error.code, "message": str(error), "cure": cure(error)}]
    return []


def _shown(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return "-" if value in (None, "") else str(value)

"""`sightline keys`: who may ask a server."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.core.access import Scope
from sightline.serve.cli.session import print_json, session_of
from sightline.serve.lines import say

if TYPE_CHECKING:
    from sightline.core.access import ApiKey

app = typer.Typer(help="Make, list and revoke the API keys of a server.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MAX_DAYS = 36_500


def _when(text: str) -> datetime:
    """Return the time that `30d`, `12h` or `2027-01-31` means; a day ends at midnight UTC."""
    if match := re.fullmatch(r"(\d{1,7})([mhdw])", text.strip().lower()):
        span = timedelta(**{_UNITS[match[2]]: int(match[1])})
        if timedelta(0) < span <= timedelta(days=_MAX_DAYS):
            return datetime.now(UTC) + span
    else:
        try:
            time = datetime.fromisoformat(text.strip())
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise typer.BadParameter(f"{text!r} is no time: write 30d, 12h, or a day such as 2027-01-31.")


def _scope(word: str) -> Scope:
    try:
        return Scope(word.strip().lower())
    except ValueError:
        raise typer.BadParameter(f"{word!r} is no scope: write {', '.join(Scope)}.") from None


@app.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it: who has it, what for.")],
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="|".join(Scope), help="What it may do, may be repeated; default: read and infer."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="30d|DATE", help="When it ends: 12h, 30d, 4w or a day; default: never.")
    ] = None,
    project: Annotated[str, typer.Option(help="Project of what its holder sees and makes.")] = "default",
    json: AsJson = False,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    until = None if expires is None else _when(expires)
    scopes = [_scope(word) for word in scope or [Scope.READ, Scope.INFER]]
    session = session_of(context)
    with session.errors():
        from sightline.serve.auth.audit import audit_command
        from sightline.serve.auth.keys import new_key

        key, made = new_key(name, scopes, project=project, expires=until)
        with session.build() as build:
            kept = build.store.keys.add(made)
            audit_command(build.store.audit, "keys create", kept.id)
        if json:
            print_json(_facts(kept) | {"key": key})
            return
        typer.echo(key)  # alone on stdout: KEY=$(sightline keys create door)
        end = "" if kept.expires is None else f" until {_shown(kept.expires)}"
        say("made:", "green", f"key {kept.id} ({kept.name}) may {', '.join(_facts(kept)['scopes'])}{end}.")
        say("  keep it:", "yellow", "only its SHA-256 is stored, so it cannot be shown again.")


@app.command("list")
def list_(context: typer.Context, *, json: AsJson = False) -> None:
    """List the keys, also those that are over, without what is secret of them."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        facts = [_facts(key) for key in build.store.keys.list()]
        if json:
            print_json(facts)
            return
        columns = ("id", "state", "name", "scopes", "project", "created", "expires")
        rows = [[_cell(fact[column]) for column in columns] for fact in facts]
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for row in [list(columns), *rows]:
            typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command("revoke")
def revoke(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `keys list` shows it.")],
    *,
    json: AsJson = False,
) -> None:
    """Refuse a key from now on; servers that run know it within two seconds."""
    session = session_of(context)
    with session.errors():
        from sightline.core.errors import NotFound
        from sightline.serve.auth.audit import audit_command
        from sightline.serve.auth.keys import id_of

        with session.build() as build:
            try:
                kept = build.store.keys.revoke(id_of(key))
            except NotFound:
                cure = "sightline keys list shows the ids."
                raise NotFound(f"There is no key of id {id_of(key)[:32]!r}.", cure=cure) from None
            audit_command(build.store.audit, "keys revoke", kept.id)
        if json:
            print_json(_facts(kept))
            return
        typer.echo(f"revoked {kept.id} ({kept.name})")


def _facts(key: ApiKey) -> dict[str, Any]:
    """Return what may be shown of a key, its scopes in the order of their weight."""
    over = key.expires is not None and key.expires <= datetime.now(UTC)
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [str(scope) for scope in Scope if scope in key.scopes],
        "project": key.project,
        "created": _shown(key.created),
        "expires": _shown(key.expires),
        "revoked": _shown(key.revoked),
        "state": "revoked" if key.revoked is not None else "expired" if over else "valid",
    }


def _shown(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cell(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else "-" if value is None else str(value)

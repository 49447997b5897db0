"""`sightline audit`: who managed what, and whether that is still as it was written."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.serve.cli.session import print_json, session_of
from sightline.serve.lines import say

if TYPE_CHECKING:
    from sightline.core.audit import AuditLine

app = typer.Typer(help="Show who managed what, and prove that nobody changed that.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_NOTED = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


@app.command("list")
def list_(
    context: typer.Context,
    *,
    caller: Annotated[str | None, typer.Option(metavar="ID", help="Only lines of this caller.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most lines.")] = 50,
    json: AsJson = False,
) -> None:
    """List the lines of the audit chain, the newest first."""
    session = session_of(context)
    with session.errors(), session.build() as build:
        facts = [_facts(line) for line in build.store.audit.list(caller=caller, limit=limit)]
        if json:
            print_json(facts)
            return
        columns = ("number", "time", "caller", "method", "path", "status", "hash")
        rows = [[_cell(fact, column) for column in columns] for fact in facts]
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for row in [list(columns), *rows]:
            typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command("verify")
def verify(
    context: typer.Context,
    *,
    noted: Annotated[
        str | None,
        typer.Option(metavar="NUMBER:HASH", help="A line that you noted earlier; it must be there as it was."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Walk along the chain; exit code 1 and the first line that was removed, changed or put in, if there is one."""
    match = None if noted is None else _NOTED.fullmatch(noted.strip())
    if noted is not None and match is None:
        raise typer.BadParameter(f"{noted!r} is no line: write 12:HASH, as `audit verify` shows it.")
    session = session_of(context)
    with session.errors():
        from sightline.core.audit import Verdict, verify

        with session.build() as build:
            verdict = verify(build.store.audit)
            if match and verdict.broken is None:
                number = int(match[1])
                there = build.store.audit.list(before=number + 1, limit=1)
                found = [(line.number, line.hash) for line in there]
                if (number, match[2]) not in [*found, build.store.audit.begin()]:
                    why = (
                        "it is not the line that was noted" if number >= verdict.first else "it was removed for its age"
                    )
                    verdict = Verdict(0, verdict.hash, number, why, verdict.first)
        if json:
            print_json({"whole": verdict.broken is None, **asdict(verdict)})
        elif verdict.broken is None:
            num_there = verdict.num_lines - verdict.first + 1
            say("whole:", "green", f"{num_there} lines, each bound to the one before it.")
            if verdict.first > 1:
                say("  removed:", "yellow", f"the lines before {verdict.first}, for their age; a line tells so.")
            typer.echo(f"{verdict.num_lines}:{verdict.hash}")  # alone on stdout, to be noted
        else:
            say("broken:", "red", f"line {verdict.broken}: {verdict.reason}.")
            say("  compare:", "yellow", "the server's log has the same lines, and hashes of the chain.")
        if verdict.broken is not None:
            raise typer.Exit(1)


def _facts(line: AuditLine) -> dict[str, Any]:
    from sightline.core.codec import encode_time

    entry = {**asdict(line.entry), "time": encode_time(line.entry.time)}
    return {"number": line.number, **entry, "previous": line.previous, "hash": line.hash}


def _cell(fact: dict[str, Any], column: str) -> str:
    text = str(fact["path"] or fact["route"] if column == "path" else fact[column])
    return text[:19] + "Z" if column == "time" else text[:12] if column == "hash" else text or "-"

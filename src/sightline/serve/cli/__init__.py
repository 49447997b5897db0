"""The command line. Each command is a few lines that call the same verbs as every other door.

Nothing heavy is imported before a command runs, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.serve.cli import (
    audit,
    capture,
    cases,
    config,
    demo,
    doctor,
    export,
    keys,
    models,
    run,
    runs,
    serve,
    submit,
    worker,
)
from sightline.serve.cli.session import Session

LEVELS = ("debug", "info", "warning", "error")


app = typer.Typer(
    name="sightline",
    help="Describe once what to do with pictures, streams and readings; run it anywhere.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("list")(cases.list_)
app.command("run")(run.run)
app.command("serve")(serve.serve)
app.command("submit")(submit.submit)
app.command("worker")(worker.worker)
app.command("probe")(cases.probe)
app.command("capture")(capture.capture)
app.command("export")(export.export)
app.command("doctor")(doctor.doctor)
app.add_typer(runs.app, name="runs")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(config.app, name="config")


def _print_version(wanted: bool) -> None:
    if wanted:
        from sightline import __version__

        typer.echo(f"sightline {__version__}")
        raise typer.Exit


def _check_level(level: str | None) -> str | None:
    if level is not None and level.lower() not in LEVELS:
        raise typer.BadParameter(f"{level!r} is none of {', '.join(LEVELS)}.")
    return level


@app.callback()
def options(
    context: typer.Context,
    *,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings file; default: sightline.yaml here.")
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", callback=_check_level, help="debug, info, warning or error; default: log.level."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and all log lines.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Describe once what to do with pictures, streams and readings; run it anywhere."""
    context.obj = Session(config_file=config_file, log_level="debug" if debug else log_level, debug=debug)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; `--debug` may stand anywhere."""
    given: list[str] = list(sys.argv[1:] if arguments is None else arguments)
    own, rest = (given[: given.index("--")], given[given.index("--") :]) if "--" in given else (given, [])
    if "--debug" in own:
        own = ["--debug", *(argument for argument in own if argument != "--debug")]
    # As `python -m sightline` does: modules beside the cases (blueprints, adapters, plug-ins by import path) are found;
    # at the end, so that a file called like a library takes nobody's place.
    with suppress(FileNotFoundError):  # somebody removed the working folder; the command will say so
        if (folder := str(Path.cwd())) not in sys.path:
            sys.path.append(folder)
    command: Any = typer.main.get_command(app)
    command(args=own + rest, prog_name="sightline")

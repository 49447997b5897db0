"""What every command needs: the settings, the log, and errors as one line of cause and one line of cure."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sightline.core.errors import SightlineError
from sightline.serve.errors import INTERRUPTED, exit_code

if TYPE_CHECKING:
    from sightline.build import CaseBuildContext
    from sightline.settings import LoadedSettings


@dataclass(frozen=True, kw_only=True)
class Session:
    """The options that stand before the command.

    Attributes:
        config_file: settings file to read instead of `sightline.yaml`.
        log_level: log this and what is more important; None takes the setting.
        debug: show tracebacks.
    """

    config_file: Path | None = None
    log_level: str | None = None
    debug: bool = False

    def settings(self, overrides: Mapping[str, Any] | None = None) -> LoadedSettings:
        """Read the settings and set up the log."""
        from sightline.settings import load_settings

        given = dict(overrides or {})
        if self.log_level is not None:
            given["log.level"] = self.log_level
        loaded = load_settings(file=self.config_file, overrides=given)
        set_up_log(loaded.settings.log.level, as_json=loaded.settings.log.as_json)
        return loaded

    @contextmanager
    def build(self, overrides: Mapping[str, Any] | None = None) -> Iterator[CaseBuildContext]:
        """Give settings and ports, and close them at the end."""
        from sightline.build import CaseBuildContext

        with CaseBuildContext(self.settings(overrides)) as context:
            yield context

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors into two lines on stderr and the right exit code."""
        try:
            yield
        except SightlineError as error:
            if self.debug:
                raise
            show_error(error)
            raise typer.Exit(exit_code(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output has gone, as `head` does; that is no error, and nobody would read one.
            sys.stderr.close()
            raise typer.Exit(0) from None


def session_of(context: typer.Context) -> Session:
    """Return the session of a command."""
    return context.obj if isinstance(context.obj, Session) else Session()


def show_error(error: SightlineError) -> None:
    """Print one line of cause and one line of cure on stderr, and the further problems of a manifest."""
    problems: list[SightlineError] = getattr(error, "problems", [error])
    for problem in problems:
        typer.echo(f"{typer.style('error:', fg='red', bold=True)} {problem}", err=True)
        if problem.cure:
            typer.echo(f"  {typer.style('cure:', fg='green')} {problem.cure}", err=True)


def print_json(value: Any) -> None:
    """Print JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def set_up_log(level: str, *, as_json: bool | None) -> None:
    """Log to stderr: lines for people on a terminal, JSON lines elsewhere."""
    import logging

    import structlog

    lines = not sys.stderr.isatty() if as_json is None else as_json
    renderer: Any = structlog.processors.JSONRenderer() if lines else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if lines else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # Asked for at each line: a progress display puts its own stream in the place of stderr.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )

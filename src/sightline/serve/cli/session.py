"""What every command needs: the settings, the log, and errors as one line of cause and one line of cure."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sightline.core.errors import SightlineError, StorageFull, Unavailable
from sightline.serve.errors import INTERRUPTED, cure, exit_code
from sightline.serve.lines import say

if TYPE_CHECKING:
    from sightline.build import CaseBuildContext
    from sightline.settings import LoadedSettings

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        from sightline.serve.logs import set_up_log
        from sightline.settings import load_settings

        given = dict(overrides or {})
        if self.log_level is not None:
            given["log.level"] = self.log_level
        loaded = load_settings(file=self.config_file, overrides=given)
        settings = loaded.settings
        set_up_log(settings.log.level, as_json=settings.log.as_json, service=settings.meter.service)
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
            sys.stdout.flush()  # here, where its failure can still be told
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except SightlineError as error:
            raise self.failed(error) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output has gone, as `head` does; that is no error.
            abandon_stdout()
            raise typer.Exit(0) from None
        except Exception as error:  # noqa: BLE001 - a mistake of ours is two lines as well; --debug shows the rest
            if isinstance(error, OSError) and error.filename is None:
                abandon_stdout()  # if it was stdout that took no more, the end of the process must not try again
            raise self.failed(as_ours(error)) from None

    def failed(self, error: SightlineError) -> typer.Exit:
        """Show why a command failed, with --debug also how it came to that; return what ends it."""
        if self.debug:
            import traceback

            traceback.print_exception(error)
        show_error(error)
        return typer.Exit(exit_code(error))


def session_of(context: typer.Context) -> Session:
    """Return the session of a command."""
    return context.obj if isinstance(context.obj, Session) else Session()


def show_error(error: SightlineError) -> None:
    """Print one line of cause and one line of cure on stderr, and the further problems of a manifest."""
    for problem in getattr(error, "problems", [error]):
        say("error:", "bold red", str(problem))
        say("  cure:", "green", cure(problem))


def show_problems(problems: list[dict[str, str]]) -> None:
    """Print what `check_all` found on stderr."""
    sys.stdout.flush()
    for problem in problems:
        say("broken:", "bold red", f"{problem['what']}: {problem['message']}")
        if problem["cure"]:
            say("  cure:", "green", problem["cure"])


def abandon_stdout() -> None:
    """Let nothing else be written to a reader that has gone, not even at the end of the process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def as_ours(error: Exception) -> SightlineError:
    """Return an error of ours as it is, and for one that nobody foresaw what a person is told of it."""
    if isinstance(error, SightlineError):
        return error
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
        ours: SightlineError = StorageFull(what) if error.errno in _FULL else Unavailable(what)
        ours.cure = "" if error.errno in _FULL else "Check the path and its permissions."
    else:
        from sightline.engine.pipeline import described

        ours = SightlineError(
            f"Sightline itself failed: {described(error)}",
            cure="Run again with --debug and report the traceback; that is a mistake of ours.",
        )
    ours.__cause__ = error
    return ours


def print_json(value: Any) -> None:
    """Print JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))

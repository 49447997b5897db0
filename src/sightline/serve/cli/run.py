"""`sightline run`: a case over its sources, with progress, until it ends or Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.core.errors import ConfigError, SightlineError, Unavailable
from sightline.serve.cli.session import Session, abandon_stdout, session_of
from sightline.serve.errors import INTERRUPTED

if TYPE_CHECKING:
    from sightline.build import CaseBuildContext
    from sightline.core.sample import Sample
    from sightline.engine.streams import Outcome, StreamRun


def _case_names(incomplete: str) -> list[str]:
    """Complete the name of a case."""
    from sightline.build.folders import list_cases
    from sightline.settings import load_settings

    try:
        places = list_cases(load_settings())
    except SightlineError:  # this is no time to tell of wrong settings
        return []
    return [place.name for place in places if place.name.startswith(incomplete) and not place.hidden_by]


CaseName = Annotated[str, typer.Argument(metavar="CASE", autocompletion=_case_names, help="Name or folder of a case.")]
SourceUrl = Annotated[
    str | None,
    typer.Option("--source", metavar="URL", help="Read this file, camera or webcam index instead; or ID=URL."),
]
Duration = Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="End after this long.")]
Serials = Annotated[
    list[str] | None,
    typer.Option("--device-serial", metavar="CASE=SERIAL", help="Serial of the device, put on every sample."),
]
Metadata = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="CASE:KEY=VALUE", help="Put on every sample.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace a value of the manifest or of the settings."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON line per sample.")]


def run(
    context: typer.Context,
    case: CaseName,
    *,
    source: SourceUrl = None,
    duration: Duration = None,
    device_serial: Serials = None,
    metadata: Metadata = None,
    set_: Changes = None,
    json: AsJson = False,
) -> None:
    """Run a case over its sources until they end, the time is over, or Ctrl-C."""
    session = session_of(context)
    with session.errors():
        manifest, settings = _changes(set_ or [])
        with session.build(settings) as build:
            from sightline.build import load_case

            loaded = load_case(case, context=build, source=source, changes=manifest)
            about = _metadata(loaded.name, device_serial or [], metadata or [])
            outcome = _executed(build, loaded, duration_s=duration, metadata=about, as_json=json)
            _finish(session, outcome)


def run_shipped(session: Session, name: str, *, duration_s: float | None, as_json: bool) -> None:
    """Run a case that ships with Sightline, say what it does, and what to do next."""
    with session.errors(), session.build() as build:
        from sightline.build import load_case

        case = load_case(name, context=build)
        if not as_json:
            typer.echo(f"{case.title}\n")
        outcome = _executed(build, case, duration_s=duration_s, metadata={}, as_json=as_json)
        if not as_json and outcome.error is None:
            _show_next_steps()
        _finish(session, outcome)


def _executed(
    build: CaseBuildContext, case: Any, *, duration_s: float | None, metadata: Mapping[str, str], as_json: bool
) -> Outcome:
    """Run with the display that fits: NDJSON, live progress on a terminal, or a summary."""
    from sightline.build import stream_run
    from sightline.serve.cli.screen import Screen, show_summary

    lines = _JsonLines(case.name)
    screen = Screen(case.name)
    watch: Callable[[Sample[Any]], None] = lines.show if as_json else screen.show
    stream = stream_run(case, build, duration_s=duration_s, metadata=metadata, watch=watch)
    lines.on_broken_pipe = stream.stop
    with end_by_signals(stream):
        if as_json or not sys.stdout.isatty():
            outcome = stream.execute()
        else:
            with screen.live(stream):
                outcome = stream.execute()
    if not as_json:
        show_summary(outcome, screen)
    if lines.gone and outcome.error is None:
        raise typer.Exit(0)  # whoever reads our output has seen enough
    return outcome


def _finish(session: Session, outcome: Outcome) -> None:
    """Show why a run failed, and exit with its code."""
    if outcome.error is not None:
        raise session.failed(outcome.error)
    if outcome.run.state == "cancelled":
        raise typer.Exit(INTERRUPTED)


def _show_next_steps() -> None:
    typer.echo("Next:")
    typer.echo("  sightline run street_people --source 0          your webcam, or a file, or rtsp://...")
    typer.echo("  sightline run street_people --json | head -1    the same as JSON lines")
    typer.echo("  sightline list                                  the other cases, and what there is to build with")


class _JsonLines:
    """Prints samples as NDJSON.

    Attributes:
        gone: nobody reads them any more.
    """

    def __init__(self, case: str) -> None:
        self.on_broken_pipe: Callable[[], None] = lambda: None
        self.gone = False
        self._case = case

    def show(self, sample: Sample[Any]) -> None:
        """Print a sample; when the reader has seen enough, as `head` does, end the run."""
        from sightline.core.codec import encode_sample, to_json

        if self.gone:
            return
        try:
            sys.stdout.buffer.write(to_json(encode_sample(sample, self._case)) + b"\n")
            sys.stdout.buffer.flush()
        except OSError as error:
            self.gone = True
            abandon_stdout()
            if not isinstance(error, BrokenPipeError):
                raise Unavailable(
                    f"stdout takes no more lines: {error.strerror}.", cure="Make room where it goes to."
                ) from None
            self.on_broken_pipe()


@contextmanager
def end_by_signals(stream: StreamRun) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the run cleanly; the second one gives up what is not finished.

    The third one ends the process where it stands, should foreign code hold it.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    pressed = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1:
            typer.echo("stopping; Ctrl-C again to end at once", err=True)
        else:
            for number in numbers:
                signal.signal(number, signal.SIG_DFL)
        stream.stop()

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _metadata(case: str, serials: list[str], pairs: list[str]) -> dict[str, str]:
    """Return the metadata for `case` from `CASE=SERIAL` and `CASE:KEY=VALUE`; the case may be left out."""
    found: dict[str, str] = {}
    for text in serials:
        owner, equals, serial = text.partition("=")
        _check_owner(case, owner if equals else case, text, "--device-serial")
        found["device_serial"] = serial if equals else text
    for text in pairs:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{text!r} is not CASE:KEY=VALUE.", param_hint="--metadata")
        owner, colon, name = key.partition(":")
        _check_owner(case, owner if colon else case, text, "--metadata")
        if colon and not name:
            raise typer.BadParameter(f"{text!r} is not CASE:KEY=VALUE.", param_hint="--metadata")
        found[name if colon else key] = value
    return found


def _check_owner(case: str, owner: str, text: str, option: str) -> None:
    if owner not in (case, ""):
        raise typer.BadParameter(f"{text!r} is for case {owner!r}, but {case!r} is run.", param_hint=option)


def _changes(pairs: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split `PATH=VALUE` into changes of the manifest and of the settings, by the first word of the path."""
    import yaml

    from sightline.build.manifest import KEYS
    from sightline.settings.aliases import by_path

    manifest: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for text in pairs:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise typer.BadParameter(f"{text!r} is not PATH=VALUE.", param_hint="--set")
        first = path.partition(".")[0]
        if first not in KEYS and by_path(path) is None and (near := get_close_matches(first, KEYS, n=1)):
            rest = path[len(first) :]
            raise ConfigError(f"--set {path}: a manifest has no key {first!r}.", cure=f"Did you mean {near[0]}{rest}?")
        try:
            parsed = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            parsed = value
        is_json = parsed is None or isinstance(parsed, str | bool | int | float | list | dict)
        (manifest if first in KEYS else settings)[path] = parsed if is_json else value
    return manifest, settings

"""`sightline capture`: a data set from a camera or a file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.serve.cli.run import Duration, end_by_signals
from sightline.serve.cli.session import session_of
from sightline.serve.errors import INTERRUPTED

if TYPE_CHECKING:
    from threading import Event as Flag

    from sightline.core.events import Event
    from sightline.core.ports import Subscription
    from sightline.core.sample import Sample

_SIMILAR_BITS = 3  # of 64; measured on the shipped clip: noise and light change no more, people who walk do
_SHOW_S = 1.0


def capture(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Camera, file, folder or webcam index.")],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to keep them in; what is there stays.")],
    fps: Annotated[float, typer.Option(min=0.001, help="Most pictures a second.")] = 1.0,
    max_: Annotated[int | None, typer.Option("--max", min=1, metavar="N", help="End after so many pictures.")] = None,
    duration: Duration = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Scale pictures to this size.")] = None,
    case: Annotated[
        str | None, typer.Option(metavar="CASE", help="Predictors of this case look at them; see sightline export.")
    ] = None,
    dedup: Annotated[bool, typer.Option("--dedup", help="Leave out pictures that look like one before.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per picture that is kept.")] = False,
) -> None:
    """Keep pictures of a camera or file in a folder, until it ends, there are enough, or Ctrl-C."""
    wanted_size = _size(size)
    session = session_of(context)
    with session.errors(), session.build() as build:
        from threading import Event as Flag

        from sightline.build.capturing import capture_case, capture_run

        bits = _SIMILAR_BITS if dedup else None
        made = capture_case(build, source, out, fps=fps, size=wanted_size, case=case, most=max_, similar_bits=bits)
        enough = Flag()
        kept = build.bus.subscribe(types=["capture.stored"], source=f"/cases/{made.name}/", capacity=4096)
        watcher = _Watcher(kept, out, enough, most=max_, as_json=json)
        stream = capture_run(made, build, duration_s=duration, enough=enough, watch=watcher.show)
        watcher.run = stream.run.id
        with end_by_signals(stream):
            outcome = stream.execute()
        watcher.finish()
        if outcome.error is not None:
            raise session.failed(outcome.error)
        if outcome.run.state == "cancelled":
            raise typer.Exit(INTERRUPTED)


class _Watcher:
    """Counts what is kept, shows it, and says when it is enough.

    Attributes:
        run: id of the run whose pictures count.
    """

    def __init__(self, kept: Subscription, folder: Path, enough: Flag, *, most: int | None, as_json: bool) -> None:
        self.run = ""
        self._kept = kept
        self._folder = folder
        self._enough = enough
        self._most = most
        self._as_json = as_json
        self._num_read = self._num_kept = 0
        self._is_terminal = sys.stderr.isatty()
        self._shown_s = 0.0

    def show(self, _: Sample[Any]) -> None:
        """Take a finished sample; what was kept of it was told before."""
        self._num_read += 1
        self._count()
        if self._most is not None and self._num_kept >= self._most:
            self._enough.set()
        if self._is_terminal and time.monotonic() - self._shown_s > _SHOW_S:
            self._shown_s = time.monotonic()
            typer.echo(f"\r{self._words()}; Ctrl-C ends ", nl=False, err=True)

    def finish(self) -> None:
        """Print what there is now."""
        self._count()
        self._kept.close()
        before = "\r" if self._is_terminal else ""
        typer.echo(f"{before}{self._words()}, in {self._folder}", err=self._as_json)

    def _words(self) -> str:
        return f"{self._num_kept} {'picture' if self._num_kept == 1 else 'pictures'} kept of {self._num_read}"

    def _count(self) -> None:
        from sightline.core.ports import Gap

        while (event := self._kept.get(0)) is not None:
            if isinstance(event, Gap) or event.data.get("run") != self.run:
                continue
            self._num_kept += 1
            if self._as_json:
                self._print(event)

    def _print(self, event: Event) -> None:
        from sightline.core.codec import to_json

        facts = {
            "picture": str(self._folder / event.data["picture"]),
            "json": str(self._folder / event.data["key"]),
            "sample": event.data["sample"],
            "reasons": event.data["reasons"],
        }
        sys.stdout.write(to_json(facts).decode() + "\n")
        sys.stdout.flush()


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, x, height = text.lower().partition("x")
    if not (x and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise typer.BadParameter(f"{text!r} is not WIDTHxHEIGHT.", param_hint="--size")
    return int(width), int(height)

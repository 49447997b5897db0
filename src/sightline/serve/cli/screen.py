"""What a person sees of a run: a live table on a terminal, and a summary at the end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os.path import relpath
from threading import Lock
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sightline.core.prediction import Boxes, Findings, Labels, Scalar

if TYPE_CHECKING:
    from sightline.core.sample import Sample
    from sightline.engine.streams import Outcome, StreamRun

_ENDLESS = 10_000  # columns
_STATE_COLOURS = {"live": "green", "stopped": "dim", "connecting": "cyan"}


class Screen:
    """Remembers the newest sample of each source, in words."""

    def __init__(self, case: str) -> None:
        self._case = case
        self._now: dict[str, str] = {}
        self._counts: dict[str, dict[str, str]] = {}
        self._lock = Lock()

    def show(self, sample: Sample[Any]) -> None:
        """Take a finished sample."""
        with self._lock:
            self._now[sample.source] = "rejected: " + sample.rejected.reason if sample.rejected else _in_words(sample)
            counts = self._counts.setdefault(sample.source, {})
            for key, prediction in sample.predictions.items():
                if isinstance(prediction, Findings):
                    counts |= _totals(key, prediction)

    @contextmanager
    def live(self, stream: StreamRun) -> Iterator[None]:
        """Show progress while the run goes on."""
        console = Console()
        with Live(
            get_renderable=lambda: self._picture(stream.counters.snapshot()),
            console=console,
            refresh_per_second=5,
            transient=True,
        ):
            yield

    def counts(self) -> Mapping[str, Mapping[str, str]]:
        """Return the last totals of each source."""
        with self._lock:
            return {source: dict(counts) for source, counts in self._counts.items()}

    def _picture(self, status: Mapping[str, Any]) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("source", "state", "frames", "fps", "dropped", "now", "counts"):
            table.add_column(name, justify="right" if name in ("frames", "fps") else "left")
        with self._lock:
            for source, seen in status["sources"].items():
                state = Text(seen["state"], style=_STATE_COLOURS.get(seen["state"], "yellow"))
                if seen["state"] not in _STATE_COLOURS and seen["reason"]:
                    state.append(f" {seen['reason']}", style="dim")
                table.add_row(
                    source,
                    state,
                    str(seen["processed"]),
                    "" if seen["fps"] is None else f"{seen['fps']:.1f}",
                    lost_in_words(seen),
                    self._now.get(source, ""),
                    _joined(self._counts.get(source, {})),
                )
        head = Text(f"{self._case}  {status['elapsed_s']:.0f} s   Ctrl-C stops", style="dim")
        return Group(head, table)


def show_summary(outcome: Outcome, screen: Screen) -> None:
    """Print what a run did, and what it left behind."""
    status = outcome.run.status
    # In a file nothing needs to be broken into lines of 80 characters.
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _ENDLESS)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("source", "frames", "fps", "dropped", "counts"):
        table.add_column(name, justify="right" if name in ("frames", "fps") else "left")
    elapsed_s = status.get("elapsed_s") or 0
    counts = screen.counts()
    for source, seen in status.get("sources", {}).items():
        fps = f"{seen['processed'] / elapsed_s:.1f}" if elapsed_s else ""
        table.add_row(source, str(seen["processed"]), fps, lost_in_words(seen), _joined(counts.get(source, {})))
    console.print(table)
    console.print(f"run {outcome.run.id[:8]} {outcome.run.state} after {elapsed_s:.1f} s")
    for word, place in outcome.made.items():
        console.print(f"  {word}: {_shorter(place)}")
    console.print()


def lost_in_words(seen: Mapping[str, Any]) -> str:
    """Return every sample that was not analysed, with its reason."""
    parts: Counter[str] = Counter(seen["dropped"])
    parts.update({f"rejected: {kind}": num for kind, num in seen["rejected"].items()})
    parts.update({f"failed: {key}": num for key, num in seen["failed"].items()})
    if seen["late"]:
        parts["late"] = seen["late"]
    return ", ".join(f"{num} {reason}" for reason, num in parts.items()) or "none"


def _in_words(sample: Sample[Any]) -> str:
    """Return what there is to see now, for instance `7 person, 1 bicycle`."""
    last: Boxes | None = None
    words: list[str] = []
    for prediction in sample.predictions.values():
        if isinstance(prediction, Boxes):
            last = prediction
        elif isinstance(prediction, Labels) and prediction.class_name:
            words.append(f"{prediction.best} {prediction.confidence[0]:.2f}")
        elif isinstance(prediction, Scalar):
            words.append(f"{prediction.name} {prediction.value:.1f}{prediction.unit}")
    if last is not None:
        words.insert(0, ", ".join(f"{num} {name}" for name, num in Counter(last.class_name).most_common()) or "nobody")
    return "; ".join(words)


def _totals(key: str, findings: Findings) -> dict[str, str]:
    """Return the plain numbers among findings by what they are about."""
    return {
        f"{item.subject.rpartition('/')[2] or key} {item.name}": f"{item.value:g}"
        for item in findings.items
        if item.event is None and isinstance(item.value, int | float)
    }


def _joined(counts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in counts.items())


def _shorter(place: str) -> str:
    """Return a path relative to the working directory where that is shorter."""
    try:
        return min(place, relpath(place), key=len)
    except ValueError:  # another drive on Windows
        return place

"""The world as one plug-in sees it: what it is given, and what it may tell. Knows no plug-in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from threading import Event as Flag
from typing import Any, BinaryIO, Protocol

import numpy.typing as npt

from sightline.core.errors import InvalidInput
from sightline.core.events import Event
from sightline.core.ports import ModelHandle, Ports
from sightline.core.prediction import JsonObject


class SourceState(StrEnum):
    """Where a source is in its life, as its events call it."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    FROZEN = "frozen"
    BACKOFF = "backoff"
    UNAUTHORISED = "unauthorised"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A piece of a source as a file.

    Attributes:
        start: wall clock of its first frame, UTC; with packets as they came, the key frame before what was asked.
        end: wall clock at which its last frame ends.
        media_type: for instance `video/mp4`.
    """

    start: datetime
    end: datetime
    media_type: str


REMOTES = ("dicomweb",)
"""Kinds of other systems in which the object of a job may lie."""


def is_elsewhere(object_: str) -> bool:
    """Return whether the object of a job lies in another system: `dicomweb:STUDY/SERIES`."""
    kind, colon, _ = object_.partition(":")
    return bool(colon) and kind in REMOTES


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Another system that the settings name, for plug-ins that speak to it.

    Attributes:
        url: its address; empty: the settings name none.
        user, password: what it is told of us; empty: nothing.
        readable: what of it a job may read, as its own kind names that; `*`: everything.
    """

    url: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    readable: tuple[str, ...] = ("*",)


class NewArray(Protocol):
    """Makes an array that a child process fills for its parent; see `Context.isolated`."""

    def __call__(self, name: str, shape: Sequence[int], dtype: str) -> npt.NDArray[Any]:
        """Return zeros under `name`, in place of an earlier array of that name; dtype as numpy writes it: `int16`.

        Raises:
            TooLarge: it needs more memory than the child may take.
        """


def _not_isolated(function: Callable[..., JsonObject], *_: Any, **__: Any) -> Any:
    raise InvalidInput(f"{function.__name__} cannot be run in a process of its own here.")


def _no_clip(source: str, *_: Any) -> Clip:
    raise InvalidInput(f"No clip of {source!r} can be made here.")


def _no_model(ref: str) -> ModelHandle:
    raise InvalidInput(f"No model {ref!r} can be opened here.")


def _ignore(*_: Any) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Context:
    """The world as one plug-in sees it; given to `open`.

    Attributes:
        run: id of the run; empty for a single request.
        source: id of the source; `*` for what sees all sources of a case.
        sources: ids of all sources of the case.
        outputs: folder of this run for files that people look at; not made before it is needed.
        stopping: set when the run shall end; every wait watches it.
        now: the time in UTC.
        open_model: a shared handle of a model by its reference.
        dropped: a source reports samples that it will never yield: reason and number.
        state: a source reports where it is in its life, and why.
        retrying: a source that was lost reports when it will be opened again (UTC), and for which time since then.
        warned: tells what somebody should mend while the work goes on, in one sentence; shown with the source.
        progress: share of long work that is done (0 to 1) and the stage it is in.
        within: says that the work on this job shall take no longer than so many seconds from when it was taken up; of
            several the shortest counts. An attempt that takes longer fails as one whose deadline has passed.
        clip: writes a piece of a source into a file: id of the source, start, end (UTC), the file. See `Source.clip`.
        outbox: takes what `tell` tells; None outside a run.
        least_size: a source may decode pictures smaller than they are, as long as both sides have at least these
            pixels (width, height), and says so in `Frame.full_size`; None: whole.
        first_size: width and height of the first picture that the run had of the source; None: it had none yet.
        results: stem of the keys under which a job's sinks put what they make into the artifact store, fresh for each
            attempt; empty outside a job.
        object: key of the object that a job works on; empty outside a job.
        made: what the sinks before this one made in a job, a word for it -> key.
        reachable: hosts, addresses and networks that a sink may send to by itself; `public` is every public address.
        remotes: other systems by their kind, see `REMOTES`.
        folders: where files of the user's lie that a plug-in looks for by name, by their kind, the first one first:
            `profiles`.
        isolation: what `isolated` asks; it gets `stopping` too.
    """

    ports: Ports
    case: str = ""
    run: str = ""
    source: str = ""
    sources: tuple[str, ...] = ()
    epoch: int = 1
    metadata: JsonObject = field(default_factory=dict)
    outputs: Path = Path("runs")
    stopping: Flag = field(default_factory=Flag)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    open_model: Callable[[str], ModelHandle] = _no_model
    dropped: Callable[[str, int], None] = _ignore
    state: Callable[[SourceState, str], None] = _ignore
    retrying: Callable[[datetime, int], None] = _ignore
    warned: Callable[[str], None] = _ignore
    progress: Callable[[float, str], None] = _ignore
    within: Callable[[float], None] = _ignore
    clip: Callable[[str, datetime, datetime, BinaryIO], Clip] = _no_clip
    outbox: Callable[[Event], None] | None = None
    least_size: tuple[int, int] | None = None
    reachable: tuple[str, ...] = ("public",)
    first_size: tuple[int, int] | None = None
    results: str = ""
    object: str = ""
    made: Mapping[str, str] = field(default_factory=dict)
    remotes: Mapping[str, Remote] = field(default_factory=dict)
    folders: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    isolation: Callable[..., tuple[JsonObject, Mapping[str, npt.NDArray[Any]]]] = _not_isolated

    def isolated(
        self, function: Callable[..., JsonObject], *args: Any, memory_mb: int = 2048, timeout_s: float = 120.0
    ) -> tuple[JsonObject, Mapping[str, npt.NDArray[Any]]]:
        """Run a function in a fresh process with limits, for a file that nobody trusts; return what it gave and made.

        The process has none of our sockets, files and secrets, and whatever happens to it is an error about the file.

        Args:
            function: of a module, not of another function: `function(new_array, *args)`; it returns JSON and makes
                its arrays by `new_array` (`NewArray`). Its own errors of the kind InvalidInput are raised here.
            args: JSON and paths; a path arrives as text.
            memory_mb: memory that it may take beyond what its libraries need, its arrays included.
            timeout_s: wall time that it may take.

        Raises:
            InvalidMedia: it failed, crashed, or took too much memory or time.
            Cancelled: `stopping` was set.
        """
        return self.isolation(function, args, memory_mb=memory_mb, timeout_s=timeout_s, stopping=self.stopping)

    def tell(self, event: Event) -> None:
        """Tell what happened: a durable event is recorded once, and every event is published at once.

        In a run the event waits while the database is away. Outside of one it is recorded before this returns.

        Raises:
            Unavailable: outside a run, the database is away.
        """
        if self.outbox is not None:
            self.outbox(event)
            return
        if not event.is_transient:
            self.ports.store.events.append([event])
        self.ports.bus.publish(event)

"""Frames pulled from Python: `open_source` reads an address in a thread, and the caller takes what came.

No case, no run, no record: what the engine does with a source is not needed to look at one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import Condition, Thread
from threading import Event as Flag
from types import TracebackType
from typing import Any, Self

from sightline.build.context import CaseBuildContext
from sightline.build.replacing import plugin_for, source_entry
from sightline.build.sources import make_source
from sightline.core.errors import SightlineError, Unavailable
from sightline.core.plugins import Source, SourceState
from sightline.core.sample import Frame, Sample

_CAPACITY = 4  # frames of a file that are decoded ahead
_LOOK_S = 0.1
_GRACE_S = 2.0  # a thread inside a camera's time limit ends by itself later; nobody waits for that


def open_source(
    url: str | int,
    *,
    fps: float | None = 2.0,
    width: int | None = 640,
    height: int | None = 360,
    context: CaseBuildContext | None = None,
    **fields: Any,
) -> OpenedSource:
    """Begin to read a camera, file, folder or webcam, and return what gives its frames.

    Of a live source the newest frame is kept, and it is opened again for ever when it breaks off; a file gives every
    wanted frame, in order.

    ```
    with open_source("rtsp://door/cam", fps=2, width=640, height=360) as camera:
        for sample in camera:
            look(sample.payload.pixels_HWC, sample.time)
    ```

    Args:
        url: an address or a path, or the number of a webcam.
        fps: most frames per second of media time; None: all. Pictures of a folder are all given.
        width: of the frames in pixels; None keeps the source's, as does a missing height.
        height: of the frames in pixels.
        context: settings and plug-ins; made from the working directory when not given.
        fields: further fields of the source, for instance `realtime=True`, `transport="udp"`.

    Raises:
        ConfigError: a field is unknown or wrong.
    """
    address = str(url)
    size = None if width is None or height is None else (width, height)
    own = context is None
    context = context or CaseBuildContext()
    try:
        entry = {**source_entry(address, fps=fps, size=size), **fields, "use": fields.get("use", plugin_for(address))}
        source = make_source(entry, context)
    except BaseException:
        if own:
            context.close()
        raise
    return OpenedSource(source, context, closes_context=own)


class OpenedSource:
    """A source that is being read; used by one thread. Ends by `close`, or at the end of a `with` block.

    Args:
        source: what is read.
        context: its world.
        closes_context: close that too.

    Attributes:
        state: where the source is in its life.
        reason: why, in a few words; may be empty.
        num_superseded: frames of a live source whose place a newer one took before they were fetched.
    """

    def __init__(self, source: Source, context: CaseBuildContext, *, closes_context: bool = False) -> None:
        self._source = source
        self._context = context
        self._closes_context = closes_context
        self._live = source.is_live
        self._stopping = Flag()
        self._changed = Condition()
        self._waiting: deque[Sample[Frame]] = deque()
        self._ended = False
        self._error: SightlineError | None = None
        self.state, self.reason = SourceState.CONNECTING, ""
        self.num_superseded = 0
        self._thread = Thread(target=self._work, name="open-source", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float = 10.0) -> Sample[Frame]:
        """Wait for a frame that was not returned before, and return it.

        Raises:
            Unavailable: none came within the timeout, or the source has ended.
            SightlineError: why it ended, where that was an error: `FileMissing`, for instance.
        """
        sample = self._next(timeout_s)
        if sample is not None:
            return sample
        if not self._ended:
            why = f"{self.state.value}: {self.reason}" if self.reason else self.state.value
            raise Unavailable(
                f"No frame came within {timeout_s:g} s ({why}).", cure="Check the camera: sightline probe URL"
            )
        raise self._error or Unavailable("The source has ended.", cure="Open it again.")

    def __iter__(self) -> Iterator[Sample[Frame]]:
        return self

    def __next__(self) -> Sample[Frame]:
        """Return the next frame, however long it takes; the end of the source ends the loop, an error is raised."""
        while (sample := self._next(_LOOK_S)) is None:  # so that Ctrl-C is heard
            if self._ended:
                raise self._error or StopIteration
        return sample

    def close(self) -> None:
        """End; a second call does nothing."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(_GRACE_S)
        if self._closes_context:
            self._context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self, timeout_s: float) -> Sample[Frame] | None:
        """Return the next frame; None when none came, or none comes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, timeout_s)
            if not self._waiting:
                return None
            self._changed.notify_all()
            return self._waiting.popleft()

    def _put(self, sample: Sample[Frame]) -> None:
        with self._changed:
            if self._live:
                self.num_superseded += len(self._waiting)
                self._waiting.clear()
            else:
                self._changed.wait_for(lambda: len(self._waiting) < _CAPACITY or self._stopping.is_set())
            self._waiting.append(sample)
            self._changed.notify_all()

    def _told(self, state: SourceState, reason: str) -> None:
        self.state, self.reason = state, reason

    def _work(self) -> None:
        try:
            self._source.open(self._context.world(source="opened", stopping=self._stopping, state=self._told))
            for sample in self._source.read():
                self._put(sample)
                if self._stopping.is_set():
                    break
        except SightlineError as error:
            self._error = error
        finally:
            self._source.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

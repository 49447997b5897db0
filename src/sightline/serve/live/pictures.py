"""Live pictures: the newest of each source, encoded once for all, and only when somebody can take it.

The run's thread only leaves its newest sample here. Who is slow misses pictures, and holds up nobody.
Shape letters: H rows, W columns, C colours (blue, green, red).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from sightline.core.codec import encode_sample, pack
from sightline.core.errors import SightlineError
from sightline.core.sample import Frame, Sample
from sightline.engine.holding import HeldRuns
from sightline.engine.watching import Finished, Watch
from sightline.serve.live.bells import Bell

_QUALITY = 80
_THREADS = 2

Draw = Callable[[Sample[Any]], bytes]


class Shot:
    """The picture of one sample, on its way to those who look on; every form is made once, when it is needed."""

    __slots__ = ("_drawn", "_message", "finished")

    def __init__(self, finished: Finished) -> None:
        self.finished = finished
        self._message: asyncio.Future[bytes] | None = None
        self._drawn: dict[bool, asyncio.Future[bytes]] = {}

    async def message(self, pool: ThreadPoolExecutor) -> bytes:
        """Return the binary message of a WebSocket: the sample's wire form, then the plain picture."""
        if self._message is None:
            self._message = asyncio.get_running_loop().run_in_executor(pool, _packed, self.finished)
        return await asyncio.shield(self._message)

    async def jpeg(self, pool: ThreadPoolExecutor, draw: Draw | None) -> bytes:
        """Return the picture, drawn on by `draw`, or plain."""
        future = self._drawn.get(draw is not None)
        if future is None:
            make = plain_jpeg if draw is None else draw
            future = asyncio.get_running_loop().run_in_executor(pool, make, self.finished.sample)
            self._drawn[draw is not None] = future
        return await asyncio.shield(future)


class Viewer:
    """One who looks on: a place for the newest picture of each source, which a newer one takes.

    Args:
        wants: says whether pictures of a case and a source are wanted.
        bell: rung when a picture waits.
        max_fps: most pictures a second of each source; None: all.
    """

    def __init__(self, wants: Callable[[str, str], bool], bell: Bell, max_fps: float | None = None) -> None:
        self._wants = wants
        self._bell = bell
        self._gap_s = 0.0 if max_fps is None else 1 / max_fps
        self._due_s: dict[tuple[str, str], float] = {}
        self._newest: dict[tuple[str, str], tuple[int, int]] = {}
        self._waiting: dict[tuple[str, str], Shot] = {}

    def offer(self, shot: Shot) -> None:
        """Take a picture if it is wanted."""
        finished = shot.finished
        sample = finished.sample
        key, number = (finished.run, sample.source), (sample.epoch, sample.seq)
        # The newest sample is shown to who begins to look, and may come once more as the next.
        if self._wants(finished.case, sample.source) and number > self._newest.get(key, (0, -1)):
            self._newest[key] = number
            self._waiting[key] = shot  # it keeps the place in the row that the source had
            self._bell.ring()

    def take(self, now_s: float) -> Shot | None:
        """Return the picture that is due and has waited longest."""
        for key, shot in self._waiting.items():
            due_s = self._due_s.get(key, now_s)
            if due_s <= now_s:
                del self._waiting[key]
                # Late pictures shift the beat by no more than one interval, so that the mean rate is what was asked.
                self._due_s[key] = max(due_s + self._gap_s, now_s) if self._gap_s else now_s
                return shot
        return None

    def pause_s(self, now_s: float) -> float | None:
        """Return how long to wait until a picture that is there is due; None when none is there."""
        if not self._waiting:
            return None
        return max(0.0, min(self._due_s.get(key, now_s) for key in self._waiting) - now_s)


class Gallery:
    """Shows the newest samples of this process's runs to all who look on.

    Args:
        streams: returns the runs.
        draw: returns the JPEG of a sample with what was predicted drawn onto it.
    """

    def __init__(self, streams: Callable[[], HeldRuns], draw: Draw) -> None:
        self._streams = streams
        self._draw = draw
        self._viewers: set[Viewer] = set()
        self._watch: Watch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = False
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pictures")

    def __len__(self) -> int:
        return len(self._viewers)

    def join(self, viewer: Viewer) -> None:
        """Begin to show pictures to `viewer`, the newest of each source at once."""
        self._viewers.add(viewer)
        if self._watch is None:
            self._loop = asyncio.get_running_loop()
            self._watch = self._streams().watch(wake=self._wake)
        for run in self._streams().list():
            for source in run.status.get("sources", {}):
                sample = self._latest(run.id, source)
                if sample is not None:
                    self._show(Finished(run.id, run.case, sample), (viewer,))

    def leave(self, viewer: Viewer) -> None:
        """Show him nothing more; nobody is looked at for nobody."""
        self._viewers.discard(viewer)
        if not self._viewers and self._watch is not None:
            watch, self._watch = self._watch, None
            watch.close()

    async def message(self, shot: Shot) -> bytes:
        """Return what a WebSocket sends of a picture."""
        return await shot.message(self._pool)

    async def jpeg(self, shot: Shot, *, drawn: bool) -> bytes:
        """Return the picture, with what was predicted drawn onto it, or plain."""
        return await shot.jpeg(self._pool, self._drawn if drawn else None)

    def _drawn(self, sample: Sample[Any]) -> bytes:
        try:
            return self._draw(sample)
        except SightlineError:  # nothing here can draw: better a plain picture than none
            return plain_jpeg(sample)

    def _latest(self, run_id: str, source: str) -> Sample[Any] | None:
        try:
            return self._streams().latest(run_id, source)
        except SightlineError:  # it has just ended
            return None

    def _wake(self) -> None:
        """Have `_look` called soon; called by the threads of runs."""
        if self._told or self._loop is None:
            return
        self._told = True
        self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        self._told = False
        while self._watch is not None and (finished := self._watch.take(0)) is not None:
            self._show(finished, tuple(self._viewers))

    def _show(self, finished: Finished, viewers: tuple[Viewer, ...]) -> None:
        if isinstance(finished.sample.payload, Frame):
            shot = Shot(finished)
            for viewer in viewers:
                viewer.offer(shot)


def plain_jpeg(sample: Sample[Frame]) -> bytes:
    """Return a picture as it is, as a JPEG."""
    import simplejpeg  # not before somebody looks on

    pixels_HWC = np.ascontiguousarray(sample.payload.pixels_HWC)
    jpeg: bytes = simplejpeg.encode_jpeg(pixels_HWC, quality=_QUALITY, colorspace="BGR", colorsubsampling="420")
    return jpeg


def _packed(finished: Finished) -> bytes:
    header = encode_sample(finished.sample, finished.case)
    return pack({**header, "run": finished.run, "mime": "image/jpeg"}, plain_jpeg(finished.sample))

"""Frames that somebody else takes and hands in: over HTTP, from a phone, or from a Python program.

Knows no door. What comes is decoded in the thread of whoever brings it, who is told at once what is wrong with it.

Shape letters: H rows, W columns, C colours (blue, green, red).
"""

from __future__ import annotations

import time as clock
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Condition

import numpy as np
import numpy.typing as npt

from sightline.core.errors import ConfigError, Conflict, InvalidInput, Overloaded, TooLarge, WrongMediaType
from sightline.core.plugins import Context, Source, SourceState
from sightline.core.prediction import JsonObject
from sightline.core.sample import Clocks, Frame, Sample
from sightline.packs.vision.sources.opening import MAX_SIDE_PX
from sightline.packs.vision.sources.pictures import MAX_PIXELS, decode_frame, scaled

_LOOK_S = 0.1  # how often a source that waits looks whether it shall stop
_NUDGE_S = 0.001
_SMALL_STEP_BACK_S = 1.0  # beyond that the sender's clock was set


@dataclass(kw_only=True)
class PushSource(Source):
    """Frames that are pushed: `POST /api/v1/sources/{source}/frames`, or `push` and `push_frame` in Python.

    The newest frame takes the place of one that still waits, which is counted as dropped, with the reason `overtaken`.

    Attributes:
        size: width and height in pixels that frames are scaled to; null keeps theirs.
        keep_all: lose none: frames wait in a queue, and who pushes too fast is told to wait.
        num_waiting: with `keep_all`, most frames that wait.
        silent_after_s: after how many seconds without a frame the source counts as stalled; null: it may be silent.
        max_bytes: longest picture that is taken.
        max_pixels: largest picture that is decoded.
    """

    size: tuple[int, int] | None = None
    keep_all: bool = False
    num_waiting: int = 16
    silent_after_s: float | None = None
    max_bytes: int = 32 << 20
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.size is not None and not all(0 < side <= MAX_SIDE_PX for side in self.size):
            raise ConfigError(f"size is {list(self.size)}; each side must lie between 1 and {MAX_SIDE_PX}.")
        if self.num_waiting < 1 or self.max_bytes < 1 or self.max_pixels < 1:
            raise ConfigError("num_waiting, max_bytes and max_pixels must be above 0.")
        if self.silent_after_s is not None and self.silent_after_s <= 0:
            raise ConfigError(f"silent_after_s is {self.silent_after_s}; it must be above 0.", cure="Leave it out.")

    @property
    def is_live(self) -> bool:
        """True unless every frame is kept."""
        return not self.keep_all

    @property
    def stalls_after_s(self) -> float | None:
        """What `silent_after_s` says."""
        return self.silent_after_s

    def open(self, context: Context) -> None:
        """Get ready to take frames."""
        super().open(context)
        self.monotonic: Callable[[], float] = clock.monotonic
        self._changed = Condition()
        self._waiting: deque[Sample[Frame]] = deque()
        self._num = 0
        self._last: tuple[float, float] | None = None  # media time and time of receipt of the newest frame
        self._offset_s: float | None = None
        self._takes = True

    def read(self) -> Iterator[Sample[Frame]]:
        """Yield the frames as they come, uint8 [H, W, 3], blue first."""
        context = self.context
        is_first = True
        context.state(SourceState.CONNECTING, "no frame was pushed yet")
        try:
            while not context.stopping.is_set():
                with self._changed:
                    if not self._waiting and not self._changed.wait(_LOOK_S):
                        continue
                    if not self._waiting:
                        continue
                    sample = self._waiting.popleft()
                if is_first:
                    context.state(SourceState.LIVE, "")
                    is_first = False
                yield sample
        finally:
            with self._changed:
                self._takes = False
                num_left = len(self._waiting)
                self._waiting.clear()
            if num_left:
                context.dropped("overtaken", num_left)
            context.state(SourceState.STOPPED, "stopped")

    def push(self, data: bytes, media_type: str, time: datetime | None) -> None:
        """Take a picture: the bytes of a JPEG, PNG, WebP or BMP file; called by any thread, and never waits.

        Args:
            data: the file.
            media_type: for messages; what it is is seen by its first bytes.
            time: when it was taken; None: now.

        Raises:
            WrongMediaType: it is another kind of file.
            TooLarge: it is longer than `max_bytes`.
            InvalidInput: it is damaged or has too many pixels, or the time has no time zone.
            Overloaded: as many frames wait as may.
            Conflict: the source is not being read.
        """
        self._check_takes()
        if len(data) > self.max_bytes:
            raise TooLarge(f"The picture is longer than {self.max_bytes} bytes.", cure="Push a smaller one.")
        if not _is_picture(data):
            raise WrongMediaType(
                f"What was pushed{f' as {media_type}' if media_type else ''} is no picture of a kind that is taken.",
                cure="Push JPEG, PNG, WebP or BMP.",
            )
        least_size = self.context.least_size
        self._put(decode_frame(data, size=self.size, max_pixels=self.max_pixels, least_size=least_size), time)

    def push_frame(self, pixels_HWC: npt.NDArray[np.uint8], time: datetime | None = None) -> None:
        """Take an array: uint8 [H, W, 3], blue first; it is copied, so the caller may use it again.

        Raises:
            InvalidInput: it has another form, or the time has no time zone.
            Overloaded: as many frames wait as may.
            Conflict: the source is not being read.
        """
        self._check_takes()
        pixels_HWC = np.asarray(pixels_HWC)
        if pixels_HWC.dtype != np.uint8 or pixels_HWC.ndim != 3 or pixels_HWC.shape[2] != 3 or not pixels_HWC.size:
            raise InvalidInput(
                f"A frame is uint8 [height, width, 3], not {pixels_HWC.dtype} {list(pixels_HWC.shape)}.",
                cure="Give blue, green and red as uint8.",
            )
        if pixels_HWC.shape[0] * pixels_HWC.shape[1] > self.max_pixels:
            raise InvalidInput(f"The frame has more than {self.max_pixels} pixels.", cure="Scale it down.")
        self._put(Frame(np.array(scaled(pixels_HWC, self.size), order="C")), time)

    def probe(self) -> JsonObject:
        """Return that frames are pushed."""
        return {"kind": "push", "live": self.is_live, "advice": []}

    def _check_takes(self) -> None:
        if not getattr(self, "_takes", False):
            raise Conflict("The source is not being read now, so it takes no frame.", cure="Start its run.")

    def _put(self, frame: Frame, time: datetime | None) -> None:
        taken, context = _in_utc(time), self.context
        with self._changed:
            self._check_takes()
            if self.keep_all and len(self._waiting) >= self.num_waiting:
                raise Overloaded(f"{self.num_waiting} frames wait already.", cure="Push again in a moment.")
            num_overtaken = 0 if self.keep_all else len(self._waiting)
            if num_overtaken:
                self._waiting.clear()
            received_s = self.monotonic()
            clocks = Clocks(
                pts_s=self._media_time(taken, received_s),
                monotonic_s=received_s,
                wall=context.now(),
                sender=taken,
            )
            self._waiting.append(
                Sample(payload=frame, source=context.source, epoch=context.epoch, seq=self._num, clocks=clocks)
            )
            self._num += 1
            self._changed.notify()
        if num_overtaken:
            context.dropped("overtaken", num_overtaken)

    def _media_time(self, time: datetime | None, received_s: float) -> float:
        """Return seconds since the first frame that only rise, by the caller's times where he gives them."""
        stamp_s = None if time is None else time.timestamp()
        if self._last is None:
            self._offset_s = None if stamp_s is None else -stamp_s
            self._last = (0.0, received_s)
            return 0.0
        last_s, last_received_s = self._last
        stepped_s = last_s + max(received_s - last_received_s, _NUDGE_S)
        pts_s = stepped_s if stamp_s is None or self._offset_s is None else stamp_s + self._offset_s
        if last_s - _SMALL_STEP_BACK_S < pts_s <= last_s:
            pts_s = last_s + _NUDGE_S  # a repeat, or pictures that changed places on their way
        else:
            pts_s = pts_s if pts_s > last_s else stepped_s
            self._offset_s = None if stamp_s is None else pts_s - stamp_s
        self._last = (pts_s, received_s)
        return pts_s


def _in_utc(time: datetime | None) -> datetime | None:
    try:
        if time is None or time.tzinfo is not None:
            return time and time.astimezone(UTC)
    except OverflowError:  # the year 1 or 9999 of another time zone
        pass
    raise InvalidInput("The time of the frame has no time zone.", cure="Give it in UTC: 2026-11-20T12:00:00Z")


def _is_picture(data: bytes) -> bool:
    return data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")) or (
        data.startswith(b"RIFF") and data[8:12] == b"WEBP"
    )

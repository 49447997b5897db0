"""Frames that are drawn, for trials and demonstrations without a camera. The same seed gives the same pixels.

Shape letters: H rows, W columns, C colours (blue, green, red).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from sightline.core.errors import ConfigError
from sightline.core.plugins import Context, Source, SourceState
from sightline.core.prediction import JsonObject
from sightline.core.sample import Clocks, Frame, Sample

_PATTERNS = ("shapes", "gradient", "noise", "black", "pulse")
_NUM_SHAPES = 5
_PULSE_S = 4.0  # one rise and fall
_LARGEST_PX = 8192


@dataclass(kw_only=True)
class SyntheticSource(Source):
    """Drawn frames, without end unless `num_frames` is set.

    Attributes:
        size: width and height in pixels.
        fps: frames per second of media time.
        num_frames: how many to give; null for ever.
        pattern: `shapes` that wander, a `gradient` that moves, `noise`, `black`, or `pulse`: a grey whose mean goes
            from 28 up to 228 and back every 4 s.
        seed: another number, another picture.
        realtime: give them at `fps`, as a camera does, or (false) as fast as they are taken; null: as a camera
            does where they do not end.
    """

    size: tuple[int, int] = (640, 480)
    fps: float = 10.0
    num_frames: int | None = None
    pattern: Literal["shapes", "gradient", "noise", "black", "pulse"] = "shapes"
    seed: int = 0
    realtime: bool | None = None

    def __post_init__(self) -> None:
        if not all(8 <= side <= _LARGEST_PX for side in self.size):
            raise ConfigError(f"size is {list(self.size)}; each side must lie between 8 and {_LARGEST_PX}.")
        if not 0 < self.fps <= 1000:
            raise ConfigError(f"fps is {self.fps}; it must be above 0 and at most 1000.")
        if self.num_frames is not None and self.num_frames < 0:
            raise ConfigError(f"num_frames is {self.num_frames}; it must not be negative.")
        if self.pattern not in _PATTERNS:
            raise ConfigError(f"pattern is {self.pattern!r}; known: {', '.join(_PATTERNS)}.")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; it must not be negative.")

    @property
    def is_live(self) -> bool:
        """What `realtime` says, or else whether the frames have no end."""
        return self.num_frames is None if self.realtime is None else self.realtime

    def open(self, context: Context) -> None:
        """Get ready."""
        super().open(context)
        self.monotonic: Callable[[], float] = time.monotonic

    def read(self) -> Iterator[Sample[Frame]]:
        """Yield frames, uint8 [H, W, 3], blue first."""
        context = self.context
        opened, started_s = context.now(), self.monotonic()
        draw = self._drawer()
        context.state(SourceState.LIVE, "")
        try:
            for seq in count() if self.num_frames is None else range(self.num_frames):
                pts_s = seq / self.fps
                if self.is_live:
                    context.stopping.wait(max(0.0, started_s + pts_s - self.monotonic()))
                if context.stopping.is_set():
                    return
                wall = opened + timedelta(seconds=pts_s)
                yield Sample(
                    payload=Frame(draw(seq)),
                    source=context.source,
                    epoch=context.epoch,
                    seq=seq,
                    clocks=Clocks(pts_s=pts_s, monotonic_s=self.monotonic(), wall=wall),
                )
        finally:
            context.state(SourceState.STOPPED, "stopped" if context.stopping.is_set() else "end of frames")

    def probe(self) -> JsonObject:
        """Return size, rate and length."""
        width, height = self.size
        return {
            "kind": "synthetic",
            "live": self.is_live,
            "codec": "drawn",
            "width": width,
            "height": height,
            "fps": self.fps,
            "duration_s": None if self.num_frames is None else self.num_frames / self.fps,
            "advice": [],
        }

    def _drawer(self) -> Callable[[int], npt.NDArray[np.uint8]]:
        """Return the function that draws the frame of a number; frames depend on nothing else."""
        width, height = self.size
        if self.pattern == "shapes":
            return _Shapes(width, height, self.fps, self.seed).draw
        if self.pattern == "gradient":
            ramp_HW = np.add.outer(np.arange(height), np.arange(width))
            steps = np.array([1, 2, 3])
            return lambda seq: ((ramp_HW[:, :, None] + (seq + self.seed) * steps) % 256).astype(np.uint8)
        if self.pattern == "noise":
            return lambda seq: np.random.default_rng((self.seed, seq)).integers(0, 256, (height, width, 3), np.uint8)
        if self.pattern == "black":
            return lambda _: np.zeros((height, width, 3), np.uint8)
        return lambda seq: np.full(
            (height, width, 3), round(128 - 100 * math.cos(2 * math.pi * seq / self.fps / _PULSE_S)), np.uint8
        )


class _Shapes:
    """Circles and boxes that wander over a soft background and are thrown back by its edges."""

    def __init__(self, width: int, height: int, fps: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._width, self._height, self._fps = width, height, fps
        down, right = np.linspace(40, 110, height), np.linspace(0, 50, width)
        plane_HW = np.add.outer(down, right)
        self._background_HWC = np.stack([plane_HW, plane_HW * 0.9, plane_HW * 0.8], axis=2).astype(np.uint8)
        self._radius = rng.uniform(0.05, 0.12, _NUM_SHAPES) * min(width, height)
        self._start = rng.uniform(0, 1, (_NUM_SHAPES, 2)) * (width, height)
        self._speed = rng.uniform(-0.25, 0.25, (_NUM_SHAPES, 2)) * (width, height)  # px per second
        self._colour = rng.integers(60, 256, (_NUM_SHAPES, 3))

    def draw(self, seq: int) -> npt.NDArray[np.uint8]:
        pixels_HWC = self._background_HWC.copy()
        centres = self._start + self._speed * (seq / self._fps)
        for index, ((x, y), radius, colour) in enumerate(zip(centres, self._radius, self._colour, strict=True)):
            centre = (round(_bounced(x, radius, self._width)), round(_bounced(y, radius, self._height)))
            blue, green, red = (int(part) for part in colour)
            if index % 2:
                reach = round(radius)
                corners = (centre[0] - reach, centre[1] - reach), (centre[0] + reach, centre[1] + reach)
                cv2.rectangle(pixels_HWC, *corners, (blue, green, red), thickness=-1)
            else:
                cv2.circle(pixels_HWC, centre, round(radius), (blue, green, red), thickness=-1)
        return pixels_HWC


def _bounced(position: float, margin: float, length: int) -> float:
    """Return where a ball is that was at `position` on a free line, between walls `margin` inside 0 and `length`."""
    room = max(1.0, length - 2 * margin)
    folded = (position - margin) % (2 * room)
    return margin + (folded if folded <= room else 2 * room - folded)

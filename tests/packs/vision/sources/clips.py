"""Small videos for tests, encoded by PyAV.

Shape letters: H rows, W columns, C colours (blue, green, red).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

TICKS = 12800  # per second, of the time stamps


def picture(number: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return uint8 [H, W, 3] that differs from frame to frame: a box that wanders over noise that is always new."""
    pixels_HWC = np.random.default_rng(number).integers(90, 120, (height, width, 3), np.uint8)
    left, top = (number * 3) % (width - 16), (number * 2) % (height - 16)
    pixels_HWC[top : top + 16, left : left + 16] = (250, 40, 10 * (number % 20))
    return pixels_HWC


def make_clip(
    path: Path,
    *,
    num: int = 50,
    fps: int = 25,
    gop: int = 25,
    bf: int = 0,
    codec: str = "libx264",
    size: tuple[int, int] = (96, 64),
    stamps_s: Sequence[float] | None = None,
    rotation: int = 0,
    muxing: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    first: int = 0,
    still: bool = False,
) -> Path:
    """Write a video.

    Args:
        bf: number of B frames.
        stamps_s: the time of each frame where that is not `number / fps`.
        first: number of the first picture.
        still: every frame is that picture.
    """
    width, height = size
    with av.open(str(path), "w", options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.time_base = Fraction(1, TICKS) if codec == "libx264" else Fraction(1, fps)
        stream.codec_context.max_b_frames = bf
        stream.codec_context.thread_count = 1  # else x264 cuts each picture into slices
        if codec == "libx265":
            fixed_265 = f"log-level=none:keyint={gop}:min-keyint={gop}:scenecut=0:bframes={bf}:open-gop=0"
            stream.codec_context.options = {
                "preset": "ultrafast",
                "crf": "20",
                "x265-params": fixed_265,
                **(options or {}),
            }
        if codec == "libx264":
            fixed = {"preset": "ultrafast", "sc_threshold": "0", "bf": str(bf), "b-pyramid": "none"}
            stream.codec_context.options = {**fixed, **(options or {})}
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(num):
            frame = VideoFrame.from_ndarray(picture(first if still else first + number, width, height), format="bgr24")
            time_s = Fraction(number, fps) if stamps_s is None else Fraction(stamps_s[number]).limit_denominator(TICKS)
            time_base = stream.codec_context.time_base
            frame.time_base, frame.pts = time_base, round(time_s / time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path

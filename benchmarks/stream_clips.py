"""Clips as cameras send them, for the bench of streams: no B frames, short buffer, a bounded rate.

A still photograph would cost nothing to decode, so the picture shakes, parts of it move across, and there is noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT / "tests/data/photos"
STREET = ROOT / "src/sightline/cases/street_people/street.mp4"
_CAMERA: dict[str, dict[str, str]] = {
    "h264": {"preset": "veryfast", "tune": "zerolatency", "profile": "high"},
    "hevc": {"preset": "superfast"},
}


def scene(size: tuple[int, int], fps: int, num: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield frames, uint8 [H, W, 3]: a collage of photographs that shakes, six parts that move, noise of sigma 3."""
    width, height = size
    rng = np.random.default_rng(7)
    photos: list[Any] = [cv2.imread(str(path)) for path in sorted(PHOTOS.glob("*.jpg"))[:6]]
    tile = (width + 160) // 3 + 1, (height + 60) // 2 + 1
    rows = [np.hstack([cv2.resize(photo, tile) for photo in photos[start : start + 3]]) for start in (0, 3)]
    backdrop = np.vstack(rows)
    noise = [rng.normal(0, 3, (height, width, 3)).astype(np.int8) for _ in range(6)]
    parts: list[list[Any]] = []
    for _ in range(6):
        high, wide = int(height * rng.uniform(0.15, 0.35)), int(width * rng.uniform(0.04, 0.10))
        top, left = rng.integers(0, height - high), rng.integers(0, width - wide)
        piece = backdrop[top : top + high, left : left + wide][:, ::-1].copy()
        parts.append([piece, rng.uniform(0, width - wide), top, rng.uniform(0.05, 0.15) * width / fps])
    for number in range(num):
        dx, dy = 80 + int(30 * np.sin(number / fps * 0.5)), 20 + int(8 * np.sin(number / fps * 0.9))
        frame = backdrop[dy : dy + height, dx : dx + width].copy()
        for part in parts:
            piece, left, top, speed = part
            high, wide = piece.shape[:2]
            part[1] = left = (left + speed) % (width - wide)
            frame[top : top + high, int(left) : int(left) + wide] = piece
        shift = int(rng.integers(height)), int(rng.integers(width))
        yield np.asarray(cv2.add(frame, np.roll(noise[rng.integers(6)], shift, (0, 1)), dtype=cv2.CV_8U), np.uint8)


def write_clip(
    path: Path,
    frames: Iterator[npt.NDArray[np.uint8]],
    *,
    codec: str,
    size: tuple[int, int],
    fps: int,
    gop_s: float,
    kbps: int,
) -> Path:
    """Encode frames as a camera does, and return the path; `.h264` gives a raw stream for the RTSP server."""
    gop = round(gop_s * fps)
    options = dict(_CAMERA[codec])
    if codec == "h264":
        options |= {"bf": "0", "sc_threshold": "0", "keyint_min": str(gop)}
        options |= {"maxrate": f"{round(kbps * 1.2)}k", "bufsize": f"{kbps}k"}
    else:
        options["x265-params"] = (
            f"bframes=0:keyint={gop}:min-keyint={gop}:scenecut=0:log-level=error:"
            f"vbv-maxrate={round(kbps * 1.2)}:vbv-bufsize={kbps}"
        )
    container_format: dict[str, Any] = {"format": "h264"} if path.suffix == ".h264" else {}
    with av.open(str(path), "w", **container_format) as container:
        stream = container.add_stream({"h264": "libx264", "hevc": "libx265"}[codec], rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.bit_rate = kbps * 1000
        for pixels_HWC in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels_HWC, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def street(size: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the frames of the shipped clip, scaled."""
    with av.open(str(STREET)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(width=size[0], height=size[1], format="bgr24"), np.uint8)

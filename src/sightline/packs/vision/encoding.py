"""One video file that is playable at every moment, also after `kill -9`; knows pictures and seconds, no samples.

While it grows the file is a fragmented mp4: each half second of pictures is a fragment that stands for itself.
Browsers play such a file but cannot seek in it before they have loaded it, so `close` copies the packets, without
coding them again, into an ordinary mp4 with its index in front, and puts that in its place.

Shape letters: H rows, W columns, C colours (blue, green, red).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import av
import numpy as np
import numpy.typing as npt
import structlog
from av.video.frame import PictureType
from av.video.stream import VideoStream

from sightline.core.errors import ConfigError, StorageFull, Unavailable

log = structlog.get_logger()

CodecName: TypeAlias = Literal["h264", "vp9", "av1"]

TICKS = 90_000  # a second; the clock of MPEG
KEYFRAME_S = 1.0  # so far back a player has to go when it seeks
FRAGMENT_S = 0.5  # so much may be lost when the process is killed
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class _Encoder:
    """An encoder of FFmpeg with options that let every picture out at once: a queue of pictures is lost in a crash."""

    name: str
    crf: int
    options: Mapping[str, str]


_ENCODERS: Mapping[str, _Encoder] = MappingProxyType(
    {
        "h264": _Encoder("libx264", 23, {"preset": "veryfast", "tune": "zerolatency"}),
        "vp9": _Encoder(
            "libvpx-vp9", 33, {"deadline": "realtime", "cpu-used": "7", "lag-in-frames": "0", "b:v": "0", "row-mt": "1"}
        ),
        "av1": _Encoder("libsvtav1", 35, {"preset": "10", "svtav1-params": "pred-struct=1:lookahead=0:lp=1"}),
    }
)


class VideoFile:
    """Writes pictures of one size to a new file.

    Args:
        path: of the file, which must not exist.
        codec: how they are encoded.
        size: width and height; an odd last column or row is cut off, as yuv420p has none.
        crf: quality of the encoder, lower is better; None takes a good one for the codec.

    Raises:
        ConfigError: this FFmpeg has no such encoder.
        StorageFull: there is no room.
    """

    def __init__(self, path: Path, *, codec: CodecName, size: tuple[int, int], crf: int | None = None) -> None:
        encoder = _ENCODERS[codec]
        self.path = path
        self.size = size
        self._width, self._height = size[0] // 2 * 2, size[1] // 2 * 2
        if not self._width or not self._height:
            raise ConfigError(f"A video of {size[0]}x{size[1]} pixels cannot be written.", cure="Use larger pictures.")
        if encoder.name not in av.codecs_available:
            raise ConfigError(f"This FFmpeg cannot write {codec}.", cure="Use codec: h264")
        self._last: int | None = None
        self._key: int | None = None
        self._step = TICKS // 10
        options = {
            "movflags": "frag_keyframe+empty_moov+default_base_moof",
            "frag_duration": str(round(FRAGMENT_S * 1e6)),
            "flush_packets": "1",
        }
        with _storage(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(path), "w", format="mp4", options=options)
        stream = self._container.add_stream(
            encoder.name, rate=25, options={**encoder.options, "crf": str(encoder.crf if crf is None else crf)}
        )
        if not isinstance(stream, VideoStream):
            raise ConfigError(f"{encoder.name} is no video encoder.")
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 250  # key frames are asked for by time; this is only the limit
        self._stream = stream

    def write(self, pixels_HWC: npt.NDArray[np.uint8], seconds: float) -> None:
        """Append a picture that is shown from `seconds` on; a time that does not rise is moved behind the last one.

        Raises:
            StorageFull: there is no room; what was written stays playable.
        """
        pts = round(seconds * TICKS)
        if self._last is not None:
            pts = max(pts, self._last + TICKS // 1000)
            self._step = pts - self._last
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels_HWC[: self._height, : self._width]), "bgr24")
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = pts, Fraction(1, TICKS)
        if self._key is None or pts - self._key >= KEYFRAME_S * TICKS:
            frame.pict_type, self._key = PictureType.I, pts
        self._last = pts
        with _storage(self.path):
            for packet in self._encoded(frame):
                packet.duration = self._step
                self._container.mux(packet)

    def _encoded(self, frame: av.VideoFrame | None) -> list[Any]:
        """Return what the encoder lets out; the threads of this process are as urgent afterwards as they were."""
        if self._stream.name != "libsvtav1" or sys.platform != "linux" or os.sched_getscheduler(0):
            return self._stream.encode(frame)
        try:
            return self._stream.encode(frame)
        finally:
            _calm()

    def close(self) -> None:
        """End the file and put its index in front; where there is no room for that, the file stays as it is.

        Raises:
            StorageFull: the last pictures found no room; those before stay playable.
        """
        try:
            with _storage(self.path):
                for packet in self._encoded(None):
                    packet.duration = self._step
                    self._container.mux(packet)
        finally:
            with _storage(self.path):
                self._container.close()
        try:
            _put_index_in_front(self.path)
        except (StorageFull, Unavailable) as error:
            log.warning("video stays fragmented", path=str(self.path), cause=error.message)

    def abandon(self) -> None:
        """Give the file up after an error; its whole fragments stay playable."""
        try:
            self._container.close()
        except (OSError, av.FFmpegError) as error:
            log.warning("video was cut off", path=str(self.path), cause=str(error))
        _cut_torn_end(self.path)


def _cut_torn_end(path: Path) -> None:
    """Shorten a fragmented mp4 to its last whole fragment (a `moof` box with its `mdat`; ISO/IEC 14496-12, 4.2)."""
    whole = position = 0
    with path.open("r+b") as file:
        length = file.seek(0, 2)
        while position + 8 <= length:
            file.seek(position)
            head = file.read(16)
            size = int.from_bytes(head[:4], "big")
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            if size < 8 or position + size > length:
                break
            position += size
            if head[4:8] in (b"moov", b"mdat"):
                whole = position
        file.truncate(whole)


def _put_index_in_front(path: Path) -> None:
    """Copy the packets into an ordinary mp4 that can be played and sought while it loads."""
    part = path.with_name(f".{path.name}.part")
    try:
        with (
            _storage(part),
            av.open(str(path)) as fragments,
            av.open(str(part), "w", format="mp4", options={"movflags": "faststart", "use_editlist": "0"}) as whole,
        ):
            source = fragments.streams.video[0]
            target = whole.add_stream_from_template(source, opaque=True)
            before, step = None, TICKS // 10
            for packet in fragments.demux(source):
                if packet.dts is not None:
                    step = step if before is None else packet.dts - before
                    before = packet.dts
                    # The last picture of a file is shown for as long as the one before it.
                    packet.duration = packet.duration or step
                    packet.stream = target
                    whole.mux(packet)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Turn what FFmpeg says of a full disk into StorageFull, and of other trouble with the file into Unavailable."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        if error.errno in _FULL:
            raise StorageFull(
                f"There is no room for the video {path.name}.", cure=f"Make room in {path.parent}, or drop the sink."
            ) from None
        raise Unavailable(
            f"The video {path} cannot be written: {(error.strerror or str(error)).lower()}.",
            cure="Choose another path for it.",
        ) from None


def _calm() -> None:
    """Take real-time priority from the threads of this process.

    Where it is root, SVT-AV1 gives itself and its caller the highest one there is, and all that the caller starts later
    inherits it: a busy thread then leaves a processor to nobody, not even to the rest of the machine.
    """
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended
            if os.sched_getscheduler(int(thread.name)) == os.SCHED_FIFO:
                os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))

"""From packets to the frames that are wanted, with as little decoding as gives the same pixels.

Lazy decoding: packets stay undecoded until the sampler wants a frame; then the backlog is decoded up to it. A key
frame makes what is still waiting worthless. That is bit-identical to decoding everything, as long as frames come out
in the order of the packets and a key frame needs nothing before it; where either is in doubt, everything is decoded.

Shape letters: H rows, W columns, C colours (blue, green, red).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event

import av
import numpy as np
import numpy.typing as npt
import structlog
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from sightline.packs.vision.sources.nal_units import CODECS, stands_alone
from sightline.packs.vision.sources.opening import check_size
from sightline.packs.vision.sources.sampling import Sampler, Timeline

log = structlog.get_logger()

INTERPOLATIONS = {
    "area": Interpolation.AREA,
    "bilinear": Interpolation.BILINEAR,
    "fast": Interpolation.FAST_BILINEAR,
}
_LAZY_CODECS = frozenset({"h264", "hevc", "mpeg4", "mjpeg"})
_LONGEST_BACKLOG = 256  # packets: bounds memory and the burst of work where fps is low and key frames are rare
_MOST_DELAYED = 16  # frames that a decoder may hold back (H.264 and H.265: the size of the picture buffer)


@dataclass(frozen=True, slots=True)
class Picked:
    """A frame that the sampler wanted.

    Attributes:
        time_s: mended media time in seconds from the start of the connection.
        stamp_s: the stream's own time stamp in seconds; None where it gave none.
    """

    frame: VideoFrame
    time_s: float
    stamp_s: float | None


class Decoder:
    """Decodes one opened stream; used once, in one thread.

    Args:
        container, stream: what is read.
        timeline: mends the time stamps.
        sampler: says which frames are wanted.
        lazy: decode only what is wanted, where that is safe.
        stopping: ends the iteration.
        monotonic: the receiver's clock.
        undecodable: told the number of packets that could not be decoded.
        received: shown each packet when it comes, before anything is decoded.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        timeline: Timeline,
        sampler: Sampler,
        lazy: bool,
        stopping: Event,
        monotonic: Callable[[], float],
        undecodable: Callable[[int], None],
        received: Callable[[Packet[VideoStream], float], None] | None = None,
    ) -> None:
        codec = stream.codec_context
        self._container = container
        self._stream = stream
        self._timeline = timeline
        self._sampler = sampler
        self._stopping = stopping
        self._monotonic = monotonic
        self._undecodable = undecodable
        self._received = received
        self.lazy = lazy and codec.name in _LAZY_CODECS and not codec.has_b_frames
        self._backlog: list[Packet[VideoStream]] = []
        self._seen_keyframe = False
        self._last_pts: int | None = None
        self._num_to_skip = 0
        self.num_decoded = 0

    def frames(self) -> Iterator[Picked]:
        """Yield the wanted frames in order of presentation.

        Raises:
            av.FFmpegError: the source broke off.
        """
        for packet in self._container.demux(self._stream):
            if self._stopping.is_set():
                return
            received_s = self._monotonic()
            if self._received is not None and packet.size:
                self._received(packet, received_s)
            if self.lazy and packet.size:
                yield from self._take(packet, received_s)
            elif not self.lazy:
                yield from self._decode_all(packet, received_s)

    def _take(self, packet: Packet[VideoStream], received_s: float) -> Iterator[Picked]:
        pts, keyframe = packet.pts, packet.is_keyframe
        if pts is None and self._last_pts is None and not self._backlog:
            # over RTSP the first packet has no stamp yet; if it is a key frame, what follows needs it
            self._backlog.append(packet)
            self._seen_keyframe = keyframe and self._stands_alone(packet)
            return
        in_order = pts is not None and (keyframe or self._last_pts is None or pts > self._last_pts)
        if not in_order or (keyframe and not self._stands_alone(packet)):
            unseen: list[Packet[VideoStream]] = []
            if self._last_pts is None:  # the sampler has not been asked about what waits
                unseen, self._backlog = self._backlog, unseen
            self._give_up("packets out of order" if not in_order else "key frames need earlier frames")
            for each in (*unseen, packet):
                yield from self._decode_all(each, received_s)
            return
        if keyframe:
            self._backlog.clear()
            self._seen_keyframe = True
        self._last_pts = pts
        self._backlog.append(packet)
        time_s = self._time(pts, received_s)
        if not self._seen_keyframe:
            # begun in the middle: nothing can be decoded yet, and what the decoder makes of it would be grey
            self._backlog.clear()
            return
        wanted = self._sampler.wants(time_s, keyframe=keyframe)
        if not wanted and len(self._backlog) < _LONGEST_BACKLOG:
            return
        frames, num_bad = self._decode_backlog()
        if not wanted:
            return
        if frames and frames[-1].pts == pts:
            yield Picked(frames[-1], time_s, self._timeline.stamp_s(pts))
        elif not num_bad:
            # the decoder holds frames back although the header denied it; nothing is lost, it is in step
            self._give_up("frames come late out of the decoder")
            if frames:
                yield Picked(frames[-1], time_s, self._timeline.stamp_s(frames[-1].pts))

    def _decode_backlog(self) -> tuple[list[VideoFrame], int]:
        frames: list[VideoFrame] = []
        num_bad = 0
        for packet in self._backlog:
            found = self._decode(packet)
            num_bad += found is None
            frames = found or frames
        self._backlog.clear()
        return frames, num_bad

    def _give_up(self, reason: str) -> None:
        """Go on with full decoding; the backlog brings the decoder to where we are, its frames were not wanted."""
        log.info("lazy decoding is off", reason=reason, codec=self._stream.codec_context.name)
        self.lazy = False
        self._num_to_skip = _MOST_DELAYED
        self._decode_backlog()

    def _decode_all(self, packet: Packet[VideoStream], received_s: float) -> Iterator[Picked]:
        for frame in self._decode(packet) or ():
            if self._was_passed(frame):
                continue
            time_s = self._time(frame.pts, received_s)
            if self._sampler.wants(time_s):
                yield Picked(frame, time_s, self._timeline.stamp_s(frame.pts))

    def _was_passed(self, frame: VideoFrame) -> bool:
        """Return True for a frame that comes late out of the decoder and whose packet the sampler has seen."""
        if self._num_to_skip and frame.pts is not None and self._last_pts is not None and frame.pts <= self._last_pts:
            self._num_to_skip -= 1
            return True
        self._num_to_skip = 0
        return False

    def _decode(self, packet: Packet[VideoStream]) -> list[VideoFrame] | None:
        """Return the frames that `packet` brings out of the decoder; None, and counted, when it cannot be decoded."""
        try:
            frames = packet.decode()
        except (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.UnknownError, av.error.ArgumentError):
            self._undecodable(1)
            return None
        self.num_decoded += len(frames)
        return frames

    def _stands_alone(self, packet: Packet[VideoStream]) -> bool:
        codec = self._stream.codec_context
        return codec.name not in CODECS or stands_alone(codec.name, bytes(packet), codec.extradata)

    def _time(self, pts: int | None, received_s: float) -> float:
        repaired = self._timeline.num_repaired
        time_s = self._timeline.at(pts, received_s)
        if not repaired and self._timeline.num_repaired:
            log.warning("time stamps are mended", time_s=round(time_s, 3))
        return time_s


class Converter:
    """Turns decoded frames into arrays: one swscale step does size and colour, and its buffer is the array's.

    Args:
        size: width and height in pixels; None keeps the frame's.
        interpolation: a key of INTERPOLATIONS.
        name: of the source, for messages.
    """

    def __init__(self, size: tuple[int, int] | None, interpolation: str, name: str) -> None:
        self._size = size
        self._interpolation = INTERPOLATIONS[interpolation]
        self._reformatter = VideoReformatter()
        self._name = name

    def pixels(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """Return uint8 [H, W, 3], blue first, upright; a buffer of its own.

        Raises:
            InvalidMedia: the frame is larger than anything real.
        """
        check_size(frame.width, frame.height, self._name)
        turns = round(frame.rotation / 90) % 4  # of phones: the picture lies on its side
        width, height = self._size or (None, None)
        if turns % 2:
            width, height = height, width
        # threads=1: swscale would start one for each core
        scaled = self._reformatter.reformat(
            frame, width=width, height=height, format="bgr24", interpolation=self._interpolation, threads=1
        )
        pixels_HWC = np.asarray(scaled.to_ndarray(), np.uint8)
        if turns:
            pixels_HWC = np.rot90(pixels_HWC, turns)
        # no copy unless the picture was turned, or swscale padded its lines (widths that are no multiple of 16)
        return np.ascontiguousarray(pixels_HWC)

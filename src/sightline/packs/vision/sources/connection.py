"""One opened stream, from its first packet to its last, as samples with their clocks.

Knows neither how it was opened nor what happens when it ends: `video` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import av
import structlog
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from sightline.core.errors import InvalidMedia
from sightline.core.plugins import Context, SourceState
from sightline.core.sample import Clocks, Frame, Sample
from sightline.packs.vision.sources.decoding import Converter, Decoder, Picked
from sightline.packs.vision.sources.opening import cause_of
from sightline.packs.vision.sources.packets import KeptPacket, Ring
from sightline.packs.vision.sources.sampling import PacketTimes, Sampler, Timeline
from sightline.packs.vision.sources.watchdog import Watchdog

log = structlog.get_logger()

_USUAL_FPS = 25.0  # where a stream does not tell its rate
_WRONG_CLOCK = timedelta(hours=1)  # a sender that is further off has no set clock, or counts local time


class Connection:
    """One opened container; used once.

    Args:
        container, stream: what is read.
        context: of the source.
        name: for messages, without secrets.
        live: the end is a disconnect, and times are those of receipt.
        fps: most samples per second; None takes every frame.
        converter: makes the pixels.
        lazy: decode only what is wanted, where that is safe.
        fast_decode: leave out the loop filter.
        monotonic: the receiver's clock.
        ring: holds the packets; None: nothing does.
        watchdog: looks at packets and frames; None: nothing does.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        context: Context,
        name: str,
        live: bool,
        fps: float | None,
        converter: Converter,
        lazy: bool,
        fast_decode: bool,
        monotonic: Callable[[], float],
        ring: Ring | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        if fast_decode:
            stream.codec_context.options = {"skip_loop_filter": "all"}
        self._context = context
        self._fps = fps
        self._converter = converter
        self._lazy = lazy
        self._monotonic = monotonic
        self._container = container
        self._stream = stream
        self._name = name
        self._live = live
        self._ring = ring
        self._watchdog = watchdog
        self._bad_clock_told = False
        self._frame_s = usual_frame_s(stream)
        time_base, by_receipt = stream.time_base or Fraction(1), stamps_mean_nothing(container)
        self._timeline = Timeline(time_base, self._frame_s, live=live, by_receipt=by_receipt)
        self._packet_times = PacketTimes(time_base, self._frame_s, live=live, by_receipt=by_receipt)

    @property
    def verdict(self) -> tuple[SourceState, str]:
        """How a connection that gives frames is."""
        return (SourceState.LIVE, "") if self._watchdog is None else self._watchdog.verdict

    @property
    def end_s(self) -> float:
        """Media time at which the last frame ends."""
        return 0.0 if self._timeline.last_s is None else self._timeline.last_s + self._frame_s

    def samples(
        self, epoch: int, base_s: float, opened: datetime | None, *, goes_on: bool = False
    ) -> Iterator[Sample[Frame]]:
        """Yield samples of `epoch`.

        Args:
            epoch: of the samples.
            base_s: added to the media time.
            opened: wall clock at media time 0; None takes the time of receipt.
            goes_on: it is the same file once more.

        Raises:
            av.FFmpegError: a live source broke off.
            Stalled: what a live source sends cannot be decoded.
            InvalidMedia: nothing in a file can be decoded.
        """
        context = self._context

        def received(packet: Packet[VideoStream], received_s: float) -> None:
            time_s = base_s + self._packet_times.at(packet.pts, packet.dts, received_s)
            if self._ring is not None:
                wall = context.now() if opened is None else opened + timedelta(seconds=time_s)
                kept = KeptPacket(bytes(packet), time_s, wall, packet.is_keyframe)
                self._ring.add(kept, received_s if opened is None else time_s)
            if self._watchdog is not None:
                self._watchdog.packet(time_s, received_s, decoder.num_decoded)

        decoder = Decoder(
            self._container,
            self._stream,
            timeline=self._timeline,
            sampler=Sampler(self._fps, self._frame_s),
            lazy=self._lazy and self._fps is not None,
            stopping=context.stopping,
            monotonic=self._monotonic,
            undecodable=lambda num: context.dropped("undecodable", num),
            received=received if self._ring or self._watchdog else None,
        )
        if self._ring is not None:
            codec = self._stream.codec_context
            self._ring.begin(codec.name, codec.extradata, self._frame_s, goes_on=goes_on)
        seq = 0
        frames = decoder.frames()
        while True:
            try:
                picked = next(frames, None)
            except av.FFmpegError as error:
                if self._live:
                    raise
                self._ends_early(cause_of(error))
                break
            if picked is None:
                break
            pts_s = base_s + picked.time_s
            clocks = Clocks(
                pts_s=pts_s,
                monotonic_s=self._monotonic(),
                wall=context.now() if opened is None else opened + timedelta(seconds=pts_s),
                sender=self._sender(picked) if self._live else None,
            )
            payload = Frame(self._converter.pixels(picked.frame))
            if self._watchdog is not None:
                self._watchdog.frame(payload.pixels_HWC, clocks.monotonic_s)
            yield Sample(payload=payload, source=context.source, epoch=epoch, seq=seq, clocks=clocks)
            seq += 1
        if self._live or context.stopping.is_set():
            return
        if not decoder.num_decoded:
            raise InvalidMedia(f"Nothing in {self._name} can be decoded.", cure="Check the file with ffprobe.")
        self._check_end()

    def _check_end(self) -> None:
        """Warn when a file ends before the end that its header promises."""
        stream, container = self._stream, self._container
        promised_s = 0.0
        if stream.duration and stream.time_base:
            promised_s = float(stream.duration * stream.time_base)
        elif container.duration and len(container.streams) == 1:  # Matroska: all streams together
            promised_s = container.duration / 1e6
        missing_s = promised_s - self.end_s
        if missing_s > max(1.0, 2 * self._frame_s):
            self._ends_early(f"{missing_s:.1f} s are missing")

    def _ends_early(self, reason: str) -> None:
        log.warning("video is cut off", name=self._name, at_s=round(self.end_s, 3), reason=reason)

    def _sender(self, picked: Picked) -> datetime | None:
        """Return the time by the sender's clock: RTCP sender reports tie stamps to it (RFC 3550, 6.4.1)."""
        realtime_us = self._container.start_time_realtime
        if not realtime_us or picked.stamp_s is None:
            return None
        try:
            sender = datetime.fromtimestamp(realtime_us / 1e6 + picked.stamp_s, UTC)
        except (OverflowError, OSError, ValueError):
            return None
        off = sender - self._context.now()
        if abs(off) <= _WRONG_CLOCK:
            return sender
        if not self._bad_clock_told:
            self._bad_clock_told = True
            log.warning("the sender's clock is wrong", name=self._name, off_s=round(off.total_seconds()))
        return None


def usual_frame_s(stream: VideoStream) -> float:
    """Return the usual time from frame to frame, as the stream announces it."""
    rate = stream.average_rate or stream.guessed_rate
    return float(1 / rate) if rate and 0.1 <= rate <= 1000 else 1 / _USUAL_FPS


def stamps_mean_nothing(container: InputContainer) -> bool:
    """Return True for the multipart stream of an MJPEG camera: FFmpeg counts 25 fps, whatever really comes."""
    return container.format.name == "mpjpeg"

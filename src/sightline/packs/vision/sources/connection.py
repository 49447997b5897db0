"""One opened stream, from its first packet to its last, as samples with their clocks.

Knows neither how it was opened nor what happens when it ends: `video` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import av
import structlog
from av.container import InputContainer
from av.video.stream import VideoStream

from sightline.core.errors import InvalidMedia
from sightline.core.plugins import Context
from sightline.core.sample import Clocks, Frame, Sample
from sightline.packs.vision.sources.decoding import Converter, Decoder, Picked
from sightline.packs.vision.sources.opening import cause_of
from sightline.packs.vision.sources.sampling import Sampler, Timeline

log = structlog.get_logger()

_USUAL_FPS = 25.0  # where a stream does not tell its rate
_WRONG_CLOCK = timedelta(hours=1)  # a sender that is further off has no set clock, or counts local time


class Connection:
    """One opened container; used once.

    Args:
        context: of the source.
        name: for messages, without secrets.
        live: the end is a disconnect, and times are those of receipt.
        fps: most samples per second; None takes every frame.
        converter: makes the pixels.
        lazy: decode only what is wanted, where that is safe.
        fast_decode: leave out the loop filter.
        monotonic: the receiver's clock.
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
    ) -> None:
        if fast_decode:
            stream.codec_context.options = {"skip_loop_filter": "all"}
        self._context = context
        self._fps = fps
        self._converter = converter
        self._lazy = lazy
        self._monotonic = monotonic
        rate = stream.average_rate or stream.guessed_rate
        self._frame_s = float(1 / rate) if rate and 0.1 <= rate <= 1000 else 1 / _USUAL_FPS
        self._container = container
        self._stream = stream
        self._name = name
        self._live = live
        self._bad_clock_told = False
        # an MJPEG camera's multipart stream has no stamps: FFmpeg counts 25 fps, whatever really comes
        by_receipt = container.format.name == "mpjpeg"
        self._timeline = Timeline(stream.time_base, self._frame_s, live=live, by_receipt=by_receipt)  # type: ignore[arg-type]

    @property
    def end_s(self) -> float:
        """Media time at which the last frame ends."""
        return 0.0 if self._timeline.last_s is None else self._timeline.last_s + self._frame_s

    def samples(self, epoch: int, base_s: float, opened: datetime | None) -> Iterator[Sample[Frame]]:
        """Yield samples of `epoch`.

        Args:
            epoch: of the samples.
            base_s: added to the media time.
            opened: wall clock at media time 0; None takes the time of receipt.
        """
        context = self._context
        decoder = Decoder(
            self._container,
            self._stream,
            timeline=self._timeline,
            sampler=Sampler(self._fps, self._frame_s),
            lazy=self._lazy and self._fps is not None,
            stopping=context.stopping,
            monotonic=self._monotonic,
            undecodable=lambda num: context.dropped("undecodable", num),
        )
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

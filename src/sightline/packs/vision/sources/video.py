"""Video as a source: files, RTSP, HTTP and HLS, webcams; by PyAV.

Knows the configuration, and how a file is played. When a live address is opened again is decided in `live`, what a
frame costs in `decoding`, which frames are taken in `sampling`, how addresses are opened and errors worded in
`opening`, what is kept for clips in `packets`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from typing import BinaryIO, Literal

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from sightline.core.errors import ConfigError, InvalidInput, SightlineError
from sightline.core.plugins import Clip, Context, Source, SourceState
from sightline.core.prediction import JsonObject
from sightline.core.sample import Frame, Sample
from sightline.core.urls import redacted
from sightline.packs.vision.sources.connection import Connection, stamps_mean_nothing
from sightline.packs.vision.sources.decoding import INTERPOLATIONS, Converter
from sightline.packs.vision.sources.live import LiveReading
from sightline.packs.vision.sources.opening import (
    MAX_SIDE_PX,
    Kind,
    explained,
    is_live,
    kind_of,
    open_object,
    open_video,
)
from sightline.packs.vision.sources.packets import Ring
from sightline.packs.vision.sources.probing import probe_stream
from sightline.packs.vision.sources.recording import Recorder
from sightline.packs.vision.sources.remuxing import MEDIA_TYPE, write_mp4
from sightline.packs.vision.sources.watchdog import Watchdog

_LONGEST_OPENING_S = 30.0  # of an address besides its time limit: names are looked up, a first key frame is waited for


@dataclass(kw_only=True)
class VideoSource(Source):
    """Frames of a video file, an RTSP, HTTP or HLS stream or a webcam, sampled by media time.

    A live source that breaks off is opened again, for ever; each time its epoch rises. A file ends.

    Attributes:
        url: path, `rtsp://`, `http://` or another address that FFmpeg reads, or the number of a webcam (`"0"`).
        fps: most frames per second of media time; null takes every frame.
        size: width and height in pixels that frames are scaled to; null keeps theirs.
        live: frames come by themselves, and old ones give way to new ones; null decides by `url`.
        loop: begin a file again when it ends; media time goes on, the epoch rises.
        realtime: play a file as fast as it was taken, as if it were a camera.
        transport: of RTSP: `tcp`, or `udp` where lost packets matter less than delay.
        timeout_s: longest wait for an answer or for the next packet, in seconds.
        retry_max_s: longest wait before a lost source is opened again, in seconds.
        interpolation: how frames are scaled: `area` (best for smaller), `bilinear` or `fast`.
        fast_decode: leave out the decoder's loop filter: about a sixth less CPU for a slightly blockier picture.
        lazy: decode only what leads to a wanted frame, where that gives the same pixels.
        record_url: another address of the same camera, from which clips are made: its best picture, while `url` is the
            small one that is analysed. It is never decoded.
        ring_s: for how many seconds packets are held for clips; 0: no clips.
        ring_mb: most memory for that, in MB.
        frozen_s: after how many seconds of the same picture a live source counts as frozen; 0: never.
    """

    url: str
    fps: float | None = None
    size: tuple[int, int] | None = None
    live: bool | None = None
    loop: bool = False
    realtime: bool = False
    transport: Literal["tcp", "udp"] = "tcp"
    timeout_s: float = 5.0
    retry_max_s: float = 30.0
    interpolation: Literal["area", "bilinear", "fast"] = "area"
    fast_decode: bool = False
    lazy: bool = True
    record_url: str | None = None
    ring_s: float = 30.0
    ring_mb: float = 64.0
    frozen_s: float = 10.0

    def __post_init__(self) -> None:
        if not self.url:
            raise ConfigError("url is empty.", cure="Give a path, an address, or the number of a webcam.")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ConfigError(f"fps is {self.fps}; it must be above 0 and at most 1000.", cure="Leave it out for all.")
        if self.size is not None and not all(0 < side <= MAX_SIDE_PX for side in self.size):
            raise ConfigError(f"size is {list(self.size)}; each side must lie between 1 and {MAX_SIDE_PX}.")
        if not 0.1 <= self.timeout_s <= 600 or not 0.1 <= self.retry_max_s <= 3600:
            raise ConfigError("timeout_s must lie between 0.1 and 600, retry_max_s between 0.1 and 3600.")
        if self.interpolation not in INTERPOLATIONS:
            raise ConfigError(f"interpolation is {self.interpolation!r}; known: {', '.join(INTERPOLATIONS)}.")
        if (self.loop or self.realtime) and kind_of(self.url) is not Kind.FILE:
            raise ConfigError("loop and realtime are for files.", cure="Leave them out for a live source.")
        if not 0 <= self.ring_s <= 3600 or not 1 <= self.ring_mb <= 65536:
            raise ConfigError("ring_s must lie between 0 and 3600, ring_mb between 1 and 65536.")
        if not 0 <= self.frozen_s <= 86400:
            raise ConfigError(f"frozen_s is {self.frozen_s}; it must lie between 0 and 86400.")
        if self.record_url is not None and (not self._is_live_address or not is_live(self.record_url)):
            raise ConfigError("record_url is for live sources: both addresses must be.", cure="Leave it out for files.")

    @property
    def is_live(self) -> bool:
        """What `live` says, or else the address."""
        return self.realtime or is_live(self.url) if self.live is None else self.live

    @property
    def _is_live_address(self) -> bool:
        return self.is_live and kind_of(self.url) is not Kind.FILE

    @property
    def stalls_after_s(self) -> float | None:
        """The time limit, and the time from one wanted frame to the next."""
        return self.timeout_s + self._step_s if self._is_live_address else None

    @property
    def stuck_after_s(self) -> float | None:
        """Longer than opening and waiting for a packet ever take as long as the time limits work."""
        return 4 * self.timeout_s + 2 * self._step_s + _LONGEST_OPENING_S if self._is_live_address else None

    @property
    def _step_s(self) -> float:
        return 0.0 if self.fps is None else 1 / self.fps

    def __repr__(self) -> str:
        shown = {each.name: getattr(self, each.name) for each in fields(self)}
        hidden = {name: value and redacted(value) for name, value in shown.items() if name in {"url", "record_url"}}
        return f"VideoSource({', '.join(f'{name}={value!r}' for name, value in (shown | hidden).items())})"

    def open(self, context: Context) -> None:
        """Get ready; the address itself is opened by `read`, so that a camera may be down."""
        super().open(context)
        self.monotonic: Callable[[], float] = time.monotonic
        self._reading: LiveReading | None = None
        self._ring = Ring(self.ring_s, round(self.ring_mb * (1 << 20))) if self.ring_s else None

    def read(self) -> Iterator[Sample[Frame]]:
        """Yield frames, uint8 [H, W, 3], blue first.

        Raises:
            FileMissing: there is no such file.
            InvalidMedia: the file is no video, or cut off so that nothing can be decoded.
            SourceUnreachable: it does not answer, and it is not live.
        """
        reason = "stopped"
        self.context.state(SourceState.CONNECTING, "")
        recorder = self._recorder()
        try:
            if self._is_live_address:
                if recorder is not None:
                    recorder.start()
                self._reading = self._live_reading()
                yield from self._reading.samples()
            else:
                yield from self._read_to_its_end()
                reason = "stopped" if self.context.stopping.is_set() else "end of file"
        except SightlineError as error:
            reason = error.message
            raise
        finally:
            if recorder is not None:
                recorder.stop()
            if self._ring is not None:
                self._ring.end()
            self.context.state(SourceState.STOPPED, reason)

    def reconnect(self) -> None:
        """Open the live address anew, now.

        Raises:
            InvalidInput: it is a file, or not being read.
        """
        if self._reading is None:
            raise InvalidInput("This source is no live address that is being read.", cure="Change its `url` instead.")
        self._reading.reconnect()

    def clip(self, start: datetime, end: datetime, into: BinaryIO) -> Clip:
        """Write an mp4 of the packets that came from `start` to `end` (UTC), as they came; H.264 or H.265.

        It begins with the key frame at or before `start`. Where less is held than asked for, it is shorter; it never
        holds packets of two connections.

        Raises:
            NotFound: nothing of that time is held any more, or not all of it has come yet.
            InvalidInput: the source holds nothing, or its codec is another.
            InvalidMedia: the packets cannot be understood.
        """
        ring = self._ring
        if ring is None:
            raise InvalidInput("This source holds no packets of which a clip could be made.", cure="Set ring_s: 30")
        piece = ring.piece(start, end, self.context.now() if self.is_live else None)
        write_mp4(piece, into)
        return Clip(start=piece.start, end=piece.end, media_type=MEDIA_TYPE)

    def load(self, file: BinaryIO, name: str, media_type: str) -> Iterator[Sample[Frame]]:  # noqa: ARG002  FFmpeg looks itself
        """Yield the frames of a video that was sent; only plain containers are read, no playlists."""
        container, stream = open_object(file, name)
        with container:
            connection = self._connection(container, stream, name, live=False, ring=None)
            yield from connection.samples(self.context.epoch, 0.0, self.context.now())

    def probe(self) -> JsonObject:
        """Return codec, size, rate, distance of key frames, B frames, decode cost and advice."""
        try:
            container, stream = open_video(self.url, transport=self.transport, timeout_s=self.timeout_s)
            with container:
                facts = probe_stream(container, stream, self.fps, Converter(self.size, self.interpolation, "video"))
        except av.FFmpegError as error:
            raise explained(error, self.url) from None
        return {"url": redacted(self.url), "kind": str(kind_of(self.url)), "live": self.is_live, **facts}

    def _read_to_its_end(self) -> Iterator[Sample[Frame]]:
        context = self.context
        opened, started_s, base_s, epoch = context.now(), self.monotonic(), 0.0, context.epoch
        while not context.stopping.is_set():
            with self._connected(live=False) as connection:
                for sample in connection.samples(epoch, base_s, opened, goes_on=epoch > context.epoch):
                    if epoch == context.epoch and sample.seq == 0:
                        context.state(SourceState.LIVE, "")
                    if self.realtime:
                        context.stopping.wait(max(0.0, started_s + (sample.clocks.pts_s or 0.0) - self.monotonic()))
                    yield sample
                base_s += connection.end_s
            if not self.loop:
                return
            epoch += 1

    def _live_reading(self) -> LiveReading:
        return LiveReading(
            self.context,
            self.url,
            connect=lambda: self._connected(live=True),
            timeout_s=self.timeout_s,
            retry_max_s=self.retry_max_s,
            monotonic=self.monotonic,
        )

    def _recorder(self) -> Recorder | None:
        if self.record_url is None or self._ring is None:
            return None
        return Recorder(
            self.record_url,
            self._ring,
            source=self.context.source,
            stopping=self.context.stopping,
            transport=self.transport,
            timeout_s=self.timeout_s,
            retry_max_s=self.retry_max_s,
            now=self.context.now,
            monotonic=self.monotonic,
        )

    @contextmanager
    def _connected(self, *, live: bool) -> Iterator[Connection]:
        """Open the address for as long as the block lasts."""
        try:
            container, stream = open_video(self.url, transport=self.transport, timeout_s=self.timeout_s)
        except av.FFmpegError as error:
            if live:
                raise
            raise explained(error, self.url) from None
        ring = None if self.record_url else self._ring
        with container:
            yield self._connection(container, stream, redacted(self.url), live=live, ring=ring)

    def _connection(
        self, container: InputContainer, stream: VideoStream, name: str, *, live: bool, ring: Ring | None
    ) -> Connection:
        watchdog = None
        if live:
            announced = stream.average_rate and not stamps_mean_nothing(container)
            watchdog = Watchdog(
                patience_s=self.timeout_s + self._step_s,
                frozen_s=self.frozen_s,
                announced_fps=float(stream.average_rate or 0) if announced else None,
            )
        return Connection(
            container,
            stream,
            context=self.context,
            name=name,
            live=live,
            fps=self.fps,
            converter=Converter(self.size, self.interpolation, name),
            lazy=self.lazy,
            fast_decode=self.fast_decode,
            monotonic=self.monotonic,
            ring=ring,
            watchdog=watchdog,
        )

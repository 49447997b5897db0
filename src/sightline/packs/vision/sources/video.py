"""Video as a source: files, RTSP, HTTP and HLS, webcams; by PyAV.

Knows when to open, pace, give up and come back. What a frame costs is decided in `decoding`, which frames are taken
in `sampling`, how addresses are opened and errors worded in `opening`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import BinaryIO, Literal

import av
import structlog
from av.container import InputContainer
from av.video.stream import VideoStream

from sightline.core.errors import ConfigError, SightlineError
from sightline.core.plugins import Context, Source, SourceState
from sightline.core.prediction import JsonObject
from sightline.core.sample import Frame, Sample
from sightline.core.urls import redacted
from sightline.packs.vision.sources.backoff import Backoff
from sightline.packs.vision.sources.connection import Connection
from sightline.packs.vision.sources.decoding import INTERPOLATIONS, Converter
from sightline.packs.vision.sources.opening import (
    MAX_SIDE_PX,
    Kind,
    cause_of,
    explained,
    is_live,
    is_refusal,
    kind_of,
    open_object,
    open_video,
)
from sightline.packs.vision.sources.probing import probe_stream

log = structlog.get_logger()


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

    @property
    def is_live(self) -> bool:
        """What `live` says, or else the address."""
        return self.realtime or is_live(self.url) if self.live is None else self.live

    def __repr__(self) -> str:
        shown = {each.name: getattr(self, each.name) for each in fields(self)} | {"url": redacted(self.url)}
        return f"VideoSource({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def open(self, context: Context) -> None:
        """Get ready; the address itself is opened by `read`, so that a camera may be down."""
        super().open(context)
        self.monotonic: Callable[[], float] = time.monotonic
        self.backoff = Backoff(self.retry_max_s)

    def read(self) -> Iterator[Sample[Frame]]:
        """Yield frames, uint8 [H, W, 3], blue first.

        Raises:
            FileMissing: there is no such file.
            InvalidMedia: the file is no video, or cut off so that nothing can be decoded.
            SourceUnreachable: it does not answer, and it is not live.
        """
        reason = "stopped"
        self.context.state(SourceState.CONNECTING, "")
        try:
            if self.is_live and kind_of(self.url) is not Kind.FILE:
                yield from self._read_live()
            else:
                yield from self._read_to_its_end()
                reason = "stopped" if self.context.stopping.is_set() else "end of file"
        except SightlineError as error:
            reason = error.message
            raise
        finally:
            self.context.state(SourceState.STOPPED, reason)

    def load(self, file: BinaryIO, name: str, media_type: str) -> Iterator[Sample[Frame]]:  # noqa: ARG002  FFmpeg looks itself
        """Yield the frames of a video that was sent; only plain containers are read, no playlists."""
        container, stream = open_object(file, name)
        with container:
            connection = self._connection(container, stream, name, live=False)
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
        context, name = self.context, redacted(self.url)
        opened, started_s, base_s, epoch = context.now(), self.monotonic(), 0.0, context.epoch
        while not context.stopping.is_set():
            try:
                container, stream = open_video(self.url, transport=self.transport, timeout_s=self.timeout_s)
            except av.FFmpegError as error:
                raise explained(error, self.url) from None
            with container:
                connection = self._connection(container, stream, name, live=False)
                for sample in connection.samples(epoch, base_s, opened):
                    if epoch == context.epoch and sample.seq == 0:
                        context.state(SourceState.LIVE, "")
                    if self.realtime:
                        context.stopping.wait(max(0.0, started_s + (sample.clocks.pts_s or 0.0) - self.monotonic()))
                    yield sample
                base_s += connection.end_s
            if not self.loop:
                return
            epoch += 1

    def _read_live(self) -> Iterator[Sample[Frame]]:
        """Yield frames, connection after connection, until it is stopped, whatever the other side does."""
        context = self.context
        epoch, first_s, told = context.epoch, None, ""
        while not context.stopping.is_set():
            seq, error = 0, None
            try:
                container, stream = open_video(self.url, transport=self.transport, timeout_s=self.timeout_s)
                with container:
                    connection = self._connection(container, stream, redacted(self.url), live=True)
                    now_s = self.monotonic()
                    first_s = now_s if first_s is None else first_s
                    for sample in connection.samples(epoch, now_s - first_s, None):
                        if not seq:
                            context.state(SourceState.LIVE, "")
                            log.info("source is live", source=context.source, url=redacted(self.url), epoch=epoch)
                            told = ""
                        seq += 1
                        self.backoff.good(self.monotonic())
                        yield sample
                if context.stopping.is_set():
                    return
            except (av.FFmpegError, SightlineError, OSError) as failure:
                error = failure
            epoch += bool(seq)
            told = self._wait(error, told)

    def _wait(self, error: Exception | None, told: str) -> str:
        """Report why the connection ended, wait before the next; return the reason, which is logged when it is new."""
        context = self.context
        refused = error is not None and is_refusal(error)
        reason = cause_of(error) if error else "the stream ended"
        wait_s = self.backoff.failed(self.monotonic(), hopeless=refused or isinstance(error, av.HTTPNotFoundError))
        if reason != told:
            log.warning("source is lost", source=context.source, url=redacted(self.url), reason=reason)
        context.state(SourceState.UNAUTHORISED if refused else SourceState.BACKOFF, reason)
        if not context.stopping.wait(wait_s):
            context.state(SourceState.CONNECTING, "")
        return reason

    def _connection(self, container: InputContainer, stream: VideoStream, name: str, *, live: bool) -> Connection:
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
        )

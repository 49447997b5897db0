"""The second input of a camera: demuxed only, never decoded, so that clips have the camera's best picture.

It connects, breaks off and comes back by itself; what happens to it never reaches the input that is analysed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from threading import Event, Thread

import av
import structlog

from sightline.core.errors import SightlineError
from sightline.core.urls import redacted
from sightline.packs.vision.sources.backoff import Backoff
from sightline.packs.vision.sources.connection import stamps_mean_nothing, usual_frame_s
from sightline.packs.vision.sources.opening import cause_of, is_hopeless, is_refusal, open_video
from sightline.packs.vision.sources.packets import KeptPacket, Ring
from sightline.packs.vision.sources.sampling import PacketTimes

log = structlog.get_logger()
_LOOK_S = 0.5  # how often a recorder that waits looks whether it shall end
_GRACE_S = 0.5  # a thread that waits for a packet ends by itself a little later; nobody waits for that


class Recorder:
    """Fills a ring from an address of its own, in a thread of its own.

    Args:
        url: address of the stream.
        ring: takes the packets.
        source: id of the source, for the log.
        stopping: ends it too: the thread that reads the other input may be lost and never call `stop`.
        transport: of RTSP.
        timeout_s: longest wait for an answer or a packet.
        retry_max_s: longest wait before it is opened again.
        now: the time in UTC.
        monotonic: seconds.
    """

    def __init__(
        self,
        url: str,
        ring: Ring,
        *,
        source: str,
        stopping: Event,
        transport: str,
        timeout_s: float,
        retry_max_s: float,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._url = url
        self._ring = ring
        self._source = source
        self._transport = transport
        self._timeout_s = timeout_s
        self._now = now
        self._monotonic = monotonic
        self._backoff = Backoff(retry_max_s)
        self._ending = Event()
        self._stopping = stopping
        self._told: str | None = None
        self._thread = Thread(target=self._work, name=f"record-{source}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is held stays in the ring."""
        self._ending.set()
        self._thread.join(_GRACE_S)

    def _ends(self) -> bool:
        return self._ending.is_set() or self._stopping.is_set()

    def _work(self) -> None:
        while not self._ends():
            error: Exception | None = None
            try:
                self._record()
            except (av.FFmpegError, SightlineError, OSError, ValueError) as failure:
                error = failure
            self._ring.end()
            if self._ends():
                return
            reason = cause_of(error) if error else "the stream ended"
            self._tell(reason)
            refused = error is not None and is_refusal(error)
            hopeless = error is not None and is_hopeless(error)
            until_s = self._monotonic() + self._backoff.failed(self._monotonic(), hopeless=hopeless, refused=refused)
            while not self._ends() and (left_s := until_s - self._monotonic()) > 0:
                self._ending.wait(min(left_s, _LOOK_S))

    def _record(self) -> None:
        container, stream = open_video(self._url, transport=self._transport, timeout_s=self._timeout_s)
        with container:
            codec, frame_s = stream.codec_context, usual_frame_s(stream)
            self._ring.begin(codec.name, codec.extradata, frame_s)
            by_receipt = stamps_mean_nothing(container)
            times = PacketTimes(stream.time_base or Fraction(1), frame_s, live=True, by_receipt=by_receipt)
            for packet in container.demux(stream):
                if self._ends():
                    return
                if not packet.size:
                    continue
                received_s = self._monotonic()
                self._tell("")
                self._backoff.good(received_s)
                time_s = times.at(packet.pts, packet.dts, received_s)
                self._ring.add(KeptPacket(bytes(packet), time_s, self._now(), packet.is_keyframe), received_s)

    def _tell(self, reason: str) -> None:
        """Log how the input stands, when that is new."""
        if reason == self._told:
            return
        self._told = reason
        address = redacted(self._url)
        if reason:
            log.warning("record input is lost", source=self._source, url=address, reason=reason)
        else:
            log.info("record input is live", source=self._source, url=address)

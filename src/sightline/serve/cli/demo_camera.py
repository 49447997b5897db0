"""A camera for the demo that is switched off now and then: MPEG-TS over HTTP, from a clip that begins again and again.

It is a real camera to those who read it: packets come at their time, and while it is off nobody listens at its port.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

_TICKS = 90_000  # a second; the clock of MPEG
_POLL_S = 0.1


class FaultyCamera:
    """Loops a clip for `on_s` seconds, is away for `off_s` seconds, and so on, on a port of the loopback.

    Args:
        clip: an H.264 file without B frames.
        on_s: how long it works.
        off_s: how long it does not.
    """

    def __init__(self, clip: Path, *, on_s: float = 40.0, off_s: float = 8.0) -> None:
        self._clip = clip
        self._on_s = on_s
        self._off_s = off_s
        self._closing = Event()
        self._off = Event()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/gate"
        self._thread = Thread(target=self._work, name="faulty-camera", daemon=True)

    def start(self) -> None:
        """Switch it on for the first time."""
        self._thread.start()

    def close(self) -> None:
        """Switch it off for good."""
        self._closing.set()
        self._off.set()
        self._thread.join(5)

    def _work(self) -> None:
        camera = self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                camera._send(self.wfile)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Doors(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                """Say nothing: who looked has gone."""

        while not self._closing.is_set():
            self._off.clear()
            with Doors(("127.0.0.1", self.port), Door) as server:
                Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True).start()
                self._closing.wait(self._on_s)
                self._off.set()
                server.shutdown()
            self._closing.wait(self._off_s)

    def _send(self, file: Any) -> None:
        """Write packets at their time until it is switched off."""
        import av  # 60 ms to import, and only the demo needs it

        with (
            av.open(file, "w", format="mpegts", options={"flush_packets": "1"}) as container,
            av.open(str(self._clip)) as clip,
        ):
            stream = container.add_stream_from_template(clip.streams.video[0])
            begin_s = time.monotonic()
            for at_s, packet in self._packets(clip):
                if self._off.wait(max(0.0, begin_s + at_s - time.monotonic())):
                    return
                packet.stream = stream
                container.mux(packet)

    def _packets(self, clip: Any) -> Iterator[tuple[float, Any]]:
        """Yield the packets of the clip again and again, with stamps that go on, and when each is due, in seconds."""
        from fractions import Fraction

        base = 0
        while True:
            clip.seek(0)
            end = base
            for packet in clip.demux(video=0):
                if packet.pts is None or packet.dts is None:
                    continue
                scale = float(packet.time_base) * _TICKS
                packet.pts, packet.dts = base + round(packet.pts * scale), base + round(packet.dts * scale)
                packet.time_base = Fraction(1, _TICKS)
                end = max(end, packet.dts + round((packet.duration or 0) * scale))
                yield packet.dts / _TICKS, packet
            base = end

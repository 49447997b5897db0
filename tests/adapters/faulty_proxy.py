"""A proxy before an HTTP server that breaks a share of the requests, each in one of six ways."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread, Timer
from typing import Any
from urllib.parse import urlsplit

FAULTS = ("refused", "unanswered", "cut", "stalled", "500", "503")
"""Nothing is passed on; passed on, but no answer; half an answer; no answer for long; an error in its place."""


class FaultyProxy:
    """Passes requests on to `url`; `address` is where it listens.

    Attributes:
        share: of the requests, 0 to 1, that break; may be changed at any time.
        faults: the ways in which they do; also `damaged`: one byte of the answer is another one.
        counts: how often each of them happened, and `passed`.
        breaks_once: each request that was not seen yet breaks, and none that was.
        damages_puts: one byte of each body that is sent is another one.
    """

    def __init__(self, url: str, *, share: float = 0.3, stall_s: float = 3.0, seed: int = 7) -> None:
        self.share, self.stall_s = share, stall_s
        self.faults: tuple[str, ...] = FAULTS
        self.counts: Counter[str] = Counter()
        self.breaks_once = self.damages_puts = False
        self._seen: set[tuple[str, str, str]] = set()
        self.target = urlsplit(url).netloc
        self.random = random.Random(seed)  # noqa: S311
        proxy = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with suppress(OSError):
                    super().handle_one_request()
                    return
                self.close_connection = True

            def pass_on(self) -> None:
                proxy.pass_on(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def pass_on(self, door: BaseHTTPRequestHandler) -> None:
        """Answer one request, or break it."""
        body = door.rfile.read(int(door.headers.get("Content-Length", 0)))
        if self.damages_puts:
            body = _damaged(body)
        fault = self.random.choice(self.faults) if self._breaks(door) else "passed"
        self.counts[fault] += 1
        if fault in {"refused", "stalled"}:
            time.sleep(self.stall_s if fault == "stalled" else 0)
            return _cut(door)
        if fault in {"500", "503"}:
            return _answer(door, int(fault), {}, b"broken on purpose")
        with closing(HTTPConnection(self.target, timeout=60)) as server:
            server.putrequest(door.command, door.path, skip_host=True, skip_accept_encoding=True)
            for name, value in door.headers.items():
                server.putheader(name, value)
            server.endheaders(body)
            answer = server.getresponse()
            data, heads = answer.read(), dict(answer.getheaders())
        if fault == "unanswered":
            return _cut(door)
        data = _damaged(data) if fault == "damaged" else data
        return _answer(door, answer.status, heads, data, cut=fault == "cut")

    def after(self, wait_s: float, *, share: float) -> None:
        """Change the share in a while."""
        Timer(wait_s, setattr, [self, "share", share]).start()

    def _breaks(self, door: BaseHTTPRequestHandler) -> bool:
        request = (door.command, door.path, door.headers.get("Range", ""))
        is_new = request not in self._seen
        self._seen.add(request)
        return (self.breaks_once and is_new) or self.random.random() < self.share

    @contextmanager
    def running(self) -> Iterator[FaultyProxy]:
        """Listen while the block runs."""
        thread = Thread(target=self._server.serve_forever, args=[0.05], daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _answer(
    door: BaseHTTPRequestHandler, status: int, heads: dict[str, str], data: bytes, *, cut: bool = False
) -> None:
    door.send_response_only(status)
    length = heads.get("Content-Length") if door.command == "HEAD" else None
    for name, value in heads.items():
        if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
            door.send_header(name, value)
    if status != 204:
        door.send_header("Content-Length", length or str(len(data)))
    door.end_headers()
    if door.command == "HEAD":
        return None
    if cut:
        door.wfile.write(data[: len(data) // 2])
        return _cut(door)
    door.wfile.write(data)
    return None


def _cut(door: BaseHTTPRequestHandler) -> None:
    """End the connection in the middle of things."""
    door.close_connection = True
    with suppress(OSError):
        door.connection.shutdown(socket.SHUT_RDWR)


def _damaged(data: bytes) -> bytes:
    is_ours = len(data) >= 9 and not data.startswith((b"<", b"{"))  # no message of S3, no checksum
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:] if is_ours else data

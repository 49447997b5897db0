"""Cameras that speak HTTP, in this process: what they send, and what goes wrong with it, is for the test to say."""

from __future__ import annotations

import base64
import contextlib
import io
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from PIL import Image

Answer = Callable[[BaseHTTPRequestHandler], None]


class HttpCamera:
    """A server on a free port; `answer` is called for each GET, in a thread of its own."""

    def __init__(self, answer: Answer) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=lambda: self._server.serve_forever(0.05))
        self.ended = Event()

    def url(self, path: str = "/video.cgi", user: str = "") -> str:
        return f"http://{user and user + '@'}127.0.0.1:{self._server.server_port}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class MjpegCamera(HttpCamera):
    """Sends a picture every few hundredths of a second, as multipart.

    Args:
        frames_each: pictures on a connection, which then ends; 0: for ever.
        pause_s: from picture to picture.
        status: what every request is answered with, where that is not 200.
        password: of the user `viewer`; empty: none is asked for.

    Attributes:
        still: while it is set, every picture is the same.
        garbage: while it is set, what is sent is no picture.
        num_requests: connections until now.
    """

    def __init__(self, *, frames_each: int = 0, pause_s: float = 0.04, status: int = 200, password: str = "") -> None:
        super().__init__(self._answer)
        self.still, self.garbage = Event(), Event()
        self.num_requests = 0
        self._frames_each = frames_each
        self._pause_s = pause_s
        self._status = status
        self._password = password
        self._shown = 0

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.num_requests += 1
        wanted = "Basic " + base64.b64encode(f"viewer:{self._password}".encode()).decode()
        status = 401 if self._password and request.headers.get("Authorization") != wanted else self._status
        request.send_response(status)
        if status != 200:
            request.send_header("WWW-Authenticate", 'Basic realm="camera"')
            request.end_headers()
            return
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        request.end_headers()
        num = 0
        while not self.ended.is_set() and (not self._frames_each or num < self._frames_each):
            data = self._picture()
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            request.wfile.write(head.encode() + data + b"\r\n")
            num += 1
            time.sleep(self._pause_s)

    def _picture(self) -> bytes:
        if self.garbage.is_set():
            return b"\xff\xd8\xff\xdb" + bytes(500) + b"\xff\xd9"
        self._shown += not self.still.is_set()
        buffer = io.BytesIO()
        Image.new("RGB", (64, 48), (self._shown % 251,) * 3).save(buffer, "JPEG")
        return buffer.getvalue()

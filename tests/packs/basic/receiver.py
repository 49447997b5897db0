"""A real receiver of webhooks, which behaves as it is told."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


class Receiver:
    """Listens on a free port of the loopback, or on `port`.

    Attributes:
        answer: given the number of the request, from 0, returns its status; or a function that does all by itself.
        messages: headers (lower case) and body of each request, whatever was answered.
        paths: where each of these was sent to.
        taken: bodies that were answered with 2xx, as JSON.
    """

    def __init__(
        self, port: int = 0, answer: Callable[[int], int] = lambda _: 204, tls: ssl.SSLContext | None = None
    ) -> None:
        self.answer = answer
        self.behave: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.headers: dict[str, str] = {}
        self.messages: list[tuple[dict[str, str], str]] = []
        self.paths: list[str] = []
        self.taken: list[dict[str, Any]] = []
        self.over = Event()
        outer = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer._take(self)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Door)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"])).decode()
        number = len(self.messages)
        self.paths.append(request.path)
        self.messages.append(({name.lower(): value for name, value in request.headers.items()}, body))
        if self.behave is not None:
            self.behave(request)
            return
        status = self.answer(number)
        if 200 <= status < 300:
            self.taken.append(json.loads(body))
        request.send_response(status)
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.send_header("content-length", "0")
        request.end_headers()

    @property
    def types(self) -> list[str]:
        """Short types of what was taken, in order."""
        return [each["type"].removeprefix("io.sightline.").removesuffix(".v1") for each in self.taken]

    @property
    def ids(self) -> list[str]:
        """Ids of what was taken, in order."""
        return [each["id"] for each in self.taken]

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiving(
    port: int = 0, answer: Callable[[int], int] = lambda _: 204, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """Listen until the block ends."""
    receiver = Receiver(port, answer, tls)
    try:
        yield receiver
    finally:
        receiver.close()


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.01)

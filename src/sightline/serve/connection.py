"""One HTTP connection: uvicorn's, with bounds on how long a client keeps it waiting and how much it makes it hold.

uvicorn leaves that to a proxy in front. Here a head that never ends, a head without bound, and an answer that nobody
fetches cost the client its connection; what cannot be read as HTTP is told in the form of all other errors.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from sightline.core.errors import HeadTooLarge, InvalidInput, RequestTimeout, SightlineError
from sightline.serve.problems import PROBLEM, rendered, status_of

_MOST_URL = 16 << 10  # bytes
_MOST_HEAD = 64 << 10
_MOST_HEADERS = 100
_MOST_SOCKET_LINE = 8000
_MOST_PIPELINED = 100  # requests that wait for the answer to the one before


class Connection(HttpToolsProtocol):
    """Speaks HTTP/1.1 with one client.

    Attributes:
        patience_s: in which a head must have arrived; an answer of which nothing is taken for so long is given up.
    """

    patience_s: ClassVar[float] = 30.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and give the client who says nothing as long as one who has been answered."""
        super().connection_made(transport)
        self._in_head = False
        self._num_headers = self._head_bytes = 0
        self._refusal: SightlineError | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._unsent_timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """End, with all timers."""
        self._unset_keepalive_if_required()
        self._stop_head_timer()
        self._stop_unsent_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of heads and bodies."""
        was_in_head = self._in_head
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if was_in_head:  # a line that has no end comes to no callback
            self._head_bytes += len(data)
            if self._head_bytes > 2 * _MOST_HEAD:
                self._refuse(HeadTooLarge("The head of the request is longer than 64 KiB."))
                return
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.patience_s, self._head_is_late)

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._in_head = True
        self._num_headers = self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        super().on_url(url)
        if len(self.url) > _MOST_URL:
            self._refusal = HeadTooLarge("The address is longer than 16 KiB.", cure="Send it in the body.")
            raise self._refusal

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those behind a body count for nothing."""
        if not self._in_head:
            return
        self._num_headers += 1
        self._head_bytes += len(name) + len(value)
        if self._num_headers > _MOST_HEADERS or self._head_bytes > _MOST_HEAD:
            self._refusal = HeadTooLarge(f"The request has more than {_MOST_HEADERS} headers, or 64 KiB of them.")
            raise self._refusal
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head."""
        self._in_head = False
        self._stop_head_timer()
        if len(self.pipeline) >= _MOST_PIPELINED:
            self.transport.abort()  # an error would be taken for the answer to one of those that wait
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body: where nothing waits it is passed on as it is, for a large one is costly to copy."""
        cycle: Any = self.cycle  # the type of its body is wider here
        if self.parser.should_upgrade() or cycle.response_complete:
            super().on_body(body)
        elif not cycle.body:
            cycle.body = body
            cycle.message_event.set()
        else:
            if isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)  # what grows by many small parts must not be copied for each
            super().on_body(body)

    def handle_websocket_upgrade(self) -> None:
        """Give the connection to the WebSocket, whose parser leaves a client waiting for ever after a long line."""
        longest = max((len(name) + len(value) for name, value in self.headers), default=0)
        if max(longest, len(self.url)) > _MOST_SOCKET_LINE:
            self._refuse(HeadTooLarge("A line of the head is longer than 8 KB, which WebSockets do not take."))
            return
        super().handle_websocket_upgrade()

    def on_response_complete(self) -> None:
        """Go on to the next request, or see that the last answer is fetched."""
        super().on_response_complete()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._watch_unsent()

    def pause_writing(self) -> None:
        """Wait for a client that reads slower than we write."""
        super().pause_writing()
        self._watch_unsent()

    def resume_writing(self) -> None:
        """Go on: it has read."""
        self._stop_unsent_timer()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection on which nothing comes; not even the last answer is fetched, maybe."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - what uvicorn would say
        """Refuse what cannot be read, as a problem."""
        self._refuse(self._refusal or InvalidInput("This is no HTTP request.", cure="Speak HTTP/1.1."))

    def _head_is_late(self) -> None:
        self._refuse(RequestTimeout(f"The head of the request did not arrive within {self.patience_s:g} seconds."))

    def _refuse(self, error: SightlineError) -> None:
        """Tell the client what is wrong, and hang up."""
        if self.transport.is_closing():
            return
        self._stop_head_timer()
        request_id = uuid4().hex
        body = rendered(error, instance="", request_id=request_id)
        head: list[tuple[bytes, bytes]] = [
            *self.server_state.default_headers,
            (b"content-type", PROBLEM),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%s: %s\r\n" % line for line in head)
        self.transport.write(b"".join((STATUS_LINE[status_of(error)], lines, b"\r\n", body)))
        self.transport.close()

    def _watch_unsent(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._stop_unsent_timer()
        self._unsent_timer = self.loop.call_later(self.patience_s, self._look_at_unsent)

    def _look_at_unsent(self) -> None:
        """Hang up on a client that has fetched nothing since the last look."""
        self._unsent_timer = None
        if self.transport.get_write_buffer_size() >= self._unsent:
            self.transport.abort()
        else:
            self._watch_unsent()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_unsent_timer(self) -> None:
        if self._unsent_timer is not None:
            self._unsent_timer.cancel()
            self._unsent_timer = None

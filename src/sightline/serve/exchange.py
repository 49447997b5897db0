"""One HTTP request and its answer, below any framework: what the raw doors are written with.

A framework's request costs more than a small model. Here a header is looked up when somebody asks for it, a body is
joined once, and nothing is validated that nobody reads.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from threading import Event as Flag
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl
from uuid import uuid4

from sightline.core.access import Caller
from sightline.core.codec import to_json
from sightline.core.errors import Cancelled, DeadlineExceeded, InvalidInput, TooLarge
from sightline.engine.call import Call
from sightline.serve.bodies import read_document

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

T = TypeVar("T")
JSON = b"application/json"
TIMEOUT_HEADER = b"x-request-timeout-ms"
"""How long the caller wants to wait; a model that has not begun by then does not begin."""

_SAFE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_SLOWEST = 16 << 10  # bytes a second of a long body; slower than any line on which somebody would send it


def _nothing() -> None:
    return None


class Exchange:
    """A request that came in, and the one answer to it.

    Attributes:
        id: request id: the caller's own `X-Request-Id` where it is a plain word.
        route: pattern of the path, for numbers and logs; the handler sets it.
        caller: who asks.
        call: deadline and the flag of a caller who left; models that ran and times spent are noted in it.
        case: the case that was asked.
        code: of the problem that was told; empty for none.
        audited: what is noted by the audit although the scope of its path does not say so; empty: nothing.
        status: of the answer; 0 before it.
        unread: True while a part of the body may still be on its way.
    """

    __slots__ = (
        "_body", "_freed", "_headers", "_query", "_receive", "_send", "_watcher", "audited", "begin_s", "bytes_in",
        "bytes_out", "call", "caller", "case", "code", "id", "limit", "method", "path", "route", "scope", "status",
        "timeout_s", "unread",
    )  # fmt: skip

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        limit: int,
        timeout_s: float,
        deadline_s: float,
        freed: Callable[[], None] = _nothing,
    ) -> None:
        self.begin_s = time.monotonic()
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.limit = limit
        self.timeout_s = timeout_s
        self.route = "other"
        self.case = ""
        self.code = ""
        self.audited = ""
        self.caller = Caller()
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self._receive = receive
        self._send = send
        self._freed = freed
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.unread = b"transfer-encoding" in self._headers or self._headers.get(b"content-length", b"0") != b"0"
        self._query: dict[str, str] | None = None
        self._body: bytes | None = None
        self._watcher: asyncio.Task[None] | None = None
        given = self._headers.get(b"x-request-id")
        self.id = given.decode("ascii") if given and _SAFE_ID.fullmatch(given) else uuid4().hex
        self.call = Call(deadline_s=self.begin_s + deadline_s, cancelled=Flag())

    def header(self, name: bytes) -> bytes | None:
        """Return a header by its lower-case name."""
        return self._headers.get(name)

    def text_header(self, name: bytes) -> str:
        """Return a header as text, empty when it is absent."""
        return (self._headers.get(name) or b"").decode("latin-1")

    @property
    def media_type(self) -> str:
        """Type of the body without its parameters, lower case; empty when the caller did not say."""
        return self.text_header(b"content-type").partition(";")[0].strip().lower()

    @property
    def query(self) -> dict[str, str]:
        """Parameters behind `?`; of several of one name the last."""
        if self._query is None:
            text = self.scope.get("query_string", b"").decode("latin-1")
            try:
                self._query = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
            except ValueError:
                raise InvalidInput("The address has more than 100 parameters.") from None
        return self._query

    def set_deadline(self) -> None:
        """Take the caller's own deadline where one is given and is sooner.

        Raises:
            InvalidInput: it is no number of milliseconds.
        """
        given = self._headers.get(TIMEOUT_HEADER)
        if given is None:
            return
        if not given.isdigit() or len(given) > 9:
            raise InvalidInput(
                "X-Request-Timeout-Ms is no number of milliseconds.", cure="Send a whole number, for instance 500."
            )
        self.shorten_deadline(int(given) / 1000)

    def shorten_deadline(self, seconds: float) -> None:
        """Wait no longer than `seconds` from the request's beginning."""
        old = self.call
        sooner = self.begin_s + seconds
        if old.deadline_s is None or sooner < old.deadline_s:
            self.call = Call(deadline_s=sooner, cancelled=old.cancelled, versions=old.versions, spans=old.spans)

    async def body(self) -> bytes:
        """Read the body.

        Raises:
            TooLarge: it is longer than the limit; the rest is not read.
            DeadlineExceeded: it did not arrive in time.
            Cancelled: the caller left.
        """
        if self._body is not None:
            return self._body
        declared = self._headers.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > self.limit:
            raise self.too_large()
        self._body = await self._in_time(self._joined())
        self.unread = False
        self.bytes_in = len(self._body)
        return self._body

    async def receive_counted(self) -> Message:
        """Receive for an application behind; no more bytes than the limit.

        Raises:
            TooLarge: they are more.
            DeadlineExceeded: the body did not arrive in time.
        """
        message = await (self._in_time(self._receive()) if self.unread else self._receive())
        if message["type"] == "http.request":
            self.bytes_in += len(message.get("body", b""))
            if self.bytes_in > self.limit:
                raise self.too_large()
            self.unread = bool(message.get("more_body"))
        return message

    async def pieces(self, most: int, setting: str) -> AsyncIterator[bytes]:
        """Yield the body as it comes, for what need not fit into memory: a piece that was yielded counts no more.

        Args:
            most: bytes of the whole.
            setting: that says so, for the message.

        Raises:
            TooLarge: it is longer; where the head says so, before a byte of it is read.
            DeadlineExceeded: it comes slower than 16 KiB a second, beyond the time that any body has.
            Cancelled: the caller left.
        """
        declared = self._headers.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > most:
            raise self.too_large(most, setting)
        waited_s, more = 0.0, True
        while more:
            begin_s = time.monotonic()
            left_s = self.timeout_s + self.bytes_in / _SLOWEST - waited_s
            try:
                async with asyncio.timeout(max(left_s, 0.001)):
                    message = await self._receive()
            except TimeoutError:
                raise DeadlineExceeded("The body arrives too slowly.", cure="Send faster.") from None
            waited_s += time.monotonic() - begin_s  # that we could not take more is not the fault of who sends
            self._freed()
            if message["type"] == "http.disconnect":
                self._leave()
                raise Cancelled("The caller left before the request had arrived.")
            piece = message.get("body", b"")
            self.bytes_in += len(piece)
            if self.bytes_in > most:
                raise self.too_large(most, setting)
            self.unread = more = bool(message.get("more_body"))
            if piece:
                yield piece

    async def json(self) -> Any:
        """Read the body as JSON that says what is wanted; whoever takes tensors reads the body itself.

        Raises:
            InvalidInput: it is none, or too much.
        """
        return read_document(await self.body())

    def too_large(self, most: int | None = None, setting: str = "server.max_body_mb") -> TooLarge:
        """Return the error of a body beyond the limit."""
        limit = self.limit if most is None else most
        return TooLarge(f"The body is longer than {limit >> 20} MiB.", cure=f"Send less, or raise {setting}.")

    def watch(self) -> None:
        """From now on notice when the caller leaves, and set `call.cancelled` then; the body has been read."""
        if self._watcher is None:
            self._watcher = asyncio.ensure_future(self._until_gone())

    def unwatch(self) -> None:
        """Stop looking whether the caller is there."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    @property
    def gone(self) -> bool:
        """True when the caller left, as far as anybody looked."""
        return self.call.cancelled is not None and self.call.cancelled.is_set()

    async def answer(
        self,
        status: int,
        body: bytes | bytearray = b"",
        media_type: bytes = JSON,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        more: bool = False,
    ) -> None:
        """Send the answer, whole; with `more` an empty part ends it, which the caller sends."""
        await self.begin(
            status,
            [(b"content-type", media_type), (b"content-length", str(len(body)).encode()), *headers],
        )
        await self.send_part(bytes(body) if isinstance(body, bytearray) else body, more=more)

    async def answer_json(self, value: Any, status: int = 200) -> None:
        """Send `value` as JSON."""
        await self.answer(status, to_json(value))

    async def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send status and headers of an answer in parts."""
        self.status = status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, (b"x-request-id", self.id.encode())],
            }
        )

    async def send_part(self, body: bytes, *, more: bool = True) -> None:
        """Send a part of the answer, the last one without `more`."""
        self.bytes_out += len(body)
        if self.method == "HEAD":
            body = b""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def discard(self, seconds: float) -> None:
        """Read what is left of the body, for a moment, and keep nothing of it.

        A connection that is closed while bytes come in is reset, and who sends them may never see the answer.
        """
        try:
            async with asyncio.timeout(seconds):
                while self.unread:
                    message = await self._receive()
                    self.unread = message["type"] == "http.request" and bool(message.get("more_body"))
        except TimeoutError:
            return

    async def _in_time(self, arriving: Awaitable[T]) -> T:
        """Wait for something of the body."""
        try:
            async with asyncio.timeout(max(self.begin_s + self.timeout_s - time.monotonic(), 0.001)):
                return await arriving
        except TimeoutError:
            raise DeadlineExceeded(
                f"The body did not arrive within {self.timeout_s:g} seconds.", cure="Send faster."
            ) from None

    async def _joined(self) -> bytes:
        """Read all parts, and no byte beyond the limit is kept."""
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._leave()
                raise Cancelled("The caller left before the request had arrived.")
            part = message.get("body", b"")
            size += len(part)
            if size > self.limit:
                raise self.too_large()
            parts.append(part)
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._leave()

    def _leave(self) -> None:
        if self.call.cancelled is not None:
            self.call.cancelled.set()

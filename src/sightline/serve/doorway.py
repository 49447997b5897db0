"""What every request passes, whichever door it wants: who asks, how long it took, what is logged, how errors look.

Hot doors are raw functions found by `find`; everything else goes on to the application behind. Both are admitted,
counted and logged here, in one place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import structlog
from psutil import virtual_memory

from sightline.core.access import RequestRow
from sightline.core.errors import Cancelled, DeadlineExceeded, Forbidden, SightlineError, Unavailable
from sightline.engine.pipeline import described
from sightline.serve.auth.scopes import takes_query_token
from sightline.serve.bodies import Bodies
from sightline.serve.cors import Cors
from sightline.serve.errors import cure
from sightline.serve.exchange import App, Exchange, Message, Receive, Scope, Send
from sightline.serve.live.bells import MAY_STAY
from sightline.serve.problems import PROBLEM, ours, problem_headers, rendered, status_of

if TYPE_CHECKING:
    from sightline.serve.platform import Platform
    from sightline.serve.rpc.server import RpcServer

log = structlog.get_logger()
Handler: TypeAlias = Callable[[Exchange], Awaitable[None]]
_MIB = 1 << 20
_MOST_BODIES = 16  # of the largest size, and no more than a quarter of the memory
_DISCARD_S = 2.0  # how long a client that was refused may go on sending until it looks at the answer
_QUIET = frozenset(  # asked all day, by machines and by pages
    {"/livez", "/readyz", "/health", "/metrics", "/health/stream", "/api/v1/log", "/api/v1/sources", "/api/v1/system"}
)
_EXPECTED = (200, 503)  # of those: well, and not well, which the state itself has logged
_ENDLESS = frozenset({"/stream", "/stream.mjpeg"})  # answered as long as somebody listens: that is no latency


class Doorway:
    """The ASGI application.

    Args:
        platform: what all doors share.
        find: returns the raw handler of a request, or None.
        socket: answers WebSockets.
        rest: the application for all other requests.
    """

    def __init__(self, platform: Platform, find: Callable[[Exchange], Handler | None], socket: App, rest: App) -> None:
        self._platform = platform
        self._find = find
        self._socket = socket
        self._rest = rest
        server = platform.context.settings.server
        self._limit = server.max_body_mb * _MIB
        self._bodies = Bodies(max(self._limit, min(_MOST_BODIES * self._limit, virtual_memory().total // 4)))
        self._body_timeout_s = server.body_timeout_s
        self._deadline_s = server.deadline_s
        self._cors = Cors(platform.host, server.cors_origins, keyless=not platform.needs_keys)
        self._meter = platform.context.meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Open and close the platform, and gRPC beside it, with the server."""
        platform = self._platform
        server = platform.context.settings.server
        rpc: RpcServer | None = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await asyncio.to_thread(platform.open)
                    if server.grpc_port is not None:
                        from sightline.serve.rpc.server import RpcServer

                        rpc = RpcServer(platform, self._bodies)
                        platform.grpc_port = await rpc.start(platform.host, server.grpc_port)
                except Exception as error:  # noqa: BLE001 - told to the server, which ends with it
                    platform.failure = error
                    await asyncio.to_thread(platform.close)
                    await send({"type": "lifespan.startup.failed", "message": _said(error)})
                    return
                platform.heed_signals()
                await send({"type": "lifespan.startup.complete"})
            else:
                if rpc is not None:
                    await rpc.stop()
                await asyncio.to_thread(platform.close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = self._cors.allowed(scope)
        body = self._bodies.of(receive)
        exchange = Exchange(
            scope,
            body.receive,
            self._cors.sender(send, origin) if origin else send,
            limit=self._limit,
            timeout_s=self._body_timeout_s,
            deadline_s=self._deadline_s,
            freed=body.end,
        )
        if exchange.method == "OPTIONS" and exchange.header(b"access-control-request-method"):
            await exchange.answer(204, headers=self._cors.preflight(origin))
            return
        platform = self._platform
        platform.begin()
        stranger = origin is None and exchange.header(b"origin") is not None
        try:
            with platform.tracer.request(exchange):
                await self._answered(exchange, stranger=stranger)
        finally:
            platform.end()
            body.end()
            self._recorded(exchange)

    async def _answered(self, exchange: Exchange, *, stranger: bool) -> None:
        """Let the right handler answer, and answer its errors."""
        try:
            if stranger and exchange.method not in ("GET", "HEAD"):
                # A browser hides the answer from such a page, but would have carried out what it asked for.
                raise Forbidden("Pages of this origin may not ask.", cure="Add it to server.cors_origins.")
            if self._cors.is_disguised(exchange.header(b"host")):
                raise _disguised()
            exchange.set_deadline()
            platform = self._platform
            shown = exchange.header(b"authorization"), exchange.header(b"x-api-key") or self._token(exchange)
            exchange.caller = await platform.admitted(exchange.method, exchange.path, *shown)
            if exchange.path in _ENDLESS:
                exchange.scope[MAY_STAY] = partial(platform.may_stay, exchange.path, *shown)
            handler = self._find(exchange)
            if handler is not None:
                await handler(exchange)
            else:
                await self._through_rest(exchange)
        except asyncio.CancelledError:  # by the server, which ends and has waited long enough
            await self._refused(exchange, Cancelled("The server is being stopped."))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told something
            await self._refused(exchange, ours(error))
        finally:
            exchange.unwatch()

    async def _refused(self, exchange: Exchange, error: SightlineError) -> None:
        if isinstance(error, Cancelled):
            if exchange.gone:
                exchange.code = error.code
                exchange.status = status_of(error)
                return
            error = Unavailable("The server is being stopped.", cure="Try again in a moment.")
        if exchange.status:
            # The answer has begun: all that is left is to break it off, so that nobody takes it for whole.
            log.warning("answer broken off", route=exchange.route, error=str(error), request=exchange.id)
            return
        exchange.code = error.code
        body = rendered(error, instance=exchange.path, request_id=exchange.id)
        shown = exchange.header(b"authorization") or exchange.header(b"x-api-key")
        headers = problem_headers(error, shown=shown is not None)
        if not exchange.unread:
            await exchange.answer(status_of(error), body, PROBLEM, headers)
            return
        headers.append((b"connection", b"close"))  # what is still on its way is not read
        await exchange.answer(status_of(error), body, PROBLEM, headers, more=True)
        if not isinstance(error, DeadlineExceeded):
            await exchange.discard(_DISCARD_S)
        await exchange.send_part(b"", more=False)

    async def _through_rest(self, exchange: Exchange) -> None:
        """Give the request to the application behind, count its bytes, and see how it answers."""

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                await exchange.begin(message["status"], message.get("headers", ()))
            else:
                await exchange.send_part(message.get("body", b""), more=message.get("more_body", False))

        scope = {**exchange.scope, "sightline.exchange": exchange}
        if exchange.method == "HEAD":
            scope["method"] = "GET"  # the answer to it, of which the exchange sends the head
        try:
            await self._rest(scope, exchange.receive_counted, send)
        finally:
            route = scope.get("route")
            exchange.route = getattr(route, "path", exchange.route)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        try:
            if headers.get(b"origin") and not self._cors.allowed(scope):
                raise Forbidden("Pages of this origin may not ask.", cure="Add it to server.cors_origins.")
            if self._cors.is_disguised(headers.get(b"host")):
                raise _disguised()
            shown = headers.get(b"authorization"), headers.get(b"x-api-key") or _query_token(scope)
            scope["sightline.caller"] = await self._platform.admitted("GET", scope["path"], *shown)
            scope[MAY_STAY] = partial(self._platform.may_stay, scope["path"], *shown)
        except SightlineError as error:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:120]})
            return
        self._meter.gauge("websockets", self._platform.num_sockets(1))
        try:
            await self._socket(scope, receive, send)
        finally:
            self._meter.gauge("websockets", self._platform.num_sockets(-1))

    def _token(self, exchange: Exchange) -> bytes | None:
        return _query_token(exchange.scope) if takes_query_token(exchange.path) else None

    def _recorded(self, exchange: Exchange) -> None:
        """Count the request, and write down that it was."""
        seconds = time.monotonic() - exchange.begin_s
        status = exchange.status or 499
        meter, route = self._meter, exchange.route
        meter.count("requests", route=route, method=exchange.method, status=str(status))
        if route not in _ENDLESS:
            meter.observe("request_seconds", seconds, route=route)
        for span, spent_s in exchange.call.spans.items():
            meter.observe("request_span_seconds", spent_s, route=route, span=span)
        if route in _QUIET and status in _EXPECTED and not exchange.audited:
            return
        self._platform.note(
            RequestRow(
                time=datetime.now(UTC),
                id=exchange.id,
                method=exchange.method,
                route=route,
                status=status,
                latency_ms=round(1000 * seconds, 3),
                model=",".join(exchange.call.versions),
                case=exchange.case,
                caller=exchange.caller.id,
                bytes_in=exchange.bytes_in,
                bytes_out=exchange.bytes_out,
            ),
            exchange.path,
            exchange.code,
            exchange.caller,
            audited=exchange.audited,
        )


def _said(error: Exception) -> str:
    """Return why the server does not begin, for another program that runs it."""
    return f"{error} {cure(error)}" if isinstance(error, SightlineError) else described(error)


def _disguised() -> Forbidden:
    return Forbidden(
        "This server is asked under a name that is not this machine's.",
        cure="Use its address, add http://NAME to server.cors_origins, or ask for keys (auth.mode: on).",
    )


def _query_token(scope: Scope) -> bytes | None:
    """Return `access_token` of the query, which is for browsers that cannot set a header."""
    query: bytes = scope.get("query_string", b"")
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name == b"access_token" and value:
            return value
    return None

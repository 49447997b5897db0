"""What every remote call passes, whichever procedure it wants: who asks, how long it may take, how errors look.

The same for gRPC as `doorway` is for HTTP. Messages come and go as bytes, so that damaged ones are the caller's error.
Streams have a module of their own, `streams`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from threading import Event as Flag
from typing import TYPE_CHECKING, TypeAlias

import grpc

from sightline.core.access import RequestRow
from sightline.core.errors import Cancelled, DeadlineExceeded, InvalidInput, Overloaded, SightlineError, Unavailable
from sightline.engine.call import Call
from sightline.serve.auth.audit import is_audited
from sightline.serve.auth.scopes import scope_of_rpc
from sightline.serve.logs import log_request
from sightline.serve.problems import ours
from sightline.serve.rpc.asked import Asked
from sightline.serve.rpc.status import code_of, details_of, trailers_of

if TYPE_CHECKING:
    from sightline.serve.bodies import Bodies
    from sightline.serve.platform import Platform
    from sightline.serve.rpc.spans import CallTracer

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]
Work: TypeAlias = Callable[[Asked], Awaitable[bytes]]
_QUIET = frozenset({"ServerLive", "ServerReady", "ModelReady", "Check"})  # asked all day by machines


class Calls:
    """Makes gRPC's handlers of procedures.

    Args:
        platform: what all doors share.
        bodies: counts the messages, and what else is in memory of requests.
        tracer: makes a span of each call.

    Attributes:
        deadline_s: seconds in which a request is answered.
        largest: bytes of the longest message that is taken.
        is_ending: True when nothing more is read of streams.
    """

    def __init__(self, platform: Platform, bodies: Bodies, tracer: CallTracer) -> None:
        self._platform = platform
        self.bodies = bodies
        self._tracer = tracer
        self._server = platform.context.settings.server
        self._meter = platform.context.meter
        self.deadline_s = self._server.deadline_s
        self.largest = self._server.max_body_mb << 20
        self.is_ending = False
        self._idle: set[asyncio.Timeout] = set()

    def unary(self, method: str, work: Work) -> grpc.RpcMethodHandler:
        """Return the handler of a procedure with one request and one answer.

        For gRPC it is one with a stream of requests: of those a message is read when we say so, and from a caller who
        may not come in none is.
        """

        async def answer(_: AsyncIterator[bytes], context: Context) -> bytes:
            asked = self.asked(method, context, self.deadline_s)
            with self.recorded(asked):
                try:
                    await self.admit(asked)
                    asked.take(await self._message(context))
                    with self._counted(asked):
                        body = await work(asked)
                except asyncio.CancelledError:
                    left(asked)
                    raise
                except Exception as error:
                    await self.refuse(asked, context, error)
                    raise  # never reached: the line above ends the call
                asked.bytes_out = len(body)
                if asked.kept:
                    context.set_trailing_metadata((("x-cache", asked.kept),))
                return body

        return grpc.stream_unary_rpc_method_handler(answer)

    def asked(self, method: str, context: Context, limit_s: float | None) -> Asked:
        """Return what came in; a stream (`limit_s` None) may go on for as long as its caller wants."""
        limits = [limit for limit in (limit_s, context.time_remaining()) if limit is not None]
        ends_s = time.monotonic() + min(limits) if limits else None
        shown = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        return Asked(method=method, shown=shown, call=Call(deadline_s=ends_s, cancelled=Flag()))

    async def admit(self, asked: Asked) -> None:
        """Let a caller in.

        Raises:
            Unavailable: the server ends.
            Unauthenticated, Forbidden, RateLimited: see `Gate.admitted`.
        """
        if self._platform.stopping:
            raise _ending()
        await self.admit_again(asked)

    async def admit_again(self, asked: Asked, *, counted: bool = True) -> None:
        """Let in a message of a caller who has come in; `counted` False: it was counted as the call.

        Raises:
            Unauthenticated, Forbidden, RateLimited: see `Gate.admitted`.
        """
        gate, scope = self._platform.gate, scope_of_rpc(asked.method)
        shown = asked.shown.get("authorization"), asked.shown.get("x-api-key")
        asked.caller = await gate.admitted(*shown, scope) if counted else gate.admit(*shown, scope, counted=False)

    @contextmanager
    def recorded(self, asked: Asked) -> Iterator[None]:
        """Trace, time, count and write down what is answered inside."""
        self._platform.begin()
        try:
            with self._tracer.call(asked):
                try:
                    yield
                finally:
                    self._meter.observe("request_seconds", time.monotonic() - asked.begin_s, route=asked.method)
                    self.note(asked)
        finally:
            self._platform.end()

    @asynccontextmanager
    async def unless_ending(self) -> AsyncIterator[None]:
        """Wait inside for what may never come.

        Raises:
            Unavailable: the server ends.
        """
        if self.is_ending:
            raise _ending()
        try:
            async with asyncio.timeout(None) as limit:
                self._idle.add(limit)
                try:
                    yield
                finally:
                    self._idle.discard(limit)
        except TimeoutError:
            raise _ending() from None

    def end_waits(self) -> None:
        """End all that wait in `unless_ending`, and who wants to; what was taken is still answered."""
        self.is_ending = True
        now_s = asyncio.get_running_loop().time()
        for limit in self._idle:
            limit.reschedule(now_s)

    async def refuse(self, asked: Asked, context: Context, error: Exception) -> None:
        """End the call with the status of an error."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        asked.error = told(error)
        await context.abort(code_of(asked.error), details_of(asked.error), trailers_of(asked.error, asked.id))

    def note(self, asked: Asked) -> None:
        """Count the request, and write down that it was."""
        meter, route, status = self._meter, asked.method, asked.status
        meter.count("requests", route=route, method="RPC", status=str(status))
        for span, spent_s in asked.call.spans.items():
            meter.observe("request_span_seconds", spent_s, route=route, span=span)
        if is_audited(scope_of_rpc(route)):
            self._platform.audit.note(asked.caller, method="RPC", route=route, status=status, request_id=asked.id)
        if status < 400 and route.rpartition("/")[2] in _QUIET:
            return
        row = RequestRow(
            time=datetime.now(UTC),
            id=asked.id,
            method="RPC",
            route=route,
            status=status,
            latency_ms=round(1000 * (time.monotonic() - asked.begin_s), 3),
            model=",".join(asked.call.versions),
            caller=asked.caller.id,
            bytes_in=asked.bytes_in,
            bytes_out=asked.bytes_out,
        )
        self._platform.requests.add(row)
        log_request(row, route, code=asked.error.code if asked.error is not None else "")

    async def _message(self, context: Context) -> bytes:
        """Read the one message of a call.

        Raises:
            Overloaded: there is no room for it.
            InvalidInput: there is none.
            DeadlineExceeded: it did not arrive in time.
        """
        if self.bodies.is_full:  # gRPC joins a message before we see its size
            raise Overloaded("The requests that are being received take too much memory.", cure="Retry later.")
        timeout_s = self._server.body_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                data = await context.read()
        except TimeoutError:
            raise DeadlineExceeded(
                f"The message did not arrive within {timeout_s:g} seconds.", cure="Send faster."
            ) from None
        if not isinstance(data, bytes):  # the end of the stream
            raise InvalidInput("The call has no message.", cure="Send one.")
        return data

    @contextmanager
    def _counted(self, asked: Asked) -> Iterator[None]:
        """Count a message while it is answered, and let go of it then.

        Raises:
            Overloaded: there is no room for it.
        """
        size = asked.bytes_in
        self.bodies.take(size)
        try:
            yield
        finally:
            asked.data = b""
            self.bodies.give_back(size)


def left(asked: Asked) -> None:
    """Drop the work of a caller that left, or does not wait any longer."""
    asked.error = Cancelled("The caller left.")
    if asked.cancelled is not None:
        asked.cancelled.set()


def told(error: Exception) -> SightlineError:
    """Return what a caller who still waits is told: work that we gave up ourselves can be asked for again."""
    known = ours(error)
    return _ending() if isinstance(known, Cancelled) else known


def _ending() -> Unavailable:
    return Unavailable("The server is being stopped.", cure="Try again in a moment.")

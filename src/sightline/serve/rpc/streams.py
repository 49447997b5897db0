"""Streams of requests: answered in their order, several at a time; an error ends one request, not the stream.

Each message is a request: admitted, counted, timed and written down by itself. The stream around it is written down
only when it is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, TypeAlias

import grpc

from sightline.core.errors import Forbidden, SightlineError, Unauthenticated
from sightline.serve.rpc.asked import Asked
from sightline.serve.rpc.calls import left, told

if TYPE_CHECKING:
    from sightline.serve.rpc.calls import Calls, Context, Work

Refusal: TypeAlias = Callable[[Asked, SightlineError], bytes]
_MOST_WAITING = 32  # requests of one stream that are answered side by side; the caller's others wait in his channel


def stream(calls: Calls, method: str, work: Work, refusal: Refusal) -> grpc.RpcMethodHandler:
    """Return the handler of a procedure with streams of requests and answers.

    It lives until the caller's end, until the caller may not ask any more, or until the server ends; what was taken by
    then is answered first.

    Args:
        calls: what all calls pass.
        method: full name of the procedure.
        work: answers one message.
        refusal: returns the message that tells an error.
    """

    async def answer(_: AsyncIterator[bytes], context: Context) -> None:
        asked = calls.asked(method, context, None)
        one = _Stream(calls, asked, context, work, refusal)
        is_in = False
        try:
            await calls.admit(asked)
            is_in = True
            await one.answer()
        except asyncio.CancelledError:
            left(asked)
            raise
        except Exception as error:
            await calls.refuse(asked, context, error)
            raise  # never reached: the line above ends the call
        finally:
            # Streams that end with the server are no errors: each of their messages was answered.
            if asked.error is not None and not (is_in and calls.is_ending):
                calls.note(asked)

    return grpc.stream_stream_rpc_method_handler(answer)


class _Stream:
    """One stream."""

    def __init__(self, calls: Calls, asked: Asked, context: Context, work: Work, refusal: Refusal) -> None:
        self._calls = calls
        self._asked = asked
        self._context = context
        self._work = work
        self._refusal = refusal
        self._waiting: asyncio.Queue[asyncio.Task[bytes] | Exception | None] = asyncio.Queue(_MOST_WAITING)

    async def answer(self) -> None:
        """Answer what comes, in its order.

        Raises:
            Unavailable: the server ends.
            Unauthenticated, Forbidden: the caller may not ask any more.
        """
        reading = asyncio.create_task(self._read())
        try:
            while (next_one := await self._waiting.get()) is not None:
                if isinstance(next_one, Exception):
                    raise next_one
                await self._context.write(await next_one)
        finally:
            reading.cancel()
            while not self._waiting.empty():
                if isinstance(task := self._waiting.get_nowait(), asyncio.Task):
                    task.cancel()

    async def _read(self) -> None:
        """Read until the end, and put what comes into the queue; at last why nothing more is read."""
        try:
            number = 0
            while (data := await self._message()) is not None:
                number += 1
                await self._waiting.put(await self._taken(number, data))
        except Exception as error:  # noqa: BLE001 - told to the caller, when what came before it is answered
            await self._waiting.put(error)
        else:
            await self._waiting.put(None)

    async def _message(self) -> bytes | None:
        """Return the next message, None for the end; while there is no room for the largest, none is read."""
        async with self._calls.unless_ending():
            await self._calls.bodies.room(self._calls.largest)
            data = await self._context.read()
        return data if isinstance(data, bytes) else None

    async def _taken(self, number: int, data: bytes) -> asyncio.Task[bytes]:
        """Begin to answer a message; one that is refused is answered with the reason.

        Raises:
            Unauthenticated, Forbidden: the caller may not ask any more.
        """
        one = self._asked.message(number, data, self._calls.deadline_s)
        error: SightlineError | None = None
        size = 0
        try:
            await self._calls.admit_again(one, counted=number > 1)  # the first was counted as the call
            self._calls.bodies.take(len(data))
            size = len(data)
        except (Unauthenticated, Forbidden):
            raise
        except SightlineError as refused:
            error = refused
        task = asyncio.create_task(self._answered(one, error))
        task.add_done_callback(lambda _: self._calls.bodies.give_back(size))  # also of one that never began
        return task

    async def _answered(self, one: Asked, refused: SightlineError | None) -> bytes:
        with self._calls.recorded(one):
            try:
                if refused is not None:
                    raise refused
                body = await self._work(one)
            except asyncio.CancelledError:
                left(one)
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told something
                one.error = told(error)
                body = self._refusal(one, one.error)
            one.data = b""
            one.bytes_out = len(body)
            return body

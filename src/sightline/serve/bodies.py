"""Bodies as strangers send them: limits on what all of them hold together, and on what becomes of a few bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sightline.core.codec import from_json
from sightline.core.errors import InvalidInput, Overloaded

_MOST_INSIDE = 1 << 19  # room for a picture of 640 x 480 as nested lists
_MOST_VALUES = 1 << 16


def read_document(body: bytes) -> Any:
    """Parse JSON that says what is wanted, as management requests do: it has no lists of numbers.

    Raises:
        InvalidInput: it is none, or has more than some thousand values.
    """
    if len(body) > _MOST_VALUES and sum(map(body.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise InvalidInput(f"The JSON has more than {_MOST_VALUES} values in it.", cure="Send what /docs describes.")
    return from_json(body)


def read_json(body: bytes | str) -> Any:
    """Parse JSON that may hold tensors and pictures.

    A list takes 3 bytes in a body, and 64 in memory; an object up to 80 times its own. The parser makes them all while
    nobody else is answered, so they are counted first.

    Raises:
        InvalidInput: it is none, or has more than half a million lists and objects.
    """
    if len(body) > _MOST_INSIDE:
        num = body.count(b"[") + body.count(b"{") if isinstance(body, bytes) else body.count("[") + body.count("{")
        if num > _MOST_INSIDE:
            raise InvalidInput(
                f"The JSON has more than {_MOST_INSIDE} lists and objects in it.",
                cure="Send flat lists, or the binary tensors of /v2.",
            )
    return from_json(body)


class Bodies:
    """Counts the bytes of all bodies that are in memory, HTTP's and gRPC's; belongs to one event loop.

    Args:
        most: bytes; with more, requests that still send are refused.
    """

    def __init__(self, most: int) -> None:
        self.held = 0
        self.most = most
        self._freed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """True while not one byte more is taken."""
        return self.held >= self.most

    def of(self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> Body:
        """Return the body that comes by `receive`."""
        return Body(self, receive)

    def take(self, size: int) -> None:
        """Count `size` bytes, until they are given back.

        Raises:
            Overloaded: there is no room for them.
        """
        if self.held + size > self.most:
            raise Overloaded("The requests that are being received take too much memory.", cure="Retry later.")
        self.held += size

    def give_back(self, size: int) -> None:
        """Count `size` bytes no more."""
        self.held -= size
        self._freed.set()

    async def room(self, size: int) -> None:
        """Wait until there is room for `size` bytes, which are no more than `most`."""
        while self.held + size > self.most:
            self._freed.clear()
            await self._freed.wait()


class Body:
    """The body of one request, counted until it ends."""

    __slots__ = ("_bodies", "_receive", "_size")

    def __init__(self, bodies: Bodies, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
        self._bodies = bodies
        self._receive = receive
        self._size = 0

    async def receive(self) -> MutableMapping[str, Any]:
        """Receive a message.

        Raises:
            Overloaded: the bodies of all requests take too much memory; this one is counted no more.
        """
        message = await self._receive()
        if (size := len(message.get("body", b""))) and self._size >= 0:
            try:
                self._bodies.take(size)
            except Overloaded:
                self.end()
                self._size = -1  # what follows is thrown away
                raise
            self._size += size
        return message

    def end(self) -> None:
        """Count it no more."""
        self._bodies.give_back(max(0, self._size))
        self._size = 0

"""How one open connection waits: for news, for its client to leave, for the server to end; without a thread.

Knows no door. Everything here is called on the loop; no thread rings a bell.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sightline.core.errors import SightlineError
from sightline.serve.exchange import Exchange, Scope

_ROUND_S = 0.25  # how long the end of the server may go unnoticed
_LOOK_S = 2.0  # how long it may that a key was revoked, or a token has expired
MAY_STAY = "sightline.may_stay"
"""In the scope of an answer without end: says whether its caller still may have it."""


class Bell:
    """Wakes the one task that waits for it.

    Attributes:
        is_over: the client has left or the server ends: nothing more is to be sent.
        is_refused: it is over because its caller may not stay.
        may_stay: says whether its caller may.
    """

    __slots__ = ("_rung", "_waiter", "is_over", "is_refused", "may_stay")

    def __init__(self, may_stay: Callable[[], bool] | None = None) -> None:
        self.is_over = False
        self.is_refused = False
        self.may_stay = may_stay
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake who waits, or who will wait next."""
        self._rung = True
        _wake(self._waiter)

    def end(self) -> None:
        """Wake who waits for the last time."""
        self.is_over = True
        self.ring()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until it rings; return False when it did not within the timeout."""
        if not self._rung:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout_s, _wake, self._waiter)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        rung, self._rung = self._rung, False
        return rung


class Bells:
    """The bells of all open connections; one task rings them all when the server ends.

    Args:
        is_ending: says whether the server ends.
    """

    def __init__(self, is_ending: Callable[[], bool]) -> None:
        self._is_ending = is_ending
        self._bells: set[Bell] = set()
        self._rounds: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._bells)

    def hang(self, scope: Scope) -> Bell:
        """Return a bell for the connection of `scope`, which `take_down` takes away again."""
        bell = Bell(scope.get(MAY_STAY))
        self._bells.add(bell)
        if self._rounds is None or self._rounds.done():
            self._rounds = asyncio.get_running_loop().create_task(self._go_round())
        return bell

    def take_down(self, bell: Bell) -> None:
        """Forget a bell."""
        self._bells.discard(bell)
        if not self._bells and self._rounds is not None:
            self._rounds.cancel()
            self._rounds = None

    @asynccontextmanager
    async def of(self, exchange: Exchange) -> AsyncIterator[Bell]:
        """Give a bell for an answer without end; it is over when the caller leaves."""
        bell = self.hang(exchange.scope)
        watcher = asyncio.get_running_loop().create_task(_until_gone(exchange, bell))
        try:
            yield bell
        finally:
            watcher.cancel()
            self.take_down(bell)

    async def _go_round(self) -> None:
        looked_s = time.monotonic()
        while True:
            if self._is_ending():
                for bell in tuple(self._bells):
                    bell.end()
            if time.monotonic() - looked_s >= _LOOK_S:
                looked_s = time.monotonic()
                for bell in tuple(self._bells):
                    if bell.may_stay is not None and not bell.may_stay():
                        bell.is_refused = True
                        bell.end()
            await asyncio.sleep(_ROUND_S)


async def _until_gone(exchange: Exchange, bell: Bell) -> None:
    try:
        while (await exchange.receive_counted())["type"] != "http.disconnect":
            continue
    except SightlineError:  # a body where none belongs, and too long: nobody we want to talk to
        pass
    if exchange.call.cancelled is not None:
        exchange.call.cancelled.set()
    bell.end()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)

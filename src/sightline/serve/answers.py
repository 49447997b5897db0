"""Futures of worker threads, awaited on the loop.

`asyncio.wrap_future` wakes the loop once for each answer. Here answers that come close together, as those of one
batch do, wake it once: the first says that there is something, the loop takes all.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

from sightline.core.errors import DeadlineExceeded
from sightline.engine.call import Call

T = TypeVar("T")


class Answers:
    """Brings the answers of threads to the loop."""

    def __init__(self) -> None:
        self._ready: deque[tuple[asyncio.Future[None], Future[Any]]] = deque()
        self._told = False
        self._lock = Lock()

    async def of(self, future: Future[T], call: Call) -> T:
        """Wait for an answer until the deadline of the call.

        Raises:
            DeadlineExceeded: it did not come in time; the work is given up where it has not begun.
            Cancelled: whoever asked has left.
        """
        if future.done():
            return future.result()
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        future.add_done_callback(lambda done: self._tell(loop, waiter, done))
        timer = None
        if call.deadline_s is not None:
            timer = loop.call_later(max(0.0, call.deadline_s - time.monotonic()), _give_up, waiter)
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()
            if not future.done():
                future.cancel()
        if not future.done() or future.cancelled():
            raise DeadlineExceeded("The deadline passed before the answer was ready.")
        return future.result()

    def _tell(self, loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None], done: Future[Any]) -> None:
        """Say that an answer is there; called by the thread that made it."""
        with self._lock:
            self._ready.append((waiter, done))
            if self._told:
                return
            self._told = True
        try:
            loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _wake(self) -> None:
        with self._lock:
            self._told = False
            ready, self._ready = self._ready, deque()
        for waiter, _ in ready:
            if not waiter.done():
                waiter.set_result(None)


def _give_up(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)

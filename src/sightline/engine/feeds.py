"""What stands between the thread that reads a source and the thread that analyses it.

A live source never waits: its newest sample takes the place of one that nobody took, and that one is counted. Anything
else waits for room, and nothing is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Event
from typing import Any

from sightline.core.sample import Sample

_POLL_S = 0.2  # how often a waiting thread looks whether the run is being abandoned


class Feed:
    """Samples of one source on their way from its reader to its analyser.

    Args:
        live: replace instead of wait.
        capacity: samples that may wait, when not live.
        superseded: told of each sample that was replaced.
        abandoned: set when nobody wants anything any more.
    """

    def __init__(
        self, *, live: bool, capacity: int, superseded: Callable[[Sample[Any]], None], abandoned: Event
    ) -> None:
        self._live = live
        self._capacity = 1 if live else capacity
        self._superseded = superseded
        self._abandoned = abandoned
        self._waiting: deque[Sample[Any]] = deque()
        self._paused = False
        self._closed = False
        self._changed = Condition()

    def put(self, sample: Sample[Any]) -> bool:
        """Hand over a sample; False when nobody will take it any more."""
        with self._changed:
            if self._live:
                while len(self._waiting) >= self._capacity:
                    self._superseded(self._waiting.popleft())
            while len(self._waiting) >= self._capacity and not self._over:
                self._changed.wait(_POLL_S)
            if self._over:
                return False
            self._waiting.append(sample)
            self._paused = False
            self._changed.notify_all()
            return True

    def take(self, most: int) -> list[Sample[Any]] | None:
        """Wait for samples and return at most `most`, all of one epoch.

        Where nothing follows for a while the list is empty, once; None when the feed is closed and empty.
        """
        with self._changed:
            while not self._waiting and not self._paused and not self._over:
                self._changed.wait(_POLL_S)
            if self._abandoned.is_set() or (self._closed and not self._waiting):
                return None
            if not self._waiting:
                self._paused = False
            taken: list[Sample[Any]] = []
            while self._waiting and len(taken) < most:
                if taken and self._waiting[0].epoch != taken[0].epoch:
                    break
                taken.append(self._waiting.popleft())
            self._changed.notify_all()
            return taken

    def pause(self) -> None:
        """Say that nothing follows for a while."""
        with self._changed:
            self._paused = True
            self._changed.notify_all()

    def close(self) -> None:
        """Say that no sample will follow."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self) -> int:
        """Throw away what waits; return how many that were."""
        with self._changed:
            num = len(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
            return num

    @property
    def _over(self) -> bool:
        return self._closed or self._abandoned.is_set()

"""A thread that does something again and again, and sooner when somebody asks; and what goes wrong in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event as Flag
from threading import Lock, Thread

import structlog

_log = structlog.get_logger()


class Refresher:
    """Calls `work` at once, then again after the seconds that it returns; `ask` wakes it, at most once in `gap_s`.

    `work` tells its own errors and raises none.
    """

    def __init__(self, name: str, work: Callable[[], float], *, gap_s: float) -> None:
        self._name = name
        self._work = work
        self._gap_s = gap_s
        self._wake = Flag()
        self._lock = Lock()
        self._asked = False
        self._working = False
        self._was_done = False
        self._closing = False
        self._last_ask_s = float("-inf")
        self._thread: Thread | None = None

    @property
    def is_busy(self) -> bool:
        """True while what was asked for is not done."""
        return self._asked or self._working

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        if self._thread is None:
            self._asked = True
            self._thread = Thread(target=self._loop, name=self._name, daemon=True)
            self._thread.start()

    def ask(self) -> None:
        """Have the work done soon; never blocks. Asked too often, or before it was done once, it does nothing."""
        now = time.monotonic()
        with self._lock:
            if not self._was_done or self._closing or now - self._last_ask_s < self._gap_s:
                return
            self._last_ask_s = now
            self._asked = True
        self._wake.set()

    def close(self) -> None:
        """End the thread; what it is doing may take some seconds more, and nobody waits for that."""
        with self._lock:
            self._closing = True
            self._asked = False
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def _loop(self) -> None:
        while not self._closing:
            self._wake.clear()
            self._working = True
            self._asked = False
            try:
                pause_s = self._work()
            finally:
                self._was_done = True
                self._working = False
            self._wake.wait(pause_s)


class Troubles:
    """Things that do not work now, by what they are; logged once when they begin and once when they end."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}

    def begin(self, what: str, why: str) -> None:
        """Tell that `what` does not work."""
        if self._now.get(what) != why:
            self._now[what] = why
            _log.warning("auth source failed", what=what, error=why)

    def end(self, what: str) -> None:
        """Tell that `what` works."""
        if self._now.pop(what, None) is not None:
            _log.info("auth source works again", what=what)

    def lines(self) -> list[str]:
        """Return one line for each."""
        return [f"{what}: {why}" for what, why in self._now.copy().items()]

"""Which reading leaves an audit line: that of stored objects, and of the files that jobs made.

A viewer reads a volume in hundreds of parts, and a page asks for it again and again: that is one reading, one line.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from sightline.core.access import Caller

EVERY_S = 60.0
"""Seconds in which a caller who reads the same thing again with the same outcome is not noted again."""

_READ = re.compile(r"/api/v1/(objects(/.*)?|runs/[^/]+/files/.+)", re.DOTALL)
_MOST = 4096


class Reads:
    """Remembers who read what lately; belongs to the event loop, which it never holds up.

    Args:
        clock: seconds that only rise.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[tuple[str, str, str, bool], float] = {}

    def is_new(self, caller: Caller, path: str, status: int) -> bool:
        """Return whether a request begins a reading that is to be noted.

        Args:
            caller: who asked.
            path: what for, without the query.
            status: of the answer; what was refused and what was given are two things. Strangers (401) read nothing.
        """
        if status == 401 or not _READ.fullmatch(path):
            return False
        now, key = self._clock(), (caller.project, caller.id, path, status < 400)
        if now < self._until.get(key, 0.0):
            return False
        self._until.pop(key, None)  # so that the oldest come first
        while len(self._until) >= _MOST:
            self._until.pop(next(iter(self._until)))
        self._until[key] = now + EVERY_S
        return True

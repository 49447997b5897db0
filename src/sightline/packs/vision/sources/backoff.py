"""How long to wait before a lost camera is asked again. Knows no sockets and no clock."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_S = 0.1
_GENTLE_S = 1.0  # longest wait while the outage is young: most are a restart of the camera or of its switch
_YOUNG_S = 60.0
_LOCKED_OUT_S = 30.0  # cameras lock an account after a few wrong passwords
_GOOD_S = 10.0  # frames for that long end an outage; a camera that flaps keeps its long waits


class Backoff:
    """Doubling waits from 0.1 s to `longest_s` with jitter, at most 1 s in the first minute of an outage.

    The jitter (half to whole of the wait) keeps many cameras behind one switch from coming back in one burst.

    Args:
        longest_s: longest wait.
        fraction: gives a random number from 0 to 1.
    """

    def __init__(self, longest_s: float, fraction: Callable[[], float] = random.random) -> None:
        self._longest_s = longest_s
        self._fraction = fraction
        self._num_failures = 0
        self._failing_since_s: float | None = None
        self._good_since_s: float | None = None

    def good(self, now_s: float) -> None:
        """Say that a frame came."""
        if self._good_since_s is None:
            self._good_since_s = now_s
        if now_s - self._good_since_s >= _GOOD_S:
            self._num_failures, self._failing_since_s = 0, None

    def failed(self, now_s: float, *, hopeless: bool = False, refused: bool = False) -> float:
        """Say that the connection failed or broke off; return the seconds to wait.

        Args:
            now_s: monotonic time.
            hopeless: asking soon again cannot help: there is no such path.
            refused: nor can it here, and it may lock the account; never less than 30 s.
        """
        self._good_since_s = None
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if refused:
            return max(self._longest_s, _LOCKED_OUT_S)
        if hopeless:
            return self._longest_s
        limit_s = self._longest_s
        if now_s - self._failing_since_s < _YOUNG_S:
            limit_s = min(limit_s, _GENTLE_S)
        wait_s = min(limit_s, FIRST_S * 2.0 ** min(self._num_failures, 16))
        self._num_failures += 1
        return wait_s * (0.5 + 0.5 * self._fraction())

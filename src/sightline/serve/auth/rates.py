"""How often each caller may ask: a bucket of tokens for each, kept as one number."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from sightline.core.errors import RateLimited


class Rates:
    """`per_minute` requests at once, and as many in each minute that follows, for each caller.

    A bucket is kept as the time at which it will be full again (the generic cell rate algorithm), so a caller who
    has been quiet for a minute needs no memory. Safe for threads.

    Args:
        per_minute: at least 1.
        most: callers that are remembered; beyond it those who have been quiet longest are forgotten.
        now: seconds of a clock that only goes forward.
    """

    def __init__(self, per_minute: int, *, most: int = 10_000, now: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._step_s = 60.0 / per_minute
        self._most = most
        self._now = now
        self._full_at: dict[str, float] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, caller: str) -> None:
        """Count one request.

        Raises:
            RateLimited: the bucket is empty; the request is not counted.
        """
        now = self._now()
        with self._lock:
            full_at = max(self._full_at.pop(caller, now), now) + self._step_s
            over_s = full_at - now - 60.0
            if over_s > 1e-6:
                self._full_at[caller] = full_at - self._step_s
            else:
                self._full_at[caller] = full_at
                if len(self._full_at) > self._most:
                    self._forget(now)
        if over_s > 1e-6:
            raise RateLimited(
                f"{caller} asks more than {self._per_minute} times a minute.",
                cure="Wait as long as Retry-After says, or raise auth.rate_per_minute.",
                retry_after_s=over_s,
            )

    def _forget(self, now: float) -> None:
        """Forget full buckets, which is no loss, and a tenth more if there are none: the last asked long ago."""
        kept = {caller: full_at for caller, full_at in self._full_at.items() if full_at > now}
        for caller in list(kept)[: max(0, len(kept) - self._most * 9 // 10)]:
            del kept[caller]  # the order is that of the last request
        self._full_at = kept

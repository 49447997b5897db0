"""What the pipeline tells model sessions about the work it is doing, without the plug-ins in between knowing.

One context variable is set around each predictor call. The model handle obeys it (priority, deadline, cancelled)
and notes in it which version ran, so that the pipeline can stamp the prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from threading import Event as Flag


class Priority(IntEnum):
    """Who waits for the answer; lower goes first."""

    REQUEST = 0
    STREAM = 1
    JOB = 2


@dataclass(frozen=True, kw_only=True)
class Call:
    """The circumstances of a predictor call.

    Attributes:
        deadline_s: moment on the monotonic clock after which nobody wants the answer; None: no limit.
        cancelled: set when the caller gave up; None: it cannot.
        pinned: version of every model to use instead of the current one; None: the current one.
        spans: seconds spent on `queue`, `inference`, ...; filled by the handle.
        versions: `name@version` of the models that ran, in the order of first use; filled by the handle.
    """

    priority: Priority = Priority.REQUEST
    deadline_s: float | None = None
    cancelled: Flag | None = None
    pinned: str | None = None
    versions: list[str] = field(default_factory=list)
    spans: dict[str, float] = field(default_factory=dict)

    def note(self, version: str) -> None:
        """Record that `version` ran."""
        if version not in self.versions:
            self.versions.append(version)

    def spent(self, span: str, seconds: float) -> None:
        """Add to the time that was spent on `span`."""
        self.spans[span] = self.spans.get(span, 0.0) + seconds


_CURRENT: ContextVar[Call | None] = ContextVar("sightline_call", default=None)


def current_call() -> Call:
    """Return the call that this thread works for; a request without limits where nobody said."""
    return _CURRENT.get() or Call()


@contextmanager
def calling(call: Call) -> Iterator[Call]:
    """Make `call` the current one."""
    token = _CURRENT.set(call)
    try:
        yield call
    finally:
        _CURRENT.reset(token)

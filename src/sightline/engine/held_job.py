"""The record of a job that this process holds. What the database does not take now is told again until it does.

Every write names the token, so one that comes too late changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

import structlog

from sightline.core.errors import Conflict, SightlineError, Unavailable
from sightline.core.events import Event
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunState
from sightline.core.stores import MetadataStore

log = structlog.get_logger()
T = TypeVar("T")
_PAUSES_S = (0.05, 1.0)  # first and longest pause before the database is told again
_SURE = 0.75  # of a lease: when it began is not known exactly


class HeldJob:
    """What a holder reads and writes of its job.

    Args:
        run: as `JobStore.take` gave it.
        store: the database.
        lease: how long this process need not be doubted.
        taken_s: when the job was asked for, on the monotonic clock.
        is_given_up: says that the database need not be told any more, as another process has the job.
    """

    def __init__(
        self, run: Run, store: MetadataStore, lease: timedelta, taken_s: float, is_given_up: Callable[[], bool]
    ) -> None:
        self._run = run
        self._store = store
        self._lease = lease
        self._is_given_up = is_given_up
        self._told: JsonObject = {}
        self._told_s = self._surely_s = 0.0
        self._held_from(taken_s, run.status)

    @property
    def is_surely_ours(self) -> bool:
        """False when this process stood still for so long that another one may have the job."""
        return time.monotonic() < self._surely_s

    def is_due(self, status: JsonObject, rest_s: float, fresh_s: float) -> bool:
        """Return whether to report: for `rest_s` nothing was written, or for `fresh_s` and `status` is another one."""
        told_s = time.monotonic() - self._told_s
        return told_s >= rest_s or (told_s >= fresh_s and status != self._told)

    def is_lost(self) -> bool:
        """Return whether the record says that somebody else has the job, or that it is over."""
        try:
            now = self._store.runs.get(self._run.id)
        except SightlineError:
            return False
        return now.token != self._run.token or now.state is not RunState.RUNNING

    def done(self) -> dict[str, JsonObject]:
        """Return the outcomes of the steps that earlier holders have done."""
        if self._run.token == 1:
            return {}
        return dict(self._patiently(lambda: self._store.jobs.checkpoints(self._run.id)) or {})

    def report(self, status: JsonObject) -> Run:
        """Extend the lease, and return the record as it is now; this is tried once.

        Raises:
            Conflict: the job is lost, or over.
            Unavailable: the database is away.
        """
        now_s = time.monotonic()
        run = self._store.runs.report(self._run.id, self._run.token, status, lease=self._lease)
        self._held_from(now_s, status)
        return run

    def commit(self, steps: Mapping[str, JsonObject], status: JsonObject, events: Sequence[Event]) -> None:
        """Record that steps are done.

        Raises:
            Conflict: the job is lost.
        """
        run, now_s = self._run, time.monotonic()
        self._patiently(
            lambda: self._store.jobs.checkpoint(
                run.id, run.token, steps, status=status, lease=self._lease, events=events
            )
        )
        self._held_from(now_s, status)

    def finish(
        self,
        state: RunState,
        status: JsonObject,
        error: str | None,
        told: Event,
        *,
        steps: Mapping[str, JsonObject],
    ) -> None:
        """Record the end, with steps that are not recorded yet.

        Raises:
            Conflict: the job is lost.
        """
        run = self._run
        self._patiently(
            lambda: self._store.jobs.finish(
                run.id, run.token, state, status=status, error=error, steps=steps, events=[told]
            ),
            lambda now: now.state is state,
        )

    def put_back(
        self,
        after: timedelta,
        status: JsonObject,
        error: str | None,
        told: Sequence[Event],
        *,
        steps: Mapping[str, JsonObject],
        used: bool,
    ) -> None:
        """Let it wait for another attempt; see `JobStore.put_back`.

        Raises:
            Conflict: the job is lost.
        """
        run = self._run
        self._patiently(
            lambda: self._store.jobs.put_back(
                run.id, run.token, after=after, status=status, error=error, used=used, steps=steps, events=told
            ),
            lambda now: now.state is RunState.SUBMITTED,
        )

    def _patiently(self, call: Callable[[], T], is_done: Callable[[Run], bool] = lambda _: False) -> T | None:
        """Call the database until it answers.

        Its answer may have been lost over a commit: then the next call meets a Conflict, and `is_done` tells whether
        the record is as it should be, under our token; None then.
        """
        pause_s, num = _PAUSES_S[0], 0
        while True:
            try:
                return call()
            except Unavailable as error:
                if self._is_given_up():
                    raise
                if not num:
                    log.warning("the database is away; a job waits", run=self._run.id, error=str(error))
                num += 1
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSES_S[1])
            except Conflict:
                now = self._patiently(lambda: self._store.runs.get(self._run.id))
                if num and now is not None and now.token == self._run.token and is_done(now):
                    return None
                raise

    def _held_from(self, now_s: float, status: JsonObject) -> None:
        self._told, self._told_s = status, now_s
        self._surely_s = now_s + _SURE * self._lease.total_seconds()

"""The workers of this process: threads that take jobs from the database, and one that keeps them and looks after all.

Any number of processes may do so at once, on any number of machines that share the database and the artifact store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Lock, Thread

import structlog

from sightline.core.errors import SightlineError
from sightline.core.events import Event
from sightline.core.jobs import Limit
from sightline.core.prediction import JsonObject
from sightline.core.run import Run
from sightline.engine.attempt import FRESH_S, Attempt, AttemptRules
from sightline.engine.job_numbers import job_ended
from sightline.engine.job_steps import JobCase
from sightline.engine.pipeline import described
from sightline.engine.record import worker_name
from sightline.engine.runs import Jobs, job_event

log = structlog.get_logger()
_BEAT_S = 1.0  # longest time until a wish to end is seen
_GRACE_S = 10.0  # what a step may take to heed that it was told to stop
_AWAY_S = 2.0  # longest pause while the database does not answer


@dataclass(frozen=True, kw_only=True)
class WorkerRules:
    """How the workers of a process work.

    Attributes:
        workers: jobs that they work on at the same time.
        poll_s: how often they look for jobs that others submitted.
        attempt: see `AttemptRules`.
        grace_s: what a step may take to heed that it was told to stop, before its job is ended without it.
        tend_s: how often overdue jobs are ended and `tend` is called.
    """

    workers: int = 1
    poll_s: float = 0.05
    attempt: AttemptRules = field(default_factory=AttemptRules)
    grace_s: float = _GRACE_S
    tend_s: float = 2.0


class JobWorkers:
    """Takes jobs and does them.

    Args:
        jobs: whose ports say where they are; it wakes these workers when a job is submitted in this process.
        make: gives the case of a job with its parameters.
        rules: how many, how often, how long.
        cases: gives the only cases whose jobs are taken; None: all.
        limits: gives what the jobs of each case may take.
        tend: called every few seconds, for schedules.
    """

    def __init__(
        self,
        jobs: Jobs,
        make: Callable[[str, JsonObject], JobCase],
        rules: WorkerRules,
        *,
        cases: Callable[[], Sequence[str] | None] = lambda: None,
        limits: Callable[[], Mapping[str, Limit]] = dict,
        tend: Callable[[], None] = lambda: None,
    ) -> None:
        self._jobs = jobs
        self._make = make
        self._rules = rules
        self._cases = cases
        self._limits = limits
        self._tend = tend
        self._name = worker_name()
        self._closing = Flag()
        self._held: dict[str, Attempt] = {}
        self._lock = Lock()
        self._lookout = Lock()
        self._threads: list[Thread] = []
        self._keeper: Thread | None = None

    @property
    def held(self) -> Sequence[str]:
        """Ids of the jobs that are being worked on here."""
        with self._lock:
            return tuple(self._held)

    def start(self) -> None:
        """Begin; a second call does nothing."""
        if self._keeper is None:
            self._keeper = Thread(target=self._keep, name="job-keeper", daemon=True)
            self._keeper.start()
            for _ in range(self._rules.workers):
                self._add()

    def close(self, drain_s: float = 10.0) -> None:
        """Take no more jobs; those under way are given back behind their step. What does not end is left behind."""
        self._closing.set()
        self._jobs.came.ring()
        self._jobs.wished.ring()
        told_s = min(2.0, drain_s / 2)  # at the end of which a step is told that it is wanted no more
        end_s = time.monotonic() + drain_s
        for until_s, gently in ((end_s - told_s, True), (end_s, False)):
            for attempt in self._all():
                attempt.stop("closing", gently=gently)
            for thread in self._threads:
                thread.join(max(0.0, until_s - time.monotonic()))
        self._jobs.wished.ring()
        if self._keeper is not None:
            self._keeper.join(_BEAT_S)
        for run_id in self.held:
            log.warning("a job does not end; left to another worker", run=run_id)

    def _add(self) -> None:
        thread = Thread(target=self._work, name=f"job-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        """Thread: take a job, do it, and so on."""
        while (taken := self._next()) is not None:
            run, taken_s = taken
            ring = self._jobs.changed.ring
            attempt = Attempt(run, self._jobs.ports, self._make, self._rules.attempt, ring, taken_s=taken_s)
            with self._lock:
                self._held[run.id] = attempt
            if self._closing.is_set():
                attempt.stop("closing", gently=True)
            try:
                attempt.run()
            finally:
                with self._lock:
                    replaced = self._held.pop(run.id, None) is not attempt
            if replaced:
                return  # it was given up, and another thread has taken this one's place

    def _next(self) -> tuple[Run, float] | None:
        """Wait for a job, one thread of all at a time, and tell when it was asked for; None: there shall be no more."""
        with self._lookout:
            pause_s = self._rules.poll_s
            while not self._closing.is_set():
                rung, asked_s = self._jobs.came.count, time.monotonic()
                try:
                    run = self._jobs.ports.store.jobs.take(
                        self._name,
                        cases=self._cases(),
                        lease=self._rules.attempt.lease,
                        limits=self._limits(),
                        events=lambda run: [job_event(run, "run.started", {"worker": self._name})],
                    )
                    pause_s = self._rules.poll_s
                except Exception as error:  # noqa: BLE001 - the database may be back at the next time
                    if pause_s <= self._rules.poll_s:
                        level = log.warning if isinstance(error, SightlineError) else log.error
                        level("jobs cannot be looked for", error=described(error))
                    pause_s = min(2 * pause_s, _AWAY_S)
                    self._closing.wait(pause_s)
                    continue
                if run is not None:
                    log.info("job taken", run=run.id, case=run.case, attempt=run.attempts)
                    return run, asked_s
                self._jobs.came.wait(rung, pause_s)
        return None

    def _keep(self) -> None:
        """Thread: extend leases, see wishes, end what does not heed; and look after what nobody holds."""
        beat_s = min(_BEAT_S, self._rules.attempt.lease.total_seconds() / 3)
        tended_s = float("-inf")
        heard = rung = self._jobs.wished.count
        while True:
            for attempt in self._all():
                attempt.look(beat_s if rung == heard else 0.0)
                stopped_s = attempt.stopped_s
                if stopped_s is not None and time.monotonic() - stopped_s > self._rules.grace_s:
                    self._replace(attempt)
            if self._closing.is_set() and not self.held:
                return
            if time.monotonic() - tended_s >= self._rules.tend_s and not self._closing.is_set():
                tended_s = time.monotonic()
                self._look_after()
            heard = rung
            self._jobs.wished.wait(rung, min(FRESH_S, beat_s))
            rung = self._jobs.wished.count

    def _replace(self, attempt: Attempt) -> None:
        """End a job whose step does not heed, and put a new thread in the place of the one that it has."""
        with self._lock:
            if self._held.pop(attempt.run_id, None) is None:
                return
        attempt.give_up()
        if not self._closing.is_set():
            self._add()

    def _look_after(self) -> None:
        """End jobs that waited too long, and submit those that are due."""
        try:
            for run in self._jobs.ports.store.jobs.overdue(_overdue):
                job_ended(self._jobs.ports.meter, run, run.state, error=run.error, kind="timeout")
                self._jobs.changed.ring()
            self._tend()
        except Exception as error:  # noqa: BLE001 - the database may be back at the next time
            log.warning("jobs cannot be looked after", error=described(error))

    def _all(self) -> Sequence[Attempt]:
        with self._lock:
            return tuple(self._held.values())


def _overdue(run: Run) -> list[Event]:
    return [
        job_event(run, f"run.{run.state.value}", {"status": run.status, "error": run.error, "error_kind": "timeout"})
    ]

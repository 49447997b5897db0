"""One attempt at a job: its steps in order, each committed under the token, until it ends, waits again, or is lost.

Whatever happens, the record tells it: no path leaves a job that this process holds without an end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Event as Flag
from threading import Lock
from typing import TypeVar

import structlog

from sightline.core.codec import encode_time
from sightline.core.errors import Cancelled, Conflict, DeadlineExceeded, NotFound, SightlineError, Unavailable
from sightline.core.events import Event
from sightline.core.ports import Ports
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunState
from sightline.engine.call import Call, Priority
from sightline.engine.held_job import HeldJob
from sightline.engine.job_errors import UsedUp, error_kind, is_worth_another, pause_after
from sightline.engine.job_numbers import job_ended, loggable
from sightline.engine.job_status import Cost, JobStatus
from sightline.engine.job_steps import PUBLISHING, JobCase, JobSteps
from sightline.engine.pipeline import described
from sightline.engine.publishing import attempt_folder, public_names, published, results_stem, run_folder
from sightline.engine.runs import job_event

log = structlog.get_logger()
T = TypeVar("T")
_PROGRESS_S = 0.2  # at most five times a second it is told on the bus how far a step is
FRESH_S = 0.2  # and as often in the record


@dataclass(frozen=True, kw_only=True)
class AttemptRules:
    """How a job is worked on.

    Attributes:
        lease: how long a worker that says nothing need not be doubted.
        attempts: how often a job is tried whose case says nothing.
        retry_s: pause before the second attempt; it doubles with each.
        cheap_s: steps that took less together are recorded with what comes next: to do them again costs no more.
    """

    lease: timedelta = timedelta(seconds=15)
    attempts: int = 3
    retry_s: float = 2.0
    cheap_s: float = 0.02


class Attempt:
    """One attempt at one job; `run` does it in the calling thread, the other methods are for the thread that reports.

    Args:
        run: as `JobStore.take` gave it.
        ports: where it is recorded.
        make: gives the case with the parameters of the job.
        rules: lease, attempts, pauses.
        changed: called after each change of the record.
        taken_s: when it was asked for, on the monotonic clock: this process may have stood still since.

    Attributes:
        over: nothing more will be done about the job here.
        changed: called after each change of the record.
    """

    def __init__(
        self,
        run: Run,
        ports: Ports,
        make: Callable[[str, JsonObject], JobCase],
        rules: AttemptRules,
        changed: Callable[[], None] = lambda: None,
        *,
        taken_s: float | None = None,
    ) -> None:
        taken_s = time.monotonic() if taken_s is None else taken_s
        self.run_id = run.id
        self.over = False
        self.changed = changed
        self._run = run
        self._taken_s = taken_s
        self._ports = ports
        self._make = make
        self._rules = rules
        self._stopping = Flag()
        self._why = ""
        self._stopped_s: float | None = None
        self._status = JobStatus((), run.attempts, {})
        self._step = ""
        self._steps: JobSteps | None = None
        self._unrecorded: dict[str, JsonObject] = {}
        self._told_s = 0.0
        self._untold = False
        self._end = Lock()
        self._ends_s = _moment(run, rules.lease, taken_s)
        self._record = HeldJob(run, ports.store, rules.lease, taken_s, lambda: self._why == "lost")

    @property
    def stopped_s(self) -> float | None:
        """When it was told to stop, on the monotonic clock."""
        return self._stopped_s

    def stop(self, why: str, *, gently: bool = False) -> None:
        """Begin no step any more, and tell the one under way: `cancelled`, `timeout`, `closing` or `lost`.

        With `gently` the one under way is not told, and may finish.
        """
        if self._why == "done":
            return
        if not self._why or why == "lost":
            self._why = why
        if not gently:
            self._stopped_s = self._stopped_s or time.monotonic()
            self._stopping.set()

    def look(self, rest_s: float) -> None:
        """Report what is new, and what is not after `rest_s`; called a few times a second."""
        if self._ends_s is not None and time.monotonic() >= self._ends_s:
            self.stop("timeout")
        if self._record.is_due(self._status.json(), rest_s, FRESH_S):
            self.report()
        if self._untold:
            self._tell_progress()

    def report(self) -> None:
        """Extend the lease, show how far it is, and see whether somebody wants it to end."""
        try:
            run = self._record.report(self._status.json())
        except Unavailable as error:
            log.warning("a job cannot report", run=self.run_id, error=str(error))
        except (Conflict, NotFound):
            if not self.over:
                self.stop("lost")
        else:
            if run.cancelling:
                self.stop("cancelled")

    def give_up(self) -> None:
        """Record the end of a job whose step does not heed that it was told to stop."""
        log.warning("a step does not end; given up", run=self.run_id, step=self._step, why=self._why)
        self._conclude(None)

    def run(self) -> None:
        """Do the steps that are left, and record how it ended."""
        error: BaseException | None = None
        try:
            if self._run.cancelling:
                self.stop("cancelled")
            if self._ends_s is not None and time.monotonic() >= self._ends_s:
                self.stop("timeout")
            self._work()
        except BaseException as raised:  # noqa: BLE001 - a plug-in may raise anything; the record must tell of it
            error = raised
        self._conclude(error)

    def _work(self) -> None:
        """Do the steps that are left."""
        run = self._run
        if self._stopping.is_set():
            return
        made = self._make(run.case, run.spec.get("parameters") or {})
        most = made.case.job.attempts or self._rules.attempts
        if run.attempts > most:
            raise UsedUp(f"The process that worked on it died or stood still, {most} times.")
        done = self._record.done()
        context = replace(
            made.context,
            case=run.case,
            run=run.id,
            metadata=dict(run.metadata),
            stopping=self._stopping,
            object=str(run.spec["object"]),
            results=results_stem(run.id, run.token),
            progress=self._progress,
            within=self._within,
        )
        folder = f"{attempt_folder(run.id, run.token)}steps/"
        steps = JobSteps(made, context, run.spec, folder=folder, done=done, call=self._call)
        self._steps = steps
        self._status = JobStatus(steps.names, run.attempts, done)
        for name in steps.names:
            if name in done:
                continue
            if not self._record.is_surely_ours:
                self.report()  # this process stood still: perhaps the step is done by another one
            if self._why:
                return
            if steps.is_sink(name):
                self._commit()  # what it does may be seen outside: nothing before it is done once more
            self._begin(name)
            cost = Cost()
            if name == PUBLISHING:
                outcome: JsonObject = {"made": steps.made()}
            else:
                outcome = steps.run(name)
            about = {"worker": run.worker, "attempt": run.attempts, "at": encode_time(datetime.now(UTC))}
            outcome = {**outcome, **cost.taken(), **about}
            if self._stopping.is_set():
                return  # what the step gave may be a part only
            self._status.done(name, outcome)
            done[name] = outcome
            if name != PUBLISHING or run.spec.get("output"):
                self._done(name, outcome)
        self._publish(done[PUBLISHING]["made"])

    def _within(self, seconds: float) -> None:
        """Let the work end so many seconds after it was taken up, unless it ends sooner."""
        end_s = self._taken_s + seconds
        self._ends_s = end_s if self._ends_s is None else min(self._ends_s, end_s)

    def _begin(self, step: str) -> None:
        self._step = step
        self._status.begin(step)

    def _done(self, step: str, outcome: JsonObject) -> None:
        """Record a step together with the events among its findings; one that was cheap may wait for the next."""
        steps = self._steps
        assert steps is not None  # noqa: S101 - one of its steps is done
        log.info("step done", run=self.run_id, step=step, seconds=outcome["seconds"], peak_mb=outcome["peak_mb"])
        found = [event for event in steps.events(step) if not event.is_transient] if steps.is_predictor(step) else []
        self._unrecorded[step] = outcome
        waits = step != PUBLISHING and not steps.is_sink(step) and "inline" in outcome and not found
        if not waits or sum(each["seconds"] for each in self._unrecorded.values()) >= self._rules.cheap_s:
            self._commit(found)
        self._tell_progress()

    def _commit(self, found: Sequence[Event] = ()) -> None:
        """Record the steps that are done; what cannot be recorded does not keep the end from being recorded."""
        steps, self._unrecorded = self._unrecorded, {}
        if steps:
            self._record.commit(steps, self._status.json(), found)
        for event in found:
            self._ports.bus.publish(event)

    def _publish(self, made: dict[str, str]) -> None:
        """Make the accepted results visible."""
        output = self._run.spec.get("output")
        files = self._again_if_down(lambda: published(self._ports.artifacts, made, output, self.run_id))
        self._status.publish(public_names(made, output, self.run_id), files)
        if self._why != "lost":
            self._why = "done"  # what is visible now stays so, whoever wants it to end

    def _conclude(self, error: BaseException | None) -> None:
        """Record how the attempt ended, once."""
        with self._end:
            if self.over:
                return
            self._status.broken()
            try:
                self._recorded(error)
            except Conflict as conflict:
                log.warning("a job was lost to another worker", run=self.run_id, error=str(conflict))
            except SightlineError as away:
                log.error("the end of an attempt could not be recorded", run=self.run_id, error=str(away))
            except Exception as mistake:  # noqa: BLE001 - the lease passes, and another worker takes the job
                log.error("an attempt ended unforeseen", run=self.run_id, error=described(mistake))
            self.over = True
        self.changed()

    def _recorded(self, error: BaseException | None) -> None:
        why = self._why
        if why == "lost":
            log.warning("a job was lost to another worker", run=self.run_id)
        elif why == "done" and error is None:
            self._finish(RunState.COMPLETED)
        elif why == "cancelled":
            self._finish(RunState.CANCELLED)
        elif why == "timeout" or isinstance(error, DeadlineExceeded):
            self._finish(RunState.FAILED, "The deadline passed.", "timeout")
        elif why == "closing" and (error is None or isinstance(error, Cancelled)):
            self._put_back(timedelta(0), None, used=False)
        elif error is None:
            self._finish(RunState.FAILED, "The job ended without a result.", "internal")
        else:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Fail the job, or let it wait for its next attempt."""
        if isinstance(error, Conflict) and self._record.is_lost():
            raise error
        if isinstance(error, Cancelled):
            self._put_back(timedelta(0), None, used=False)  # a model was closed under it
            return
        predicting = self._steps is not None and self._steps.is_predictor(self._step)
        kind = error_kind(error, predicting=predicting)
        said = described(error)
        pause = pause_after(error, self._run.attempts, self._rules.retry_s)
        ends_s = self._ends_s
        in_time = ends_s is None or time.monotonic() + pause.total_seconds() < ends_s
        if is_worth_another(error) and self._run.attempts < self._most() and in_time:
            self._put_back(pause, said, kind=kind)
        else:
            self._finish(RunState.FAILED, said, kind, error.cure if isinstance(error, SightlineError) else "")

    def _finish(self, state: RunState, error: str | None = None, kind: str | None = None, cure: str = "") -> None:
        status = self._status.json(**({} if kind is None else {"error_kind": kind}) | ({"cure": cure} if cure else {}))
        if state is RunState.COMPLETED:
            status |= {"stage": "", "message": ""}
        data = {"status": status} | ({} if error is None else {"error": error, "error_kind": kind})
        told = job_event(self._run, f"run.{state.value}", data)
        self._record.finish(state, status, error, told, steps=self._unrecorded)
        self._ports.bus.publish(told)
        models = () if self._steps is None else self._steps.models
        job_ended(self._ports.meter, self._run, state, error=error, kind=kind, models=models)
        if state is RunState.COMPLETED:
            self._tidy(status)

    def _put_back(self, after: timedelta, error: str | None, *, used: bool = True, kind: str | None = None) -> None:
        status = self._status.json(**({} if kind is None else {"error_kind": kind}))
        told = []
        if error is not None:
            data = {"error": error, "error_kind": kind, "attempt": self._run.attempts, "after_s": after.total_seconds()}
            told = [job_event(self._run, "run.retrying", data)]
        self._record.put_back(after, status, error, told, steps=self._unrecorded, used=used)
        for event in told:
            self._ports.bus.publish(event)
        why = None if error is None else loggable(self._run, error, kind)
        log.info("job waits for another attempt", run=self.run_id, after_s=after.total_seconds(), error=why)

    def _tidy(self, status: JsonObject) -> None:
        """Delete what was put aside, and let the sinks finish; the end is recorded, so nothing here matters to it."""
        try:
            if self._steps is None:
                return
            self._steps.settle()
            if self._run.token == 1 and not self._run.spec.get("output") and not self._steps.put_aside:
                return  # nothing lies there but the results
            kept = {str(file["key"]) for file in status["files"].values()}
            for key in list(self._ports.artifacts.list(run_folder(self.run_id))):
                if key not in kept:
                    self._ports.artifacts.delete(key)
        except Exception as error:  # noqa: BLE001 - retention takes what is left here
            log.warning("what a job put aside was not deleted", run=self.run_id, error=described(error))

    def _again_if_down(self, call: Callable[[], T]) -> T:
        """Call the artifact store; what is accepted is worth more patience than an attempt."""
        for pause_s in (0.1, 0.5, 2.0):
            try:
                return call()
            except Unavailable:
                if self._stopping.wait(pause_s):
                    break
        return call()

    def _most(self) -> int:
        try:
            rules = self._make(self._run.case, self._run.spec.get("parameters") or {}).case.job
        except SightlineError:
            return self._rules.attempts
        return rules.attempts or self._rules.attempts

    def _call(self) -> Call:
        return Call(priority=Priority.JOB, deadline_s=self._ends_s, cancelled=self._stopping)

    def _progress(self, share: float, message: str = "") -> None:
        """Take what a plug-in says of its progress, and tell it on the bus now and then."""
        self._status.progress(share, message)
        if time.monotonic() - self._told_s >= _PROGRESS_S:
            self._tell_progress()
        else:
            self._untold = True

    def _tell_progress(self) -> None:
        self._told_s, self._untold = time.monotonic(), False
        self._ports.bus.publish(job_event(self._run, "run.progress", self._status.json()))
        self.changed()


def _moment(run: Run, lease: timedelta, taken_s: float) -> float | None:
    """Return the deadline on the monotonic clock; the database's clock is known from the lease that it just gave."""
    if run.deadline is None or run.lease_until is None:
        return None
    now: datetime = run.lease_until - lease
    return taken_s + (run.deadline - now).total_seconds()

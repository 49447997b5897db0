"""A run of kind stream: from its record in the database to its clean end.

The thread that calls `execute` keeps the clock, another one the lease, whatever takes how long; lanes and the writer do
the work. The order of the end is what loses nothing: sources stop, lanes finish what was read, the collectors give out
what they hold, the writer writes it, the sinks close, the run is recorded as over.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import structlog

from sightline.core.case import Case
from sightline.core.errors import SightlineError, SourceUnreachable, Unavailable
from sightline.core.events import Event as Happening
from sightline.core.events import make_event, source_uri
from sightline.core.plugins import Context, SourceState
from sightline.core.ports import Ports
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunKind, RunState
from sightline.core.sample import Sample
from sightline.engine.counters import RunCounters
from sightline.engine.lanes import ALL_SOURCES, Lane, Surroundings, Tail, as_ours
from sightline.engine.writer import Writer

log = structlog.get_logger()
_TICK_S = 0.02
_GRACE_S = 0.5  # what a run that was given up waits for each of its threads, so that they can close what they hold
_RETRIES_S = (0.1, 0.4, 1.5)  # pauses before the end of a run is recorded again, when the database is away


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: as recorded, with its last status.
        error: why it failed, or None.
        made: what the sinks leave behind for people to look at: a word for it -> path.
    """

    run: Run
    error: SightlineError | None = None
    made: dict[str, str] = field(default_factory=dict)


class StreamRun:
    """One execution of a case over its sources.

    Args:
        case: what to do.
        context: the world of this run's plug-ins; its `run` and `stopping` are set here.
        run: the record to make; `submitted` by now.
        duration_s: end after this long; None: when the sources end.
        chunk: most samples that a file gives to the predictors at once.
        watch: shown every finished sample by the writer's thread.
        report_s: how often the record shows how far the run is; far below the lease of 15 s.
        patience_s: how long a source may stay inside one call of foreign code after it was told to stop.
    """

    def __init__(
        self,
        case: Case,
        context: Context,
        run: Run,
        *,
        duration_s: float | None = None,
        chunk: int = 4,
        watch: Callable[[Sample[Any]], None] | None = None,
        report_s: float = 2.0,
        patience_s: float = 10.0,
    ) -> None:
        self.counters = RunCounters()
        self._run = run
        self._duration_s = duration_s
        self._report_s = report_s
        self._patience_s = patience_s
        self._num_stops = 0
        self._error: SightlineError | None = None
        self._over = Event()
        self._abandoned = Event()
        self._told_states: dict[str, tuple[SourceState, str]] = {}
        self._context = replace(context, run=run.id, case=case.name, sources=tuple(case.sources))
        self._stopping = context.stopping
        self._case = case
        self._writer = Writer(case, self._context, stop=self._fail, abandoned=self._abandoned, watch=watch)
        around = Surroundings(
            case=case,
            context=self._context,
            counters=self.counters,
            finished=self._writer.put,
            stop=self._fail,
            told=self._told,
            abandoned=self._abandoned,
            chunk=chunk,
        )
        across = case.collector is not None and case.collector.across_sources
        self._joint = Tail(around, ALL_SOURCES) if across else None
        self._lanes = [Lane(around, name, source, self._joint) for name, source in case.sources.items()]

    def stop(self) -> None:
        """End the run as its user wishes; a second call also gives up what was taken but is not finished.

        It may be called from a signal handler, so it takes no lock: the loop of `execute` heeds it a moment later.
        """
        self._num_stops += 1

    def execute(self) -> Outcome:
        """Run to the end and return how it went; errors of the case are in the outcome, not raised.

        Raises:
            SightlineError: the run could not be recorded, so it did not begin.
        """
        runs = self._context.ports.store.runs
        submitted = self._happening("run.submitted", {"kind": RunKind.STREAM.value})
        started = self._happening("run.started", {})
        self._run = runs.create(self._run, worker=_worker_name(), events=[submitted, started])
        self._publish(submitted, started)
        lease = Thread(target=self._keep_lease, name="lease", daemon=True)
        lease.start()
        try:
            self._writer.open()
            if self._joint is not None:
                self._joint.open()
            for lane in self._lanes:
                lane.start()
            self._attend()
        except Exception as error:  # noqa: BLE001 - a sink or a collector that cannot be opened
            self._fail(as_ours(error, f"Case {self._case.name!r}"))
        except BaseException:
            self.stop()  # Ctrl-C where nobody handles the signal
            raise
        finally:
            self._finish()
            self._over.set()
            lease.join(_GRACE_S)
            outcome = self._recorded()
        return outcome

    def status(self) -> JsonObject:
        """Return all counters as JSON."""
        return {**self.counters.snapshot(), "sinks": self._writer.snapshot()}

    def _attend(self) -> None:
        """Wait until the sources have ended, the time is over or somebody stops the run."""
        begin = time.monotonic()
        while any(lane.running for lane in self._lanes) and not self._stopping.is_set():
            if self._duration_s is not None and time.monotonic() - begin >= self._duration_s:
                break
            self._heed()
            time.sleep(_TICK_S)

    def _heed(self) -> None:
        """Do what `stop` was called for."""
        if self._num_stops:
            self._stopping.set()
        if self._num_stops > 1:
            self._abandoned.set()

    def _keep_lease(self) -> None:
        """Lease thread: report until the run is over, so that nobody takes it for dead."""
        away = False
        while not self._over.wait(self._report_s):
            status = self.status()
            try:
                self._run = self._context.ports.store.runs.report(self._run.id, self._run.token, status)
                self._publish(self._happening("run.progress", status))
            except (
                Unavailable
            ) as error:  # the cameras go on; when the lease has passed by then, the next report says so
                if not away:
                    log.warning("the run cannot report", run=self._run.id, error=str(error))
                away = True
            except Exception as error:  # noqa: BLE001 - another process has the run now, or it was deleted
                self._fail(as_ours(error, f"Run {self._run.id}"))
                return
            else:
                away = False

    def _finish(self) -> None:
        """Stop the sources, and see what was taken through to the sinks."""
        self._stopping.set()
        begin = time.monotonic()
        self._until(lambda: self._lanes_have_ended(begin), "sources or predictors do not end; left behind")
        if self._joint is not None:
            closing = Thread(target=self._close_joint, args=(self._joint,), name="flush", daemon=True)
            closing.start()
            self._until(lambda: not closing.is_alive(), "the collector does not end; left behind")
        self._writer.end()
        self._until(lambda: not self._writer.running, "sinks do not end; left behind")
        self._abandoned.set()  # so that whoever was left behind ends, when it comes back

    def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        """Wait until `done`; once the run is given up, only a moment longer."""
        given_up_s: float | None = None
        while not done():
            self._heed()
            if self._abandoned.is_set():
                given_up_s = given_up_s or time.monotonic()
                if time.monotonic() - given_up_s > _GRACE_S:
                    log.warning(otherwise, run=self._run.id)
                    return
            time.sleep(_TICK_S)

    def _lanes_have_ended(self, begin: float) -> bool:
        """Look after the lanes; a source that is stuck in foreign code is waited for no longer."""
        for lane in self._lanes:
            if lane.stuck_s(begin) > self._patience_s:
                log.warning("source does not stop; left behind", source=lane.name)
                lane.leave()
                self._told(lane.name, SourceState.STOPPED, "it did not stop by itself and was left behind")
        return not any(lane.running for lane in self._lanes)

    def _close_joint(self, joint: Tail) -> None:
        try:
            joint.close()
        except Exception as error:  # noqa: BLE001 - a collector or predictor of a plug-in
            self._fail(as_ours(error, f"Case {self._case.name!r}"))

    def _recorded(self) -> Outcome:
        """Record the end and return it."""
        error = self._error or self._writer.error or self._verdict()
        cancelled = self._num_stops and error is None
        state = RunState.FAILED if error else RunState.CANCELLED if cancelled else RunState.COMPLETED
        status = self.status()
        event = self._happening(f"run.{state.value}", {"error": str(error) if error else None, "status": status})
        try:
            run = self._finished(state, status, error, event)
            self._publish(event)
        except SightlineError as lost:
            log.warning("the end of the run was not recorded", run=self._run.id, error=str(lost))
            run = replace(self._run, state=state, status=status)
            error = error or lost
        return Outcome(run=run, error=error, made=self._writer.made())

    def _finished(self, state: RunState, status: JsonObject, error: SightlineError | None, event: Happening) -> Run:
        """Record the end, again after a moment while the database is away."""
        for pause_s in (*_RETRIES_S, None):
            try:
                return self._context.ports.store.runs.finish(
                    self._run.id,
                    self._run.token,
                    state,
                    status=status,
                    error=str(error) if error else None,
                    events=[event],
                )
            except Unavailable:
                if pause_s is None or self._num_stops > 1:
                    raise
                time.sleep(pause_s)
        raise AssertionError("the last pause is None")

    def _verdict(self) -> SightlineError | None:
        """Return why a run failed that nobody stopped for an error."""
        for lane in self._lanes:
            if lane.error is not None:
                return lane.error
        read, processed, failed = self.counters.totals()
        first = self.counters.first_error
        if failed and not processed and first is not None:
            # Of the kind of the first one, so that the exit code and the cure are those of the cause.
            return type(first)(f"Every sample failed: {first.message}", cure=first.cure, location=first.location)
        if not read and any(lane.live for lane in self._lanes) and not self._num_stops:
            states = self.counters.snapshot()["sources"]
            names = ", ".join(
                f"{lane.name!r} ({states[lane.name]['trouble'] or states[lane.name]['reason']})"
                for lane in self._lanes
                if lane.live
            )
            return SourceUnreachable(
                f"No frame came from {names}.", cure="Check that the camera is on: sightline probe URL"
            )
        return None

    def _fail(self, error: Exception) -> None:
        self._error = self._error or as_ours(error, f"Case {self._case.name!r}")
        self._stopping.set()

    def _told(self, source: str, state: SourceState, reason: str) -> None:
        """Note, record and publish that a source changed its state."""
        if not self.counters.state(source, state, reason):
            return
        last = self._told_states.get(source)
        # A camera that is down for days tries again thousands of times: the outage is recorded once, the bus has all.
        is_news = last is None or (state is not SourceState.CONNECTING and last != (state, reason))
        event = make_event(
            f"source.{state.value}",
            source=source_uri(self._case.name, source),
            time=datetime.now(UTC),
            data={"run": self._run.id, "reason": reason, "metadata": dict(self._context.metadata)},
        )
        if is_news:
            self._told_states[source] = (state, reason)
            try:
                self._context.ports.store.events.append([event])
            except Exception as error:  # noqa: BLE001 - a full disk must not stop a camera
                log.warning("event was not recorded", event_type=event.short_type, error=str(error))
        self._publish(event)

    def _happening(self, short_type: str, data: JsonObject) -> Happening:
        return make_event(
            short_type,
            source=source_uri(self._case.name),
            subject=f"run/{self._run.id}",
            time=datetime.now(UTC),
            data={"run": self._run.id, "metadata": dict(self._context.metadata), **data},
        )

    def _publish(self, *events: Happening) -> None:
        for event in events:
            try:
                self._context.ports.bus.publish(event)
            except Exception as error:  # noqa: BLE001 - the store has it; a bus that fails must not end a run
                log.warning("event was not published", event_type=event.short_type, error=str(error))


def fail_dead_runs(ports: Ports) -> None:
    """Record the end of runs whose process died without one, and tell of it."""

    def told(run: Run) -> list[Happening]:
        return [
            make_event(
                "run.failed",
                source=source_uri(run.case),
                subject=f"run/{run.id}",
                time=datetime.now(UTC),
                data={"run": run.id, "metadata": dict(run.metadata), "error": run.error, "status": run.status},
            )
        ]

    ports.store.runs.expire(told)


def _worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"

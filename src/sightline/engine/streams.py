"""A run of kind stream: from its record in the database to its clean end.

The thread that calls `execute` keeps the lease and the clock; lanes and the writer do the work. The order of the end
is what loses nothing: sources stop, lanes finish what was read, the collectors give out what they hold, the writer
writes it, the sinks close, the run is recorded as over.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event
from typing import Any

import structlog

from sightline.core.case import Case
from sightline.core.errors import SightlineError, SourceUnreachable
from sightline.core.events import Event as Happening
from sightline.core.events import make_event, source_uri
from sightline.core.plugins import Context, SourceState
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunKind, RunState
from sightline.core.sample import Sample
from sightline.engine.counters import RunCounters
from sightline.engine.lanes import ALL_SOURCES, Lane, Surroundings, Tail, as_ours
from sightline.engine.writer import Writer

log = structlog.get_logger()
_TICK_S = 0.1
_REPORT_S = 2.0
_STUCK_S = 10.0  # how long a live source may stay inside one call of foreign code after it was told to stop


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
    ) -> None:
        self.counters = RunCounters()
        self._run = run
        self._duration_s = duration_s
        self._cancelled = False
        self._error: SightlineError | None = None
        self._abandoned = Event()
        self._context = replace(context, run=run.id, case=case.name)
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
        """End the run as its user wishes; a second call also gives up what was taken but is not finished."""
        if self._cancelled:
            self._abandoned.set()
        self._cancelled = True
        self._stopping.set()

    def execute(self) -> Outcome:
        """Run to the end and return how it went; errors of the case are in the outcome, not raised."""
        runs = self._context.ports.store.runs
        submitted = self._happening("run.submitted", {"kind": RunKind.STREAM.value})
        started = self._happening("run.started", {})
        self._run = runs.create(self._run, worker=_worker_name(), events=[submitted, started])
        self._publish(submitted, started)
        try:
            self._writer.open()
            for lane in self._lanes:
                lane.start()
            self._attend()
        except Exception as error:  # noqa: BLE001 - a sink that cannot be opened, a store that is gone
            self._fail(as_ours(error, f"Case {self._case.name!r}"))
        finally:
            self._stopping.set()
            self._finish_lanes()
            self._writer.close()
        return self._recorded()

    def status(self) -> JsonObject:
        """Return all counters as JSON."""
        return {**self.counters.snapshot(), "sinks": self._writer.snapshot()}

    def _attend(self) -> None:
        """Keep the lease until the sources have ended, the time is over or somebody stops the run."""
        begin = reported = time.monotonic()
        while any(lane.running for lane in self._lanes) and not self._stopping.wait(_TICK_S):
            now = time.monotonic()
            if self._duration_s is not None and now - begin >= self._duration_s:
                break
            if now - reported >= _REPORT_S:
                reported = now
                self._report()

    def _report(self) -> None:
        status = self.status()
        self._run = self._context.ports.store.runs.report(self._run.id, self._run.token, status)
        self._publish(self._happening("run.progress", status))

    def _finish_lanes(self) -> None:
        """Wait for the lanes, keeping the lease; leave one that is stuck in foreign code to itself."""
        last_change, seen = time.monotonic(), self.counters.totals()
        while any(lane.running for lane in self._lanes) and not self._abandoned.is_set():
            time.sleep(_TICK_S / 5)
            now, totals = time.monotonic(), self.counters.totals()
            if totals != seen:
                last_change, seen = now, totals
            elif now - last_change > _STUCK_S:
                stuck = [lane.name for lane in self._lanes if lane.running]
                log.warning("sources do not stop; left behind", sources=stuck)
                break
        if self._joint is not None:
            try:
                self._joint.close()
            except Exception as error:  # noqa: BLE001 - a collector or predictor of a plug-in
                self._fail(as_ours(error, f"Case {self._case.name!r}"))

    def _recorded(self) -> Outcome:
        """Record the end and return it."""
        error = self._error or self._writer.error or self._verdict()
        cancelled = self._cancelled and error is None
        state = RunState.FAILED if error else RunState.CANCELLED if cancelled else RunState.COMPLETED
        status = self.status()
        event = self._happening(f"run.{state.value}", {"error": str(error) if error else None, "status": status})
        try:
            run = self._context.ports.store.runs.finish(
                self._run.id,
                self._run.token,
                state,
                status=status,
                error=str(error) if error else None,
                events=[event],
            )
            self._publish(event)
        except SightlineError as lost:
            log.warning("the end of the run was not recorded", run=self._run.id, error=str(lost))
            run = replace(self._run, state=state, status=status)
            error = error or lost
        return Outcome(run=run, error=error, made=self._writer.made())

    def _verdict(self) -> SightlineError | None:
        """Return why a run failed that nobody stopped for an error."""
        for lane in self._lanes:
            if lane.error is not None:
                return lane.error
        read, processed, failed = self.counters.totals()
        if failed and not processed:
            sources = self.counters.snapshot()["sources"].values()
            causes = {f"{key!r}: {text}" for counts in sources for key, text in counts["errors"].items()}
            return as_ours(
                RuntimeError(f"every sample failed: {'; '.join(sorted(causes))}"), f"Case {self._case.name!r}"
            )
        if not read and any(lane.live for lane in self._lanes) and not self._cancelled:
            states = self.counters.snapshot()["sources"]
            names = ", ".join(f"{lane.name!r} ({states[lane.name]['reason']})" for lane in self._lanes if lane.live)
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
        event = make_event(
            f"source.{state.value}",
            source=source_uri(self._case.name, source),
            time=datetime.now(UTC),
            data={"run": self._run.id, "reason": reason, "metadata": dict(self._context.metadata)},
        )
        try:
            self._context.ports.store.events.append([event])
        except SightlineError as error:  # a full disk must not stop a camera
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
            self._context.ports.bus.publish(event)


def _worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"

"""A run of kind stream: from its record in the database to its clean end.

The thread that calls `execute` keeps the clock, another one the lease, whatever takes how long; lanes and the writer do
the work. The order of the end is what loses nothing: sources stop, lanes finish what was read, the collectors give out
what they hold, the writer writes it, the sinks close, the run is recorded as over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event, Thread
from typing import Any

import structlog

from sightline.core.case import Case
from sightline.core.errors import NotFound, SightlineError, SourceUnreachable
from sightline.core.plugins import Context, Source, SourceState
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunState
from sightline.core.sample import Sample
from sightline.engine.counters import RunCounters
from sightline.engine.lanes import Lane, Tail
from sightline.engine.lineup import Lineup, first_epoch
from sightline.engine.outbox import Outbox
from sightline.engine.record import RunRecord
from sightline.engine.source_states import SourceStates
from sightline.engine.stalls import tell_stalls
from sightline.engine.surroundings import ALL_SOURCES, Surroundings, as_ours
from sightline.engine.wishes import Only, SourceSpecs, Wishes
from sightline.engine.writer import Writer

log = structlog.get_logger()
_TICK_S = 0.02
_GRACE_S = 0.5  # what a run that was given up waits for each of its threads, so that they can close what they hold


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
    """One execution of a case over its sources, which may change while it goes on.

    Args:
        case: what to do.
        context: the world of this run's plug-ins; its `run`, `stopping` and `outbox` are set here.
        run: the record to make, `submitted` by now; or one that this process has claimed.
        duration_s: end after this long; None: when the sources end.
        chunk: most samples that a file gives to the predictors at once.
        watch: shown every finished sample by the writer's thread.
        report_s: how often the record shows how far the run is; far below the lease of 15 s.
        patience_s: how long a source may stay inside one call of foreign code after it was told to stop.
        stands: do not end with the sources: more may come. What a source suffers is no failure of such a run.
        specs: how sources stand in the run's record.

    Attributes:
        case: what it does.
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
        stands: bool = False,
        specs: SourceSpecs | None = None,
    ) -> None:
        self.case = case
        self.counters = RunCounters()
        if run.token > 1:
            self.counters.resume(run.status, {*case.sources, ALL_SOURCES})
        self._duration_s = duration_s
        self._stands = stands
        self._num_stops, self._by = 0, ""
        self._gives_back = False
        self._error: SightlineError | None = None
        self._abandoned = Event()
        self._outbox = Outbox(context.ports, fail=self._fail)
        self._context = replace(
            context,
            run=run.id,
            case=case.name,
            sources=tuple(case.sources),
            outbox=self._outbox.tell,
            clip=lambda source, *what: self.source(source).clip(*what),
        )
        facts = {"run": run.id, "metadata": dict(self._context.metadata)}
        self._states = SourceStates(case.name, facts, self.counters, self._outbox)
        self._record = RunRecord(run, self._context, self._outbox, report_s=report_s)
        self._stopping = context.stopping
        self._case = case
        self._writer = Writer(
            case, self._context, outbox=self._outbox, stop=self._fail, abandoned=self._abandoned, watch=watch
        )
        self._around = Surroundings(
            case=case,
            context=self._context,
            counters=self.counters,
            finished=self._writer.put,
            cut_off=self._writer.cut_off,
            stop=self._fail,
            told=self._states.tell,
            abandoned=self._abandoned,
            chunk=chunk,
        )
        across = case.collector is not None and case.collector.across_sources
        self._joint = Tail(self._around, ALL_SOURCES) if across else None
        self._lineup = Lineup(
            self._lane,
            first=self._first_epoch,
            removed=self._gone,
            left=lambda source, reason: self._states.tell(source, SourceState.STOPPED, reason),
            stuck=self.counters.stuck,
            patience_s=patience_s,
        )
        self._want(case.sources)
        self._wishes = Wishes(run, case.sources, specs or SourceSpecs(), context.ports)

    @property
    def run(self) -> Run:
        """The record, with what is seen now."""
        return replace(self._record.run, spec=self._wishes.spec, revision=self._wishes.revision, status=self.status())

    @property
    def run_id(self) -> str:
        """Its id."""
        return self._record.run.id

    @property
    def restarts(self) -> bool:
        """True where the run shall go on when its process has ended."""
        return self._record.run.restart != "never"

    @property
    def wanted(self) -> Mapping[str, Source]:
        """The sources that shall be read."""
        return self._lineup.wanted

    def stop(self, *, give_back: bool = False, by: str = "") -> None:
        """End the run as its user wishes; a second call also gives up what was taken but is not finished.

        It may be called from a signal handler, so it takes no lock: the loop of `execute` heeds it a moment later.

        Args:
            give_back: end only the work of this process: the run waits to be taken up again.
            by: who asks.
        """
        self._by = self._by or by
        self._gives_back = self._gives_back or (give_back and not self._num_stops)
        self._num_stops += 1

    def apply(self, sources: Mapping[str, Source]) -> None:
        """Read these sources from now on.

        New ones start, those that are gone stop and are finished, a changed one does both and begins a new epoch;
        those that stay the same go on as if nothing had happened. Nothing is recorded now: see `change`.
        """
        self._want(sources)
        self._wishes.replace(sources)

    def change(
        self,
        changes: Mapping[str, Source | None],
        revision: int | None = None,
        *,
        only: Only = "any",
        by_hand: bool = True,
        by: str = "",
    ) -> Run:
        """Record that sources are wanted, changed or (None) gone, and apply it; return the run as it is now.

        Args:
            changes: id of a source -> the source.
            revision: of the record that the caller has seen; None: the one that this process knows.
            only: refuse sources that are there already, or that are not.
            by_hand: from now on these sources are no longer those of the case; see `Wishes`.
            by: who asks; told with the states of the sources that follow from it.

        Raises:
            Conflict: the revision is not the newest, the run is over, or a source is there that shall be new.
            NotFound: a source is not there that shall be changed or go.
            InvalidInput: an id is none.
            Unavailable: the database is away; nothing was changed.
        """
        with self._wishes.changed(changes, revision, only, by_hand=by_hand) as wanted:
            self._want(wanted, by)
        return self.run

    def source(self, name: str) -> Source:
        """Return the copy of a source that is being read, for what any thread may ask of it: `push` and `clip`.

        Raises:
            NotFound: no source of this name is being read.
        """
        for lane in self._lineup.lanes:
            if lane.name == name:
                return lane.source
        raise NotFound(f"The run {self._record.run.id} reads no source {name!r} now.")

    def threads(self) -> Mapping[str, Sequence[int]]:
        """Return the threads that read and analyse each source, by the ids that the operating system gives them."""
        return {lane.name: lane.thread_ids for lane in self._lineup.lanes}

    def add_watcher(self, look: Callable[[Sample[Any]], None]) -> None:
        """Show every finished sample to one more, by the writer's thread: he is quick and never fails."""
        self._writer.add_watcher(look)

    def begin(self) -> Run:
        """Record that the run has begun, and return the record; `execute` does it where nobody did.

        Raises:
            SightlineError: the run could not be recorded, so it did not begin.
        """
        self._wishes.keep()
        return self._record.begin(self._wishes.spec)

    def execute(self) -> Outcome:
        """Run to the end and return how it went; errors of the case are in the outcome, not raised.

        Raises:
            SightlineError: the run could not be recorded, so it did not begin.
        """
        if not self._record.begun:
            self.begin()
        self._record.keep(self.status, self._obey, self._fail)
        try:
            self._writer.open()
            if self._joint is not None:
                self._joint.open()
            self._attend()
        except Exception as error:  # noqa: BLE001 - a sink or a collector that cannot be opened
            self._fail(as_ours(error, f"Case {self._case.name!r}"))
        except BaseException:
            self.stop()  # Ctrl-C where nobody handles the signal
            raise
        finally:
            self._finish()
            self._record.stop_reporting()
            outcome = self._recorded()
        return outcome

    def status(self) -> JsonObject:
        """Return all counters as JSON."""
        trouble = {"spec_error": self._wishes.trouble} if self._wishes.trouble else {}
        return {**self.counters.snapshot(), "sinks": self._writer.snapshot(), **trouble}

    def _attend(self) -> None:
        """Wait until the sources have ended, the time is over or somebody stops the run."""
        begin = time.monotonic()
        self._lineup.tend()
        while (self._stands or self._lineup.running) and not self._stopping.is_set():
            if self._duration_s is not None and time.monotonic() - begin >= self._duration_s:
                break
            self._heed()
            time.sleep(_TICK_S)
            self._lineup.tend()
            tell_stalls(self._lineup.lanes, self.counters, self._states.tell)

    def _heed(self) -> None:
        """Do what `stop` was called for."""
        if self._num_stops:
            self._halt()
        if self._num_stops > 1:
            self._abandoned.set()

    def _halt(self) -> None:
        self._stopping.set()
        self._lineup.stop(self._by)

    def _obey(self, run: Run) -> None:
        """Do what another process has written into the record: end, or read other sources."""
        if run.cancelling and not self._num_stops:
            self.stop()
        with self._wishes.written(run) as wanted:
            if wanted is not None:
                self._want(wanted)

    def _want(self, sources: Mapping[str, Source], by: str = "") -> None:
        before = self._lineup.wanted
        self._lineup.want(sources, by)
        for name in before.keys() - sources.keys() - {lane.name for lane in self._lineup.lanes}:
            self.counters.remove(name)  # it was gone before its lane started
        for name in sources:
            if not self.counters.has(name):
                self.counters.add(name)  # so that it is seen before its lane starts

    def _lane(self, name: str, source: Source, first: int) -> Lane:
        self.counters.add(name)
        self._states.forget(name)
        context = replace(self._context, sources=tuple(self._lineup.wanted))
        return Lane(replace(self._around, context=context), name, source, self._joint, first)

    def _first_epoch(self, name: str) -> int:
        """Return the epoch with which a source begins in this process."""
        before = self._record.run.status.get("sources", {}).get(name, {}) if self._record.run.token > 1 else {}
        return first_epoch(self._record.run.token, int(before.get("epoch", 0)))

    def _gone(self, source: str) -> None:
        self.counters.remove(source)
        self._states.forget(source)

    def _finish(self) -> None:
        """Stop the sources, and see what was taken through to the sinks."""
        self._halt()
        self._until(self._lineup.have_ended, "sources or predictors do not end; left behind")
        if self._joint is not None:
            closing = Thread(target=self._close_joint, args=(self._joint,), name="flush", daemon=True)
            closing.start()
            self._until(lambda: not closing.is_alive(), "the collector does not end; left behind")
        self._writer.end()
        self._until(lambda: not self._writer.running, "sinks do not end; left behind")
        self._abandoned.set()  # so that whoever was left behind ends, when it comes back
        self._outbox.settle()

    def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        """Wait until `done`; once the run is given up, only a moment longer."""
        given_up_s: float | None = None
        while not done():
            self._heed()
            if self._abandoned.is_set():
                given_up_s = given_up_s or time.monotonic()
                if time.monotonic() - given_up_s > _GRACE_S:
                    log.warning(otherwise, run=self._record.run.id)
                    return
            time.sleep(_TICK_S)

    def _close_joint(self, joint: Tail) -> None:
        try:
            joint.close("the run is over")
        except Exception as error:  # noqa: BLE001 - a collector or predictor of a plug-in
            self._fail(as_ours(error, f"Case {self._case.name!r}"))

    def _recorded(self) -> Outcome:
        """Record the end and return it."""
        error = self._error or self._writer.error or self._verdict()
        cancelled = self._num_stops and error is None
        state = RunState.FAILED if error else RunState.CANCELLED if cancelled else RunState.COMPLETED
        state = RunState.SUBMITTED if cancelled and self._gives_back else state
        status = {**self.status(), **({"cure": error.cure} if error and error.cure else {})}
        try:
            run = self._record.end(state, status, error, patient=lambda: self._num_stops <= 1)
        except SightlineError as lost:
            log.warning("the end of the run was not recorded", run=self._record.run.id, error=str(lost))
            run = replace(self._record.run, state=state, status=status)
            error = error or lost
        else:
            if state.is_final:
                self._wishes.forget()
        if self._num_stops <= 1:
            self._writer.settle()
        return Outcome(run=run, error=error, made=self._writer.made())

    def _verdict(self) -> SightlineError | None:
        """Return why a run failed that nobody stopped for an error."""
        if self._stands:
            return None
        lanes = self._lineup.lanes
        for lane in lanes:
            if lane.error is not None:
                return lane.error
        read, processed, failed = self.counters.totals()
        first = self.counters.first_error
        if failed and not processed and first is not None:
            # Of the kind of the first one, so that the exit code and the cure are those of the cause.
            return type(first)(f"Every sample failed: {first.message}", cure=first.cure, location=first.location)
        if not read and any(lane.live for lane in lanes) and not self._num_stops:
            states = self.counters.snapshot()["sources"]
            names = ", ".join(
                f"{lane.name!r} ({states[lane.name]['trouble'] or states[lane.name]['reason']})"
                for lane in lanes
                if lane.live
            )
            return SourceUnreachable(
                f"No frame came from {names}.", cure="Check that the camera is on: sightline probe URL"
            )
        return None

    def _fail(self, error: Exception) -> None:
        self._error = self._error or as_ours(error, f"Case {self._case.name!r}")
        self._halt()

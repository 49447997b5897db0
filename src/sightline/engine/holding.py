"""The stream runs that this process executes, each in threads of its own: started, changed, watched and ended here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

import structlog

from sightline.core.case import Case
from sightline.core.errors import Conflict, NotFound, SightlineError, Unavailable
from sightline.core.plugins import Source
from sightline.core.ports import Ports
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunState
from sightline.core.sample import Sample
from sightline.engine.record import fail_dead_runs, worker_name
from sightline.engine.streams import StreamRun
from sightline.engine.surroundings import ALL_SOURCES
from sightline.engine.watching import Finished, Newest, Watch

log = structlog.get_logger()
_RESTART_S = 15.0
_GRACE_S = 2.0  # what a run that was given up may take to record its end


@dataclass(kw_only=True)
class _Held:
    """A run that goes on."""

    stream: StreamRun
    newest: Newest
    before: JsonObject = field(default_factory=dict)
    is_stopped: bool = False
    over: Event = field(default_factory=Event)


class HeldRuns:
    """The stream runs of this process; any thread may call it.

    Args:
        ports: where runs are recorded.
        every_s: how often runs of dead processes are looked for.
    """

    def __init__(self, ports: Ports, *, every_s: float = 15.0) -> None:
        self._ports = ports
        self._every_s = every_s
        self._held: dict[str, _Held] = {}
        self._watches: tuple[Watch, ...] = ()
        self._lock = Lock()
        self._closed = Event()
        self._sweeper: Thread | None = None

    def open(self) -> None:
        """Begin to look for runs whose process died; `start` does it where nobody did. A second call does nothing."""
        with self._lock:
            if self._sweeper is not None or self._closed.is_set():
                return
            self._sweeper = Thread(target=self._sweep, name="dead-runs", daemon=True)
            self._sweeper.start()

    def start(self, make: Callable[[], StreamRun]) -> Run:
        """Record and begin a run; return its record once it is recorded.

        Raises:
            Unavailable: this process is ending, or the database is away.
            SightlineError: what `make` raised, or the run could not be recorded.
        """
        self.open()
        return self._begin(make())

    def take_up(self, run_id: str, make: Callable[[Run], StreamRun], *, instead_of: str | None = None) -> Run:
        """Go on with a run that was recorded before and that nobody holds; see `RunStore.claim`.

        Args:
            run_id: id of the run.
            make: gives the run anew for its record, in which this process holds it; its `begin` is not called before.
            instead_of: a worker that is known to be dead.

        Raises:
            Conflict: somebody holds it, it shall end, or it is over.
            SightlineError: what `make` raised; the run then waits as before.
        """
        self.open()
        runs = self._ports.store.runs
        claimed = runs.claim(run_id, worker_name(), instead_of=instead_of)
        try:
            return self._begin(make(claimed), claimed.status)
        except BaseException:
            runs.finish(run_id, claimed.token, RunState.SUBMITTED, status=claimed.status)
            raise

    def restart(self, run_id: str, make: Callable[[Run], StreamRun]) -> Run:
        """End the work on a run, and begin it anew: under a new epoch, with what `make` gives; see `take_up`.

        Raises:
            NotFound: this process does not execute it.
            Conflict: it is being ended.
            Unavailable: it does not end.
        """
        held = self._of(run_id)
        with self._lock:
            if held.is_stopped:
                raise Conflict(f"The run {run_id} is being ended.", cure="Start another one.")
            held.is_stopped = True
        held.stream.stop(give_back=True)
        if not held.over.wait(_RESTART_S):
            held.stream.stop()
            if not held.over.wait(_GRACE_S):
                raise Unavailable(f"The run {run_id} does not end.", cure="Look into the log, and try again.")
        return self.take_up(run_id, make)

    def _begin(self, stream: StreamRun, before: JsonObject | None = None) -> Run:
        newest = Newest(stream.run.id, stream.run.case, self._show)
        held = _Held(stream=stream, newest=newest, before=before or {})
        stream.add_watcher(newest.take)
        thread = Thread(target=self._execute, args=(held,), name=f"run-{stream.run.id[:6]}", daemon=True)
        with self._lock:
            if self._closed.is_set():
                raise Unavailable("This process is ending and begins no run.", cure="Ask again in a moment.")
            self._held[stream.run.id] = held
        try:
            run = stream.begin()
        except BaseException:
            self._forget(held)
            raise
        thread.start()
        return run

    def get(self, run_id: str) -> Run:
        """Return a run as it is now, its status up to the moment.

        Raises:
            NotFound: this process does not execute it.
        """
        return self._of(run_id).stream.run

    def list(self) -> Sequence[Run]:
        """Return the runs that go on here, the oldest first."""
        return [held.stream.run for held in self._all()]

    def stop(self, run_id: str, by: str = "") -> None:
        """End a run as Ctrl-C does, once: what was read is finished, then it is cancelled. A second call does nothing.

        `by` is who asks, for the events that follow; the same holds for what is done to its sources.

        Raises:
            NotFound: this process does not execute it.
        """
        held = self._of(run_id)
        with self._lock:
            if held.is_stopped:
                return
            held.is_stopped = True
        held.stream.stop(by=by)

    def add_source(self, run_id: str, name: str, source: Source, revision: int | None = None, *, by: str = "") -> Run:
        """Read one more source in a run that goes on, the others untouched; return the run with its new revision.

        Raises:
            Conflict: the run has a source of this name, or somebody else changed it first.
            NotFound: this process does not execute the run.
            Unavailable: the database is away; nothing was changed.
        """
        return self._of(run_id).stream.change({name: source}, revision, only="new", by=by)

    def change_source(
        self, run_id: str, name: str, source: Source, revision: int | None = None, *, by: str = ""
    ) -> Run:
        """Read a source otherwise, under a new epoch; see `add_source`.

        Raises:
            NotFound: there is no source of this name.
        """
        return self._of(run_id).stream.change({name: source}, revision, only="known", by=by)

    def remove_source(self, run_id: str, name: str, revision: int | None = None, *, by: str = "") -> Run:
        """Read a source no longer, and finish what it gave; see `add_source`.

        Raises:
            NotFound: there is no source of this name.
        """
        return self._of(run_id).stream.change({name: None}, revision, only="known", by=by)

    def source(self, run_id: str, name: str) -> Source:
        """Return the copy of a source that is being read; see `StreamRun.source`.

        Raises:
            NotFound: this process does not execute the run, or no source of this name is being read.
        """
        return self._of(run_id).stream.source(name)

    def status(self) -> Sequence[JsonObject]:
        """Return a row a source: `run case source` and its numbers, as `RunCounters` has them."""
        return [
            {"run": run.id, "case": run.case, "source": name, **numbers}
            for run in self.list()
            for name, numbers in run.status["sources"].items()
            if name != ALL_SOURCES
        ]

    def before(self, run_id: str) -> JsonObject:
        """Return the status with which this process took a run up; empty for one that began here.

        Raises:
            NotFound: this process does not execute it.
        """
        return self._of(run_id).before

    def case(self, run_id: str) -> Case:
        """Return what a run does, with the sources that it began with.

        Raises:
            NotFound: this process does not execute it.
        """
        return self._of(run_id).stream.case

    def sources(self, run_id: str) -> Mapping[str, Source]:
        """Return the sources that are wanted of a run.

        Raises:
            NotFound: this process does not execute it.
        """
        return self._of(run_id).stream.wanted

    def follow(self, run_id: str, changes: Mapping[str, Source | None]) -> Run:
        """Read sources as their case says now, others are not touched; see `add_source`."""
        return self._of(run_id).stream.change(changes, by_hand=False)

    def threads(self) -> Mapping[tuple[str, str], Sequence[int]]:
        """Return the threads that are at work, by run and source, by the ids that the operating system gives them."""
        return {
            (held.stream.run_id, source): ids for held in self._all() for source, ids in held.stream.threads().items()
        }

    def latest(self, run_id: str, source: str) -> Sample[Any] | None:
        """Return the newest finished sample of a source, with its payload; None where there is none yet.

        Raises:
            NotFound: this process does not execute the run.
        """
        held = self._of(run_id)
        return held.newest.of(source) if held.stream.counters.has(source) else None

    def watch(
        self,
        *,
        run: str | None = None,
        case: str | None = None,
        source: str | None = None,
        wake: Callable[[], None] | None = None,
    ) -> Watch:
        """Return a slot for the newest finished samples of the runs that go on and of those to come.

        Args:
            run: id of the only run that is wanted; None: of all.
            case: the only case.
            source: the only source.
            wake: called by a run's thread, quickly, whenever `take` would return something at once.
        """
        watch = Watch(run=run, case=case, source=source, wake=wake, leave=self._leave)
        with self._lock:
            if not self._closed.is_set():
                self._watches = (*self._watches, watch)
                return watch
        watch.close()
        return watch

    def close(self, drain_s: float = 10.0) -> None:
        """End all runs and wait: for `drain_s` until what was read is finished, then what is left is given up.

        Those that shall outlive their process are given back, and wait for the next one. A second call does nothing.
        """
        with self._lock:
            self._closed.set()
            watches, self._watches = self._watches, ()
            held = list(self._held.values())
            first = [each for each in held if not each.is_stopped]
            for each in first:
                each.is_stopped = True
        for each in first:
            each.stream.stop(give_back=each.stream.restarts)
        for within_s in (drain_s, _GRACE_S):
            end_s = time.monotonic() + within_s
            for each in held:
                if not each.over.wait(max(0.0, end_s - time.monotonic())):
                    each.stream.stop()  # the second time: what is not finished is given up
        for each in held:
            if not each.over.is_set():
                log.warning("a run does not end; left behind", run=each.stream.run.id)
        for watch in watches:
            watch.close()
        if self._sweeper is not None:
            self._sweeper.join(_GRACE_S)

    def _execute(self, held: _Held) -> None:
        """Thread of a run: execute it to its end."""
        run_id = held.stream.run.id
        try:
            outcome = held.stream.execute()
        except Exception as error:  # noqa: BLE001 - the process serves others too
            log.error("a run ended unforeseen", run=run_id, error=str(error))
        else:
            why = {"error": str(outcome.error)} if outcome.error else {}
            log.info("run ended", run=run_id, state=outcome.run.state.value, **why)
        finally:
            self._forget(held)

    def _show(self, finished: Finished) -> None:
        for watch in self._watches:
            watch.offer(finished)

    def _leave(self, watch: Watch) -> None:
        with self._lock:
            self._watches = tuple(each for each in self._watches if each is not watch)

    def _all(self) -> Sequence[_Held]:
        with self._lock:
            return tuple(self._held.values())

    def _of(self, run_id: str) -> _Held:
        with self._lock:
            held = self._held.get(run_id)
        if held is None:
            raise NotFound(f"This process executes no run {run_id!r}.", cure="Ask for the runs that go on.")
        return held

    def _forget(self, held: _Held) -> None:
        with self._lock:
            self._held.pop(held.stream.run.id, None)
        held.over.set()

    def _sweep(self) -> None:
        is_away = False
        while True:
            try:
                fail_dead_runs(self._ports)
                is_away = False
            except Exception as error:  # noqa: BLE001 - the database may be back at the next time
                if not is_away:
                    level = log.warning if isinstance(error, SightlineError) else log.error
                    level("runs of dead processes cannot be looked for", error=str(error))
                is_away = True
            if self._closed.wait(self._every_s):
                return

"""The runs of cases in this process: begun by name, taken up after a restart, and kept as their cases say.

A run whose sources are those of its case follows it: a saved manifest changes the sources one by one, the others
untouched. What a change of stages or sinks asks for is told, for it ends what trackers and counters know: a restart.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import psutil
import structlog

from sightline.build.context import CaseBuildContext
from sightline.build.running import CAMERA_CASE, camera_case, held_run, taken_up_run, with_recorded_sources
from sightline.build.served_cases import ServedCases
from sightline.build.sources import secrets_of
from sightline.core.case import Case
from sightline.core.errors import CaseNotFound, Conflict, NotFound, SightlineError
from sightline.core.plugins import Source
from sightline.core.run import Run, RunKind, RunState
from sightline.engine.holding import HeldRuns
from sightline.engine.wishes import FOLLOWS, OWN
from sightline.serve.errors import cure

log = structlog.get_logger()
BY_SERVE = "serve"
"""Who wants a run that `sightline serve --run` began."""

_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Followed:
    """What a saved case has changed of a run.

    Attributes:
        sources: ids of the sources that are read otherwise, more or no longer.
        needs_restart: why the run must be restarted to be as the case says; empty where it need not.
        error: why the sources stayed as they were; empty where they did not.
    """

    run: str
    sources: list[str] = field(default_factory=list)
    needs_restart: str = ""
    error: str = ""


class CaseRuns:
    """Begins, takes up and restarts the runs of cases; any thread may call it.

    Args:
        context: settings and ports.
        cases: cases by name.
        streams: the runs of this process.
    """

    def __init__(self, context: CaseBuildContext, cases: ServedCases, streams: HeldRuns) -> None:
        self._context = context
        self._cases = cases
        self._streams = streams
        self._wanted: list[str] = []  # cases that shall run, and could not yet
        self._waiting: dict[str, SightlineError] = {}  # id of a run that cannot be taken up -> why
        self._outdated: dict[str, str] = {}  # id of a run -> why it needs a restart
        self._lock = Lock()

    def open(self, names: Sequence[str]) -> None:
        """Take up what runs of earlier processes wait, and begin the cases that shall run and do not yet."""
        self._wanted = list(names)
        secrets_of(self._context).sweep(self._context.store.runs.get)
        self.tend()

    def tend(self) -> None:
        """Take up the runs that nobody holds, and begin those that could not begin before."""
        with self._lock:
            for run in self._open_runs():
                self._take_up(run)
            self._wanted = [name for name in self._wanted if not self._begun(name)]

    def problems(self) -> Mapping[str, SightlineError]:
        """Return why runs of earlier processes were not taken up, by their ids."""
        return dict(self._waiting)

    def outdated(self, run_id: str) -> str:
        """Return why a run must be restarted to be as its case says; empty where it need not."""
        return self._outdated.get(run_id, "")

    def follow(self, name: str) -> list[Followed]:
        """Have the runs of a case read the sources that it names now; return what has changed of each."""
        return [self._follow(run) for run in self._streams.list() if run.case == name]

    def restart(self, run: Run) -> Run:
        """End the work on a run and begin it anew, with its case as it is now and under a new epoch.

        Raises:
            Conflict: it is over, or another process executes it.
            ConfigError: its case is wrong; the run goes on as it was.
        """
        if run.state.is_final:
            raise Conflict(f"The run {run.id} is over: {run.state.value}.", cure="Start a new one: POST /api/v1/runs")
        case = self._case(run)
        try:
            self._streams.get(run.id)
        except NotFound:
            begun = self._streams.take_up(run.id, lambda record: self._made(case, record), instead_of=_dead(run))
        else:
            begun = self._streams.restart(run.id, lambda record: self._made(case, record))
        self._outdated.pop(run.id, None)
        self._waiting.pop(run.id, None)
        return begun

    def _open_runs(self) -> list[Run]:
        runs = self._context.store.runs
        states = (RunState.SUBMITTED, RunState.RUNNING)
        found = [run for state in states for run in runs.list(kind=RunKind.STREAM, state=state, limit=_MOST)]
        self._waiting = {run.id: self._waiting[run.id] for run in found if run.id in self._waiting}
        return found

    def _take_up(self, run: Run) -> None:
        """Go on with a run, unless somebody holds it."""
        if run.restart == "never" or run.cancelling or any(run.id == each.id for each in self._streams.list()):
            return
        dead = _dead(run)
        if dead is None and run.lease_until is not None and run.lease_until > datetime.now(UTC):
            return
        try:
            case = self._case(run)
            self._streams.take_up(run.id, lambda record: self._made(case, record), instead_of=dead)
        except Conflict:  # another process was faster
            return
        except SightlineError as error:
            if str(self._waiting.get(run.id)) != str(error):
                log.error("a run cannot be taken up", run=run.id, case=run.case, error=str(error), cure=cure(error))
            self._waiting[run.id] = error
            return
        self._waiting.pop(run.id, None)
        log.info("run taken up", run=run.id, case=run.case)

    def _begun(self, name: str) -> bool:
        """Begin a case that shall run, unless it runs already; return False where it is wrong, and must be mended."""
        try:
            case = self._load(name, live=True)
        except CaseNotFound:
            raise
        except SightlineError:
            return False  # `ServedCases.problems` tells it
        same = [run for run in self._open_runs() if run.case == case.name and run.spec.get("by") == BY_SERVE]
        if same:
            if not any(same[0].id == run.id for run in self._streams.list()):
                log.warning("the case runs already", case=case.name, run=same[0].id, worker=same[0].worker)
        elif case.sources:
            self._streams.start(lambda: held_run(case, self._context, restart="always", follows=True, by=BY_SERVE))
        return True

    def _case(self, run: Run) -> Case:
        """Return the case of a run as it is now, with the sources that the run reads."""
        case = self._load(run.case, live=bool(run.spec.get("stands")))
        with self._cases.building:
            return with_recorded_sources(case, run, self._context)

    def _load(self, name: str, *, live: bool) -> Case:
        if name == CAMERA_CASE and self._context.settings.camera.url:
            return camera_case(self._context)
        return self._cases.load(name, live=live)

    def _made(self, case: Case, record: Run) -> Any:
        return taken_up_run(case, self._context, record)

    def _follow(self, run: Run) -> Followed:
        found = Followed(run=run.id)
        try:
            case = self._load(run.case, live=bool(run.spec.get("stands")))
            changes = _changes(run, self._streams.sources(run.id), case.sources)
            same = _same(_work(self._streams.case(run.id)), _work(case))
            if not same:
                self._outdated[run.id] = "The case has other stages, sinks or settings now."
            else:
                self._outdated.pop(run.id, None)
            found = replace(found, needs_restart=self._outdated.get(run.id, ""))
            if changes:
                self._streams.follow(run.id, changes)
        except SightlineError as error:
            return replace(found, error=str(error))
        return replace(found, sources=sorted(changes))


def _changes(run: Run, before: Mapping[str, Source], now: Mapping[str, Source]) -> dict[str, Source | None]:
    """Return what must be changed of a run's sources so that they are those of its case."""
    if not run.spec.get(FOLLOWS):
        return {}
    own = set(run.spec.get(OWN, ()))
    changes: dict[str, Source | None] = {name: None for name in before if name not in now and name not in own}
    mine = {name: source for name, source in now.items() if name not in own}
    changes |= {name: each for name, each in mine.items() if not (name in before and _same(before[name], each))}
    return changes


def _work(case: Case) -> Case:
    """Return what a run does with its samples."""
    return replace(case, sources={}, title="", input=None, trainer=None)


def _same(one: Any, other: Any) -> bool:
    """Return whether two values of a case mean the same; a case's own classes are others after each loading."""
    if dataclasses.is_dataclass(one) and dataclasses.is_dataclass(other):
        kinds = [(type(each).__module__, type(each).__qualname__) for each in (one, other)]
        names = [each.name for each in dataclasses.fields(one) if each.init]
        return kinds[0] == kinds[1] and all(_same(getattr(one, name), getattr(other, name, None)) for name in names)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return [*one] == [*other] and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_same(*pair) for pair in zip(one, other, strict=True))
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - fields of a plug-in may be anything, arrays for instance
        return False


def _dead(run: Run) -> str | None:
    """Return the worker of a run if he was a process of this machine that is no more."""
    host, _, pid = (run.worker or "").rpartition(":")
    if host == socket.gethostname() and pid.isdecimal() and not psutil.pid_exists(int(pid)):
        return run.worker
    return None

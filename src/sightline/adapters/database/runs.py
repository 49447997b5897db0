"""Runs: every change is one statement that names the token it needs, so a holder that lost its lease writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, NoReturn

from sqlalchemy import and_, false, func, null, or_, select, update
from sqlalchemy import case as choice

from sightline.adapters.database.checks import (
    checked_filter,
    checked_lease,
    checked_limit,
    checked_name,
    checked_number,
    checked_text,
)
from sightline.adapters.database.run_rows import OVER, change_held, found_run, held_change, run_columns, to_run
from sightline.adapters.database.tables import runs
from sightline.adapters.database.transactions import Transactions
from sightline.core.errors import Conflict, InvalidInput
from sightline.core.events import Event
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunKind, RunState
from sightline.core.stores import RunStore

_LEASE_PASSED = "The process that ran this ended or stood still: its lease passed."
_GOES_ON = (RunState.SUBMITTED.value, RunState.RUNNING.value)


class SqlRuns(RunStore):
    """Runs in the table `runs`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._now = now = transactions.dialect.now
        self._report = lru_cache(64)(lambda lease: held_change(["status"], {"lease_until": now(lease)}))
        self._finish = lru_cache(2)(
            lambda ends: held_change(["state", "status", "error"], {"finished": now() if ends else null(), **OVER})
        )

    def create(
        self,
        run: Run,
        *,
        worker: str | None = None,
        lease: timedelta = timedelta(seconds=15),
        events: Sequence[Event] = (),
    ) -> Run:
        """Record `run`."""
        values: dict[str, Any] = run_columns(run) | {"created": self._now()}
        if worker is None:
            values |= {"state": RunState.SUBMITTED.value, "token": 0}
        else:
            values |= {
                "state": RunState.RUNNING.value,
                "token": 1,
                "worker": checked_name(worker, "A worker"),
                "lease_until": self._now(checked_lease(lease)),
                "started": self._now(),
            }
        query = self._transactions.dialect.insert_new(runs).values(values).returning(runs)
        with self._transactions.writing(events) as connection:
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                raise Conflict(f"A run of the id {run.id!r} exists already.", cure="Give each run an id of its own.")
        return to_run(row)

    def get(self, run_id: str) -> Run:
        """Return the run."""
        with self._transactions.reading() as connection:
            return to_run(found_run(connection, run_id))

    def list(
        self,
        *,
        case: str | None = None,
        kind: RunKind | None = None,
        state: RunState | None = None,
        project: str | None = None,
        tags: Sequence[tuple[str, str | None]] = (),
        limit: int = 50,
        after: str | None = None,
    ) -> Sequence[Run]:
        """Return runs, the newest first; NotFound where `after` is no run."""
        query = select(runs).order_by(runs.c.position.desc()).limit(checked_limit(limit))
        wanted = ((runs.c.case_name, case), (runs.c.kind, kind), (runs.c.state, state), (runs.c.project, project))
        for column, value in wanted:
            if value is not None:
                query = query.where(column == checked_filter(str(value)))
        for name, text in tags:
            given = None if text is None else checked_filter(text)
            query = query.where(self._transactions.dialect.has_text(runs.c.metadata, checked_filter(name), given))
        with self._transactions.reading() as connection:
            if after is not None:
                query = query.where(runs.c.position < found_run(connection, after)[runs.c.position])
            return [to_run(row) for row in connection.execute(query).mappings()]

    def report(
        self,
        run_id: str,
        token: int,
        status: JsonObject,
        *,
        lease: timedelta = timedelta(seconds=15),
        events: Sequence[Event] = (),
    ) -> Run:
        """Write what the holder sees."""
        change = self._report(checked_lease(lease))
        with self._transactions.writing(events) as connection:
            return to_run(change_held(connection, run_id, token, change, status=status))

    def finish(
        self,
        run_id: str,
        token: int,
        state: RunState,
        *,
        status: JsonObject,
        error: str | None = None,
        events: Sequence[Event] = (),
    ) -> Run:
        """Put the run in a final state or give it back; InvalidInput where `state` is neither."""
        if state is RunState.RUNNING:
            raise InvalidInput(f"A run cannot finish as {state.value!r}.", cure="Use completed, failed or cancelled.")
        said = None if error is None else checked_text(error)
        change = self._finish(state.is_final)
        with self._transactions.writing(events) as connection:
            row = change_held(connection, run_id, token, change, state=state.value, status=status, error=said)
        return to_run(row)

    def claim(
        self,
        run_id: str,
        worker: str,
        *,
        lease: timedelta = timedelta(seconds=15),
        instead_of: str | None = None,
        events: Sequence[Event] = (),
    ) -> Run:
        """Hold a run that nobody holds; of several who ask at once one statement wins."""
        dead = [runs.c.lease_until <= self._now()]
        if instead_of is not None:
            dead.append(runs.c.worker == checked_filter(instead_of))
        free = or_(
            runs.c.state == RunState.SUBMITTED.value,
            and_(runs.c.state == RunState.RUNNING.value, runs.c.restart != "never", or_(*dead)),
        )
        values = {
            "state": RunState.RUNNING.value,
            "token": runs.c.token + 1,
            "worker": checked_name(worker, "A worker"),
            "lease_until": self._now(checked_lease(lease)),
            "started": func.coalesce(runs.c.started, self._now()),
        }
        wanted = (runs.c.id == checked_filter(run_id), runs.c.cancelling == false(), free)
        with self._transactions.writing(events) as connection:
            change = update(runs).where(*wanted).values(values).returning(runs)
            row = connection.execute(change).mappings().one_or_none()
            if row is None:
                _refuse_claim(to_run(found_run(connection, run_id)))
        return to_run(row)

    def expire(self, events: Callable[[Run], Sequence[Event]] = lambda _: ()) -> Sequence[Run]:
        """Fail the runs whose process is gone, each in a transaction of its own."""
        dead = (
            runs.c.kind != RunKind.JOB.value,
            runs.c.state == RunState.RUNNING.value,
            or_(runs.c.restart == "never", runs.c.cancelling),
            runs.c.lease_until <= self._now(),
        )
        values = {"state": RunState.FAILED.value, "error": _LEASE_PASSED, "finished": self._now(), **OVER}
        with self._transactions.reading() as connection:
            found = connection.execute(select(runs).where(*dead).order_by(runs.c.position)).mappings().all()
        failed: list[Run] = []
        for row in found:
            run = replace(to_run(row), state=RunState.FAILED, error=_LEASE_PASSED)
            try:
                with self._transactions.writing(events(run)) as connection:
                    change = update(runs).where(runs.c.id == run.id, *dead).values(values).returning(runs)
                    changed = connection.execute(change).mappings().one_or_none()
                    if changed is None:
                        raise Conflict(f"The run {run.id} was changed meanwhile.")  # takes the events back
            except Conflict:
                continue  # its holder came back, or another process was faster
            failed.append(to_run(changed))
        return failed

    def amend(
        self,
        run_id: str,
        *,
        revision: int | None = None,
        spec: JsonObject | None = None,
        cancel: bool = False,
        events: Sequence[Event] = (),
    ) -> Run:
        """Write what is wanted; a run whose lease has passed is held by nobody, as its holder may be dead."""
        open_to_change = [runs.c.id == checked_filter(run_id), runs.c.state.in_(_GOES_ON)]
        if revision is not None:
            open_to_change.append(runs.c.revision == checked_number(revision, "revision"))
        values: dict[str, Any] = {"revision": runs.c.revision}
        if spec is not None:
            values = {"revision": runs.c.revision + 1, "spec": spec}
        if cancel:
            values |= self._cancelled()
        with self._transactions.writing(events) as connection:
            change = update(runs).where(*open_to_change).values(values).returning(runs)
            row = connection.execute(change).mappings().one_or_none()
            if row is None:
                _refuse_wish(to_run(found_run(connection, run_id)), revision)
        return to_run(row)

    def _cancelled(self) -> dict[str, Any]:
        """Return the columns of a run that is to end: at once, or as soon as its holder sees `cancelling`."""
        clock = select(self._now().label("now")).cte("clock")  # read once: PostgreSQL's moves within a statement
        now = select(clock.c.now).scalar_subquery()
        is_held = and_(runs.c.state == RunState.RUNNING.value, runs.c.lease_until > now)
        ended = {"state": RunState.CANCELLED.value, "finished": now, "worker": null(), "lease_until": null()}
        return {name: choice((is_held, runs.c[name]), else_=value) for name, value in ended.items()} | {
            "cancelling": is_held
        }


def _refuse_claim(run: Run) -> NoReturn:
    """Say why a run cannot be held."""
    if run.state.is_final:
        raise Conflict(f"The run {run.id} is over: {run.state.value}.", cure="Start a new one.")
    raise Conflict(f"The run {run.id} is held by {run.worker}, or shall end.", cure="Wait until its lease has passed.")


def _refuse_wish(run: Run, revision: int | None) -> NoReturn:
    """Say why nobody may write what is wanted of a run."""
    if run.state.is_final:
        raise Conflict(f"The run {run.id} is over: {run.state.value}.", cure="Start a new one.")
    raise Conflict(
        f"The run {run.id} is at revision {run.revision}, not {revision}: somebody changed it.",
        cure="Look at it again, then decide anew.",
    )

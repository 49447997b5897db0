"""The queue of jobs, in the table `runs`: taken in one transaction each, so that nobody takes what another has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    Update,
    and_,
    bindparam,
    func,
    literal,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy import case as choice

from sightline.adapters.database.checkpoints import Checkpoints
from sightline.adapters.database.checks import (
    checked_filter,
    checked_label,
    checked_lease,
    checked_name,
    checked_text,
)
from sightline.adapters.database.run_rows import OVER, change_held, found_run, held_change, run_columns, to_run
from sightline.adapters.database.tables import job_keys, job_outputs, runs
from sightline.adapters.database.transactions import Transactions
from sightline.core.errors import Conflict, InvalidInput
from sightline.core.events import Event
from sightline.core.jobs import KEY_KEPT, JobStore, Limit, Queue, no_events
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunKind, RunState

_LATELY = 20
"""Jobs of the past from which it is learned how long one takes."""

_LOOK_S = 0.1
"""How often jobs are looked for whose holders left them, while others wait."""

_DEADLINE_PASSED = "The deadline passed while the job waited."
_IS_JOB = runs.c.kind == RunKind.JOB.value
_WAITS = and_(_IS_JOB, runs.c.state == RunState.SUBMITTED.value)


class _Known(Exception):
    """The idempotency key, or the id, was given before."""


class SqlJobs(JobStore):
    """Jobs in the tables `runs`, `job_keys`, `job_outputs` and `checkpoints`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._now = now = transactions.dialect.now
        self._new = transactions.dialect.insert_new
        self._finds = True  # the last look found a job: there may be more
        self._looked_s = float("-inf")
        # Statements that run again and again are built once: that is dearer than to run them.
        clock = select(now().label("now")).scalar_subquery()  # read once, so that an index can be used
        left = (_IS_JOB, runs.c.state == RunState.RUNNING.value, runs.c.lease_until <= clock)
        due = or_(runs.c.due.is_(None), runs.c.due <= clock, runs.c.cancelling, runs.c.deadline <= clock)
        by_lease = select(runs.c.position).where(*left).order_by(runs.c.lease_until)
        by_rank = select(runs.c.position).where(_WAITS, due).order_by(runs.c.rank, runs.c.position)
        self._left = lru_cache(64)(lambda cases, full: _limited(by_lease, cases, full))
        self._waiting = lru_cache(64)(lambda cases, full: _limited(by_rank, cases, full))
        self._reporting = lru_cache(64)(lambda lease: held_change(["status"], {"lease_until": now(lease)}, runs.c.id))
        self._ending = held_change(["state", "status", "error"], {"finished": now(), **OVER}, runs.c.id)
        self._taking = lru_cache(64)(lambda query, lease: _taking(now, query, lease))
        self._checkpoints = Checkpoints(transactions.dialect)

    def submit(
        self,
        run: Run,
        *,
        key: str | None = None,
        digest: str = "",
        names: Sequence[str] = (),
        within: timedelta | None = None,
        events: Sequence[Event] = (),
    ) -> tuple[Run, bool]:
        """Record a job; a submission whose key was given before is taken back as a whole."""
        run = replace(run, kind=RunKind.JOB, key=key)
        values: dict[str, Any] = run_columns(run) | {"created": self._now(), "token": 0, "attempts": 0}
        values["state"] = RunState.SUBMITTED.value
        if within is not None:
            values["deadline"] = self._now(checked_lease(within))
        try:
            with self._transactions.writing(events) as connection:
                row = connection.execute(self._new(runs).values(values).returning(runs)).mappings().one_or_none()
                if row is None or (key is not None and not self._first(connection, run, key, digest)):
                    raise _Known
                return self._named(connection, run, row, names), True
        except _Known:
            known = None if key is None else self._keyed(run.project, key, digest)
            if known is None:
                raise Conflict(
                    f"A run of the id {run.id!r} exists already.", cure="Give each run an id of its own."
                ) from None
            return known, False

    def keyed(self, project: str, key: str, digest: str) -> Run | None:
        """Return the run of a key."""
        return self._keyed(
            checked_filter(project), checked_filter(key), digest, job_keys.c.created > self._now(-KEY_KEPT)
        )

    def take(
        self,
        worker: str,
        *,
        cases: Sequence[str] | None = None,
        lease: timedelta = timedelta(seconds=15),
        limits: Mapping[str, Limit] | None = None,
        events: Callable[[Run], Sequence[Event]] = no_events,
    ) -> Run | None:
        """Hold the next job. Who found none last time reads first, and keeps no writer waiting while there is none."""
        wanted = None if cases is None else tuple(map(checked_filter, cases))
        checked_name(worker, "A worker")
        if not self._finds and not self._is_any(wanted):
            return None
        transactions = self._transactions
        with transactions.writing() as connection:
            full: tuple[str, ...] = ()
            if limits:
                transactions.dialect.lock_limits(connection)
                full = self._full(connection, limits)
            with transactions.ordering(connection) as tell:
                run = self._next(connection, worker, wanted, full, checked_lease(lease))
                self._finds = run is not None
                if run is not None:
                    tell(events(run))
            return run

    def checkpoint(
        self,
        run_id: str,
        token: int,
        steps: Mapping[str, JsonObject],
        *,
        status: JsonObject,
        lease: timedelta = timedelta(seconds=15),
        events: Sequence[Event] = (),
    ) -> None:
        """Record steps; the token is proven in the same transaction."""
        change = self._reporting(checked_lease(lease))
        self._change(run_id, token, change, steps, events, status=status)

    def checkpoints(self, run_id: str) -> Mapping[str, JsonObject]:
        """Return the outcomes of the steps."""
        with self._transactions.reading() as connection:
            return self._checkpoints.list(connection, run_id)

    def finish(
        self,
        run_id: str,
        token: int,
        state: RunState,
        *,
        status: JsonObject,
        error: str | None = None,
        steps: Mapping[str, JsonObject] | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """Put a job in a final state; InvalidInput where `state` is none."""
        if not state.is_final:
            raise InvalidInput(f"A job cannot finish as {state.value!r}.", cure="Use completed, failed or cancelled.")
        said = None if error is None else checked_text(error)
        self._change(run_id, token, self._ending, steps, events, state=state.value, status=status, error=said)

    def put_back(
        self,
        run_id: str,
        token: int,
        *,
        after: timedelta,
        status: JsonObject,
        error: str | None = None,
        used: bool = True,
        steps: Mapping[str, JsonObject] | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """Let a job wait; its wish to end stays with it."""
        said = None if error is None else checked_text(error)
        values = {
            "state": RunState.SUBMITTED.value,
            "due": choice((runs.c.cancelling, null()), else_=self._now(checked_lease(after))),
            "attempts": runs.c.attempts if used else runs.c.attempts - 1,
            "worker": null(),
            "lease_until": null(),
        }
        change = held_change(["status", "error"], values, runs.c.id)
        self._change(run_id, token, change, steps, events, status=status, error=said)

    def again(self, run_id: str, *, events: Sequence[Event] = ()) -> Run:
        """Submit a job anew."""
        ended = (RunState.FAILED.value, RunState.CANCELLED.value)
        values = {"state": RunState.SUBMITTED.value, "attempts": 0, "error": None, "deadline": None, "due": None}
        change = update(runs).where(runs.c.id == checked_filter(run_id), _IS_JOB, runs.c.state.in_(ended))
        with self._transactions.writing(events) as connection:
            change = change.values(finished=None, **values, **OVER)
            row = connection.execute(change.returning(runs)).mappings().one_or_none()
            if row is None:
                run = to_run(found_run(connection, run_id))
                what = run.state.value if run.kind is RunKind.JOB else f"a {run.kind.value}"
                raise Conflict(
                    f"The run {run.id} is {what}.", cure="Only a job that failed or was cancelled is retried."
                )
        return to_run(row)

    def queue(self, run_id: str) -> Queue:
        """Count those that are taken earlier, and divide their time among the workers that are at work."""
        with self._transactions.reading() as connection:
            row = found_run(connection, run_id)
            if row["kind"] != RunKind.JOB.value or row["state"] != RunState.SUBMITTED.value:
                return Queue(position=0)
            rank, position = row["rank"], row["position"]
            earlier = or_(runs.c.rank < rank, and_(runs.c.rank == rank, runs.c.position < position))
            ahead = connection.execute(select(func.count()).where(_WAITS, earlier)).scalar_one()
            busy = (_IS_JOB, runs.c.state == RunState.RUNNING.value, runs.c.lease_until > self._now())
            hands = connection.execute(select(func.count()).where(*busy)).scalar_one()
            took_s = _took_s(connection, row["case_name"])
        rounds = -(-(ahead + hands) // max(hands, 1)) - (0.5 if hands else 0)  # those at work are half done
        return Queue(position=ahead + 1, expected_wait_s=None if took_s is None else max(0.0, rounds * took_s))

    def overdue(self, events: Callable[[Run], Sequence[Event]] = no_events) -> Sequence[Run]:
        """Fail the jobs that waited too long, each in a transaction of its own."""
        late = and_(_WAITS, runs.c.deadline <= self._now())
        with self._transactions.reading() as connection:
            found = connection.execute(select(runs).where(late).order_by(runs.c.position)).mappings().all()
        failed: list[Run] = []
        for run in map(to_run, found):
            status = {**run.status, "error_kind": "timeout"}
            end = {"state": RunState.FAILED.value, "error": _DEADLINE_PASSED, "finished": self._now(), "status": status}
            told = events(replace(run, state=RunState.FAILED, error=_DEADLINE_PASSED, status=status))
            try:
                with self._transactions.writing(told) as connection:
                    change = update(runs).where(runs.c.id == run.id, late).values(**end, **OVER).returning(runs)
                    row = connection.execute(change).mappings().one_or_none()
                    if row is None:
                        raise Conflict(f"The run {run.id} was taken meanwhile.")  # takes the events back
            except Conflict:
                continue
            failed.append(to_run(row))
        return failed

    def _change(
        self,
        run_id: str,
        token: int,
        change: Update,
        steps: Mapping[str, JsonObject] | None,
        events: Sequence[Event],
        **plain: Any,
    ) -> None:
        """Change a job that is held under `token`, with steps that are done, in one transaction."""
        with self._transactions.writing(events) as connection:
            change_held(connection, run_id, token, change, **plain)
            self._checkpoints.record(connection, run_id, token, steps)

    def _is_any(self, cases: tuple[str, ...] | None) -> bool:
        """Return whether there may be a job to take."""
        queries = (self._left(cases, ()), self._waiting(cases, ()))
        with self._transactions.reading() as connection:
            return any(connection.execute(query).first() is not None for query in queries)

    def _next(
        self,
        connection: Connection,
        worker: str,
        cases: tuple[str, ...] | None,
        full: tuple[str, ...],
        lease: timedelta,
    ) -> Run | None:
        """Give the next job to a worker: one that its holder left, else the first that waits."""
        left, waiting = self._left(cases, full), self._waiting(cases, full)
        now_s = time.monotonic()
        is_time = now_s - self._looked_s > _LOOK_S  # holders do not die that often
        for query in (left, waiting) if is_time else (waiting, left):
            row = connection.execute(self._taking(query, lease), {"to_worker": worker}).mappings().first()
            if row is not None:
                return to_run(row)
            if query is left:
                self._looked_s = now_s
        return None

    def _full(self, connection: Connection, limits: Mapping[str, Limit]) -> tuple[str, ...]:
        """Return the cases that have as many jobs as they may."""
        full: list[str] = []
        for name, limit in limits.items():
            ours = (_IS_JOB, runs.c.case_name == checked_filter(name))
            if limit.concurrency is not None:
                at_work = (runs.c.state == RunState.RUNNING.value, runs.c.lease_until > self._now())
                if _count(connection, *ours, *at_work) >= limit.concurrency:
                    full.append(name)
                    continue
            if limit.rate_per_minute is not None:
                lately = runs.c.taken > self._now(timedelta(minutes=-1))
                if _count(connection, *ours, lately) >= limit.rate_per_minute:
                    full.append(name)
        return tuple(full)

    def _first(self, connection: Connection, run: Run, key: str, digest: str) -> bool:
        """Give the key to the run; False where another run has it."""
        old = (
            job_keys.c.project == run.project,
            job_keys.c.key == key,
            job_keys.c.created <= self._now(-KEY_KEPT),
        )
        connection.execute(job_keys.delete().where(*old))
        ours = {"project": run.project, "key": key, "digest": checked_label(digest, "A digest"), "run_id": run.id}
        new = self._new(job_keys).values(created=self._now(), **ours).returning(job_keys.c.key)
        return connection.execute(new).first() is not None

    def _keyed(self, project: str, key: str, digest: str, *more: ColumnElement[bool]) -> Run | None:
        given = and_(job_keys.c.project == project, job_keys.c.key == key, *more)
        query = select(runs, job_keys.c.digest).join_from(job_keys, runs, runs.c.id == job_keys.c.run_id).where(given)
        with self._transactions.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is not None and row[job_keys.c.digest] != digest:
            raise Conflict(
                f"The key {key!r} was used for another job: the run {row[runs.c.id]}.",
                cure="Use a new Idempotency-Key for a new job.",
            )
        return None if row is None else to_run(row)

    def _named(self, connection: Connection, run: Run, row: RowMapping, names: Sequence[str]) -> Run:
        """Hold the stem of the results, and return the run with it."""
        if not names:
            if isinstance(stem := run.spec.get("output"), str) and stem:
                connection.execute(self._new(job_outputs).values(stem=checked_name(stem, "output"), run_id=run.id))
            return to_run(row)
        for name in names:
            new = self._new(job_outputs).values(stem=checked_name(name, "output"), run_id=run.id)
            if connection.execute(new.returning(job_outputs.c.stem)).first() is not None:
                spec = {**run.spec, "output": name}
                change = update(runs).where(runs.c.id == run.id).values(spec=spec).returning(runs)
                return to_run(connection.execute(change).mappings().one())
        raise Conflict(f"Other jobs hold the names {', '.join(names)}.", cure="Name another output.")


def _taking(now: Callable[..., ColumnElement[datetime]], query: Select[Any], lease: timedelta) -> Update:
    """Return the statement that gives the row of a query to a worker."""
    values = {
        "state": RunState.RUNNING.value,
        "token": runs.c.token + 1,
        "attempts": runs.c.attempts + 1,
        "worker": bindparam("to_worker"),
        "lease_until": now(lease),
        "started": func.coalesce(runs.c.started, now()),
        "taken": now(),
        "due": null(),
    }
    return update(runs).where(runs.c.position == query.scalar_subquery()).values(values).returning(runs)


def _limited(query: Select[Any], cases: tuple[str, ...] | None, full: tuple[str, ...]) -> Select[Any]:
    """Return a query for one row of some cases, but for those that have as many jobs as they may; it locks the row."""
    if cases is not None:
        query = query.where(runs.c.case_name.in_(map(literal, cases)))  # literals: no list to be expanded at each run
    if full:
        query = query.where(or_(runs.c.case_name.not_in(map(literal, full)), runs.c.cancelling))
    return query.limit(1).with_for_update(skip_locked=True)


def _count(connection: Connection, *wanted: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(runs).where(*wanted)).scalar_one())


def _took_s(connection: Connection, case: str) -> float | None:
    """Return how long a job took lately, of this case or where there is none of any; None where nobody knows."""
    done = select(runs.c.taken, runs.c.finished).where(_IS_JOB, runs.c.state == RunState.COMPLETED.value)
    for narrow in (runs.c.case_name == case, true()):
        query = done.where(narrow, runs.c.taken.is_not(None)).order_by(runs.c.position.desc()).limit(_LATELY)
        times: list[tuple[datetime, datetime]] = [(row.taken, row.finished) for row in connection.execute(query)]
        if times:
            return sum((end - begin).total_seconds() for begin, end in times) / len(times)
    return None

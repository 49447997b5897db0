"""Runs: every change is one statement that names the token it needs, so a holder that lost its lease writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

from sqlalchemy import Connection, RowMapping, null, select, update

from sightline.adapters.database.checks import checked_lease, checked_limit, checked_name, checked_text
from sightline.adapters.database.tables import runs
from sightline.adapters.database.transactions import Transactions
from sightline.core.errors import Conflict, InvalidInput, NotFound
from sightline.core.events import Event
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunKind, RunState
from sightline.core.stores import RunStore

_RESTARTS = ("always", "on_failure", "never")
_LEASE_PASSED = "The process that ran this ended or stood still: its lease passed."
_NOBODY = {"worker": null(), "lease_until": null()}
_SAME_NAMES = (
    "id",
    "project",
    "parent",
    "spec",
    "revision",
    "status",
    "metadata",
    "restart",
    "worker",
    "token",
    "lease_until",
    "created",
    "started",
    "finished",
    "error",
)


class SqlRuns(RunStore):
    """Runs in the table `runs`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._now = transactions.dialect.now

    def create(
        self,
        run: Run,
        *,
        worker: str | None = None,
        lease: timedelta = timedelta(seconds=15),
        events: Sequence[Event] = (),
    ) -> Run:
        """Record `run`."""
        values: dict[str, Any] = _columns(run) | {"created": self._now()}
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
        return _run(row)

    def get(self, run_id: str) -> Run:
        """Return the run."""
        with self._transactions.reading() as connection:
            return _run(_found(connection, run_id))

    def list(
        self,
        *,
        case: str | None = None,
        kind: RunKind | None = None,
        state: RunState | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Sequence[Run]:
        """Return runs, the newest first; NotFound where `after` is no run."""
        query = select(runs).order_by(runs.c.position.desc()).limit(checked_limit(limit))
        for column, value in ((runs.c.case_name, case), (runs.c.kind, kind), (runs.c.state, state)):
            if value is not None:
                query = query.where(column == str(value))
        with self._transactions.reading() as connection:
            if after is not None:
                query = query.where(runs.c.position < _found(connection, after)[runs.c.position])
            return [_run(row) for row in connection.execute(query).mappings()]

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
        values = {"status": status, "lease_until": self._now(checked_lease(lease))}
        return self._change_held(run_id, token, values, events)

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
        """Put the run in a final state; InvalidInput where `state` is none."""
        if not state.is_final:
            raise InvalidInput(f"A run cannot finish as {state.value!r}.", cure="Use completed, failed or cancelled.")
        said = None if error is None else checked_text(error)
        values = {"state": state.value, "status": status, "error": said, "finished": self._now(), **_NOBODY}
        return self._change_held(run_id, token, values, events)

    def expire(self, events: Callable[[Run], Sequence[Event]] = lambda _: ()) -> Sequence[Run]:
        """Fail the runs whose process is gone, each in a transaction of its own."""
        dead = (
            runs.c.state == RunState.RUNNING.value,
            runs.c.restart == "never",
            runs.c.lease_until <= self._now(),
        )
        values = {"state": RunState.FAILED.value, "error": _LEASE_PASSED, "finished": self._now(), **_NOBODY}
        with self._transactions.reading() as connection:
            found = connection.execute(select(runs).where(*dead).order_by(runs.c.position)).mappings().all()
        failed: list[Run] = []
        for row in found:
            run = replace(_run(row), state=RunState.FAILED, error=_LEASE_PASSED)
            try:
                with self._transactions.writing(events(run)) as connection:
                    change = update(runs).where(runs.c.id == run.id, *dead).values(values).returning(runs)
                    changed = connection.execute(change).mappings().one_or_none()
                    if changed is None:
                        raise Conflict(f"The run {run.id} was changed meanwhile.")  # takes the events back
            except Conflict:
                continue  # its holder came back, or another process was faster
            failed.append(_run(changed))
        return failed

    def _change_held(self, run_id: str, token: int, values: Mapping[str, Any], events: Sequence[Event]) -> Run:
        held = (runs.c.id == run_id, runs.c.token == token, runs.c.state == RunState.RUNNING.value)
        with self._transactions.writing(events) as connection:
            change = update(runs).where(*held).values(values).returning(runs)
            row = connection.execute(change).mappings().one_or_none()
            if row is None:
                _refuse(_run(_found(connection, run_id)), token)
        return _run(row)


def _refuse(run: Run, token: int) -> NoReturn:
    """Say why a holder may not write."""
    if run.state.is_final:
        raise Conflict(f"The run {run.id} is over: {run.state.value}.", cure="Stop working on it.")
    if run.state is RunState.SUBMITTED:
        raise Conflict(f"Nobody holds the run {run.id}.", cure="Claim it first.")
    raise Conflict(
        f"The run {run.id} is held under the token {run.token}, not {token}: another process has it.",
        cure="Stop working on it.",
    )


def _found(connection: Connection, run_id: str) -> RowMapping:
    row = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"No run has the id {run_id!r}.")
    return row


def _columns(run: Run) -> dict[str, Any]:
    """Return what a caller decides of a run."""
    if run.restart not in _RESTARTS:
        raise InvalidInput(f"restart is {run.restart!r}.", cure=f"Use one of {', '.join(_RESTARTS)}.")
    return {
        "id": checked_name(run.id, "The id of a run"),
        "case_name": checked_name(run.case, "The name of a case"),
        "kind": run.kind.value,
        "project": checked_name(run.project, "The name of a project"),
        "parent": None if run.parent is None else checked_name(run.parent, "The id of a run"),
        "spec": run.spec,
        "revision": run.revision,
        "status": run.status,
        "metadata": run.metadata,
        "restart": run.restart,
    }


def _run(row: RowMapping) -> Run:
    same = {name: row[name] for name in _SAME_NAMES}
    return Run(case=row["case_name"], kind=RunKind(row["kind"]), state=RunState(row["state"]), **same)

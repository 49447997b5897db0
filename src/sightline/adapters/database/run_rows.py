"""Rows of the table `runs`: how a run becomes one and back, and the change that only its holder may make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from sqlalchemy import ColumnElement, Connection, RowMapping, Update, bindparam, false, null, select, update

from sightline.adapters.database.checks import checked_filter, checked_name, checked_time
from sightline.adapters.database.tables import runs
from sightline.core.errors import Conflict, InvalidInput, NotFound
from sightline.core.run import Run, RunKind, RunState

OVER = {"worker": null(), "lease_until": null(), "cancelling": false()}
"""Columns of a run that nobody holds any more."""

_FINDING = select(runs).where(runs.c.id == bindparam("of_id"))
MOST_PRIORITY = 1_000_000
_RESTARTS = ("always", "on_failure", "never")
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
    "cancelling",
    "deadline",
    "due",
    "attempts",
)


def held_change(plain: Sequence[str], values: Mapping[str, Any], *returned: ColumnElement[Any]) -> Update:
    """Return the statement for `change_held`, to be built once: that is dearer than to run it.

    Args:
        plain: columns that are given with each call.
        values: columns whose values are SQL, or always the same.
        returned: columns of the run that are wanted back; none: all.
    """
    held = (
        runs.c.id == bindparam("of_id"),
        runs.c.token == bindparam("of_token"),
        runs.c.state == RunState.RUNNING.value,
    )
    given = {name: bindparam(f"to_{name}", type_=runs.c[name].type) for name in plain}
    return update(runs).where(*held).values({**given, **values}).returning(*(returned or (runs,)))


def change_held(connection: Connection, run_id: str, token: int, change: Update, **plain: Any) -> RowMapping:
    """Change a run that runs under `token`, and return what the statement says of it.

    Raises:
        Conflict: the token is not the newest, or the run is over.
        NotFound: there is none of this id.
    """
    given = {f"to_{name}": value for name, value in plain.items()}
    row = (
        connection.execute(change, {"of_id": checked_filter(run_id), "of_token": token, **given})
        .mappings()
        .one_or_none()
    )
    if row is None:
        refuse_holder(to_run(found_run(connection, run_id)), token)
    return row


def refuse_holder(run: Run, token: int) -> NoReturn:
    """Say why a holder may not write."""
    if run.state.is_final:
        raise Conflict(f"The run {run.id} is over: {run.state.value}.", cure="Stop working on it.")
    if run.state is RunState.SUBMITTED:
        raise Conflict(f"Nobody holds the run {run.id}.", cure="Claim it first.")
    raise Conflict(
        f"The run {run.id} is held under the token {run.token}, not {token}: another process has it.",
        cure="Stop working on it.",
    )


def found_run(connection: Connection, run_id: str) -> RowMapping:
    """Return the row of a run.

    Raises:
        NotFound: there is none of this id.
    """
    row = connection.execute(_FINDING, {"of_id": checked_filter(run_id)}).mappings().one_or_none()
    if row is None:
        raise NotFound(f"No run has the id {run_id!r}.")
    return row


def run_columns(run: Run) -> dict[str, Any]:
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
        "rank": -_checked_priority(run.priority),
        "deadline": None if run.deadline is None else checked_time(run.deadline, "The deadline of a run"),
        "due": None if run.due is None else checked_time(run.due, "due"),
        "idempotency_key": None if run.key is None else checked_name(run.key, "An idempotency key"),
    }


def _checked_priority(priority: int) -> int:
    if abs(priority) > MOST_PRIORITY:
        raise InvalidInput(f"priority is {priority}.", cure=f"Use a number from -{MOST_PRIORITY} to {MOST_PRIORITY}.")
    return priority


def to_run(row: RowMapping) -> Run:
    """Return the run of a row."""
    same = {name: row[name] for name in _SAME_NAMES}
    return Run(
        case=row["case_name"],
        kind=RunKind(row["kind"]),
        state=RunState(row["state"]),
        priority=-row["rank"],
        key=row["idempotency_key"],
        **same,
    )

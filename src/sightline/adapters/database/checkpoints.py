"""Steps of jobs that are done, in the table `checkpoints`; written in the transaction that proves the token."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from sightline.adapters.database.checks import checked_filter, checked_name, plain
from sightline.adapters.database.dialect import Dialect
from sightline.adapters.database.tables import checkpoints
from sightline.core.errors import Conflict
from sightline.core.prediction import JsonObject


class Checkpoints:
    """Records steps of jobs, and reads them.

    Args:
        dialect: of the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        new = dialect.insert_new(checkpoints).values(recorded=dialect.now())
        self._new = new.returning(checkpoints.c.position)  # built once: that is dearer than to run it

    def record(self, connection: Connection, run_id: str, token: int, steps: Mapping[str, JsonObject] | None) -> None:
        """Record that steps are done.

        Raises:
            Conflict: one is done already, and it was not said just so under this token.
        """
        for step, outcome in (steps or {}).items():
            done = {"run_id": run_id, "step": checked_name(step, "A step"), "token": token, "outcome": outcome}
            if connection.execute(self._new, done).first() is not None:
                continue
            wanted = (checkpoints.c.run_id == run_id, checkpoints.c.step == step)
            row = connection.execute(select(checkpoints).where(*wanted)).one()
            if row.token != token or row.outcome != plain(outcome):  # else the answer was lost, and it is asked again
                raise Conflict(f"The step {step!r} of the run {run_id} is done already.", cure="Do not run it again.")

    def list(self, connection: Connection, run_id: str) -> dict[str, JsonObject]:
        """Return the outcomes of the steps in the order in which they were done."""
        wanted = checkpoints.c.run_id == checked_filter(run_id)
        query = select(checkpoints.c.step, checkpoints.c.outcome).where(wanted).order_by(checkpoints.c.position)
        return {row.step: row.outcome for row in connection.execute(query)}

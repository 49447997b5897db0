"""Schedules in the table `schedules`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, select, update

from sightline.adapters.database.checks import checked_filter, checked_name, checked_time
from sightline.adapters.database.tables import schedules
from sightline.adapters.database.transactions import Transactions
from sightline.core.errors import NotFound
from sightline.core.jobs import Schedule, ScheduleStore

_SAME = ("name", "cron", "spec", "metadata", "priority", "due", "created")


class SqlSchedules(ScheduleStore):
    """Schedules by name."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._now = transactions.dialect.now

    def put(self, schedule: Schedule) -> Schedule:
        """Record a schedule in the place of the one of its name."""
        values: dict[str, Any] = {
            "name": checked_name(schedule.name, "The name of a schedule"),
            "case_name": checked_name(schedule.case, "The name of a case"),
            "cron": checked_name(schedule.cron, "The times of a schedule"),
            "spec": schedule.spec,
            "metadata": schedule.metadata,
            "priority": schedule.priority,
            "due": None if schedule.due is None else checked_time(schedule.due, "due"),
            "created": self._now(),
        }
        with self._transactions.writing() as connection:
            connection.execute(delete(schedules).where(schedules.c.name == schedule.name))
            new = self._transactions.dialect.insert_new(schedules).values(values).returning(schedules)
            return _schedule(connection.execute(new).mappings().one())

    def list(self) -> Sequence[Schedule]:
        """Return all by name."""
        with self._transactions.reading() as connection:
            rows = connection.execute(select(schedules).order_by(schedules.c.name)).mappings()
            return [_schedule(row) for row in rows]

    def remove(self, name: str) -> None:
        """Take one away."""
        with self._transactions.writing() as connection:
            gone = connection.execute(delete(schedules).where(schedules.c.name == checked_filter(name)))
            if not gone.rowcount:
                raise NotFound(f"No schedule is called {name!r}.")

    def due(self) -> Sequence[tuple[Schedule, datetime]]:
        """Return those whose time has come, the oldest first."""
        now = self._now()
        query = select(schedules, now.label("now")).where(schedules.c.due <= now).order_by(schedules.c.due)
        with self._transactions.reading() as connection:
            return [(_schedule(row), row["now"]) for row in connection.execute(query).mappings()]

    def move(self, name: str, seen: datetime, due: datetime) -> bool:
        """Change the time of one that nobody has changed."""
        ours = (schedules.c.name == checked_filter(name), schedules.c.due == checked_time(seen, "seen"))
        with self._transactions.writing() as connection:
            change = update(schedules).where(*ours).values(due=checked_time(due, "due"))
            return connection.execute(change).rowcount == 1


def _schedule(row: RowMapping) -> Schedule:
    return Schedule(case=row["case_name"], **{name: row[name] for name in _SAME})

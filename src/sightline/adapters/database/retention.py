"""What deletes old rows, a piece at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, select

from sightline.adapters.database.checks import checked_limit, checked_time
from sightline.adapters.database.tables import deliveries, events, predictions, request_logs, runs
from sightline.adapters.database.transactions import Transactions
from sightline.core.errors import InvalidInput

_AGES: Mapping[str, tuple[Table, ColumnElement[datetime]]] = {
    "requests": (request_logs, request_logs.c.time),
    "events": (events, events.c.recorded),
    "predictions": (predictions, predictions.c.recorded),
    "runs": (runs, runs.c.finished),
    "deliveries": (deliveries, deliveries.c.finished),
}
"""What can be forgotten -> its table, and the column that says how old a row is; rows without one stay.

Events and predictions count from when they were written. What they tell of may be older than any limit: an alarm
found in last year's recording is new, and a relay has not seen it yet.
"""


def forget(transactions: Transactions, what: str, before: datetime, most: int) -> int:
    """Delete at most `most` old rows in one short transaction; return how many.

    The newest event that readers may see stays, so that `EventStore.position` never goes back.

    Raises:
        InvalidInput: nothing of this name is forgotten, `before` has no zone, or `most` is under 1.
    """
    if what not in _AGES:
        raise InvalidInput(f"Nobody forgets {what!r}.", cure=f"Use one of {', '.join(_AGES)}.")
    table, age = _AGES[what]
    # By age alone: with several columns in the order SQLite would sort all old rows before it takes the first.
    old: Any = select(table.c.position).where(age < checked_time(before, "before")).order_by(age)
    if table is events:
        newest = transactions.dialect.settled_events(select(func.max(events.c.position))).scalar_subquery()
        old = old.where(events.c.position < newest)
    with transactions.writing() as connection:
        gone = connection.execute(delete(table).where(table.c.position.in_(old.limit(checked_limit(most)))))
        return gone.rowcount

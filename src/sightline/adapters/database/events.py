"""The outbox: events with their positions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from sightline.adapters.database.checks import checked_limit
from sightline.adapters.database.tables import events
from sightline.adapters.database.transactions import Transactions
from sightline.core.codec import decode_event
from sightline.core.events import Event
from sightline.core.stores import EventStore


class SqlEvents(EventStore):
    """Events in the table `events`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def append(self, events: Sequence[Event]) -> None:
        """Record events."""
        with self._transactions.writing(events):
            pass

    def list(
        self, *, after: int = 0, types: Sequence[str] = (), source: str = "", limit: int = 100
    ) -> Sequence[tuple[int, Event]]:
        """Return events behind `after`, oldest first."""
        query = select(events.c.position, events.c.body).where(events.c.position > after)
        if types:
            query = query.where(events.c.short_type.in_(types))
        if source:  # LIKE would take `_` for any letter, and on SQLite `a` for `A`
            query = query.where(func.substr(events.c.source, 1, len(source)) == source)
        query = self._transactions.dialect.settled_events(query)
        with self._transactions.reading() as connection:
            rows = connection.execute(query.order_by(events.c.position).limit(checked_limit(limit))).all()
        return [(row.position, decode_event(row.body)) for row in rows]

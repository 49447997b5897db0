"""The outbox: events with their positions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select

from sightline.adapters.database.checks import checked_filter, checked_limit, checked_number, checked_time
from sightline.adapters.database.tables import events
from sightline.adapters.database.transactions import Transactions
from sightline.core.codec import decode_event
from sightline.core.events import Event
from sightline.core.stores import EventStore


class SqlEvents(EventStore):
    """Events in the table `events`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def position(self, event_id: str | None = None) -> int | None:
        """Return a position; one that `list` does not show yet is not given, as others may still appear below it."""
        query = self._transactions.dialect.settled_events(select(events.c.position))
        if event_id is None:
            query = query.order_by(events.c.position.desc()).limit(1)
        else:
            query = query.where(events.c.id == checked_filter(event_id))
        with self._transactions.reading() as connection:
            found: int | None = connection.execute(query).scalar_one_or_none()
        return 0 if found is None and event_id is None else found

    def append(self, events: Sequence[Event]) -> None:
        """Record events."""
        with self._transactions.writing(events):
            pass

    def list(
        self,
        *,
        after: int = 0,
        types: Sequence[str] = (),
        source: str = "",
        subject: str | Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[tuple[int, Event]]:
        """Return events in the order of their positions, or with `before` against it."""
        query = select(events.c.position, events.c.body).limit(checked_limit(limit))
        query = _between(query, checked_number(after, "after"), before)
        if types:
            query = query.where(_one_of([checked_filter(each) for each in types]))
        if source:  # LIKE would take `_` for any letter, and on SQLite `a` for `A`
            query = query.where(func.substr(events.c.source, 1, len(source)) == checked_filter(source))
        if subject is not None:
            subjects = [subject] if isinstance(subject, str) else subject
            query = query.where(events.c.subject.in_([checked_filter(each) for each in subjects]))
        if since is not None:
            query = query.where(events.c.time >= checked_time(since, "since"))
        if until is not None:
            query = query.where(events.c.time < checked_time(until, "until"))
        query = self._transactions.dialect.settled_events(query)
        with self._transactions.reading() as connection:
            rows = connection.execute(query).all()
        return [(row.position, decode_event(row.body)) for row in rows]


def _one_of(types: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that an event has one of the short types, `line.*` for a family."""
    column = events.c.short_type
    families = [each[:-1] for each in types if each.endswith(".*")]
    names = column.in_([each for each in types if not each.endswith(".*")])
    return or_(names, *(func.substr(column, 1, len(family)) == family for family in families))


def _between(query: Any, after: int, before: int | None) -> Any:
    """Bound the positions of a SELECT and order it."""
    position = events.c.position
    if after:
        query = query.where(position > after)
    if before is None:
        return query.order_by(position)
    if checked_number(before, "before"):
        query = query.where(position < before)
    return query.order_by(position.desc())

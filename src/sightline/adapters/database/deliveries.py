"""Messages to programs outside, in the tables `deliveries` and `delivery_positions`.

A holder needs no lease of its own: what is taken is due again when its time is over, and `attempts` tells the newest
holder from an older one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import RowMapping, and_, func, select, update

from sightline.adapters.database.checks import (
    checked_filter,
    checked_label,
    checked_lease,
    checked_limit,
    checked_name,
    checked_number,
    checked_text,
)
from sightline.adapters.database.tables import deliveries, delivery_positions
from sightline.adapters.database.transactions import Transactions
from sightline.core.deliveries import Delivery, DeliveryStore

_SAME = ("id", "receiver", "body", "path", "about", "attempts", "due", "outcome", "error")


class SqlDeliveries(DeliveryStore):
    """Messages by receiver."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._now = transactions.dialect.now

    def position(self, receiver: str) -> int | None:
        """Return a receiver's position."""
        column = delivery_positions.c.event_position
        query = select(column).where(delivery_positions.c.receiver == checked_filter(receiver))
        with self._transactions.reading() as connection:
            found: int | None = connection.execute(query).scalar_one_or_none()
        return found

    def add(self, receiver: str, messages: Sequence[Delivery], *, after: int | None, position: int) -> bool:
        """Move the position, and record the messages where that was right."""
        name = checked_name(receiver, "A receiver")
        rows = [self._row(name, each) for each in messages]
        table, new = delivery_positions, checked_number(position, "position")
        move: Any
        if after is None:
            move = self._transactions.dialect.insert_new(table).values(receiver=name, event_position=new)
        else:
            here = and_(table.c.receiver == name, table.c.event_position == after)
            move = update(table).where(here).values(event_position=new)
        with self._transactions.writing() as connection:
            if connection.execute(move.returning(table.c.receiver)).first() is None:
                return False
            for row in rows:
                connection.execute(self._transactions.dialect.insert_new(deliveries).values(row))
        return True

    def take(self, receiver: str, *, lease: timedelta, most: int = 10) -> Sequence[Delivery]:
        """Hold what is due. It is looked for by reading first: who finds nothing keeps no writer waiting."""
        due = and_(_waits(receiver), deliveries.c.due <= self._now())
        query = select(deliveries.c.position).where(due).order_by(deliveries.c.due).limit(checked_limit(most))
        with self._transactions.reading() as connection:
            if connection.execute(query).first() is None:
                return []
        values = {"attempts": deliveries.c.attempts + 1, "due": self._now(checked_lease(lease))}
        with self._transactions.writing() as connection:
            found = [row.position for row in connection.execute(query.with_for_update(skip_locked=True))]
            change = update(deliveries).where(deliveries.c.position.in_(found)).values(values)
            rows = connection.execute(change.returning(deliveries, self._now().label("now"))).mappings().all()
        return [_delivery(row) for row in sorted(rows, key=lambda row: int(row["position"]))]

    def later(self, delivery: Delivery, *, after: timedelta, error: str) -> bool:
        """Put a message back."""
        return self._change(delivery, {"due": self._now(checked_lease(after)), "error": checked_text(error)})

    def end(self, delivery: Delivery, outcome: str, *, error: str | None = None) -> bool:
        """Close a message."""
        said = None if error is None else checked_text(error)
        outcome = checked_name(outcome, "An outcome")
        return self._change(delivery, {"outcome": outcome, "finished": self._now(), "error": said})

    def list(self, receiver: str, *, waiting: bool | None = None, limit: int = 100) -> Sequence[Delivery]:
        """Return messages, the newest first."""
        query = select(deliveries, self._now().label("now")).where(deliveries.c.receiver == checked_filter(receiver))
        if waiting is not None:
            query = query.where(deliveries.c.outcome.is_(None) if waiting else deliveries.c.outcome.is_not(None))
        query = query.order_by(deliveries.c.position.desc()).limit(checked_limit(limit))
        with self._transactions.reading() as connection:
            return [_delivery(row) for row in connection.execute(query).mappings()]

    def num_waiting(self, receiver: str) -> int:
        """Count them."""
        with self._transactions.reading() as connection:
            return int(connection.execute(select(func.count()).where(_waits(receiver))).scalar_one())

    def _change(self, delivery: Delivery, values: dict[str, Any]) -> bool:
        ours = and_(
            _waits(delivery.receiver), deliveries.c.id == delivery.id, deliveries.c.attempts == delivery.attempts
        )
        with self._transactions.writing() as connection:
            return connection.execute(update(deliveries).where(ours).values(values)).rowcount == 1

    def _row(self, receiver: str, delivery: Delivery) -> dict[str, Any]:
        return {
            "receiver": receiver,
            "id": checked_name(delivery.id, "The id of a message"),
            "path": checked_label(delivery.path, "The path of a message"),
            "about": checked_label(delivery.about, "What a message is about"),
            "body": delivery.body,
            "attempts": 0,
            "created": self._now(),
            "due": self._now(),
        }


def _waits(receiver: str) -> Any:
    return and_(deliveries.c.receiver == checked_filter(receiver), deliveries.c.outcome.is_(None))


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(**{name: row[name] for name in _SAME}, age=row["now"] - row["created"])

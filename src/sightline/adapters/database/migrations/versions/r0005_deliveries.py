"""What is to be told to programs outside, and up to where that was made of the outbox."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def _needed(name: str, kind: Any = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    """Add two tables."""
    position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "deliveries",
        sa.Column("position", position, primary_key=True, autoincrement=True),
        _needed("receiver"),
        _needed("id"),
        _needed("path"),
        _needed("about"),
        _needed("body", sa.JSON),
        _needed("attempts", sa.BigInteger),
        _needed("created", _TIME),
        _needed("due", _TIME),
        sa.Column("finished", _TIME),
        sa.Column("outcome", sa.Text),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("receiver", "id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_deliveries_receiver_outcome_due"), "deliveries", ["receiver", "outcome", "due"])
    op.create_index(op.f("ix_deliveries_finished"), "deliveries", ["finished"])
    op.create_table(
        "delivery_positions",
        _needed("receiver"),
        _needed("event_position", sa.BigInteger),
        sa.PrimaryKeyConstraint("receiver"),
    )

"""The first tables: runs, models and their aliases, the outbox of events, predictions.

The types stand here in full: a step stays what it was when `tables.py` goes on. There is no way back: a
downgrade would throw data away, so whoever wants the old version puts back the copy made before.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def _position() -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("position", kind, primary_key=True, autoincrement=True)


def _needed(name: str, kind: Any = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "runs",
        _position(),
        _needed("id"),
        _needed("case_name"),
        _needed("kind"),
        _needed("project"),
        sa.Column("parent", sa.Text),
        _needed("state"),
        _needed("spec", sa.JSON),
        _needed("revision", sa.BigInteger),
        _needed("status", sa.JSON),
        _needed("metadata", sa.JSON),
        _needed("restart"),
        sa.Column("worker", sa.Text),
        _needed("token", sa.BigInteger),
        sa.Column("lease_until", _TIME),
        _needed("created", _TIME),
        sa.Column("started", _TIME),
        sa.Column("finished", _TIME),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_runs_case_name_position"), "runs", ["case_name", "position"])
    op.create_index(op.f("ix_runs_state_lease_until"), "runs", ["state", "lease_until"])
    op.create_table(
        "models",
        _position(),
        _needed("name"),
        _needed("version"),
        _needed("card", sa.JSON),
        _needed("files", sa.JSON),
        _needed("created", _TIME),
        sa.UniqueConstraint("name", "version"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "model_aliases",
        _needed("name"),
        _needed("alias"),
        _needed("version"),
        sa.PrimaryKeyConstraint("name", "alias"),
        sa.ForeignKeyConstraint(["name", "version"], ["models.name", "models.version"]),
    )
    op.create_table(
        "model_alias_moves",
        _position(),
        _needed("name"),
        _needed("alias"),
        _needed("version"),
        _needed("moved", _TIME),
        sa.ForeignKeyConstraint(["name", "version"], ["models.name", "models.version"]),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_model_alias_moves_name_alias_position"), "model_alias_moves", ["name", "alias", "position"]
    )
    op.create_table(
        "events",
        _position(),
        _needed("id"),
        _needed("short_type"),
        _needed("source"),
        _needed("time", _TIME),
        _needed("body", sa.JSON),
        sa.Column("transaction_id", sa.BigInteger),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "predictions",
        _position(),
        _needed("run_id"),
        _needed("case_name"),
        _needed("source"),
        _needed("time", _TIME),
        _needed("body", sa.JSON),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_predictions_run_id_position"), "predictions", ["run_id", "position"])
    op.create_index(op.f("ix_predictions_case_name_position"), "predictions", ["case_name", "position"])

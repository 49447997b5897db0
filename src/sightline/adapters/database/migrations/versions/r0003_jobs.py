"""What durable jobs need: a queue, idempotency keys, names of results, checkpoints, schedules."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def _needed(name: str, kind: Any = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    """Add columns, indexes and four tables."""
    for column in (
        sa.Column("rank", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("deadline", _TIME),
        sa.Column("due", _TIME),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("taken", _TIME),
    ):
        op.add_column("runs", column)
    op.create_index(op.f("ix_runs_kind_state_rank_position"), "runs", ["kind", "state", "rank", "position"])
    op.create_index(op.f("ix_runs_case_name_taken"), "runs", ["case_name", "taken"])
    op.create_table(
        "job_keys",
        _needed("project"),
        _needed("key"),
        _needed("digest"),
        _needed("run_id"),
        _needed("created", _TIME),
        sa.PrimaryKeyConstraint("project", "key"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
    )
    op.create_index(op.f("ix_job_keys_run_id"), "job_keys", ["run_id"])
    op.create_table("job_outputs", _needed("stem"), _needed("run_id"), sa.PrimaryKeyConstraint("stem"))
    position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "checkpoints",
        sa.Column("position", position, primary_key=True, autoincrement=True),
        _needed("run_id"),
        _needed("step"),
        _needed("token", sa.BigInteger),
        _needed("outcome", sa.JSON),
        sa.Column("recorded", _TIME),
        sa.UniqueConstraint("run_id", "step"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "schedules",
        _needed("name"),
        _needed("case_name"),
        _needed("cron"),
        _needed("spec", sa.JSON),
        _needed("metadata", sa.JSON),
        _needed("priority", sa.BigInteger),
        sa.Column("due", _TIME),
        _needed("created", _TIME),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index(op.f("ix_schedules_due"), "schedules", ["due"])

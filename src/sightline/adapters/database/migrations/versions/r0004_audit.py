"""The audit chain: its lines, and the last one of them noted apart."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def _needed(name: str, kind: Any = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    """Add two tables."""
    op.create_table(
        "audit_lines",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        _needed("time", _TIME),
        _needed("caller"),
        _needed("project"),
        _needed("method"),
        _needed("route"),
        _needed("path"),
        _needed("status", sa.Integer),
        _needed("request"),
        _needed("previous"),
        _needed("hash"),
    )
    op.create_index(op.f("ix_audit_lines_caller_number"), "audit_lines", ["caller", "number"])
    op.create_table(
        "audit_end",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        _needed("number", sa.BigInteger),
        _needed("hash"),
    )

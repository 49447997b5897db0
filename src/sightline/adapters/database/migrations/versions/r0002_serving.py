"""What serving needs: cancelling runs, events by subject and time, rows that can grow old, API keys, the request log.

`recorded` says when a row was written. Events and predictions carry the time of what they tell of, which may lie years
back (a recording, a study), so their own time cannot say when a row may go. Rows that are there already count as
written now: nothing goes earlier than it should.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
_NAME_LIMIT = 512
_PIECE = 1000  # rows that are held in memory at once

_EVENTS = sa.table("events", sa.column("position"), sa.column("body", sa.Text), sa.column("subject"))


def _position() -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("position", kind, primary_key=True, autoincrement=True)


def _needed(name: str, kind: Any = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    """Add columns, indexes and two tables."""
    op.add_column("runs", sa.Column("cancelling", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index(op.f("ix_runs_finished"), "runs", ["finished"])
    _date_rows("events")
    _date_rows("predictions")
    op.add_column("events", sa.Column("subject", sa.Text))
    _find_subjects(op.get_bind())
    op.create_index(op.f("ix_events_short_type_position"), "events", ["short_type", "position"])
    op.create_index(op.f("ix_events_subject_position"), "events", ["subject", "position"])
    op.create_index(op.f("ix_events_time"), "events", ["time"])
    op.create_table(
        "api_keys",
        _position(),
        _needed("id"),
        _needed("name"),
        _needed("digest"),
        _needed("scopes", sa.JSON),
        _needed("project"),
        _needed("created", _TIME),
        sa.Column("expires", _TIME),
        sa.Column("revoked", _TIME),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "request_logs",
        _position(),
        _needed("time", _TIME),
        _needed("id"),
        _needed("method"),
        _needed("route"),
        _needed("model"),
        _needed("case_name"),
        _needed("caller"),
        _needed("status", sa.Integer),
        _needed("latency_ms", sa.Double),
        _needed("bytes_in", sa.BigInteger),
        _needed("bytes_out", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_request_logs_time"), "request_logs", ["time"])
    op.create_index(op.f("ix_request_logs_route_position"), "request_logs", ["route", "position"])
    op.create_index(op.f("ix_request_logs_caller_position"), "request_logs", ["caller", "position"])


def _date_rows(table: str) -> None:
    """Add the column `recorded`; it may be null, because SQLite adds no other column whose value is not constant."""
    op.add_column(table, sa.Column("recorded", _TIME))
    sqlite = op.get_bind().dialect.name == "sqlite"
    now: Any = sa.func.strftime("%Y-%m-%dT%H:%M:%f000Z", "now") if sqlite else sa.func.clock_timestamp()
    op.execute(sa.update(sa.table(table, sa.column("recorded"))).values(recorded=now))
    op.create_index(op.f(f"ix_{table}_recorded"), table, ["recorded"])


def _find_subjects(connection: sa.Connection) -> None:
    """Copy subjects out of the bodies; here and not in SQL, as PostgreSQL reads no JSON that mentions a NUL."""
    text = sa.cast(_EVENTS.c.body, sa.Text)
    rows = sa.select(_EVENTS.c.position, text).where(text.like('%"subject":%')).order_by(_EVENTS.c.position)
    change = sa.update(_EVENTS).where(_EVENTS.c.position == sa.bindparam("at")).values(subject=sa.bindparam("found"))
    last = 0
    while piece := connection.execute(rows.where(_EVENTS.c.position > last).limit(_PIECE)).all():
        last = piece[-1][0]
        found = [{"at": position, "found": json.loads(body).get("subject")} for position, body in piece]
        if kept := [each for each in found if _is_name(each["found"])]:
            connection.execute(change, kept)


def _is_name(subject: Any) -> bool:
    return isinstance(subject, str) and 0 < len(subject) <= _NAME_LIMIT and "\0" not in subject

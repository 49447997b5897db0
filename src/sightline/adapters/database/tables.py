"""The tables. Knows their columns and types; nothing of connections or of how rows are written.

`migrations/` builds them step by step; a test compares the two.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    TIMESTAMP,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from sightline.core.codec import decode_time, encode_time

HEAD = "0005"
"""The newest migration. A database that says this is not migrated, and Alembic is not imported."""

VERSION_TABLE = "sightline_version"
"""Where the database says which migration it is at; not Alembic's own name, which other programs use beside us."""


class UtcTime(TypeDecorator[datetime]):
    """An aware time: `timestamptz` on PostgreSQL, on SQLite RFC 3339 text of fixed width, so that it sorts."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that this database uses."""
        timestamp = dialect.name == "postgresql"
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if timestamp else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return what the driver is given."""
        return value if value is None or dialect.name == "postgresql" else encode_time(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's
        """Return the time in UTC."""
        if value is None:
            return None
        return decode_time(value.isoformat() if isinstance(value, datetime) else value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _position() -> Column[int]:
    """Return a key that rises with each row and is never used twice, not even after a deletion."""
    kind = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows only where it says INTEGER
    return Column("position", kind, primary_key=True, autoincrement=True)


def _recorded() -> Column[datetime]:
    """Return when the row was written, by the database's clock; the time of what it tells of may be any."""
    return Column("recorded", UtcTime)


# JSON and not JSONB: what comes back is what was written, with its order of keys.

runs = Table(
    "runs",
    metadata,
    _position(),
    Column("id", Text, nullable=False),
    Column("case_name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("parent", Text),
    Column("state", Text, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("status", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("restart", Text, nullable=False),
    Column("worker", Text),
    Column("token", BigInteger, nullable=False),
    Column("lease_until", UtcTime),
    Column("created", UtcTime, nullable=False),
    Column("started", UtcTime),
    Column("finished", UtcTime),
    Column("error", Text),
    Column("cancelling", Boolean, nullable=False, server_default=false()),
    Column("rank", BigInteger, nullable=False, server_default="0"),  # minus the priority: the queue is read upwards
    Column("deadline", UtcTime),
    Column("due", UtcTime),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("idempotency_key", Text),
    Column("taken", UtcTime),  # when its holder took it
    UniqueConstraint("id"),
    Index(None, "case_name", "position"),
    Index(None, "state", "lease_until"),
    Index(None, "finished"),
    Index(None, "kind", "state", "rank", "position"),
    Index(None, "case_name", "taken"),
    sqlite_autoincrement=True,
)

job_keys = Table(
    "job_keys",
    metadata,
    Column("project", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("created", UtcTime, nullable=False),
    PrimaryKeyConstraint("project", "key"),
    ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
    Index(None, "run_id"),
)

# Without a foreign key: the result outlives the record of the run that made it, and so does its name.
job_outputs = Table(
    "job_outputs",
    metadata,
    Column("stem", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    PrimaryKeyConstraint("stem"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _position(),
    Column("run_id", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("outcome", JSON, nullable=False),
    _recorded(),
    UniqueConstraint("run_id", "step"),
    ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
    sqlite_autoincrement=True,
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", Text, nullable=False),
    Column("case_name", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("due", UtcTime),
    Column("created", UtcTime, nullable=False),
    PrimaryKeyConstraint("name"),
    Index(None, "due"),
)

models = Table(
    "models",
    metadata,
    _position(),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("card", JSON, nullable=False),
    Column("files", JSON, nullable=False),
    Column("created", UtcTime, nullable=False),
    UniqueConstraint("name", "version"),
    sqlite_autoincrement=True,
)

aliases = Table(
    "model_aliases",
    metadata,
    Column("name", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("version", Text, nullable=False),
    PrimaryKeyConstraint("name", "alias"),
    ForeignKeyConstraint(["name", "version"], ["models.name", "models.version"]),
)

alias_moves = Table(
    "model_alias_moves",
    metadata,
    _position(),
    Column("name", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("moved", UtcTime, nullable=False),
    ForeignKeyConstraint(["name", "version"], ["models.name", "models.version"]),
    Index(None, "name", "alias", "position"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    _position(),
    Column("id", Text, nullable=False),
    Column("short_type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("body", JSON, nullable=False),
    Column("transaction_id", BigInteger),  # PostgreSQL only: who may see the row is decided by it, see events.py
    _recorded(),
    Column("subject", Text),
    UniqueConstraint("id"),
    Index(None, "short_type", "position"),
    Index(None, "subject", "position"),
    Index(None, "time"),
    Index(None, "recorded"),
    sqlite_autoincrement=True,
)

predictions = Table(
    "predictions",
    metadata,
    _position(),
    Column("run_id", Text, nullable=False),
    Column("case_name", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("body", JSON, nullable=False),
    _recorded(),
    Index(None, "run_id", "position"),
    Index(None, "case_name", "position"),
    Index(None, "recorded"),
    sqlite_autoincrement=True,
)

api_keys = Table(
    "api_keys",
    metadata,
    _position(),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("project", Text, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("expires", UtcTime),
    Column("revoked", UtcTime),
    UniqueConstraint("id"),
    sqlite_autoincrement=True,
)

request_logs = Table(
    "request_logs",
    metadata,
    _position(),
    Column("time", UtcTime, nullable=False),
    Column("id", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("case_name", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Index(None, "time"),
    Index(None, "route", "position"),
    Index(None, "caller", "position"),
    sqlite_autoincrement=True,
)

audit_lines = Table(
    "audit_lines",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("time", UtcTime, nullable=False),
    Column("caller", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("request", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index(None, "caller", "number"),
)

audit_end = Table(
    "audit_end",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    _position(),
    Column("receiver", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("created", UtcTime, nullable=False),
    Column("due", UtcTime, nullable=False),
    Column("finished", UtcTime),
    Column("outcome", Text),
    Column("error", Text),
    UniqueConstraint("receiver", "id"),
    Index(None, "receiver", "outcome", "due"),
    Index(None, "finished"),
    sqlite_autoincrement=True,
)

delivery_positions = Table(
    "delivery_positions",
    metadata,
    Column("receiver", Text, primary_key=True),
    Column("event_position", BigInteger, nullable=False),
)

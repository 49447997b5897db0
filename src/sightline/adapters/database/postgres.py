"""PostgreSQL, from version 13 on: many writers, and a reader of events that misses none of them.

A transaction is slower than one that began after it, so its events may appear behind the back of a reader who
went by position alone. Two things prevent that. Events are the first thing that a transaction writes, and it does
so under a short lock, so that the order of positions is the order of transaction ids. And a reader is only shown
rows below the oldest transaction that is still under way (`pg_snapshot_xmin`): all that are to come lie behind.
The price: a transaction that somebody holds open in this cluster delays events, and loses none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Interval,
    Table,
    Text,
    cast,
    create_engine,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from sightline.adapters.database.checks import json_text
from sightline.adapters.database.dialect import WAIT_S, Dialect
from sightline.adapters.database.tables import UtcTime, events
from sightline.core.codec import from_json
from sightline.core.errors import (
    ConfigError,
    InvalidInput,
    MissingExtra,
    SightlineError,
    StorageFull,
    Unavailable,
)

_SCHEMA_LOCK = 0x7369676874_01  # "sight" and a number: PostgreSQL's advisory locks are shared by all programs
_EVENTS_LOCK = 0x7369676874_02

_CONNECT = {"connect_timeout": 5, "keepalives_idle": 30, "tcp_user_timeout": int(WAIT_S * 1000)}
"""What libpq is told where the address does not say it: a server that died is noticed within half a minute."""

# Appendix A of PostgreSQL's manual. Classes, or whole codes.
_TRY_LATER = ("08", "40", "53", "55", "57", "25006")
_REFUSED = ("28", "3D000", "3F000", "42501")
_BAD_VALUE = ("22",)
_FULL = "53100"


class Postgres(Dialect):
    """A database of a PostgreSQL server."""

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        host = url.host or url.query.get("host") or "the local socket"
        self.place = f"{host if isinstance(host, str) else ','.join(host)}:{url.port or 5432}/{url.database or ''}"

    def engine(self) -> Engine:
        """Return an engine on the database.

        Raises:
            MissingExtra: psycopg is not installed.
        """
        given = {key: value for key, value in _CONNECT.items() if key not in self._url.query}
        try:
            engine = create_engine(
                self._url,
                connect_args=given,
                pool_timeout=WAIT_S,
                pool_pre_ping=True,
                json_serializer=json_text,
                json_deserializer=from_json,
                hide_parameters=True,
            )
        except ImportError:
            raise MissingExtra("PostgreSQL needs psycopg.", cure="pip install 'sightline[postgres]'") from None
        sqlalchemy_event.listen(engine, "connect", _set_up)
        return engine

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for nothing: the server sorts out its writers."""
        yield

    def lock_schema(self, connection: Connection) -> None:
        """Take an advisory lock that ends with the transaction."""
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))

    def now(self, plus: timedelta = timedelta(0)) -> ColumnElement[datetime]:
        """Return the server's clock as it is now; `now()` would be that of the begin of the transaction."""
        return func.clock_timestamp(type_=UtcTime()) + literal(plus, Interval())

    def insert_new(self, table: Table) -> Any:
        """Return INSERT ... ON CONFLICT DO NOTHING."""
        return postgres_insert(table).on_conflict_do_nothing()

    def append_events(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        """Write the rows under a lock that is given back at once, long before the commit.

        Under it the transaction gets its id (its first write) and the rows get their positions, so both orders
        are one. Others need not wait for our commit, which is what takes long.
        """
        connection.execute(select(func.pg_advisory_lock(_EVENTS_LOCK)))
        try:
            transaction_id = _as_number(func.pg_current_xact_id())
            connection.execute(self.insert_new(events).values(transaction_id=transaction_id), rows)
            connection.execute(select(func.pg_advisory_unlock(_EVENTS_LOCK)))
        except BaseException:
            connection.invalidate()  # a failed transaction runs no statement; the end of the session frees the lock
            raise

    def settled_events(self, query: Any) -> Any:
        """Keep the rows below the oldest transaction under way.

        Rows from a future id were put back from a copy made on another server, whose count was further.
        """
        snapshot = func.pg_current_snapshot()
        written_by = events.c.transaction_id
        return query.where(
            or_(
                written_by.is_(None),
                written_by < _as_number(func.pg_snapshot_xmin(snapshot)),
                written_by >= _as_number(func.pg_snapshot_xmax(snapshot)),
            )
        )

    def translated(self, error: DBAPIError) -> SightlineError | None:
        """Return our error by PostgreSQL's SQLSTATE."""
        state = getattr(error.orig, "sqlstate", None) or ""
        said = " ".join(str(error.orig).split())
        if state == _FULL:
            return StorageFull(f"The disk of the database {self.place} is full.", cure="Free some space there.")
        refused = state.startswith(_REFUSED) or (
            # While it connects, psycopg has no SQLSTATE, only the server's words.
            not state and ("authentication failed" in said or "does not exist" in said or "no pg_hba.conf" in said)
        )
        if refused:
            return ConfigError(
                f"The database {self.place} refuses us: {said}", cure="Check user, password, name and rights."
            )
        if state.startswith(_TRY_LATER) or error.connection_invalidated or (not state and _is_operational(error)):
            return Unavailable(
                f"The database {self.place} does not answer: {said}", cure="Check that PostgreSQL runs there."
            )
        if state.startswith(_BAD_VALUE):
            return InvalidInput(f"The database {self.place} cannot keep a value: {said}")
        if not state:
            return ConfigError(f"The address of the database {self.place} is wrong: {said}")
        return None


def _as_number(transaction_id: ColumnElement[Any]) -> ColumnElement[int]:
    """Return an xid8, which counts on beyond 32 bits and has no direct cast, as a bigint."""
    return cast(cast(transaction_id, Text), BigInteger)


def _is_operational(error: DBAPIError) -> bool:
    """Return whether the driver says that the surroundings are at fault, not the statement."""
    return type(error.orig).__name__ in {"OperationalError", "InterfaceError", "ConnectionTimeout"}


def _set_up(connection: Any, _record: object) -> None:
    """Set limits for a new connection, so that a process that hangs keeps nobody waiting for ever."""
    wait = f"{WAIT_S:g}s"
    connection.autocommit = True
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [wait])
    connection.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, false)", [wait])
    connection.autocommit = False

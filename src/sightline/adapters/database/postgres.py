"""PostgreSQL, from version 13 on: many writers, and a reader of events that misses none of them.

A transaction is slower than one that began after it, so its events may appear behind the back of a reader who
went by position alone. Two things prevent that. Events are the first thing that a transaction writes, and it does
so under a short lock, so that the order of positions is the order of transaction ids. And a reader is only shown
rows below the oldest transaction that is still under way (`pg_snapshot_xmin`): all that are to come lie behind.
The price: a transaction that somebody holds open in this cluster delays events, and loses none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from select import select as select_ready
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Interval,
    Table,
    Text,
    TextClause,
    cast,
    create_engine,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InvalidatePoolError

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
_LIMITS_LOCK = 0x7369676874_03
_LOCK = select(func.pg_advisory_lock(_EVENTS_LOCK))
_UNLOCK = select(func.pg_advisory_unlock(_EVENTS_LOCK))

_CONNECT = {"connect_timeout": 5, "keepalives_idle": 30, "tcp_user_timeout": int(WAIT_S * 1000)}
"""What libpq is told where the address does not say it: a server that died is noticed within half a minute."""


def _appending(*, locks: bool) -> TextClause:
    """Return what writes events in one round trip and gives their lock back, which it takes itself, or has.

    What comes first is said by who reads whom: no row is made, and no transaction id taken, before `locked` gave its
    row, and nothing is unlocked before the last row was counted.
    """
    lock = "locked AS MATERIALIZED (SELECT pg_advisory_lock(CAST(:lock AS bigint)))," if locks else ""
    return text(
        f"""
        WITH {lock}
        new AS (
            INSERT INTO events (id, short_type, source, subject, time, body, transaction_id, recorded)
            SELECT id, short_type, source, subject, time, CAST(body AS json),
                pg_current_xact_id()::text::bigint, clock_timestamp()
            FROM {"locked," if locks else ""} ROWS FROM (json_to_recordset(CAST(:rows AS json)) AS (
                id text, short_type text, source text, subject text, time timestamptz, body text
            )) WITH ORDINALITY AS row (id, short_type, source, subject, time, body, number)
            ORDER BY number
            ON CONFLICT (id) DO NOTHING
            RETURNING position
        )
        SELECT pg_advisory_unlock(CAST(:lock AS bigint)) FROM (SELECT count(*) FROM new) AS counted
        """  # noqa: S608 - nothing of it comes from outside
    ).bindparams(lock=_EVENTS_LOCK)


_APPEND = _appending(locks=True)
_APPEND_AND_UNLOCK = _appending(locks=False)

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
                json_serializer=json_text,
                json_deserializer=from_json,
                hide_parameters=True,
            )
        except ImportError:
            raise MissingExtra("PostgreSQL needs psycopg.", cure="pip install 'sightline[postgres]'") from None
        sqlalchemy_event.listen(engine, "connect", _set_up)
        sqlalchemy_event.listen(engine, "checkout", _check)
        return engine

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for nothing: the server sorts out its writers."""
        yield

    def begin(self, connection: Connection, *, writes: bool) -> None:
        """Do nothing: the driver begins with the first statement."""

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
        try:
            connection.execute(_APPEND, {"rows": _as_json(rows)})
        except BaseException:
            connection.invalidate()  # see `ordering`
            raise

    @contextmanager
    def ordering(self, connection: Connection) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
        """Hold the lock of events until they are written, or there are none."""
        is_locked = True

        def append(rows: list[dict[str, Any]]) -> None:
            nonlocal is_locked
            connection.execute(_APPEND_AND_UNLOCK, {"rows": _as_json(rows)})
            is_locked = False

        connection.execute(_LOCK)
        try:
            yield append
            if is_locked:
                connection.execute(_UNLOCK)
        except BaseException:
            connection.invalidate()  # a failed transaction runs no statement; the end of the session frees the lock
            raise

    def lock_limits(self, connection: Connection) -> None:
        """Take an advisory lock that ends with the transaction."""
        connection.execute(select(func.pg_advisory_xact_lock(_LIMITS_LOCK)))

    def holds(self, text: ColumnElement[str], part: str) -> ColumnElement[bool]:
        """Return `strpos`."""
        return func.strpos(text, part) > 0

    def has_text(self, column: ColumnElement[Any], name: str, text: str | None) -> ColumnElement[bool]:
        """Return `->> name`, which is NULL where there is no such member."""
        found: ColumnElement[Any] = column.op("->>", return_type=Text())(literal(name, Text()))
        return found.is_not(None) if text is None else found == text

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
        if state.startswith(_BAD_VALUE) or (not state and type(error.orig).__name__ == "DataError"):
            return InvalidInput(f"The database {self.place} cannot keep a value: {said}")
        if not state:
            return ConfigError(f"The address of the database {self.place} is wrong: {said}")
        return None


def _as_json(rows: list[dict[str, Any]]) -> str:
    """Return rows of the outbox as one parameter; bodies as texts, for PostgreSQL reads no NUL out of JSON."""
    return json_text([{**row, "body": json_text(row["body"])} for row in rows])


def _as_number(transaction_id: ColumnElement[Any]) -> ColumnElement[int]:
    """Return an xid8, which counts on beyond 32 bits and has no direct cast, as a bigint."""
    return cast(cast(transaction_id, Text), BigInteger)


def _is_operational(error: DBAPIError) -> bool:
    """Return whether the driver says that the surroundings are at fault, not the statement."""
    return type(error.orig).__name__ in {"OperationalError", "InterfaceError", "ConnectionTimeout"}


def _check(connection: Any, _record: object, _proxy: object) -> None:
    """Replace a connection that the server has ended; that is heard without asking, by what waits on its socket."""
    try:
        waits, _, _ = select_ready([connection.fileno()], [], [], 0)
        if waits:  # a word of goodbye, or only a notice: ask
            connection.autocommit = True
            connection.execute("SELECT 1")
            connection.autocommit = False
    except Exception as error:  # noqa: BLE001 - whatever the driver says: this connection is of no use
        raise InvalidatePoolError(f"the connection has ended: {error}") from None


def _set_up(connection: Any, _record: object) -> None:
    """Set limits for a new connection, so that a process that hangs keeps nobody waiting for ever."""
    wait = f"{WAIT_S:g}s"
    connection.autocommit = True
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [wait])
    connection.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, false)", [wait])
    connection.autocommit = False

"""SQLite in a file: many readers, one writer at a time.

The journal is a write-ahead log with `synchronous=NORMAL`: what was committed outlives the death of the process
(kill -9), because the operating system has it. A power cut or a crash of the machine never damages the file, but
may take back the last commits, up to the last checkpoint or the last time that the system wrote its buffers
(about half a minute on Linux). Whoever cannot have that uses PostgreSQL: an fsync for each commit takes many
milliseconds on the cards and disks of small machines, and would hold up a camera's pipeline.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, create_engine, exists, func, literal, select
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from sightline.adapters.database.checks import json_text
from sightline.adapters.database.dialect import WAIT_S, Dialect
from sightline.adapters.database.tables import UtcTime, events
from sightline.core.codec import from_json
from sightline.core.errors import ConfigError, InvalidInput, SightlineError, StorageFull, Unavailable

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%f000Z"  # %f has milliseconds: all that SQLite's clock gives


class Sqlite(Dialect):
    """A file on a local disk."""

    def __init__(self, url: URL) -> None:
        name = url.database or ":memory:"
        if name == ":memory:" or name.startswith("file:"):
            raise ConfigError(f"The database {name!r} is no path of a file.", cure="Write sqlite:////data/sightline.db")
        path = Path(name).absolute()
        self.place = str(path)
        self._url = url.set(database=str(path))
        self._writer = threading.Lock()
        self._wait_s = _wait_s(url)
        known = sqlite_insert(events).on_conflict_do_nothing(index_elements=[events.c.id])
        self._append = known.values(recorded=self.now())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The folder of the database {path} cannot be made: {error.strerror}.",
                cure="Name a folder that this user may write to.",
            ) from None

    def engine(self) -> Engine:
        """Return an engine on the file."""
        engine = create_engine(
            self._url,
            connect_args={"timeout": self._wait_s},
            pool_timeout=WAIT_S,
            json_serializer=json_text,
            json_deserializer=from_json,
            hide_parameters=True,
        )
        sqlalchemy_event.listen(engine, "connect", _set_up)
        return engine

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Queue the writers of this process; SQLite's own waiting is polling, and unfair."""
        if not self._writer.acquire(timeout=self._wait_s):
            raise Unavailable(f"The database {self.place} was busy for {self._wait_s:g} s.", cure="Try again.")
        try:
            yield
        finally:
            self._writer.release()

    def begin(self, connection: Connection, *, writes: bool) -> None:
        """Take the lock for writing at once: a transaction that reads first and writes then could fail half way.

        It is said here and not by a listener of the engine, which would be dear: it makes each statement look for more.
        """
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    def lock_schema(self, connection: Connection) -> None:
        """Do nothing: BEGIN IMMEDIATE has the file already."""

    def now(self, plus: timedelta = timedelta(0)) -> ColumnElement[datetime]:
        """Return the clock of the machine as SQLite reads it, in milliseconds."""
        return func.strftime(_TIME_FORMAT, "now", f"{plus.total_seconds():+.3f} seconds", type_=UtcTime())

    def insert_new(self, table: Table) -> Any:
        """Return INSERT ... ON CONFLICT DO NOTHING."""
        return sqlite_insert(table).on_conflict_do_nothing()

    def append_events(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        """Write the rows; one writer at a time means that positions are in the order of commits."""
        connection.execute(self._append, rows)

    @contextmanager
    def ordering(self, connection: Connection) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
        """Lock nothing: there is one writer at a time."""
        yield lambda rows: self.append_events(connection, rows)

    def lock_limits(self, connection: Connection) -> None:
        """Do nothing: there is one writer at a time."""

    def holds(self, text: ColumnElement[str], part: str) -> ColumnElement[bool]:
        """Return `instr`; LIKE would take `A` for `a`."""
        return func.instr(text, part) > 0

    def has_text(self, column: ColumnElement[Any], name: str, text: str | None) -> ColumnElement[bool]:
        """Look through `json_each`: in a path of `json_extract` a name could not hold every character."""
        member = func.json_each(column).table_valued("key", "value")
        query = select(literal(1)).select_from(member).where(member.c.key == name)
        return exists(query if text is None else query.where(member.c.value == text))

    def settled_events(self, query: Any) -> Any:
        """Return `query`: no other transaction is under way with a lower position."""
        return query

    def translated(self, error: DBAPIError) -> SightlineError | None:
        """Return our error by SQLite's result code."""
        code = getattr(error.orig, "sqlite_errorcode", None)
        found = None if code is None else _ERRORS.get(code & 0xFF)  # the higher bits only say more of it
        if found is None:
            return None
        kind, what, cure = found
        return kind(f"The database {self.place} {what}: {error.orig}.", cure=cure)


_ERRORS: Mapping[int, tuple[type[SightlineError], str, str]] = {
    sqlite3.SQLITE_FULL: (StorageFull, "has no room left on its disk", "Free some space, then try again."),
    sqlite3.SQLITE_BUSY: (Unavailable, "is held locked by another process", "Close the other program, or try again."),
    sqlite3.SQLITE_LOCKED: (Unavailable, "is held locked by another process", "Close the other program."),
    sqlite3.SQLITE_IOERR: (Unavailable, "cannot be read or written", "Check the disk."),
    sqlite3.SQLITE_CORRUPT: (ConfigError, "is damaged", "Put back a copy of the file, or name another one."),
    sqlite3.SQLITE_NOTADB: (ConfigError, "is no SQLite file", "Name another file."),
    sqlite3.SQLITE_CANTOPEN: (ConfigError, "cannot be opened", "Name a file where this user may write."),
    sqlite3.SQLITE_READONLY: (ConfigError, "may not be written", "Name a file where this user may write."),
    sqlite3.SQLITE_PERM: (ConfigError, "may not be opened", "Name a file where this user may write."),
    sqlite3.SQLITE_TOOBIG: (InvalidInput, "takes no value as large as this one", ""),
}
"""Primary result code (https://www.sqlite.org/rescode.html) -> our error, what the database does, and the cure."""


def _wait_s(url: URL) -> float:
    """Return how long to wait for a lock: `timeout` of the address in seconds, else `WAIT_S`."""
    given = url.query.get("timeout", str(WAIT_S))
    try:
        return float(given if isinstance(given, str) else given[-1])
    except ValueError:
        raise ConfigError(f"timeout of the database is {given!r}.", cure="Give seconds: ?timeout=30") from None


def _set_up(connection: sqlite3.Connection, _record: object) -> None:
    """Set up a new connection, or close it. We say BEGIN ourselves, so the driver must not."""
    try:
        connection.isolation_level = None
        mode = _journal_mode(connection)
        if mode != "wal":
            raise ConfigError(
                f"SQLite cannot keep a write-ahead log here, it says {mode!r}.",
                cure="Put the database on a local disk, or use PostgreSQL.",
            )
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        connection.close()
        raise


def _journal_mode(connection: sqlite3.Connection) -> str:
    """Turn the write-ahead log on and return what is on; the file remembers it.

    The first process that does so needs the file for itself, and SQLite does not wait for that by itself.
    """
    end = time.monotonic() + WAIT_S
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)

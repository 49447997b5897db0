"""Transactions on one database. Knows when they begin and end and how they fail; knows no table but the outbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sightline.adapters.database.checks import checked_name
from sightline.adapters.database.dialect import WAIT_S, Dialect
from sightline.adapters.database.sqlite import Sqlite
from sightline.core.codec import encode_event
from sightline.core.errors import ConfigError, SightlineError, Unavailable
from sightline.core.events import Event

_CURE = "Write sqlite:////data/sightline.db or postgresql://user:password@host/name"


class Transactions:
    """Begins transactions on the database at `url`.

    Raises:
        ConfigError: the address is none, or of a database that is not supported.
        MissingExtra: the driver is not installed.
    """

    def __init__(self, url: str | Path) -> None:
        self.dialect: Dialect = _dialect(url)
        self._engine = self.dialect.engine()
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection for reading; it goes back at the end."""
        with self._ours(), self._engine.begin() as connection:
            self.dialect.begin(connection, writes=False)
            yield connection

    @contextmanager
    def writing(self, events: Sequence[Event] = ()) -> Iterator[Connection]:
        """Give a connection whose changes commit at the end of the block together with `events`, or not at all.

        The events are written first, see `Dialect.append_events`; a block that finds that it may not change
        anything raises, and takes them back.
        """
        rows = [_row(event) for event in events]
        with self._ours(), self.dialect.turn(), self._engine.begin() as connection:
            self.dialect.begin(connection, writes=True)
            if rows:
                self.dialect.append_events(connection, rows)
            yield connection

    @contextmanager
    def ordering(self, connection: Connection) -> Iterator[Callable[[Sequence[Event]], None]]:
        """Give what writes events once, for a transaction that could not know them before; see `Dialect.ordering`."""
        with self.dialect.ordering(connection) as append:

            def tell(events: Sequence[Event]) -> None:
                if events:
                    append([_row(event) for event in events])

            yield tell

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._engine.dispose()

    @contextmanager
    def _ours(self) -> Iterator[None]:
        """Turn the errors of SQLAlchemy and of the driver into ours; those that nobody outside can cure stay."""
        if self._closed:
            raise Unavailable(f"The database {self.dialect.place} was closed.")
        try:
            yield
        except DBAPIError as error:
            ours = self.dialect.translated(error)
            if ours is None:
                raise
            raise ours from None
        except StatementError as error:
            if isinstance(error.orig, SightlineError):  # a value that no column takes
                raise error.orig from None
            raise
        except PoolTimeoutError:
            raise Unavailable(
                f"All connections to the database {self.dialect.place} were in use for {WAIT_S:g} s.", cure="Try again."
            ) from None


def _dialect(url: str | Path) -> Dialect:
    try:
        parsed: URL = URL.create("sqlite", database=str(url)) if isinstance(url, Path) else make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        # The text is not shown: an address that cannot be read may hold a password anywhere.
        raise ConfigError("The address of the database cannot be read.", cure=_CURE) from None
    if backend == "sqlite":
        return Sqlite(parsed)
    if backend in {"postgresql", "postgres"}:
        from sightline.adapters.database.postgres import Postgres  # its SQL is not needed on a laptop

        return Postgres(parsed)
    raise ConfigError(f"A database of the kind {backend!r} is not supported.", cure=_CURE)


def _row(event: Event) -> dict[str, Any]:
    return {
        "id": checked_name(event.id, "The id of an event"),
        "short_type": checked_name(event.short_type, "The type of an event"),
        "source": checked_name(event.source, "The source of an event"),
        "subject": checked_name(event.subject, "The subject of an event") if event.subject else None,
        "time": event.time,
        "body": encode_event(event),
    }

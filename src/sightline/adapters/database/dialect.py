"""What differs between the databases; everything else is the same Core code for all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table
from sqlalchemy.exc import DBAPIError

from sightline.core.errors import SightlineError

WAIT_S = 30.0
"""How long anything waits for a lock or for a free connection before it is `Unavailable`."""


class Dialect(ABC):
    """One kind of database, at one address.

    Attributes:
        place: the address as messages may show it: without user name and password.
    """

    place: str

    @abstractmethod
    def engine(self) -> Engine:
        """Return a new engine whose connections are set up; no connection is made yet."""

    @abstractmethod
    def turn(self) -> AbstractContextManager[None]:
        """Wait for the turn of one that writes, where only one may."""

    @abstractmethod
    def begin(self, connection: Connection, *, writes: bool) -> None:
        """Begin a transaction, where the driver does not do so by itself."""

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Keep others from migrating until this transaction ends."""

    @abstractmethod
    def now(self, plus: timedelta = timedelta(0)) -> ColumnElement[datetime]:
        """Return the database's own clock, as SQL."""

    @abstractmethod
    def insert_new(self, table: Table) -> Any:
        """Return an INSERT that passes over rows that are there already; it takes `.returning` and `.values`."""

    @abstractmethod
    def append_events(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        """Write rows of the outbox, so that positions are in the order of commits for those who may see them.

        It must be the first thing that a transaction writes.
        """

    @abstractmethod
    def ordering(self, connection: Connection) -> AbstractContextManager[Callable[[list[dict[str, Any]]], None]]:
        """Keep others from writing events in the block; it gives what writes rows, once, as the last thing there.

        For a transaction that learns what its events tell of by changing rows: it does so in the block, and nothing
        that waits.
        """

    @abstractmethod
    def lock_limits(self, connection: Connection) -> None:
        """Keep others from taking jobs of limited cases until this transaction ends."""

    @abstractmethod
    def holds(self, text: ColumnElement[str], part: str) -> ColumnElement[bool]:
        """Return whether `part` stands anywhere in `text`, letter by letter, as SQL."""

    @abstractmethod
    def has_text(self, column: ColumnElement[Any], name: str, text: str | None) -> ColumnElement[bool]:
        """Return whether a JSON object has the member `name`, and this text there; None: any; as SQL."""

    @abstractmethod
    def settled_events(self, query: Any) -> Any:
        """Narrow a SELECT of events to those before which no other can appear any more."""

    @abstractmethod
    def translated(self, error: DBAPIError) -> SightlineError | None:
        """Return our error for what the driver says; None when it is nothing that a user can cure."""

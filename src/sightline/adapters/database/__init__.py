"""The MetadataStore on SQLite or PostgreSQL: the same SQLAlchemy Core code, migrated by Alembic."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sightline.adapters.database.audit import SqlAudit
from sightline.adapters.database.deliveries import SqlDeliveries
from sightline.adapters.database.events import SqlEvents
from sightline.adapters.database.jobs import SqlJobs
from sightline.adapters.database.keys import SqlKeys
from sightline.adapters.database.migrate import migrate
from sightline.adapters.database.models import SqlModels
from sightline.adapters.database.predictions import SqlPredictions
from sightline.adapters.database.requests import SqlRequests
from sightline.adapters.database.retention import forget
from sightline.adapters.database.runs import SqlRuns
from sightline.adapters.database.schedules import SqlSchedules
from sightline.adapters.database.transactions import Transactions
from sightline.core.stores import Kept, MetadataStore

__all__ = ["SqlStore"]


class SqlStore(MetadataStore):
    """What the platform records, in the database at `url`.

    `url` is `sqlite:////data/sightline.db`, the Path of an SQLite file, or
    `postgresql://user:password@host:5432/name`. The folder of an SQLite file is made, and the database is brought to
    the newest migration; any number of processes may do so at once.
    What SQLite promises when the power goes is told in `sightline.adapters.database.sqlite`.

    Raises:
        ConfigError: the address is wrong, the file is no database, or a newer Sightline has been there.
        MissingExtra: PostgreSQL's driver is not installed.
        Unavailable: the database does not answer.
    """

    def __init__(self, url: str | Path) -> None:
        self._transactions = Transactions(url)
        try:
            migrate(self._transactions)
        except BaseException:
            self._transactions.close()
            raise
        self.runs = SqlRuns(self._transactions)
        self.models = SqlModels(self._transactions)
        self.events = SqlEvents(self._transactions)
        self.predictions = SqlPredictions(self._transactions)
        self.keys = SqlKeys(self._transactions)
        self.requests = SqlRequests(self._transactions)
        self.jobs = SqlJobs(self._transactions)
        self.schedules = SqlSchedules(self._transactions)
        self.audit = SqlAudit(self._transactions)
        self.deliveries = SqlDeliveries(self._transactions)

    def forget(self, what: Kept, before: datetime, *, most: int = 1000) -> int:
        """Delete old rows. Events and predictions count from when they were recorded, runs from their end."""
        return (
            self.audit.forget(before, most=most) if what == "audit" else forget(self._transactions, what, before, most)
        )

    def close(self) -> None:
        """Close all connections."""
        self._transactions.close()

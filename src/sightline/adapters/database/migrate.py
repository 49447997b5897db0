"""Brings a database to the newest migration, once, however many processes start at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog
from sqlalchemy import Connection, Text, column, inspect, select, table

from sightline.adapters.database.tables import HEAD, VERSION_TABLE
from sightline.adapters.database.transactions import Transactions
from sightline.core.errors import ConfigError

log = structlog.get_logger()

FOLDER = Path(__file__).parent / "migrations"

_ALEMBIC = threading.Lock()
"""Alembic's `op` and `context` are global to the process, so only one thread may migrate."""


def migrate(transactions: Transactions) -> None:
    """Bring the database to `HEAD`; where it is there already, ask it one question and nothing more.

    Raises:
        ConfigError: a newer Sightline has been here.
        Unavailable: the database does not answer, or somebody else holds it.
    """
    with transactions.reading() as connection:
        if _version(connection) == HEAD:
            return
    with _ALEMBIC, transactions.writing() as connection:
        transactions.dialect.lock_schema(connection)
        before = _version(connection)  # another process may have been faster
        if before != HEAD:
            _upgrade(connection, before, transactions.dialect.place)
            log.info("database migrated", database=transactions.dialect.place, before=before, after=HEAD)


def _version(connection: Connection) -> str | None:
    """Return what migration the database is at; None when it is empty."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    rows = table(VERSION_TABLE, column("version_num", Text))
    return connection.execute(select(rows.c.version_num)).scalar_one_or_none()


def _upgrade(connection: Connection, before: str | None, place: str) -> None:
    from alembic import command  # 50 ms, needed once in the life of a database
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if before is not None and before not in known:
        raise ConfigError(
            f"The database {place} was made by a newer Sightline (it is at {before}, we know {HEAD}).",
            cure="Update Sightline, or name another database.",
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

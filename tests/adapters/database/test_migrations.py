from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import column, event, table

from sightline.adapters.database import SqlStore
from sightline.adapters.database.migrate import FOLDER, migrate
from sightline.adapters.database.tables import HEAD, VERSION_TABLE, metadata
from sightline.adapters.database.transactions import Transactions
from sightline.core.errors import ConfigError
from sightline.testing.contracts.metadata_store import line_event


def test_the_newest_migration_is_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_migrations_build_the_tables(fresh_url: str) -> None:
    with closing(SqlStore(fresh_url)) as store, store._transactions.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
        )
        assert compare_metadata(context, metadata) == []


def test_a_second_start_migrates_nothing(fresh_url: str) -> None:
    with closing(SqlStore(fresh_url)) as store:
        store.events.append([line_event()])
    program = (
        "import sys; from sightline.adapters.database import SqlStore\n"
        f"store = SqlStore({fresh_url!r}); print(len(store.events.list()), 'alembic' in sys.modules); store.close()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.split() == ["1", "False"]


def test_many_that_start_at_once_on_an_empty_database_all_succeed(fresh_url: str) -> None:
    def start(_: int) -> int:
        with closing(SqlStore(fresh_url)) as store:
            store.events.append([line_event()])
            return len(store.events.list())

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(start, range(4))) >= 1
    with closing(SqlStore(fresh_url)) as store:
        assert len(store.events.list()) == 4


def test_two_processes_that_start_at_once_on_an_empty_database_both_succeed(fresh_url: str) -> None:
    program = (
        "import sys; from sightline.adapters.database import SqlStore\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        f"SqlStore({fresh_url!r}).close()"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.communicate("go\n", timeout=60)
    assert [child.returncode for child in children] == [0, 0]


def test_a_database_of_a_newer_sightline_is_refused(fresh_url: str) -> None:
    with closing(SqlStore(fresh_url)) as store, store._transactions.writing() as connection:
        connection.execute(table(VERSION_TABLE, column("version_num")).update().values(version_num="9999"))
    with pytest.raises(ConfigError, match="9999") as caught:
        SqlStore(fresh_url)
    assert "Update Sightline" in caught.value.cure


def test_a_migration_that_is_interrupted_leaves_an_empty_database(fresh_url: str) -> None:
    def interrupt(*call: object) -> None:
        if "model_aliases" in str(call[2]):
            raise InterruptedError

    transactions = Transactions(fresh_url)
    event.listen(transactions._engine, "before_cursor_execute", interrupt)
    with closing(transactions), pytest.raises(InterruptedError):
        migrate(transactions)
    with closing(SqlStore(fresh_url)) as store:
        assert store.events.list() == []

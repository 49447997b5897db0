from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.exc import IntegrityError
from tests.adapters.database.ages import check_that_a_key_means_its_run_for_a_day

from sightline.adapters.database import SqlStore
from sightline.core.errors import ConfigError, InvalidInput, NotFound, StorageFull, Unavailable
from sightline.core.run import Run, RunState
from sightline.testing.contracts.metadata_store import MetadataStoreContract, line_event, seen_sample
from sightline.testing.contracts.model_store import make_model


class TestSqliteStore(MetadataStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqlStore]:
        with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store:
            yield store

    def test_the_clock_is_the_databases(self, store: SqlStore) -> None:
        sent: list[Any] = []

        def note(*call: Any) -> None:
            sent.append(call[3])

        sqlalchemy_event.listen(store._transactions._engine, "before_cursor_execute", note)
        run = store.runs.create(Run(case="street"), worker="me")
        store.runs.report(run.id, 1, {})
        store.runs.finish(run.id, 1, RunState.COMPLETED, status={})
        store.runs.expire()
        store.models.add(make_model())
        store.models.point("people", "production", "1", expected=None)
        assert len(sent) > 6
        assert str(datetime.now(UTC).year) not in str(sent)

    def test_a_key_means_its_run_for_a_day(self, store: SqlStore) -> None:
        check_that_a_key_means_its_run_for_a_day(store)

    def test_runs_behind_an_absent_run_are_not_found(self, store: SqlStore) -> None:
        with pytest.raises(NotFound, match="nobody"):
            store.runs.list(after="nobody")

    def test_a_value_that_is_too_large_is_refused(self, store: SqlStore) -> None:
        with pytest.raises(InvalidInput, match="too large"):
            store.runs.create(Run(case="street", spec={"text": "x" * (65 << 20)}))
        assert store.runs.list() == []


def test_the_folder_is_made_and_what_was_recorded_outlives_the_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new folder/50%/store.db"
    with closing(SqlStore(url)) as store:
        run = store.runs.create(Run(case="street"), worker="me")
    with closing(SqlStore(url)) as store:
        assert store.runs.get(run.id) == run


def test_the_file_is_kept_in_a_write_ahead_log(tmp_path: Path) -> None:
    with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store, store._transactions.reading() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert found == ["wal", 1, 1, 30_000]


def test_nothing_stays_open(tmp_path: Path) -> None:
    with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store:
        store.events.append([line_event()])
    assert [path.name for path in tmp_path.iterdir()] == ["store.db"]


def test_a_row_that_lacks_something_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store:
        whole: dict[str, Any] = {
            "id": "e1",
            "short_type": "x",
            "source": "/x",
            "subject": None,
            "time": datetime.now(UTC),
            "body": {},
        }

        def append(row: dict[str, Any]) -> None:
            with store._transactions.writing() as connection:
                store._transactions.dialect.append_events(connection, [row])

        append(whole)
        append(whole)
        with pytest.raises(IntegrityError, match=r"NOT NULL.*events\.source"):
            append(whole | {"id": "e2", "source": None})
        assert store.events.position("e2") is None


@pytest.mark.parametrize(
    ("column", "asked"),
    [
        ("position", {"before": 0}),
        ("short_type", {"types": ["run.failed"]}),
        ("subject", {"subject": "track/7", "before": 0}),
    ],
)
def test_events_are_found_without_reading_all(tmp_path: Path, column: str, asked: dict[str, Any]) -> None:
    with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store:
        sent: list[tuple[str, Any]] = []

        def note(*call: Any) -> None:
            if call[2].startswith("SELECT"):
                sent.append((call[2], call[3]))

        store.events.append([line_event(number=number) for number in range(50)])
        sqlalchemy_event.listen(store._transactions._engine, "before_cursor_execute", note)
        store.events.list(**asked)
        [(statement, values)] = list(sent)
        with store._transactions.reading() as connection:
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())
    assert "TEMP B-TREE" not in plan
    assert column == "position" or f"{column}=?" in plan


def test_two_stores_share_one_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with closing(SqlStore(url)) as one, closing(SqlStore(url)) as two:
        run = one.runs.create(Run(case="street"), worker="me")
        two.runs.finish(run.id, 1, RunState.COMPLETED, status={})
        assert one.runs.get(run.id).state is RunState.COMPLETED


@pytest.mark.parametrize("kind", ["events", "predictions"])
def test_a_full_disk_loses_nothing_that_was_recorded(tmp_path: Path, kind: str) -> None:
    with closing(SqlStore(f"sqlite:///{tmp_path}/store.db")) as store:

        def limit(connection: Any, _record: object) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages + 20}")

        store._transactions._engine.dispose()
        sqlalchemy_event.listen(store._transactions._engine, "connect", limit)

        def record(number: int) -> None:
            if kind == "events":
                store.events.append([line_event(number=number)])
            else:
                store.predictions.record("r1", "street", [seen_sample(number)])

        num_recorded = 0

        def record_until_full() -> None:
            nonlocal num_recorded
            for number in range(10_000):
                record(number)
                num_recorded += 1

        with pytest.raises(StorageFull, match=r"store\.db") as caught:
            record_until_full()
        assert "Free some space" in caught.value.cure
        listing = store.events.list if kind == "events" else store.predictions.list
        assert len(listing(limit=20_000)) == num_recorded > 10


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all, but text of some length\n" * 50)
    with pytest.raises(ConfigError, match=r"notes\.txt is no SQLite file"):
        SqlStore(f"sqlite:///{path}")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(SqlStore(f"sqlite:///{path}")) as store:
        store.predictions.record("r1", "street", [seen_sample(seq) for seq in range(500)])
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"store\.db is damaged"), closing(SqlStore(f"sqlite:///{path}")) as store:
        store.predictions.list(run_id="r1")


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        SqlStore(f"sqlite:///{tmp_path}")


def test_a_parent_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="folder of the database"):
        SqlStore(f"sqlite:///{tmp_path}/file/store.db")


def test_a_file_that_another_program_holds_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(SqlStore(f"sqlite:///{path}?timeout=0.05")) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert store.runs.list() == []
        with pytest.raises(Unavailable, match="locked by another process"):
            store.events.append([line_event()])
        other.rollback()
        store.events.append([line_event()])


def test_a_copy_of_the_file_is_a_store_of_its_own(tmp_path: Path) -> None:
    with closing(SqlStore(f"sqlite:///{tmp_path}/one.db")) as one:
        one.events.append([line_event()])
    shutil.copy(tmp_path / "one.db", tmp_path / "two.db")
    with closing(SqlStore(f"sqlite:///{tmp_path}/two.db")) as two:
        assert len(two.events.list()) == 1


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="no path of a file"):
        SqlStore(url)


@pytest.mark.parametrize(
    "url", ["", "store.db", "mysql://u:secret@h/x", "postgres:secret@h", "postgresql://h:secret/x"]
)
def test_an_address_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SqlStore(url)
    assert "secret" not in f"{caught.value}{caught.value.cure}"
    assert "sqlite:///" in caught.value.cure

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from tests.adapters.database.ages import check_that_a_key_means_its_run_for_a_day

from sightline.adapters.database import SqlStore
from sightline.adapters.database.tables import events, metadata
from sightline.build import CaseBuildContext
from sightline.core.errors import ConfigError, Conflict, Unavailable
from sightline.core.run import Run
from sightline.core.stores import MetadataStore
from sightline.settings import load_settings
from sightline.testing.contracts.metadata_store import MetadataStoreContract, line_event

pytestmark = pytest.mark.service("postgres")


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    with closing(SqlStore(postgres_url)) as store:
        names = ", ".join(table.name for table in metadata.tables.values())
        with store._transactions.writing() as connection:
            connection.execute(text(f"TRUNCATE {names}"))
        yield store


class TestPostgresStore(MetadataStoreContract):
    @pytest.fixture
    def store(self, store: SqlStore) -> MetadataStore:
        return store


def test_a_key_means_its_run_for_a_day(store: SqlStore) -> None:
    check_that_a_key_means_its_run_for_a_day(store)


def seen_ids(store: SqlStore, after: int = 0) -> list[str]:
    return [event.id for _, event in store.events.list(after=after)]


def test_a_reader_does_not_pass_a_transaction_that_is_still_under_way(store: SqlStore) -> None:
    slow, fast = line_event(number=1), line_event(number=2)
    with store._transactions.writing([slow]):
        store.events.append([fast])
        assert seen_ids(store) == []
    found = store.events.list()
    assert [event.id for _, event in found] == [slow.id, fast.id]


def test_events_before_a_transaction_under_way_are_seen_at_once(store: SqlStore) -> None:
    early, slow = line_event(number=1), line_event(number=2)
    store.events.append([early])
    with store._transactions.writing([slow]):
        assert seen_ids(store) == [early.id]


def test_a_position_is_not_given_before_a_reader_may_pass_it(store: SqlStore) -> None:
    early, slow, fast = (line_event(number=number) for number in range(3))
    store.events.append([early])
    with store._transactions.writing([slow]):
        store.events.append([fast])
        assert store.events.position() == store.events.position(early.id)
        assert store.events.position(fast.id) is None
    assert store.events.position() == store.events.position(fast.id)


def test_what_a_reader_has_not_been_shown_is_not_forgotten(store: SqlStore) -> None:
    before = datetime.now(UTC) + timedelta(days=1)
    older, early, slow, fast = (line_event(number=number) for number in range(4))
    store.events.append([older, early])
    with store._transactions.writing([slow]):
        store.events.append([fast])
        assert store.forget("events", before) == 1
    assert seen_ids(store) == [early.id, slow.id, fast.id]


def test_an_address_without_a_driver_works_through_the_settings(store: SqlStore, postgres_url: str) -> None:
    store.events.append([line_event()])
    plain = postgres_url.replace("postgresql+psycopg://", "postgresql://")
    assert plain != postgres_url
    for url in (plain, postgres_url):
        loaded = load_settings(environ={"SIGHTLINE_DATABASE_URL": url})
        with closing(CaseBuildContext(loaded)) as context:
            assert len(context.store.events.list()) == 1


def test_a_change_that_was_taken_back_holds_nobody_up(store: SqlStore) -> None:
    run = store.runs.create(Run(case="street"), worker="me")
    with pytest.raises(Conflict):
        store.runs.report(run.id, 9, {}, events=[line_event()])
    kept = line_event()
    store.events.append([kept])
    assert seen_ids(store) == [kept.id]


def test_positions_and_transactions_have_one_order(store: SqlStore) -> None:
    def write(_: int) -> None:
        for _batch in range(8):
            store.events.append([line_event(number=number) for number in range(60)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    with store._transactions.reading() as connection:
        rows = connection.execute(events.select().order_by(events.c.position)).all()
    assert len(rows) == 4 * 8 * 60
    transactions = [row.transaction_id for row in rows]
    assert transactions == sorted(transactions)


def test_a_failed_write_gives_the_lock_of_events_back(store: SqlStore) -> None:
    with pytest.raises(ZeroDivisionError), store._transactions.writing([line_event()]):
        raise ZeroDivisionError
    with store._transactions.reading() as connection:
        ours = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        query = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {ours}"  # noqa: S608 - no input
        held = connection.execute(text(query)).scalar()
    assert held == 0


def test_rows_put_back_from_another_server_are_seen(store: SqlStore) -> None:
    event = line_event()
    store.events.append([event])
    with store._transactions.writing() as connection:
        connection.execute(events.update().values(transaction_id=1 << 50))
    assert seen_ids(store) == [event.id]


def test_times_are_the_servers(store: SqlStore) -> None:
    def clock() -> str:
        with store._transactions.reading() as connection:
            return str(connection.execute(text("SELECT clock_timestamp() AT TIME ZONE 'UTC'")).scalar())

    before = clock()
    created = store.runs.create(Run(case="street")).created
    assert created is not None
    assert before <= str(created.replace(tzinfo=None)) <= clock()


def test_connections_that_the_server_closed_are_replaced(store: SqlStore, postgres_url: str) -> None:
    store.events.append([line_event()])
    end_other_sessions(postgres_url)
    assert len(store.events.list()) == 1


def test_a_server_that_goes_away_in_a_transaction_is_unavailable(store: SqlStore, postgres_url: str) -> None:
    def write() -> None:
        with store._transactions.writing([line_event()]) as connection:
            end_other_sessions(postgres_url)
            connection.execute(text("SELECT 1"))

    with pytest.raises(Unavailable, match="does not answer"):
        write()
    assert seen_ids(store) == []


def end_other_sessions(url: str) -> None:
    with closing(SqlStore(url)) as admin, admin._transactions.reading() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_a_server_that_does_not_run_is_unavailable() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/name does not answer") as caught:
        SqlStore("postgresql://user:hunter2@127.0.0.1:1/name")
    assert "hunter2" not in f"{caught.value}{caught.value.cure}{caught.value.__cause__}"


def test_a_database_that_does_not_exist_is_named(postgres_url: str) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        SqlStore(postgres_url.rpartition("/")[0] + "/nowhere")


def test_an_unknown_option_of_the_address_is_named(postgres_url: str) -> None:
    with pytest.raises(ConfigError, match="colour"):
        SqlStore(f"{postgres_url}?colour=blue")


def test_without_psycopg_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from sightline.adapters.database import SqlStore\n"
        "from sightline.core.errors import MissingExtra\n"
        "try: SqlStore('postgresql://user:hunter2@127.0.0.1/name')\n"
        "except MissingExtra as error: print(error.cure)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == "pip install 'sightline[postgres]'"

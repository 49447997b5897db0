"""A database that an older Sightline made, with rows in it, is brought to today's tables."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import JSON, Connection, Text, column, event, inspect, select, table

from sightline.adapters.database import SqlStore
from sightline.adapters.database.migrate import FOLDER, migrate
from sightline.adapters.database.tables import VERSION_TABLE, UtcTime
from sightline.adapters.database.transactions import Transactions
from sightline.core.codec import encode_event, encode_sample
from sightline.core.events import Event, make_event
from sightline.core.run import RunState
from sightline.testing.contracts.event_store import line_event
from sightline.testing.contracts.request_store import make_request
from sightline.testing.contracts.samples import seen_sample

LONG_AGO = datetime(2024, 2, 29, 12, 0, 0, 250_000, tzinfo=UTC)
JSONS = ("spec", "status", "metadata", "body")
TIMES = ("time", "created", "started", "finished", "lease_until")

RUN = {
    "case_name": "street",
    "kind": "stream",
    "project": "default",
    "spec": {"sources": {"door": {}}},
    "revision": 1,
    "status": {"frames": 3},
    "metadata": {"place": "Бухта"},
    "restart": "never",
    "created": LONG_AGO,
}


def event_about(subject: str | None, **data: Any) -> Event:
    return make_event("zone.left", source="/cases/street/sources/door", time=LONG_AGO, data=data, subject=subject)


EVENTS = [
    event_about("track/7"),
    event_about(None, note={"subject": "track/7"}),
    event_about("track/7", note="a NUL: \0, and its escape: \\u0000"),
    event_about("with a NUL: \0"),
    event_about("far too long " * 500),
    *(event_about(f"track/many/{number % 2}") for number in range(2_500)),
]


def insert_row(connection: Connection, name: str, rows: list[dict[str, Any]]) -> None:
    kinds = [
        column(key, JSON() if key in JSONS else UtcTime() if key in TIMES else Text() if key == "id" else None)
        for key in rows[0]
    ]
    connection.execute(table(name, *kinds).insert(), rows)


@pytest.fixture
def old_url(fresh_url: str) -> str:
    """The address of a database of revision 0001 that was in use."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    with closing(Transactions(fresh_url)) as transactions, transactions.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        over = {"id": "over", "state": "completed", "token": 1, "finished": LONG_AGO}
        going = {"id": "going", "state": "running", "token": 1, "worker": "me", "lease_until": LONG_AGO}
        insert_row(connection, "runs", [RUN | over])
        insert_row(connection, "runs", [RUN | going])
        rows = [
            {"id": e.id, "short_type": e.short_type, "source": e.source, "time": e.time, "body": encode_event(e)}
            for e in EVENTS
        ]
        insert_row(connection, "events", rows)
        body = encode_sample(seen_sample(), "street")
        sample = {"run_id": "over", "case_name": "street", "source": "door", "time": LONG_AGO, "body": body}
        insert_row(connection, "predictions", [sample])
    return fresh_url


def test_rows_of_the_first_revision_are_there_afterwards(old_url: str) -> None:
    with closing(SqlStore(old_url)) as store:
        runs = store.runs.list()
        assert [(run.id, run.cancelling, run.metadata) for run in runs] == [
            ("going", False, {"place": "Бухта"}),
            ("over", False, {"place": "Бухта"}),
        ]
        listed = [event for _, event in store.events.list(limit=5_000)]
        assert [encode_event(found) for found in listed] == [encode_event(event) for event in EVENTS]
        assert [row for _, row in store.predictions.list()] == [encode_sample(seen_sample(), "street")]
        assert (store.keys.list(), store.requests.list()) == ([], [])


def test_old_events_are_found_by_their_subject(old_url: str) -> None:
    with closing(SqlStore(old_url)) as store:
        assert [found.id for _, found in store.events.list(subject="track/7")] == [EVENTS[0].id, EVENTS[2].id]
        many = store.events.list(subject="track/many/1", limit=5_000)
        assert [found.id for _, found in many] == [event.id for event in EVENTS[6::2]]


def test_the_tables_of_an_older_database_are_used_on(old_url: str) -> None:
    with closing(SqlStore(old_url)) as store:
        before = store.events.position()
        assert before is not None
        new = line_event()
        store.events.append([EVENTS[0], new])
        assert [found.id for _, found in store.events.list(after=before)] == [new.id]
        assert store.runs.amend("going", cancel=True).state is RunState.CANCELLED
        store.requests.record([make_request()])
        assert len(store.requests.list(caller="sk_laptop")) == 1


def test_rows_of_unknown_age_count_as_written_when_the_database_was_migrated(old_url: str) -> None:
    with closing(SqlStore(old_url)) as store:
        last_year, tomorrow = datetime.now(UTC) - timedelta(days=365), datetime.now(UTC) + timedelta(days=1)
        assert [store.forget(what, last_year) for what in ("events", "predictions", "runs")] == [0, 0, 1]
        assert [store.forget(what, tomorrow, most=5_000) for what in ("events", "predictions")] == [len(EVENTS) - 1, 1]


def test_a_migration_that_does_not_end_leaves_the_old_tables(old_url: str) -> None:
    def interrupt(*call: object) -> None:
        if "api_keys" in str(call[2]):
            raise InterruptedError

    transactions = Transactions(old_url)
    event.listen(transactions._engine, "before_cursor_execute", interrupt)
    with closing(transactions), pytest.raises(InterruptedError):
        migrate(transactions)
    with closing(Transactions(old_url)) as transactions, transactions.reading() as connection:
        found = connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()
        assert found == "0001"
        assert "cancelling" not in [each["name"] for each in inspect(connection).get_columns("runs")]

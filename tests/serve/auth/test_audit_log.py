"""Audit lines on their way into the chain of a real database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sightline.adapters.database import SqlStore
from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.core.access import Caller
from sightline.core.audit import AuditEntry, AuditLine, verify
from sightline.core.errors import Unavailable
from sightline.serve.auth.audit_log import AuditLog

ANNA = Caller(id="sk_anna", project="yard")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(tmp_path / "store.db")) as store:
        yield store


def note(audit: AuditLog, number: int = 0, caller: Caller = ANNA, **others: Any) -> None:
    given = {"method": "DELETE", "route": "/api/v1/runs/{id}", "status": 204, "request_id": f"r-{number}"}
    audit.note(caller, **{**given, "path": f"/api/v1/runs/{number}", **others})


def wait_until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_line_is_bound_at_once_and_the_log_tells_up_to_where(store: SqlStore) -> None:
    with capture_logs() as lines:
        audit = AuditLog(lambda: store)
        note(audit, 1)
        audit.start()
        note(audit, 2)
        wait_until(lambda: store.audit.end()[0] == 2)
        audit.close()

    assert [line.entry.request for line in store.audit.walk()] == ["r-1", "r-2"]
    assert [line["event"] for line in lines].count("audit") == 2
    assert (lines[-1]["event"], lines[-1]["number"], lines[-1]["hash"]) == ("audit chain", *store.audit.end())


def test_what_waits_at_the_end_is_bound(store: SqlStore) -> None:
    audit = AuditLog(lambda: store)
    for number in range(1200):
        note(audit, number)
    audit.start()
    audit.close()
    assert verify(store.audit).num_lines == 1200


def test_lines_wait_for_a_database_that_is_away_and_keep_their_order(store: SqlStore) -> None:
    tries = []

    def flaky(entries: list[AuditEntry]) -> list[AuditLine]:
        tries.append(len(entries))
        if len(tries) < 3:
            raise Unavailable("The database is away.")
        return list(store.audit.append(entries))

    away: Any = SimpleNamespace(audit=SimpleNamespace(append=flaky))
    with capture_logs() as lines:
        audit = AuditLog(lambda: away)
        for number in range(3):
            note(audit, number)
        audit.start()
        wait_until(lambda: store.audit.end()[0] == 3)
        audit.close()

    assert [line.entry.request for line in store.audit.walk()] == ["r-0", "r-1", "r-2"]
    assert [line["event"] for line in lines].count("audit lines wait for the database") == 1


def test_lines_that_nobody_can_bind_are_told_and_counted(store: SqlStore) -> None:
    meter = PrometheusMeter()
    store.close()
    with capture_logs() as lines:
        audit = AuditLog(lambda: store, meter)
        note(audit)
        audit.close()
        audit.start()
        audit.close()

    assert [line["event"] for line in lines] == ["audit", "audit lines are in the log alone"]
    assert b'sightline_audit_lines_total{outcome="lost"} 1.0' in meter.render()


def test_strangers_are_in_the_log_alone(store: SqlStore) -> None:
    with capture_logs() as lines:
        audit = AuditLog(lambda: store)
        note(audit, caller=Caller(), status=401)
        audit.start()
        audit.close()
    assert [line["event"] for line in lines] == ["audit"]
    assert store.audit.end()[0] == 0


def test_any_text_can_be_bound(store: SqlStore) -> None:
    audit = AuditLog(lambda: store)
    note(audit, caller=Caller(id="a\0" + "x" * 900, project=""), path="/api/v1/runs/\udc80" + "y" * 900)
    audit.start()
    audit.close()
    [line] = store.audit.walk()
    assert line.entry.path.startswith("/api/v1/runs/?y")
    assert verify(store.audit).num_lines == 1


def test_keys_of_objects_are_told_by_a_hash(store: SqlStore) -> None:
    audit = AuditLog(lambda: store)
    with capture_logs() as lines:
        note(audit, route="/api/v1/objects/{key}", path="/api/v1/objects/in/mueller.dcm")
        note(audit, route="/api/v1/models/{name}", path="/api/v1/models/door")
        audit.start()
        audit.close()
    shown = ["/api/v1/objects/sha256:0f033327c7b9f168", "/api/v1/models/door"]
    assert [line.entry.path for line in store.audit.walk()] == shown
    assert [line["path"] for line in lines if line["event"] == "audit"] == shown

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from sightline.adapters.database import SqlStore
from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.core.access import RequestRow
from sightline.core.audit import verify
from sightline.core.errors import InvalidInput, Unavailable
from sightline.serve.request_log import RequestLog
from sightline.serve.retention import Retention
from sightline.settings.model import RecordsSettings
from sightline.testing.contracts.audit_store import make_entry
from sightline.testing.fakes import START


class Rows:
    """A database that keeps rows, or is away, or refuses them; as much of one as the log needs."""

    def __init__(self) -> None:
        self.batches: list[list[RequestRow]] = []
        self.error: Exception | None = None
        self.requests = self
        self.left = {"requests": 0, "events": 0, "predictions": 0, "runs": 0, "deliveries": 0, "audit": 0}
        self.asked: list[tuple[str, datetime, int]] = []

    def record(self, rows: Sequence[RequestRow]) -> None:
        if self.error is not None:
            raise self.error
        self.batches.append(list(rows))

    def forget(self, what: str, before: datetime, *, most: int = 1000) -> int:
        self.asked.append((what, before, most))
        gone = min(most, self.left[what])
        self.left[what] -= gone
        return gone

    @property
    def ids(self) -> list[str]:
        return [row.id for batch in self.batches for row in batch]


@pytest.fixture
def rows() -> Rows:
    return Rows()


Make = Callable[..., RequestLog]


@pytest.fixture
def make(rows: Rows) -> Iterator[Make]:
    """Make request logs that are closed at the end."""
    made: list[RequestLog] = []

    def _make(store: Any = rows, days: RecordsSettings | None = None, **options: Any) -> RequestLog:
        log = RequestLog(lambda: store, days or RecordsSettings(), **{"every_s": 0.02, **options})
        made.append(log)
        return log

    yield _make
    for log in made:
        log.close()


def row(number: int) -> RequestRow:
    return RequestRow(
        time=START + timedelta(seconds=number),
        id=str(number),
        method="POST",
        route="/predict",
        status=200,
        latency_ms=1.5,
        model="person@3",
        caller="sl_1234",
    )


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def test_rows_reach_the_database_in_order(tmp_path: Path, make: Make) -> None:
    store = SqlStore(tmp_path / "rows.db")
    try:
        log = make(store)
        log.start()
        for number in range(20):
            log.add(row(number))
        until(lambda: len(store.requests.list()) == 20)
        assert [found for _, found in store.requests.list()] == [row(number) for number in reversed(range(20))]
    finally:
        log.close()
        store.close()


def test_a_row_waits_no_longer_than_its_time(rows: Rows, make: Make) -> None:
    log = make()
    log.start()
    log.add(row(1))
    until(lambda: rows.ids == ["1"])


def test_a_full_batch_does_not_wait(rows: Rows, make: Make) -> None:
    log = make(every_s=60.0, batch=3)
    log.start()
    for number in range(3):
        log.add(row(number))
    until(lambda: rows.ids == ["0", "1", "2"])


def test_the_rest_is_written_at_the_end(rows: Rows, make: Make) -> None:
    log = make(every_s=60.0, batch=2)
    log.add(row(0))
    log.start()
    log.add(row(2))
    log.add(row(1))
    log.close()
    log.add(row(3))
    log.close()
    assert rows.ids == ["0", "2", "1"]


def test_rows_wait_while_the_database_is_away_and_the_oldest_are_given_up(rows: Rows, make: Make) -> None:
    meter = PrometheusMeter()
    log = make(batch=2, most_waiting=4, meter=meter)
    rows.error = Unavailable("The database does not answer.")
    with capture_logs() as lines:
        log.start()
        log.add(row(0))
        until(lambda: bool(lines))  # row 0 is in the hands of the thread
        for number in range(1, 8):
            log.add(row(number))
        rows.error = None
        until(lambda: len(rows.ids) == 5)
    assert rows.ids == ["0", "4", "5", "6", "7"]
    assert log.num_lost == 3
    assert [line["event"] for line in lines] == ["request log waits for the database", "request log writes again"]
    assert b'sightline_request_log_rows_total{outcome="written"} 5.0' in meter.render()


def test_rows_that_nobody_can_write_do_not_stop_the_others(rows: Rows, make: Make) -> None:
    log = make()
    rows.error = InvalidInput("A row is wrong.")
    with capture_logs() as lines:
        log.start()
        log.add(row(0))
        until(lambda: log.num_lost == 1)
        rows.error = None
        log.add(row(1))
        until(lambda: rows.ids == ["1"])
    assert [line["log_level"] for line in lines] == ["error"]


def test_a_database_that_stays_away_does_not_hold_up_the_end(rows: Rows, make: Make) -> None:
    log = make(every_s=60.0)
    rows.error = Unavailable("The database does not answer.")
    log.start()
    log.add(row(0))
    log.add(row(1))
    begin = time.monotonic()
    with capture_logs():
        log.close()
    assert time.monotonic() - begin < 20  # it is written again every minute
    assert log.num_lost == 2


def test_zero_days_write_nothing(rows: Rows, make: Make) -> None:
    log = make(days=RecordsSettings(request_days=0))
    log.start()
    log.add(row(1))
    log.close()
    assert (rows.ids, log.num_lost) == ([], 0)


def test_each_kind_is_forgotten_after_its_days_in_small_pieces(rows: Rows) -> None:
    rows.left = {"requests": 25, "events": 3, "predictions": 10, "runs": 7}
    retention = Retention(
        lambda: rows,  # type: ignore[arg-type, return-value]
        {"requests": 30, "events": 90, "predictions": 5, "runs": 0},
        piece=10,
        now=lambda: START,
    )
    assert retention.sweep() == {"requests": 25, "events": 3, "predictions": 10}
    assert rows.left["runs"] == 7
    assert [(what, (START - before).days, most) for what, before, most in rows.asked] == [
        *[("requests", 30, 10)] * 3,
        ("events", 90, 10),
        *[("predictions", 5, 10)] * 2,
    ]


def test_old_rows_are_forgotten_again_and_again(rows: Rows) -> None:
    class Flaky:
        def forget(self, what: str, before: datetime, *, most: int = 1000) -> int:
            if len(rows.asked) == 1:
                rows.asked.append(("away", before, most))
                raise Unavailable("The database does not answer.")
            return rows.forget(what, before, most=most)

    store: Any = Flaky()
    retention = Retention(lambda: store, {"events": 1}, first_s=0.0, every_s=0.01)
    with capture_logs() as lines:
        retention.start()
        until(lambda: len(rows.asked) > 3)
        retention.close()
    assert [line["event"] for line in lines] == ["old rows were not forgotten"]


def test_rows_of_the_database_go_when_they_are_old(tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "rows.db")
    try:
        store.requests.record([row(0), row(10)])
        now = START + timedelta(days=1, seconds=5)
        assert Retention(lambda: store, {"requests": 1}, now=lambda: now).sweep() == {"requests": 1}
        assert [found.id for _, found in store.requests.list()] == ["10"]
        store.audit.append([make_entry(number) for number in range(25)])
        later = make_entry(20).time + timedelta(days=1)
        assert Retention(lambda: store, {"audit": 1}, now=lambda: later).sweep() == {"audit": 20}
        assert verify(store.audit).first == 21
    finally:
        store.close()


def test_the_settings_say_how_long(rows: Rows) -> None:
    days: Any = SimpleNamespace(request_days=1, event_days=2, prediction_days=3, run_days=4, audit_days=5)
    RequestLog(lambda: rows, days).retention.sweep()  # type: ignore[arg-type, return-value]
    kept = {what: (datetime.now(before.tzinfo) - before).days for what, before, _ in rows.asked}
    assert kept == {"requests": 1, "events": 2, "predictions": 3, "runs": 4, "deliveries": 2, "audit": 5}

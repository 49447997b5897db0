"""A follower of the outbox loses nothing: not by a database that is away, nor by a store, nor by a crash."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, BinaryIO

import pytest
from structlog.testing import capture_logs

from sightline.core.errors import StorageFull, Unavailable
from sightline.core.events import Event, make_event
from sightline.core.following import Follower
from sightline.core.ports import ArtifactStore
from sightline.testing import START, FakePorts, make_context

KEY = "followers/street.json"


def event(number: int, short_type: str = "line.crossed", subject: str | None = None) -> Event:
    time_ = START + timedelta(seconds=number)
    return make_event(short_type, source="/cases/street", time=time_, data={"n": number}, subject=subject)


@contextmanager
def following(
    ports: FakePorts, answers: Sequence[float | None] = (), *, run: str = "r1", types: Sequence[str] = ()
) -> Iterator[tuple[Follower, list[int]]]:
    """Follow; `answers` are what the first deliveries give, later ones succeed."""
    got: list[int] = []
    left = list(answers)

    def deliver(each: Event) -> float | None:
        got.append(each.data["n"])
        return left.pop(0) if left else None

    follower = Follower(make_context(ports=ports, case="street", run=run), KEY, types, deliver, poll_s=0.02)
    follower.start()
    try:
        yield follower, got
    finally:
        follower.close(0.0)
        follower.join()


def until(condition: Any) -> None:
    end_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def kept(ports: FakePorts) -> dict[str, Any]:
    with ports.artifacts.open(KEY) as file:
        found: dict[str, Any] = json.loads(file.read())
    return found


@pytest.fixture
def ports() -> FakePorts:
    return FakePorts()


class Away:
    """An event store whose database is away until `back` is set; the others methods are those of the real one."""

    def __init__(self, real: Any) -> None:
        self.real, self.back, self.num_asked = real, False, 0

    def position(self, event_id: str | None = None) -> int | None:
        self._ask()
        found: int | None = self.real.position(event_id)
        return found

    def list(self, **wanted: Any) -> Any:
        self._ask()
        return self.real.list(**wanted)

    def _ask(self) -> None:
        self.num_asked += 1
        if not self.back:
            raise Unavailable("the database is away")


def test_a_database_that_is_away_is_asked_again_in_growing_pauses_and_told_of_once(ports: FakePorts) -> None:
    real = ports.store.events
    ports.store.events = away = Away(real)  # type: ignore[assignment]
    with capture_logs() as logs, following(ports) as (_, got):
        real.append([event(0, "run.started", "run/r1"), event(1)])
        time.sleep(0.6)
        assert away.num_asked < 12
        away.back = True
        until(lambda: got == [0, 1])
    assert [log["event"] for log in logs] == ["events cannot be read"]


class FullStore(ArtifactStore):
    """Has no room, but remembers what it had."""

    def __init__(self, real: ArtifactStore) -> None:
        self.real = real

    def put(self, key: str, data: BinaryIO | bytes) -> int:
        raise StorageFull("full")

    def open(self, key: str) -> BinaryIO:
        return self.real.open(key)

    def size(self, key: str) -> int:
        return self.real.size(key)

    def list(self, prefix: str = "") -> Iterator[str]:
        return self.real.list(prefix)

    def delete(self, key: str) -> None:
        self.real.delete(key)


def test_a_store_without_room_holds_up_nothing_and_costs_only_doubles(ports: FakePorts) -> None:
    real = ports.artifacts
    with following(ports) as (_, got):
        ports.store.events.append([event(1)])
        until(lambda: got == [1])
    ports.__dict__["artifacts"] = FullStore(real)
    with capture_logs() as logs, following(ports) as (_, got):
        ports.store.events.append([event(2), event(3)])
        until(lambda: got == [2, 3])
    assert len([log for log in logs if "cannot be kept" in log["event"]]) == 1
    ports.__dict__["artifacts"] = real
    with following(ports) as (_, got):
        until(lambda: got == [2, 3])


def test_what_another_run_of_the_case_delivered_meanwhile_is_passed_over(ports: FakePorts) -> None:
    with following(ports, [2.0]) as (_, slow):
        ports.store.events.append([event(number) for number in range(5)])
        until(lambda: slow)
        with following(ports, run="r2") as (_, quick):
            until(lambda: quick == [0, 1, 2, 3, 4])
        ports.store.events.append([event(5)])
        until(lambda: slow[-1] == 5)
        assert slow == [0, 5]
        until(lambda: kept(ports)["position"] == 6)


def test_an_event_that_waits_is_tried_once_more_when_the_run_ends_and_then_left_to_the_next(ports: FakePorts) -> None:
    with following(ports, [60.0, 60.0]) as (follower, got):
        ports.store.events.append([event(1)])
        until(lambda: got == [1])
        begin_s = time.monotonic()
        follower.close(30.0)
        follower.join()
        assert time.monotonic() - begin_s < 15
        assert got == [1, 1]
    with following(ports, run="r2") as (_, got):
        until(lambda: got == [1])


def test_the_end_of_its_own_run_ends_it_and_that_of_another_does_not(ports: FakePorts) -> None:
    with following(ports) as (follower, got):
        follower.close(60.0)
        ports.store.events.append([event(1, "run.completed", "run/other")])
        until(lambda: got == [1])
        time.sleep(0.2)
        assert follower._thread.is_alive()
        ports.store.events.append([event(2, "run.completed", "run/r1")])
        until(lambda: not follower._thread.is_alive())
    assert got == [1, 2]


def test_the_end_of_the_run_counts_though_nobody_wants_its_type(ports: FakePorts) -> None:
    with following(ports, types=("line.*",)) as (follower, got):
        follower.close(30.0)
        ports.store.events.append([event(1), event(2, "run.failed", "run/r1")])
        begin_s = time.monotonic()
        follower.join()
        assert time.monotonic() - begin_s < 15
    assert got == [1]


def test_a_position_that_is_damaged_is_told_and_no_event_is_passed_over(ports: FakePorts) -> None:
    ports.artifacts.put(KEY, b'{"position": "x"}')
    with capture_logs() as logs, following(ports) as (_, got):
        ports.store.events.append([event(1)])
        until(lambda: logs)
        assert got == []
    assert "holds no position" in logs[0]["error"]

"""Events wait for a database that is away, and none is told twice."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest
from tests.engine.away import Away
from tests.engine.conftest import World

from sightline.core.errors import BrokenPlugin, InvalidInput, Unavailable
from sightline.core.events import Event, make_event
from sightline.engine.outbox import Outbox
from sightline.testing import FakeClock

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Box:
    """An outbox over a real store that is away now and then, with a clock that is turned by hand."""

    def __init__(self, world: World, **others: Any) -> None:
        self.world = world
        self.away = Away(world.ports.store)
        world.ports.store = self.away  # type: ignore[assignment]
        self.clock = FakeClock()
        self.errors: list[Exception] = []
        self.outbox = Outbox(world.ports, fail=self.errors.append, now=self.clock.monotonic, **others)
        self._begin = world.ports.store.events.position() or 0

    def recorded(self) -> list[Any]:
        found = self.world.ports.store.events.list(after=self._begin, limit=100_000)
        return [event.data["number"] for _, event in found]

    def published(self) -> list[Any]:
        return [event.data["number"] for event in self.world.published()]


@pytest.fixture
def box(world: World) -> Box:
    return Box(world)


def alarm(number: Any, short_type: str = "line.crossed") -> Event:
    return make_event(short_type, source="/cases/a", time=NOON, data={"number": number})


def test_a_durable_event_is_published_at_once_and_recorded_when_it_is_due(box: Box) -> None:
    box.outbox.tell(alarm(1), alarm(2, "prediction"), alarm(3))
    assert box.published() == [1, 2, 3]
    assert box.recorded() == []
    box.outbox.record_due()
    box.outbox.record_due()
    assert box.recorded() == [1, 3]
    assert box.published() == []


def test_a_database_that_is_away_is_tried_again_after_a_pause_and_not_before(box: Box) -> None:
    box.away.failing = {"append"}
    box.outbox.tell(alarm(1))
    box.outbox.record_due()
    box.away.failing = set()
    box.outbox.tell(alarm(2))
    box.clock.advance(0.99)
    box.outbox.record_due()
    assert box.away.failed == ["append"]
    assert box.recorded() == []
    box.clock.advance(0.02)
    box.outbox.record_due()
    assert box.recorded() == [1, 2]
    box.outbox.tell(alarm(3))
    box.outbox.record_due()  # at once again
    assert box.recorded() == [1, 2, 3]
    assert box.errors == []


def test_a_database_that_is_slow_to_fail_is_left_alone_for_as_long(box: Box) -> None:
    box.away.failing = {"append"}
    box.away.on_failure = lambda _: box.clock.advance(7)
    box.outbox.tell(alarm(1))
    box.outbox.record_due()
    box.away.failing = set()
    box.clock.advance(6.9)
    box.outbox.record_due()
    assert box.recorded() == []
    box.clock.advance(0.2)
    box.outbox.record_due()
    assert box.recorded() == [1]


def test_an_outage_is_logged_once(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    box.away.failing = {"append"}
    box.outbox.tell(alarm(1))
    for _ in range(4):
        box.outbox.record_due()
        box.clock.advance(2)
    assert len(box.away.failed) == 4
    assert capsys.readouterr().out.count("events wait for the database") == 1


def test_each_outage_is_logged(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        box.away.failing = {"append"}
        box.outbox.tell(alarm(number))
        box.outbox.record_due()
        box.away.failing = set()
        box.clock.advance(2)
        box.outbox.record_due()
    assert box.recorded() == [0, 1]
    assert capsys.readouterr().out.count("events wait for the database") == 2


def test_when_too_many_wait_the_oldest_are_lost_and_counted(world: World) -> None:
    box = Box(world, capacity=3)
    box.away.failing = {"append"}
    for number in range(3):
        box.outbox.tell(alarm(number))
        box.outbox.record_due()
    assert box.outbox.num_lost == 0
    box.outbox.tell(alarm(3), alarm(4))
    assert box.outbox.num_lost == 2
    box.away.failing = set()
    box.clock.advance(2)
    box.outbox.record_due()
    assert box.recorded() == [2, 3, 4]
    assert box.published() == [0, 1, 2, 3, 4]


def test_what_comes_while_the_database_fails_keeps_its_place_and_the_limit(world: World) -> None:
    box = Box(world, capacity=3)
    box.away.failing = {"append"}
    box.outbox.tell(alarm(0), alarm(1), alarm(2))
    box.away.on_failure = lambda _: box.outbox.tell(alarm(3))
    box.outbox.record_due()
    assert box.outbox.num_lost == 1
    box.away.failing = set()
    box.outbox.settle()
    assert box.recorded() == [1, 2, 3]


def test_what_is_left_at_the_end_fails_the_run_and_is_counted(box: Box) -> None:
    box.away.failing = {"append"}
    box.outbox.tell(alarm(1), alarm(2))
    box.outbox.tell(alarm(3), vital=False)
    box.outbox.settle()
    assert box.outbox.num_lost == 2
    [error] = box.errors
    assert isinstance(error, Unavailable)


def test_the_end_does_not_wait_for_a_pause_to_pass(box: Box) -> None:
    box.away.failing = {"append"}
    box.outbox.tell(alarm(1))
    box.outbox.record_due()
    box.away.failing = set()
    box.outbox.settle()
    assert box.recorded() == [1]
    assert box.errors == []


def test_a_run_can_do_without_what_is_not_vital(box: Box) -> None:
    box.away.failing = {"append"}
    box.outbox.tell(alarm(1), vital=False)
    box.outbox.settle()
    assert (box.outbox.num_lost, box.errors) == (0, [])


def test_one_that_no_database_takes_costs_itself_alone(box: Box) -> None:
    box.outbox.tell(alarm(1), alarm(object()), alarm(3))
    box.outbox.record_due()
    assert box.recorded() == [1, 3]
    assert box.outbox.num_lost == 1
    assert box.errors == []


def test_a_database_that_is_broken_ends_the_run(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("disk image is malformed")

    monkeypatch.setattr(box.away.events, "append", broken)
    box.outbox.tell(alarm(1))
    box.outbox.record_due()
    [error] = box.errors
    assert isinstance(error, BrokenPlugin)
    assert "malformed" in str(error)


def test_who_tells_never_waits_for_the_database(box: Box) -> None:
    inside, go_on = Flag(), Flag()

    def hold(_: str) -> None:
        inside.set()
        go_on.wait(30)

    box.away.failing = {"append"}
    box.away.on_failure = hold
    box.outbox.tell(alarm(1))
    recorder = Thread(target=box.outbox.record_due)
    recorder.start()
    assert inside.wait(20)
    box.outbox.tell(alarm(2))
    assert box.published() == [1, 2]
    box.away.failing = set()
    go_on.set()
    recorder.join(20)
    box.outbox.settle()
    assert box.recorded() == [1, 2]


def test_a_bus_that_fails_is_logged_once_and_harms_nothing(
    box: Box, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Event) -> None:
        raise InvalidInput("no")

    monkeypatch.setattr(box.world.ports.bus, "publish", fail)
    box.outbox.tell(alarm(1), alarm(2))
    box.outbox.settle()
    assert box.recorded() == [1, 2]
    assert capsys.readouterr().out.count("event was not published") == 1

"""What one process records, clients of another one see."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.engine.away import Away
from tests.engine.conftest import OwnPorts, World
from tests.engine.plugins import Alarm, Numbers

from sightline.adapters.database import SqlStore
from sightline.core.case import Case
from sightline.core.events import Event, make_event
from sightline.engine.relay import Relay

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@contextmanager
def relaying(ports: OwnPorts, every_s: float = 0.01) -> Iterator[Relay]:
    relay = Relay(ports, every_s=every_s)
    relay.start()
    try:
        deadline = time.monotonic() + 20
        while relay._position is None and time.monotonic() < deadline:
            time.sleep(0.005)
        yield relay
    finally:
        relay.close()
        assert not relay._thread.is_alive()


def alarm(number: int) -> Event:
    return make_event("line.crossed", source="/cases/a", time=NOON, data={"number": number, "run": "r"})


def test_alarms_of_another_process_come_to_this_bus_in_order_and_old_ones_do_not(tmp_path: Path) -> None:
    # As two processes have it: one database, and a bus for each.
    with closing(SqlStore(tmp_path / "store.db")) as one, closing(SqlStore(tmp_path / "store.db")) as other:
        far, here = World(one), OwnPorts(other)
        far.ports.store.events.append([alarm(0)])
        heard = here.bus.subscribe(types=["line.crossed", "threshold.alert", "run.completed"])
        with relaying(here):
            case = Case(name="far", sources={"a": Numbers(num=7)}, stages={"analytics": {"alarm": Alarm(every=3)}})
            outcome = far.execute(case)
            told = [heard.get(20) for _ in range(4)]
        recorded = far.recorded(outcome.run, ["threshold.alert", "run.completed"])
    assert [event.id for event in told if isinstance(event, Event)] == [event.id for event in recorded]


def test_what_this_process_told_itself_comes_once(world: World) -> None:
    with relaying(world.ports):
        case = Case(name="near", sources={"a": Numbers(num=7)}, stages={"analytics": {"alarm": Alarm(every=3)}})
        outcome = world.execute(case)
        last = alarm(99)
        world.ports.store.events.append([last])
        ids: list[str] = []
        while last.id not in ids:
            event = world.heard.get(20)
            assert isinstance(event, Event)
            ids.append(event.id)
    durable = [event.id for event in world.recorded(outcome.run)]
    assert len(ids) == len(set(ids))
    assert set(durable) <= set(ids)


def test_many_events_come_at_one_look(world: World) -> None:
    with relaying(world.ports, every_s=60) as relay:
        world.ports.store.events.append([alarm(number) for number in range(1_200)])
        relay.look_now()
        got = [world.heard.get(20) for _ in range(1_200)]
    assert [event.data["number"] for event in got if isinstance(event, Event)] == list(range(1_200))


def test_an_outage_delays_events_and_loses_none(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    away = Away(world.ports.store)
    world.ports.store = away  # type: ignore[assignment]
    with relaying(world.ports) as relay:
        away.failing = {"events"}
        while len(away.failed) < 3:
            time.sleep(0.005)
        away.events.append([alarm(1), alarm(2)])
        assert world.published() == []
        away.failing = set()
        relay.look_now()
        got = [world.heard.get(20), world.heard.get(20)]
    assert [event.data["number"] for event in got if isinstance(event, Event)] == [1, 2]
    assert capsys.readouterr().out.count("cannot be read") == 1


def test_it_begins_when_the_database_is_there(world: World) -> None:
    away = Away(world.ports.store)
    away.failing = {"position"}
    world.ports.store = away  # type: ignore[assignment]
    relay = Relay(world.ports, every_s=0.01)
    relay.start()
    while not away.failed:
        time.sleep(0.005)
    away.events.append([alarm(1)])  # before it begins
    away.failing = set()
    while relay._position is None:
        time.sleep(0.005)
    away.events.append([alarm(2)])
    event = world.heard.get(20)
    relay.close()
    relay.close()
    assert isinstance(event, Event)
    assert event.data["number"] == 2

"""Programs outside are told what happened, at least once, whichever process tries and whatever dies between."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs
from tests.engine.conftest import OwnPorts

from sightline.adapters.database import SqlStore
from sightline.adapters.database.tables import deliveries as rows
from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.core.deliveries import Delivery
from sightline.core.errors import NotFound, Unavailable
from sightline.core.events import Event, make_event
from sightline.core.sending import Answered
from sightline.engine.deliveries import Deliveries, Receiver


class Shop(Receiver):
    """A receiver that answers as it is told, and keeps what it was sent."""

    def __init__(self, answer: Callable[[int], int] = lambda _: 204, *, keep: timedelta = timedelta(days=1)) -> None:
        self.name = "shop"
        self.types: Sequence[str] = ("run.*",)
        self.timeout_s = 1.0
        self.keep = keep
        self.answer = answer
        self.sent: list[str] = []
        self.taken: list[str] = []
        self._lock = Lock()

    def message(self, event: Event) -> Delivery | None:
        number = event.data["number"]
        if number < 0:
            raise NotFound("That run is gone.")
        return None if number == 0 else Delivery(id=event.id, receiver=self.name, body=event.data, about=str(number))

    def send(self, delivery: Delivery) -> Answered:
        with self._lock:
            self.sent.append(delivery.about)
            status = self.answer(len(self.sent))
        if status == 0:
            raise Unavailable("The shop cannot be reached.")
        if 200 <= status < 300:
            self.taken.append(delivery.about)
        return Answered(status)


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[OwnPorts]:
    with closing(SqlStore(tmp_path / "store.db")) as store:
        yield OwnPorts(store)


def happened(ports: OwnPorts, *numbers: int, kind: str = "run.completed") -> None:
    told = [make_event(kind, source="/cases/x", time=datetime.now(UTC), data={"number": number}) for number in numbers]
    ports.store.events.append(told)


def telling(ports: OwnPorts, shop: Shop, first_pause_s: float = 0.01) -> Deliveries:
    found = Deliveries(ports, shop, every_s=0.01, first_pause_s=first_pause_s)
    found.start()
    return found


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.005)


def test_what_happens_from_now_on_is_told_once_to_a_receiver_that_takes_it(ports: OwnPorts) -> None:
    happened(ports, 1)
    shop = Shop()
    with closing(telling(ports, shop)):
        happened(ports, 2, 0, 3)
        happened(ports, 4, kind="source.live")
        happened(ports, 5)
        until(lambda: len(shop.taken) == 3)
        until(lambda: ports.store.deliveries.num_waiting("shop") == 0)
    assert sorted(shop.sent) == ["2", "3", "5"]


def test_half_of_the_tries_fail_and_everything_arrives(ports: OwnPorts) -> None:
    shop = Shop(lambda number: (500, 204, 0, 200)[number % 4])
    with closing(telling(ports, shop)):
        happened(ports, *range(1, 31))
        until(lambda: len(set(shop.taken)) == 30 and ports.store.deliveries.num_waiting("shop") == 0)
    assert set(Counter(shop.taken).values()) == {1}
    assert len(shop.sent) > 40
    assert isinstance(ports.meter, PrometheusMeter)
    page, _ = ports.meter.page("")
    assert b'sightline_deliveries_total{outcome="delivered",receiver="shop"} 30.0' in page


def test_two_processes_share_the_work(ports: OwnPorts) -> None:
    first, second = Shop(), Shop()
    with closing(telling(ports, first)), closing(telling(ports, second)):
        for number in range(1, 41):
            happened(ports, number)
        until(lambda: len(first.taken) + len(second.taken) >= 40 and not ports.store.deliveries.num_waiting("shop"))
    assert sorted(map(int, first.sent + second.sent)) == list(range(1, 41))


def test_what_happened_while_nobody_looked_is_told_later(ports: OwnPorts) -> None:
    with closing(telling(ports, Shop())):
        happened(ports, 1)
        until(lambda: ports.store.deliveries.list("shop", waiting=False))
    happened(ports, 2)
    shop = Shop()
    with closing(telling(ports, shop)):
        until(lambda: shop.taken == ["2"])


def test_a_message_that_a_dead_process_held_is_told_by_the_next_one(ports: OwnPorts) -> None:
    held = Delivery(id="e", receiver="shop", body={"number": 7}, about="7")
    ports.store.deliveries.add("shop", [held], after=None, position=0)
    [taken] = ports.store.deliveries.take("shop", lease=timedelta(seconds=0.2))
    shop = Shop()
    with closing(telling(ports, shop)):
        until(lambda: shop.taken == ["7"])
    assert not ports.store.deliveries.end(taken, "delivered")


def test_410_ends_a_message(ports: OwnPorts) -> None:
    shop = Shop(lambda _: 410)
    with closing(telling(ports, shop)), capture_logs() as lines:
        happened(ports, 1)
        until(lambda: ports.store.deliveries.list("shop", waiting=False))
    [over] = ports.store.deliveries.list("shop")
    assert (over.outcome, over.error, len(shop.sent)) == ("gone", "it answers 410", 1)
    assert any("410" in line["event"] for line in lines)


def test_a_message_that_nobody_takes_is_given_up_after_its_time_and_ten_tries(ports: OwnPorts) -> None:
    num_waiting: list[int] = []

    def refuse(_: int) -> int:
        num_waiting.append(ports.store.deliveries.num_waiting("shop"))
        return 0

    shop = Shop(refuse, keep=timedelta(0))
    with closing(telling(ports, shop, 0.001)):
        happened(ports, 1)
        until(lambda: ports.store.deliveries.list("shop", waiting=False))
    [over] = ports.store.deliveries.list("shop")
    assert (over.outcome, over.attempts) == ("expired", 10)
    assert num_waiting == [1] * 10


def test_a_receiver_that_is_down_for_an_hour_is_told_within_minutes_of_its_return(ports: OwnPorts) -> None:
    """By the pauses of production: each is taken off the times of the message, so that it passes at once."""
    is_down, past_s, tries = True, 0.0, 0
    assert isinstance(ports.store, SqlStore)
    shop = Shop(lambda _: 503 if is_down else 204)
    with closing(Deliveries(ports, shop, every_s=0.01)) as found:
        found.start()
        happened(ports, 1)
        while is_down:
            before = tries
            until(lambda: len(shop.sent) > before)  # noqa: B023 - asked at once
            until(lambda: not found._busy)
            is_down, tries = past_s < 3600, len(shop.sent)
            with ports.store._transactions.writing() as connection:
                created, due = connection.execute(select(rows.c.created, rows.c.due)).one()
                pause = due - datetime.now(UTC)
                connection.execute(update(rows).values(created=created - pause, due=due - pause))
            past_s += pause.total_seconds()
        until(lambda: shop.taken)
    assert shop.taken == ["1"]
    assert pause <= timedelta(seconds=600)
    assert 10 < len(shop.sent) < 40


def test_a_mistake_in_the_receiver_is_tried_again_and_a_run_that_is_gone_is_passed_over(ports: OwnPorts) -> None:
    def stumbling(number: int) -> int:
        if number == 1:
            raise ValueError("of ours")
        return 204

    shop = Shop(stumbling)
    with closing(telling(ports, shop)), capture_logs() as lines:
        happened(ports, -1, 1)
        until(lambda: shop.taken == ["1"])
    assert any("not there any more" in line["event"] for line in lines)
    assert any("of ours" in str(line.get("error")) for line in lines)

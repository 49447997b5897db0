"""What every EventBus does."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from threading import Barrier, Thread
from threading import Event as Flag
from typing import Any

import pytest

from sightline.core.events import Event, make_event
from sightline.core.ports import EventBus, Gap

_WAIT_S = 30.0  # for what must come; never waited for in full by a bus that works
_NOTHING_S = 0.2  # for what must not come


class EventBusContract(ABC):
    """Inherit, provide a `bus` fixture that returns a bus without subscribers, and run pytest."""

    @abstractmethod
    @pytest.fixture
    def bus(self) -> Any:
        """Return a bus without subscribers."""

    def test_events_come_in_the_order_of_their_publication(self, bus: EventBus) -> None:
        subscription = bus.subscribe()
        events = [_event(number) for number in range(100)]
        for event in events:
            bus.publish(event)
        got = [subscription.get(_WAIT_S) for _ in events]
        assert [_number(each) for each in got] == list(range(100))
        first = got[0]
        assert isinstance(first, Event)
        assert (first.id, first.type, first.source, first.time, first.subject, dict(first.data)) == (
            events[0].id, events[0].type, events[0].source, events[0].time, events[0].subject, dict(events[0].data)
        )  # fmt: skip

    def test_publishing_to_nobody_is_fine(self, bus: EventBus) -> None:
        bus.publish(_event(0))
        assert bus.subscribe().get(_NOTHING_S) is None

    def test_every_subscriber_gets_every_event(self, bus: EventBus) -> None:
        subscriptions = [bus.subscribe() for _ in range(3)]
        bus.publish(_event(1))
        assert [_number(each.get(_WAIT_S)) for each in subscriptions] == [1, 1, 1]

    def test_a_subscriber_gets_only_what_it_wants(self, bus: EventBus) -> None:
        lines = bus.subscribe(types=["line.crossed", "zone.entered"])
        door = bus.subscribe(source="/cases/street/sources/door")
        both = bus.subscribe(types=["line.crossed"], source="/cases/street/sources/door")
        bus.publish(_event(0, "prediction", "/cases/street/sources/door"))
        bus.publish(_event(1, "line.crossed", "/cases/street/sources/yard"))
        bus.publish(_event(2, "line.crossed", "/cases/street/sources/door"))
        assert [_number(lines.get(_WAIT_S)), _number(lines.get(_WAIT_S))] == [1, 2]
        assert [_number(door.get(_WAIT_S)), _number(door.get(_WAIT_S))] == [0, 2]
        assert _number(both.get(_WAIT_S)) == 2
        assert (lines.get(0), door.get(0), both.get(0)) == (None, None, None)

    def test_a_slow_subscriber_loses_the_oldest_and_is_told_how_many(self, bus: EventBus) -> None:
        slow, fast = bus.subscribe(capacity=4), bus.subscribe(capacity=64)
        for number in range(10):
            bus.publish(_event(number))
        assert [_number(fast.get(_WAIT_S)) for _ in range(10)] == list(range(10))
        assert slow.get(_WAIT_S) == Gap(num_lost=6)
        assert [_number(slow.get(_WAIT_S)) for _ in range(4)] == [6, 7, 8, 9]
        bus.publish(_event(10))
        assert _number(slow.get(_WAIT_S)) == 10

    def test_a_gap_is_told_once_for_each_loss(self, bus: EventBus) -> None:
        slow = bus.subscribe(capacity=1)
        for number in (0, 1):
            bus.publish(_event(number))
        assert fetch(slow, 2) == [Gap(num_lost=1), 1]
        for number in (2, 3, 4):
            bus.publish(_event(number))
        assert fetch(slow, 2) == [Gap(num_lost=2), 4]

    def test_a_full_capacity_loses_nothing(self, bus: EventBus) -> None:
        subscription = bus.subscribe(capacity=4)
        for number in range(4):
            bus.publish(_event(number))
        assert fetch(subscription, 4) == [0, 1, 2, 3]

    def test_a_waiting_reader_wakes_when_an_event_comes(self, bus: EventBus) -> None:
        subscription = bus.subscribe()
        got: list[Any] = []
        reader = Thread(target=lambda: got.append(subscription.get()))
        reader.start()
        time.sleep(0.05)
        bus.publish(_event(7))
        reader.join(_WAIT_S)
        assert [_number(each) for each in got] == [7]

    def test_a_timeout_gives_nothing(self, bus: EventBus) -> None:
        begin = time.monotonic()
        assert bus.subscribe().get(0.1) is None
        assert 0.05 < time.monotonic() - begin < _WAIT_S

    @pytest.mark.parametrize("what", ["subscription", "bus"])
    def test_closing_wakes_a_waiting_reader(self, bus: EventBus, what: str) -> None:
        subscription = bus.subscribe()
        got: list[Any] = []
        reader = Thread(target=lambda: got.append(subscription.get()))
        reader.start()
        time.sleep(0.05)
        (subscription if what == "subscription" else bus).close()
        reader.join(_WAIT_S)
        assert got == [None]

    def test_a_closed_subscription_gives_what_it_had_and_takes_no_more(self, bus: EventBus) -> None:
        subscription = bus.subscribe()
        bus.publish(_event(1))
        other = bus.subscribe()
        bus.publish(_event(2))
        assert _number(other.get(_WAIT_S)) == 2  # so that what was published has arrived
        subscription.close()
        subscription.close()
        bus.publish(_event(3))
        assert fetch(subscription, 2) == [1, 2]
        assert subscription.get(_NOTHING_S) is None

    def test_a_closed_bus_carries_nothing(self, bus: EventBus) -> None:
        subscription = bus.subscribe()
        bus.close()
        bus.close()
        bus.publish(_event(1))
        assert subscription.get(_NOTHING_S) is None
        assert bus.subscribe().get(_NOTHING_S) is None

    def test_several_threads_publish_without_loss(self, bus: EventBus) -> None:
        subscription = bus.subscribe(capacity=2000)
        together = Barrier(4)

        def publish(who: int) -> None:
            together.wait()
            for number in range(250):
                bus.publish(_event(who * 1000 + number))

        writers = [Thread(target=publish, args=(who,)) for who in range(4)]
        for writer in writers:
            writer.start()
        numbers = [_number(subscription.get(_WAIT_S)) for _ in range(1000)]
        for writer in writers:
            writer.join(_WAIT_S)
        for who in range(4):
            own = [number for number in numbers if number // 1000 == who]
            assert own == [who * 1000 + number for number in range(250)]

    def test_an_event_that_is_told_twice_comes_once(self, bus: EventBus) -> None:
        subscription = bus.subscribe()
        first, second = _event(1, "line.crossed"), _event(2, "line.crossed")
        for event in (first, second, first, _event(3)):
            bus.publish(event)
        assert fetch(subscription, 3) == [1, 2, 3]

    def test_who_comes_back_gets_what_came_since_and_then_what_comes(self, bus: EventBus) -> None:
        events = [_event(number) for number in range(6)]
        for event in events[:5]:
            bus.publish(event)
        subscription = bus.subscribe(after=events[2].id)
        bus.publish(events[5])
        assert fetch(subscription, 3) == [3, 4, 5]

    def test_who_had_everything_gets_only_what_comes(self, bus: EventBus) -> None:
        events = [_event(number) for number in range(3)]
        for event in events[:2]:
            bus.publish(event)
        subscription = bus.subscribe(after=events[1].id)
        assert subscription.get(_NOTHING_S) is None
        bus.publish(events[2])
        assert fetch(subscription, 1) == [2]

    def test_who_comes_back_gets_only_what_it_wants(self, bus: EventBus) -> None:
        last = _event(0, "zone.entered", "/cases/other")
        bus.publish(last)
        bus.publish(_event(1, "prediction", "/cases/street/sources/door"))
        bus.publish(_event(2, "line.crossed", "/cases/street/sources/yard"))
        bus.publish(_event(3, "line.crossed", "/cases/street/sources/door"))
        wanted = bus.subscribe(types=["line.crossed"], source="/cases/street/sources/door", after=last.id)
        assert fetch(wanted, 1) == [3]
        assert wanted.get(_NOTHING_S) is None

    def test_who_comes_back_with_an_id_that_nobody_knows_is_told_of_a_gap_first(self, bus: EventBus) -> None:
        bus.publish(_event(1))
        subscription = bus.subscribe(after="0123456789abcdef")
        bus.publish(_event(2))
        assert fetch(subscription, 3) == [Gap(num_lost=None), 1, 2]
        assert bus.subscribe(after="0123456789abcdef").get(_WAIT_S) == Gap(num_lost=None)

    def test_who_comes_back_to_more_than_fits_is_told_how_many_are_lost(self, bus: EventBus) -> None:
        events = [_event(number) for number in range(10)]
        for event in events:
            bus.publish(event)
        assert fetch(bus.subscribe(after=events[1].id, capacity=3), 4) == [Gap(num_lost=5), 7, 8, 9]

    def test_a_reader_may_be_woken_instead_of_waiting(self, bus: EventBus) -> None:
        woken = Flag()
        subscription = bus.subscribe(types=["line.crossed"], wake=woken.set)
        bus.publish(_event(1))
        assert not woken.wait(_NOTHING_S)
        last = _event(2, "line.crossed")
        bus.publish(last)
        assert woken.wait(_WAIT_S)
        assert _number(subscription.get(0)) == 2
        for number in (3, 4):
            woken.clear()
            bus.publish(_event(number, "line.crossed"))
            assert woken.wait(_WAIT_S)
        assert fetch(subscription, 2) == [3, 4]

    def test_a_reader_is_woken_at_once_for_what_it_missed(self, bus: EventBus) -> None:
        woken = Flag()
        events = [_event(number) for number in range(2)]
        for event in events:
            bus.publish(event)
        subscription = bus.subscribe(after=events[0].id, wake=woken.set)
        assert woken.wait(_WAIT_S)
        assert _number(subscription.get(0)) == 1

    def test_a_reader_that_cannot_be_woken_disturbs_nobody(self, bus: EventBus) -> None:
        def fail() -> None:
            raise RuntimeError("Event loop is closed")

        broken, sound = bus.subscribe(wake=fail), bus.subscribe()
        bus.publish(_event(1))
        bus.publish(_event(2))
        assert fetch(sound, 2) == [1, 2]
        assert fetch(broken, 2) == [1, 2]


def fetch(subscription: Any, num: int) -> list[Any]:
    """Return the next `num` gaps, and numbers of events."""
    return [
        each if isinstance(each, Gap) else _number(each) for each in (subscription.get(_WAIT_S) for _ in range(num))
    ]


def _event(number: int, short_type: str = "prediction", source: str = "/cases/street") -> Event:
    time = datetime(2026, 11, 20, 12, 0, 0, number % 1000, tzinfo=UTC)
    return make_event(short_type, source=source, time=time, data={"number": number}, subject=f"track/{number}")


def _number(event: Any) -> int:
    assert isinstance(event, Event), f"an event was expected, got {event}"
    return int(event.data["number"])

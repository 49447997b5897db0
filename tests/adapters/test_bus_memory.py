from datetime import UTC, datetime
from threading import Thread

import pytest

from sightline.adapters.bus_memory import MemoryBus
from sightline.core.errors import InvalidInput
from sightline.core.events import Event, make_event
from sightline.core.ports import Gap
from sightline.testing import FakeClock
from sightline.testing.contracts import EventBusContract

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def prediction(number: int) -> Event:
    return make_event("prediction", source="/cases/a", time=NOON, data={"number": number})


def alarm(number: int) -> Event:
    return make_event("line.crossed", source="/cases/a", time=NOON, data={"number": number})


class TestMemoryBus(EventBusContract):
    @pytest.fixture
    def bus(self) -> MemoryBus:
        return MemoryBus()

    def test_a_closed_subscription_is_forgotten(self, bus: MemoryBus) -> None:
        bus.subscribe().close()
        assert bus._subscriptions == ()

    def test_a_capacity_of_nothing_is_refused(self, bus: MemoryBus) -> None:
        with pytest.raises(InvalidInput, match="capacity"):
            bus.subscribe(capacity=0)

    def test_closing_wakes_a_reader_that_does_not_wait(self, bus: MemoryBus) -> None:
        woken: list[str] = []
        subscription = bus.subscribe(wake=lambda: woken.append("woken"))
        bus.close()
        subscription.close()
        assert woken == ["woken"]


class TestRing:
    def test_it_holds_the_newest_by_number(self) -> None:
        bus = MemoryBus(capacity=3)
        events = [prediction(number) for number in range(6)]
        for event in events:
            bus.publish(event)

        known, forgotten = bus.subscribe(after=events[3].id), bus.subscribe(after=events[1].id)

        assert [known.get(0), known.get(0), known.get(0)] == [events[4], events[5], None]
        assert [forgotten.get(0) for _ in range(5)] == [Gap(None), *events[3:], None]

    def test_it_holds_what_is_not_too_old(self) -> None:
        clock = FakeClock()
        bus = MemoryBus(keep_s=60, now=clock.monotonic)
        first, second, third = prediction(1), prediction(2), prediction(3)
        bus.publish(first)
        clock.advance(50)
        bus.publish(second)
        clock.advance(20)  # the first one is too old now, and nothing was published since
        subscription = bus.subscribe(after=first.id)
        bus.publish(third)

        assert [subscription.get(0) for _ in range(4)] == [Gap(None), second, third, None]

    def test_an_alarm_is_known_for_longer_than_it_is_held(self) -> None:
        bus = MemoryBus(capacity=2)
        early = alarm(0)
        bus.publish(early)
        for number in range(5):
            bus.publish(prediction(number))
        subscription = bus.subscribe()
        bus.publish(early)  # the relay has found it in the database only now

        assert subscription.get(0) is None

    def test_who_wants_everything_is_told_how_many_are_gone(self) -> None:
        bus = MemoryBus(capacity=2)
        last = alarm(0)
        events = [prediction(number) for number in range(5)]
        for event in (last, *events):
            bus.publish(event)

        every, some = bus.subscribe(after=last.id), bus.subscribe(after=last.id, types=["prediction"])

        assert [every.get(0) for _ in range(4)] == [Gap(3), *events[3:], None]
        assert some.get(0) == Gap(None)

    def test_an_old_id_after_which_nothing_is_gone_makes_no_gap(self) -> None:
        clock = FakeClock()
        bus = MemoryBus(keep_s=60, now=clock.monotonic)
        last = alarm(0)
        bus.publish(last)
        clock.advance(100)
        fresh = prediction(1)
        bus.publish(fresh)

        subscription = bus.subscribe(after=last.id)

        assert [subscription.get(0), subscription.get(0)] == [fresh, None]

    def test_old_ids_do_not_fill_the_memory(self) -> None:
        bus = MemoryBus(capacity=1)
        for number in range(20_000):
            bus.publish(alarm(number))
        assert len(bus._numbers) == 16_385
        assert len(bus._former) == 16_384

    def test_who_comes_back_while_others_publish_misses_nothing_and_gets_nothing_twice(self) -> None:
        bus = MemoryBus(capacity=10_000)
        events = [prediction(number) for number in range(5_000)]
        bus.publish(events[0])

        def publish() -> None:
            for event in events[1:]:
                bus.publish(event)

        writer = Thread(target=publish)
        writer.start()
        subscriptions = [bus.subscribe(after=events[0].id, capacity=10_000) for _ in range(20)]
        writer.join(10)

        for subscription in subscriptions:
            assert [subscription.get(0) for _ in events[1:]] == events[1:]
            assert subscription.get(0) is None

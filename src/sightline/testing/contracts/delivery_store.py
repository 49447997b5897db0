"""What every DeliveryStore promises."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sightline.core.deliveries import Delivery
from sightline.core.errors import InvalidInput
from sightline.core.stores import MetadataStore

LONG = timedelta(minutes=5)
SHORT = timedelta(milliseconds=30)


def message(number: int = 1, **fields: Any) -> Delivery:
    """Return a message."""
    return Delivery(id=f"event-{number}", receiver="backend", body={"number": number}, **fields)


class DeliveryStoreContract(ABC):
    """Part of MetadataStoreContract."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> MetadataStore:
        """Return an empty store."""

    def test_a_message_is_taken_as_it_was_added(self, store: MetadataStore) -> None:
        assert store.deliveries.position("backend") is None
        added = message(path="/jobs/7", about="7")
        assert store.deliveries.add("backend", [added], after=None, position=41)
        assert store.deliveries.position("backend") == 41
        assert store.deliveries.position("other") is None
        [taken] = store.deliveries.take("backend", lease=LONG)
        assert (taken.id, taken.body, taken.path, taken.about) == ("event-1", {"number": 1}, "/jobs/7", "7")
        assert (taken.attempts, taken.outcome) == (1, None)
        assert timedelta(0) <= taken.age < LONG
        assert store.deliveries.take("other", lease=LONG) == []

    def test_of_two_that_add_at_a_position_one_does(self, store: MetadataStore) -> None:
        add = store.deliveries.add
        assert add("backend", [], after=None, position=0)
        assert not add("backend", [message(1)], after=None, position=5)
        assert add("backend", [message(2)], after=0, position=5)
        assert not add("backend", [message(3)], after=0, position=6)
        assert [each.id for each in store.deliveries.list("backend")] == ["event-2"]
        assert store.deliveries.position("backend") == 5

    def test_a_message_is_added_once_for_each_receiver(self, store: MetadataStore) -> None:
        store.deliveries.add("backend", [message(), message()], after=None, position=1)
        store.deliveries.add("backend", [message()], after=1, position=2)
        store.deliveries.add("other", [message()], after=None, position=1)
        assert len(store.deliveries.list("backend")) == len(store.deliveries.list("other")) == 1

    def test_what_nobody_ends_is_due_again(self, store: MetadataStore) -> None:
        store.deliveries.add("backend", [message(1), message(2)], after=None, position=1)
        [held] = store.deliveries.take("backend", lease=LONG, most=1)
        [first] = store.deliveries.take("backend", lease=SHORT, most=1)
        [second] = _soon(lambda: store.deliveries.take("backend", lease=LONG))
        assert (second.id, second.attempts) == (first.id, 2)
        assert store.deliveries.take("backend", lease=LONG) == []
        assert not store.deliveries.end(first, "delivered")
        assert not store.deliveries.later(first, after=SHORT, error="late")
        assert store.deliveries.end(second, "delivered")
        assert not store.deliveries.end(second, "delivered")
        assert store.deliveries.num_waiting("backend") == 1
        assert store.deliveries.end(held, "delivered")

    def test_a_message_waits_for_its_next_try_with_the_reason(self, store: MetadataStore) -> None:
        store.deliveries.add("backend", [message()], after=None, position=1)
        [taken] = store.deliveries.take("backend", lease=SHORT)
        assert store.deliveries.later(taken, after=LONG, error="it answers 500")
        assert store.deliveries.take("backend", lease=LONG) == []
        [waiting] = store.deliveries.list("backend", waiting=True)
        assert waiting.error == "it answers 500"
        assert waiting.due is not None
        assert waiting.due > datetime.now(UTC) + LONG / 2

    def test_what_is_over_is_listed_apart_and_can_be_forgotten(self, store: MetadataStore) -> None:
        store.deliveries.add("backend", [message(1), message(2)], after=None, position=1)
        [first] = store.deliveries.take("backend", lease=LONG, most=1)
        store.deliveries.end(first, "gone", error="it answers 410")
        [over] = store.deliveries.list("backend", waiting=False)
        assert (over.id, over.outcome, over.error) == ("event-1", "gone", "it answers 410")
        assert [each.id for each in store.deliveries.list("backend", waiting=True)] == ["event-2"]
        assert store.forget("deliveries", datetime.now(UTC) + timedelta(days=1)) == 1
        assert [each.id for each in store.deliveries.list("backend")] == ["event-2"]

    def test_of_several_who_take_at_once_each_gets_others(self, store: MetadataStore) -> None:
        store.deliveries.add("backend", [message(number) for number in range(40)], after=None, position=1)
        with ThreadPoolExecutor(4) as pool:
            taken = [pool.submit(store.deliveries.take, "backend", lease=LONG, most=5) for _ in range(8)]
        found = [each.id for future in taken for each in future.result()]
        assert len(found) == len(set(found))
        rest = store.deliveries.take("backend", lease=LONG, most=100)
        assert sorted([*found, *(each.id for each in rest)]) == sorted(f"event-{number}" for number in range(40))

    def test_a_message_that_cannot_be_kept_is_refused(self, store: MetadataStore) -> None:
        with pytest.raises(InvalidInput):
            store.deliveries.add("backend", [message(path="x" * 5000)], after=None, position=1)
        assert store.deliveries.position("backend") is None


def _soon(look: Callable[[], Any]) -> Any:
    """Return what `look` finds as soon as that is something."""
    end_s = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < end_s
        time.sleep(0.01)
    return found

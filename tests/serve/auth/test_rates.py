from __future__ import annotations

import threading

import pytest

from sightline.core.errors import RateLimited
from sightline.serve.auth.rates import Rates
from sightline.testing import FakeClock


def taken(rates: Rates, caller: str, num: int) -> int:
    """Return how many of `num` requests at once were taken."""
    done = 0
    for _ in range(num):
        try:
            rates.take(caller)
            done += 1
        except RateLimited:
            pass
    return done


def test_a_minute_s_worth_is_taken_at_once_and_then_as_fast_as_it_grows_back() -> None:
    clock = FakeClock()
    rates = Rates(60, now=clock.monotonic)

    assert taken(rates, "a", 100) == 60
    clock.advance(10)
    assert taken(rates, "a", 100) == 10
    clock.advance(3600)
    assert taken(rates, "a", 100) == 60


def test_retry_after_is_when_the_next_one_is_taken() -> None:
    clock = FakeClock()
    rates = Rates(6, now=clock.monotonic)
    taken(rates, "a", 6)

    with pytest.raises(RateLimited) as limited:
        rates.take("a")
    assert limited.value.retry_after_s == pytest.approx(10)
    clock.advance(9.9)
    assert taken(rates, "a", 1) == 0
    clock.advance(0.2)
    assert taken(rates, "a", 2) == 1


def test_one_caller_takes_nothing_from_another() -> None:
    rates = Rates(1, now=FakeClock().monotonic)

    assert [taken(rates, caller, 3) for caller in "abc"] == [1, 1, 1]


def test_memory_is_bounded_and_the_busy_are_remembered() -> None:
    clock = FakeClock()
    rates = Rates(2, most=100, now=clock.monotonic)
    for number in range(5000):
        taken(rates, str(number), 1)
        taken(rates, "busy", 1)
        assert len(rates) <= 101

    assert taken(rates, "busy", 5) == 0
    clock.advance(61)
    taken(rates, "new", 1)
    assert taken(rates, "busy", 5) == 2


def test_threads_are_counted_together() -> None:
    rates = Rates(200, now=FakeClock().monotonic)
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(taken(rates, "a", 100))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts) == 200

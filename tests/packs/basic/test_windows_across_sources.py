"""Windows over several sources wait for the slower one, and not for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sightline.core.sample import Sample
from sightline.packs.basic.windows import Tumbling
from sightline.testing.fakes import make_context, make_reading


def opened(*sources: str, **fields: float) -> Tumbling:
    collector = Tumbling(size_s=1, across_sources=True, **fields)  # type: ignore[arg-type]
    collector.open(replace(make_context(), source="*", sources=sources))
    return collector


def at(source: str, *seconds: float) -> list[Sample[Any]]:
    return [make_reading({"x": 1.0}, seconds=second, source=source) for second in seconds]


def members(windows: Sequence[Sample[Any]]) -> list[list[str]]:
    return [sorted(sample.source for sample in window.payload.samples) for window in windows]


def test_the_slower_of_two_sources_loses_nothing() -> None:
    collector = opened("fast", "slow")
    early = [*collector.collect(at("fast", *[number / 10 for number in range(100)]))]
    rest = [*collector.collect(at("slow", *[number / 10 for number in range(100)])), *collector.flush()]

    assert early == []
    assert collector.num_late == 0
    assert members(rest) == [["fast"] * 10 + ["slow"] * 10] * 10


def test_windows_close_as_soon_as_the_slower_source_has_passed_them() -> None:
    collector = opened("fast", "slow")
    closed = [*collector.collect(at("fast", 0.5, 1.5, 2.5)), *collector.collect(at("slow", 0.2, 1.2))]

    assert members(closed) == [["fast", "slow"]]


def test_a_source_that_fell_silent_is_waited_for_no_longer_than_idle_s() -> None:
    collector = opened("fast", "dead", idle_s=5)
    list(collector.collect([*at("dead", 0.1), *at("fast", 0.5, 3.5)]))
    closed = [*collector.collect(at("fast", 6.5))]

    assert members(closed) == [["dead", "fast"], ["fast"]]


def test_a_source_that_never_sent_holds_windows_back_by_idle_s() -> None:
    collector = opened("fast", "never", idle_s=5)

    assert members([*collector.collect(at("fast", 0.5, 1.5, 5.9))]) == []
    assert members([*collector.collect(at("fast", 6.1))]) == [["fast"]]

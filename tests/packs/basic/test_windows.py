from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sightline.core.errors import ConfigError
from sightline.core.plugins import Collector
from sightline.core.sample import Clocks, Reading, Sample
from sightline.packs.basic.windows import SessionWindow, Sliding, Tumbling
from sightline.testing import START, Tally, make_context, make_reading

_BASE = int(START.timestamp())  # a whole minute


def _run(collector: Collector, samples: Sequence[Sample[Any]], burst: int = 1) -> list[Sample[Any]]:
    """Return all windows, those of `flush` too, when samples come in bursts."""
    made: list[Sample[Any]] = []
    for begin in range(0, len(samples), burst):
        made += collector.collect(samples[begin : begin + burst])
    return made + list(collector.flush())


def _opened(collector: Collector, dropped: Tally | None = None) -> Collector:
    collector.open(make_context(dropped=dropped if dropped is not None else Tally()))
    return collector


def _at(*seconds: float) -> list[Sample[Reading]]:
    """Return readings taken at these seconds after START."""
    return [make_reading(seq=number, seconds=second) for number, second in enumerate(seconds)]


def _seqs(windows: Sequence[Sample[Any]]) -> list[list[int]]:
    return [[sample.seq for sample in window.payload.samples] for window in windows]


def _borders(windows: Sequence[Sample[Any]]) -> list[tuple[float, float]]:
    """Return begin and end in seconds after START."""
    return [
        ((window.payload.start - START).total_seconds(), (window.payload.end - START).total_seconds())
        for window in windows
    ]


def test_tumbling_windows_are_aligned_and_half_open() -> None:
    windows = _run(_opened(Tumbling(size_s=10)), _at(3, 9.999999, 10, 19, 20))

    assert _borders(windows) == [(0, 10), (10, 20), (20, 30)]
    assert _seqs(windows) == [[0, 1], [2, 3], [4]]
    assert [window.seq for window in windows] == [0, 1, 2]
    assert [window.time for window in windows] == [window.payload.end for window in windows]
    assert [window.seconds for window in windows] == [_BASE + 10, _BASE + 20, _BASE + 30]


def test_a_window_comes_as_soon_as_the_watermark_reaches_its_end() -> None:
    collector = _opened(Tumbling(size_s=10, allowed_lateness_s=2))
    first, second, third = _at(3, 11.999999, 12)

    assert list(collector.collect([first, second])) == []
    [window] = collector.collect([third])
    assert _seqs([window]) == [[0]]


def test_empty_windows_are_not_given_even_over_a_year() -> None:
    windows = _run(_opened(Tumbling(size_s=1)), _at(0, 365 * 86400))

    assert _seqs(windows) == [[0], [1]]


def test_what_comes_out_of_order_within_the_lateness_is_sorted_in() -> None:
    collector = _opened(Tumbling(size_s=10, allowed_lateness_s=5))

    windows = _run(collector, _at(8, 12, 7, 14.9, 9, 20))

    assert _seqs(windows) == [[2, 0, 4], [1, 3], [5]]
    assert collector.num_late == 0


def test_a_sample_whose_window_is_closed_is_counted_and_goes_no_further() -> None:
    collector = _opened(Tumbling(size_s=10))

    windows = _run(collector, _at(8, 12, 7, 13, 25))

    assert _seqs(windows) == [[0], [1, 3], [4]]
    assert collector.num_late == 1
    assert [window.payload.num_late for window in windows] == [0, 1, 1]


def test_a_window_that_was_empty_when_it_closed_stays_closed() -> None:
    collector = _opened(Tumbling(size_s=10))

    assert _seqs(_run(collector, _at(35, 15))) == [[0]]
    assert collector.num_late == 1


def test_sliding_windows_overlap() -> None:
    windows = _run(_opened(Sliding(size_s=10, every_s=5)), _at(1, 6, 12))

    assert _borders(windows) == [(-5, 5), (0, 10), (5, 15), (10, 20)]
    assert _seqs(windows) == [[0], [0, 1], [1, 2], [2]]


def test_a_sample_that_is_late_for_some_of_its_windows_enters_the_others() -> None:
    collector = _opened(Sliding(size_s=10, every_s=5))

    windows = _run(collector, _at(1, 11, 6, 2))

    assert _borders(windows) == [(-5, 5), (0, 10), (5, 15), (10, 20)]
    assert _seqs(windows) == [[0], [0], [2, 1], [1]]
    assert collector.num_late == 1  # that at 2, whose windows are all closed; that at 6 is in the third


def test_a_session_lasts_while_samples_follow_one_another() -> None:
    windows = _run(_opened(SessionWindow(gap_s=5)), _at(0, 4, 8.999999, 14, 30))

    assert _seqs(windows) == [[0, 1, 2], [3], [4]]
    assert _borders(windows) == [(0, 13.999999), (14, 19), (30, 35)]


def test_a_gap_of_just_the_length_ends_a_session() -> None:
    assert _seqs(_run(_opened(SessionWindow(gap_s=5)), _at(0, 5))) == [[0], [1]]


def test_a_session_closes_as_soon_as_the_watermark_reaches_its_end() -> None:
    collector = _opened(SessionWindow(gap_s=5))
    first, second, third = _at(0, 5, 10)

    assert list(collector.collect([first])) == []
    assert _seqs(list(collector.collect([second]))) == [[0]]
    assert _seqs(list(collector.collect([third]))) == [[1]]


def test_the_borders_of_sessions_are_exclusive_for_what_comes_out_of_order_too() -> None:
    apart = _opened(SessionWindow(gap_s=5, allowed_lateness_s=20))
    assert _seqs(_run(apart, _at(10, 5))) == [[1], [0]]

    late = _opened(SessionWindow(gap_s=5))
    assert _seqs(_run(late, _at(0, 20, 15))) == [[0], [1]]
    assert late.num_late == 1


def test_a_sample_out_of_order_joins_two_sessions() -> None:
    collector = _opened(SessionWindow(gap_s=5, allowed_lateness_s=10))

    windows = _run(collector, _at(0, 8, 4, 30))

    assert _seqs(windows) == [[0, 2, 1], [3]]
    assert collector.num_late == 0


def test_a_sample_behind_the_watermark_still_joins_a_session_that_is_open() -> None:
    collector = _opened(SessionWindow(gap_s=5))

    windows = _run(collector, _at(0, 4, 8, 12, 3, 30, 20))

    assert _seqs(windows) == [[0, 4, 1, 2, 3], [5]]
    assert collector.num_late == 1


@pytest.mark.parametrize(
    "collector",
    [Tumbling(size_s=1000, max_samples=3), Sliding(size_s=1000, every_s=500, max_samples=3),
     SessionWindow(gap_s=1000, max_samples=3)],
)  # fmt: skip
def test_memory_is_bounded_by_dropping_the_oldest(collector: Collector) -> None:
    dropped = Tally()

    windows = _run(_opened(collector, dropped), _at(20, 21, 22, 23, 24), burst=5)

    assert _seqs(windows)[-1] == [2, 3, 4]
    assert dropped == {"window_full": 2}


def test_across_sources_one_window_holds_them_all() -> None:
    collector = _opened(Tumbling(size_s=10, across_sources=True))
    door = make_reading(seq=1, seconds=4, source="door", metadata={"place": "door"})
    yard = make_reading(seq=2, seconds=3, source="yard", epoch=3)
    alone = make_reading(seq=3, seconds=13, source="yard", epoch=3)

    both, single = _run(collector, [door, yard, alone])

    assert (both.source, both.epoch, both.metadata) == ("*", 1, {"place": "door"})
    assert both.payload.samples == (yard, door)
    assert (single.source, single.epoch, single.id) == ("yard", 3, "yard/3/1")


def test_a_copy_begins_anew() -> None:
    collector = _opened(Tumbling(size_s=10))
    list(collector.collect(_at(100)))
    copy = _opened(replace(collector))

    assert _seqs(_run(copy, _at(1))) == [[0]]
    assert copy.num_late == 0


def test_times_before_1970_have_windows_too() -> None:
    clocks = Clocks(pts_s=None, monotonic_s=0, wall=datetime(1969, 12, 31, 23, 59, 55, tzinfo=UTC))
    sample = Sample(payload=None, source="old", seq=0, clocks=clocks)

    [window] = _run(_opened(Tumbling(size_s=10)), [sample])

    assert window.payload.end == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (Tumbling, {"size_s": 0}, "size_s is 0"),
        (Tumbling, {"size_s": float("inf")}, "size_s is inf"),
        (Tumbling, {"size_s": 1, "allowed_lateness_s": -1}, "allowed_lateness_s is -1"),
        (Tumbling, {"size_s": 1, "max_samples": 0}, "max_samples is 0"),
        (Sliding, {"size_s": 1, "every_s": 2}, "more than size_s"),
        (Sliding, {"size_s": 1, "every_s": 0}, "every_s is 0"),
        (SessionWindow, {"gap_s": -1}, "gap_s is -1"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(kind: Any, fields: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        kind(**fields)


def test_fields_are_validated_and_unknown_ones_refused() -> None:
    assert TypeAdapter(Sliding).validate_python({"size_s": 10, "every_s": "5"}).every_s == 5.0
    with pytest.raises(ValidationError, match="every_s"):
        TypeAdapter(Tumbling).validate_python({"size_s": 10, "every_s": 5})


# Event times in tenths of a second, in the order of arrival; in every order there is.
_times = st.lists(st.integers(0, 600), min_size=1, max_size=60)
_sizes = st.integers(1, 100)


def _tenths(times: Sequence[int]) -> list[Sample[Reading]]:
    return _at(*(time / 10 for time in times))


@given(times=_times, size=_sizes, lateness=st.integers(0, 300), burst=st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_every_sample_is_in_exactly_one_tumbling_window_or_late(
    times: list[int], size: int, lateness: int, burst: int
) -> None:
    collector = _opened(Tumbling(size_s=size / 10, allowed_lateness_s=lateness / 10))

    windows = _run(collector, _tenths(times), burst)

    seen = [sample.seq for window in windows for sample in window.payload.samples]
    assert len(seen) == len(set(seen))
    assert len(seen) + collector.num_late == len(times)
    for window in windows:
        assert window.payload.samples
        assert all(window.payload.start <= sample.time < window.payload.end for sample in window.payload.samples)
        assert (window.payload.start - datetime(1970, 1, 1, tzinfo=UTC)) % timedelta(seconds=size / 10) == timedelta(0)
    ends = [window.payload.end for window in windows]
    assert ends == sorted(set(ends))
    newest = 0
    num_late = 0
    for time in times:  # the definition, said another way
        start = (_BASE * 10 + time) // size * size
        num_late += start + size <= _BASE * 10 + newest - lateness if newest else 0
        newest = max(newest, time)
    assert collector.num_late == num_late


@given(times=_times, size=_sizes, every=_sizes)
@settings(max_examples=200, deadline=None)
def test_every_sample_is_in_each_sliding_window_that_covers_it(times: list[int], size: int, every: int) -> None:
    size, every = max(size, every), min(size, every)
    samples = _tenths(sorted(times))

    windows = _run(_opened(Sliding(size_s=size / 10, every_s=every / 10)), samples)

    found = {(window.payload.start, sample.seq) for window in windows for sample in window.payload.samples}
    wanted = set()
    for sample, time in zip(samples, sorted(times), strict=True):
        last = (_BASE * 10 + time) // every
        for number in range(last - size // every - 1, last + 1):
            if number * every <= _BASE * 10 + time < number * every + size:
                start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=100 * number * every)
                wanted.add((start, sample.seq))
    assert found == wanted


@given(
    times=_times, lateness=st.integers(0, 100), data=st.data(), size=_sizes,
    kind=st.sampled_from(["tumbling", "sliding", "session"]),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_the_order_of_arrival_within_the_lateness_changes_nothing(
    times: list[int], lateness: int, data: st.DataObject, size: int, kind: str
) -> None:
    def make() -> Collector:
        if kind == "session":
            return SessionWindow(gap_s=size / 10, allowed_lateness_s=lateness / 10)
        if kind == "tumbling":
            return Tumbling(size_s=size / 10, allowed_lateness_s=lateness / 10)
        return Sliding(size_s=size / 10, every_s=max(1, size // 3) / 10, allowed_lateness_s=lateness / 10)

    samples = _tenths(sorted(times))
    # Each sample may come up to `lateness` behind its time: then none is older than the newest less the lateness.
    delays = data.draw(st.lists(st.integers(0, lateness), min_size=len(times), max_size=len(times)))
    arrivals = sorted(range(len(times)), key=lambda index: (sorted(times)[index] + delays[index], index))
    in_order, mixed = _opened(make()), _opened(make())

    expected = _run(in_order, samples)
    found = _run(mixed, [samples[index] for index in arrivals], data.draw(st.integers(1, 5)))

    assert mixed.num_late == in_order.num_late == 0
    assert _seqs(found) == _seqs(expected)
    assert _borders(found) == _borders(expected)
    assert [window.id for window in found] == [window.id for window in expected]


@given(times=_times, gap=_sizes)
@settings(max_examples=200, deadline=None)
def test_a_session_breaks_exactly_at_the_gaps(times: list[int], gap: int) -> None:
    ordered = sorted(times)

    windows = _run(_opened(SessionWindow(gap_s=gap / 10)), _tenths(ordered))

    breaks = [index for index in range(1, len(ordered)) if ordered[index] - ordered[index - 1] >= gap]
    pieces = [list(range(a, b)) for a, b in zip([0, *breaks], [*breaks, len(ordered)], strict=True)]
    assert _seqs(windows) == pieces

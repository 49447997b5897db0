from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.packs.vision.sources.sampling import PacketTimes, Sampler, Timeline


def sampled(fps: float | None, source_fps: float, seconds: float, gop: int | None = None) -> list[float]:
    """Return the times that are picked; with `gop` the sampler is told the key frames."""
    sampler = Sampler(fps, 1 / source_fps)
    numbers = range(round(seconds * source_fps))
    keyframes = [None if gop is None else number % gop == 0 for number in numbers]
    return [number / source_fps for number in numbers if sampler.wants(number / source_fps, keyframe=keyframes[number])]


@pytest.mark.parametrize("source_fps", [10, 25, 29.97, 30])
@pytest.mark.parametrize("fps", [2, 5])
def test_ten_minutes_give_exactly_the_wanted_number_without_drift(fps: int, source_fps: float) -> None:
    times = sampled(fps, source_fps, 600)

    assert len(times) == 600 * fps
    assert all(abs(time_s - number / fps) <= 0.502 / source_fps for number, time_s in enumerate(times))


def test_no_rate_wants_every_frame() -> None:
    assert len(sampled(None, 25, 4)) == 100


def test_a_rate_above_that_of_the_source_wants_every_frame() -> None:
    assert len(sampled(60, 25, 4)) == 100


def test_jitter_of_the_stamps_costs_no_frame() -> None:
    sampler = Sampler(5, 0.1)
    times = [0.0, 0.101, 0.199, 0.302, 0.398, 0.501, 0.597, 0.699, 0.802]
    assert [time_s for time_s in times if sampler.wants(time_s)] == [0.0, 0.199, 0.398, 0.597, 0.802]


def test_after_a_gap_the_missed_frames_are_not_made_up_for() -> None:
    sampler = Sampler(2, 0.04)
    assert [time_s for time_s in [0.0, 0.04, 10.0, 10.04, 10.08, 10.52] if sampler.wants(time_s)] == [0.0, 10.0, 10.52]


def test_sampling_stays_on_key_frames_of_a_camera_whose_clock_runs_a_little_slow() -> None:
    times = sampled(2, 29.97, 600, gop=60)

    keyframes = [number * 60 / 29.97 for number in range(299)]
    assert set(keyframes) <= set(times)
    assert 2 * 600 * 0.998 <= len(times) <= 2 * 600


def test_a_frame_that_is_due_just_before_a_key_frame_waits_for_it() -> None:
    times = sampled(2, 25, 20, gop=53)  # key frames at 2.12 s, 4.24 s, 6.36 s, 8.48 s, 10.6 s

    assert 10.6 in times
    assert 10.52 not in times
    assert len(times) == 40


def test_a_key_frame_that_does_not_come_when_expected_is_not_waited_for() -> None:
    sampler = Sampler(2, 0.04)
    keyframes = {0, 25}  # then none
    times = [n * 0.04 for n in range(200) if sampler.wants(n * 0.04, keyframe=n in keyframes)]
    assert max(later - earlier for earlier, later in pairwise(times)) <= 0.7


@pytest.mark.parametrize("gop", [6, 12, 13, 25, 50, 60, 250])
@pytest.mark.parametrize("source_fps", [10, 24, 25, 30])
def test_never_more_than_the_wanted_rate_with_any_distance_of_key_frames(source_fps: int, gop: int) -> None:
    times = sampled(2, source_fps, 100, gop=gop)

    assert 190 <= len(times) <= 200
    assert all(later > earlier for earlier, later in pairwise(times))


def timeline(*, live: bool = False, by_receipt: bool = False) -> Timeline:
    return Timeline(Fraction(1, 1000), 0.04, live=live, by_receipt=by_receipt)


def at_all(line: Timeline, stamps: list[int | None], step_s: float = 0.04) -> list[float]:
    return [round(line.at(stamp, number * step_s), 4) for number, stamp in enumerate(stamps)]


def test_good_stamps_count_from_the_first() -> None:
    line = timeline()
    assert at_all(line, [9000, 9040, 9080]) == [0, 0.04, 0.08]
    assert line.num_repaired == 0


def test_missing_stamps_go_on_by_the_usual_step() -> None:
    assert at_all(timeline(), [0, None, None, 120]) == [0, 0.04, 0.08, 0.12]
    assert at_all(timeline(), [None] * 3) == [0, 0.04, 0.08]


def test_repeated_stamps_in_pairs_do_not_drift() -> None:
    line = timeline()
    assert at_all(line, [0, 0, 40, 40, 80, 80]) == [0, 0.001, 0.04, 0.041, 0.08, 0.081]
    assert line.num_repaired == 3


def test_stamps_that_stand_still_do_not_stop_time() -> None:
    times = at_all(timeline(), [7] * 100)
    assert times[-1] > 3.5
    assert all(later > earlier for earlier, later in pairwise(times))


def test_a_counter_that_begins_anew_goes_on_where_it_was() -> None:
    assert at_all(timeline(), [90_000, 90_040, 0, 40]) == [0, 0.04, 0.08, 0.12]


def test_a_jump_of_days_is_taken_back_and_a_gap_of_minutes_in_a_file_is_kept() -> None:
    assert at_all(timeline(), [0, 40, 95_443_717_000, 95_443_717_040]) == [0, 0.04, 0.08, 0.12]
    assert at_all(timeline(), [0, 40, 600_000]) == [0, 0.04, 600]


def test_a_live_jump_is_replaced_by_the_time_that_really_passed() -> None:
    assert at_all(timeline(live=True), [0, 500, 600_000, 600_500], step_s=0.5) == [0, 0.5, 1.0, 1.5]


def test_a_live_gap_that_really_passed_is_kept() -> None:
    line = timeline(live=True)
    assert [line.at(0, 100.0), line.at(60_000, 160.5)] == [0.0, 60.0]
    assert line.num_repaired == 0


def test_stamps_of_no_meaning_are_replaced_by_the_time_of_receipt() -> None:
    line = timeline(live=True, by_receipt=True)
    assert at_all(line, [0, 40, 80], step_s=0.1) == [0, 0.1, 0.2]
    assert line.stamp_s(40) is None
    assert line.num_repaired == 0


@pytest.mark.parametrize(("gop", "fps"), [(5, 5), (5, 2), (10, 2), (12, 2), (25, 1)])
def test_where_key_frames_come_often_enough_they_alone_are_taken_and_the_rate_is_kept(gop: int, fps: float) -> None:
    times = sampled(fps, 25, 100, gop=gop)

    late = times[2:]  # until the second key frame nobody knows how often they come
    assert all(round(time_s * 25) % gop == 0 for time_s in late)
    assert abs(len(times) - 100 * fps) <= 2
    assert all(later - earlier <= 1 / fps + gop / 25 + 1e-6 for earlier, later in pairwise(times))


def test_a_key_frame_that_does_not_come_is_not_waited_for() -> None:
    sampler = Sampler(2, 0.04)
    keyframes = {number * 10 for number in range(11)}  # every 0.4 s for 4 s, then none
    times = [n / 25 for n in range(250) if sampler.wants(n / 25, keyframe=n in keyframes)]
    assert len([time_s for time_s in times if time_s > 4.5]) >= 10


def test_packets_keep_the_places_of_b_frames() -> None:
    times = PacketTimes(Fraction(1, 25), 0.04, live=True)
    assert [times.at(pts, None, 0) for pts in (100, 103, 101, 102, 106, 104, 105)] == pytest.approx(
        [0, 0.12, 0.04, 0.08, 0.24, 0.16, 0.20]
    )


def test_packets_without_stamps_go_by_receipt_or_by_the_usual_step() -> None:
    live, file = PacketTimes(Fraction(1), 0.04, live=True), PacketTimes(Fraction(1), 0.04, live=False)
    assert [live.at(None, None, 10 + second) for second in (0, 1, 3)] == pytest.approx([0, 1, 3])
    assert [file.at(None, None, 0) for _ in range(3)] == pytest.approx([0, 0.04, 0.08])


_STAMPS = st.lists(st.none() | st.integers(-(1 << 62), 1 << 62) | st.integers(0, 300), max_size=60)


@given(_STAMPS, st.booleans(), st.booleans())
def test_no_stamps_whatever_stop_time_or_turn_it_back(stamps: list[int | None], live: bool, by_receipt: bool) -> None:
    timeline = Timeline(Fraction(1, 25), 0.04, live=live, by_receipt=by_receipt)
    times = [timeline.at(stamp, number * 0.04) for number, stamp in enumerate(stamps)]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert all(time_s <= 3601 * len(stamps) for time_s in times)


@given(_STAMPS, st.booleans())
def test_no_stamps_whatever_move_packets_far(stamps: list[int | None], live: bool) -> None:
    times = PacketTimes(Fraction(1, 25), 0.04, live=live)
    last = 0.0
    for number, stamp in enumerate(stamps):
        time_s = times.at(stamp, stamp, number * 0.04)
        assert last - 1.0 <= time_s <= last + 3601
        last = time_s

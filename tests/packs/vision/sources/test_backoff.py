from __future__ import annotations

from sightline.packs.vision.sources.backoff import Backoff


def test_waits_double_and_stay_below_a_second_in_the_first_minute() -> None:
    backoff = Backoff(30, fraction=lambda: 1.0)
    assert [round(backoff.failed(now), 2) for now in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_waits_grow_to_the_longest_when_the_outage_lasts() -> None:
    backoff = Backoff(30, fraction=lambda: 1.0)
    for now in range(60):
        backoff.failed(now)
    assert backoff.failed(61) == 30


def test_jitter_takes_off_up_to_half() -> None:
    assert Backoff(30, fraction=lambda: 0.0).failed(0) == 0.05


def test_a_short_longest_wait_is_kept() -> None:
    backoff = Backoff(0.5, fraction=lambda: 1.0)
    assert [backoff.failed(now) for now in range(5)][-1] == 0.5


def test_a_wrong_password_is_not_tried_again_soon() -> None:
    assert Backoff(30).failed(0, hopeless=True) == 30


def test_ten_seconds_of_frames_end_an_outage_and_fewer_do_not() -> None:
    backoff = Backoff(30, fraction=lambda: 1.0)
    for now in range(5):
        backoff.failed(now)
    backoff.good(10)
    backoff.good(19)
    assert backoff.failed(19) == 1.0
    backoff.good(30)
    backoff.good(40)
    assert backoff.failed(41) == 0.1

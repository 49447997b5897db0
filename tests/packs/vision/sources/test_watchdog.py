"""What a watchdog says about a connection, with time handed in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from sightline.core.plugins import SourceState
from sightline.packs.vision.sources.watchdog import Stalled, Watchdog

LIVE, FROZEN = SourceState.LIVE, SourceState.FROZEN


def picture(seed: int, shape: tuple[int, int] = (90, 160)) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def watchdog(*, patience_s: float = 5, frozen_s: float = 10, announced_fps: float | None = 25) -> Watchdog:
    return Watchdog(patience_s=patience_s, frozen_s=frozen_s, announced_fps=announced_fps)


def send(dog: Watchdog, fps: float, begin_s: float, end_s: float) -> None:
    """Let packets come that are all decoded."""
    for number in range(round((end_s - begin_s) * fps)):
        time_s = begin_s + number / fps
        dog.packet(time_s, time_s, round(time_s * 1000) + 1)


def test_packets_that_cannot_be_decoded_end_the_connection() -> None:
    dog = watchdog()
    dog.packet(0, 100, 0)
    dog.packet(1, 101, 1)
    dog.packet(5.9, 105.9, 1)
    with pytest.raises(Stalled, match="for 5 s none could be decoded"):
        dog.packet(6.2, 106.2, 1)


def test_the_first_frame_is_waited_for_as_long_as_a_group_of_pictures_may_take() -> None:
    dog = watchdog()
    dog.packet(0, 0, 0)
    dog.packet(14, 14, 0)
    with pytest.raises(Stalled):
        dog.packet(15.5, 15.5, 0)


def test_frames_that_are_decoded_now_and_then_are_enough() -> None:
    dog = watchdog(announced_fps=1)
    for second in range(60):
        dog.packet(second, second, second // 4)
    assert dog.verdict == (LIVE, "")


def test_the_same_picture_for_a_while_is_frozen_and_another_is_live_again() -> None:
    dog = watchdog()
    still = picture(1)
    for half in range(19):
        dog.frame(still, half / 2)
    assert dog.verdict == (LIVE, "")
    for half in range(19, 30):
        dog.frame(still, half / 2)
    assert dog.verdict == (FROZEN, "the same picture for 10 s")
    dog.frame(picture(2), 15.5)
    assert dog.verdict == (LIVE, "")


def test_a_still_scene_with_the_noise_of_a_sensor_is_not_frozen() -> None:
    dog = watchdog()
    scene = picture(1).astype(np.int16)
    for half in range(100):
        noise = np.random.default_rng(half).integers(-1, 2, scene.shape)
        dog.frame(np.clip(scene + noise, 0, 255).astype(np.uint8), half / 2)
    assert dog.verdict == (LIVE, "")


def test_a_small_thing_that_moves_is_seen() -> None:
    dog = watchdog()
    for half in range(60):
        pixels_HWC = np.zeros((360, 640, 3), np.uint8)
        pixels_HWC[40:52, half * 8 : half * 8 + 6] = 255
        dog.frame(pixels_HWC, half / 2)
    assert dog.verdict == (LIVE, "")


def test_key_frames_that_look_a_little_other_than_the_rest_do_not_hide_that_it_is_frozen() -> None:
    dog = watchdog()
    for half in range(40):
        dog.frame(picture(1 if half % 2 else 2), half / 2)
    assert dog.verdict[0] is FROZEN


def test_a_short_loop_is_not_frozen() -> None:
    dog = watchdog()
    for half in range(100):
        dog.frame(picture(half % 5), half / 2)
    assert dog.verdict == (LIVE, "")


def test_it_need_not_look_for_frozen_pictures() -> None:
    dog = watchdog(frozen_s=0)
    for second in range(100):
        dog.frame(picture(1), second)
    assert dog.verdict == (LIVE, "")


def test_a_fast_stream_is_looked_at_a_few_times_a_second() -> None:
    dog = watchdog(frozen_s=1)
    for number in range(200):
        dog.frame(picture(1), number / 100)
    assert dog.verdict[0] is FROZEN
    dog.frame(picture(2), 2.001)  # not looked at, as the last look is too near
    assert dog.verdict[0] is FROZEN
    dog.frame(picture(3), 2.41)
    assert dog.verdict[0] is LIVE


@pytest.mark.parametrize(("fps", "odd"), [(12, True), (50, True), (20, False), (30, False), (25, False), (5, True)])
def test_a_rate_that_is_half_or_double_is_told(fps: float, odd: bool) -> None:
    dog = watchdog()
    send(dog, fps, 0, 25)
    assert dog.num_off == odd
    state, reason = dog.verdict
    assert state is LIVE
    assert reason == (f"{fps} frames a second come, where 25 are expected" if odd else "")


def test_a_rate_that_comes_back_is_no_longer_told() -> None:
    dog = watchdog()
    send(dog, 25, 0, 20)
    send(dog, 10, 20, 45)
    assert dog.verdict[1].startswith("10 frames")
    send(dog, 25, 45, 75)
    assert dog.verdict == (LIVE, "")
    assert dog.num_off == 1


@pytest.mark.parametrize("announced", [None, 0, 90000, 0.001])
def test_without_an_announced_rate_the_first_seconds_are_taken(announced: float | None) -> None:
    dog = watchdog(announced_fps=announced)
    send(dog, 12, 0, 25)
    assert dog.verdict == (LIVE, "")
    send(dog, 5, 25, 50)
    assert dog.verdict[1] == "5 frames a second come, where 12 are expected"


def test_frames_out_of_order_do_not_confuse_the_rate() -> None:
    dog = watchdog()
    for number in range(0, 1000, 4):
        for place in (0, 3, 1, 2):
            dog.packet((number + place) / 25, number / 25, number + 1)
    assert dog.num_off == 0

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pydantic
import pytest

from sightline.core.errors import ConfigError
from sightline.core.prediction import Prediction, Rejected, Scalar
from sightline.packs.vision.predictors.frame_check import FrameCheck
from sightline.testing.fakes import make_context, make_frame

RNG = np.random.default_rng(11)


def scene(width: int = 320, height: int = 240) -> npt.NDArray[np.uint8]:
    """Return a picture with large areas and sharp edges, as a street has."""
    pixels = np.full((height, width, 3), 110, np.uint8)
    for _ in range(60):
        x, y = int(RNG.integers(0, width)), int(RNG.integers(0, height))
        colour = tuple(int(value) for value in RNG.integers(20, 230, 3))
        cv2.rectangle(pixels, (x, y), (x + int(RNG.integers(5, 60)), y + int(RNG.integers(5, 60))), colour, -1)
    return pixels


def opened(**fields: Any) -> FrameCheck:
    check = FrameCheck(**fields)
    check.open(make_context())
    return check


def one(check: FrameCheck, pixels: npt.NDArray[np.uint8], seconds: float = 0.0) -> Prediction:
    [answer] = check.predict([make_frame(pixels, seconds=seconds)])
    return answer


def kind(answer: Prediction) -> str:
    return answer.kind if isinstance(answer, Rejected) else "usable"


def test_a_usable_frame_gives_its_brightness() -> None:
    answer = one(opened(), np.full((48, 64, 3), 96, np.uint8))

    assert isinstance(answer, Scalar)
    assert answer.name == "brightness"
    assert answer.value == pytest.approx(96)


def test_a_dark_frame_is_rejected_with_the_measured_value_and_the_limit() -> None:
    answer = one(opened(darkest=12), np.full((48, 64, 3), 8, np.uint8))

    assert isinstance(answer, Rejected)
    assert (answer.kind, answer.reason) == ("dark", "too dark: mean 8.0, limit 12")


def test_an_over_exposed_frame_is_rejected_by_its_mean_or_by_its_white_share() -> None:
    bright = one(opened(), np.full((48, 64, 3), 250, np.uint8))
    half = np.full((48, 64, 3), 30, np.uint8)
    half[:, 8:] = 255

    glare = one(opened(brightest=255), half)

    assert isinstance(bright, Rejected)
    assert (bright.kind, bright.reason) == ("overexposed", "over-exposed: mean 250.0, limit 243")
    assert isinstance(glare, Rejected)
    assert (glare.kind, glare.reason) == ("overexposed", "over-exposed: 88% of it white, limit 80%")
    assert kind(one(opened(white=0.9, brightest=255), half)) == "usable"


def test_limits_can_be_turned_off() -> None:
    off = opened(darkest=0, brightest=255, white=1, frozen_s=0)

    assert kind(one(off, np.zeros((48, 64, 3), np.uint8))) == "usable"
    assert kind(one(off, np.full((48, 64, 3), 255, np.uint8))) == "usable"


@pytest.mark.parametrize("size", [(320, 240), (1280, 720)])
def test_a_blurred_frame_is_rejected_whatever_the_size_of_the_camera(size: tuple[int, int]) -> None:
    sharp = scene(*size)
    sigma = size[0] / 40
    blurred = cv2.GaussianBlur(sharp, (0, 0), sigma).astype(np.uint8)
    check = opened(blur=100)

    answer = one(check, blurred)

    assert kind(one(check, sharp)) == "usable"
    assert isinstance(answer, Rejected)
    assert answer.kind == "blurred"
    assert answer.reason.startswith("blurred: sharpness ")
    assert answer.reason.endswith(", limit 100")
    assert kind(one(opened(), blurred)) == "usable"  # off by default


def noisy(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the picture with the noise of a sensor, a deviation of 1."""
    return np.clip(pixels + RNG.normal(0, 1, pixels.shape), 0, 255).astype(np.uint8)


def test_the_same_picture_for_too_long_is_frozen_until_it_changes() -> None:
    check = opened(frozen_s=3)
    still = scene()
    times = [0.0, 1.0, 2.9, 3.0, 10.0]

    kinds = [kind(one(check, still.copy(), seconds)) for seconds in times]
    changed = kind(one(check, scene(), 11.0))

    assert kinds == ["usable", "usable", "usable", "frozen", "frozen"]
    assert changed == "usable"
    assert kind(one(check, still, 12.0)) == "usable"


def test_the_reason_of_a_frozen_picture_tells_for_how_long() -> None:
    check = opened(frozen_s=3)
    still = scene()
    one(check, still, 100.0)

    answer = one(check, still, 104.5)

    assert isinstance(answer, Rejected)
    assert answer.reason == "frozen: the same picture for 4.5 s, limit 3 s"


def test_a_still_scene_seen_by_a_sensor_is_not_frozen() -> None:
    check = opened(frozen_s=3)
    still = scene()

    kinds = {kind(one(check, noisy(still), float(seconds))) for seconds in range(10)}

    assert kinds == {"usable"}


def test_a_slow_sunset_is_not_frozen() -> None:
    check = opened(frozen_s=3, frozen_change=0.5)
    day = np.full((48, 64, 3), 200, np.uint8)
    answers = []
    for step in range(40):
        day = day.copy()
        day.reshape(-1)[RNG.choice(day.size, day.size // 4, replace=False)] -= 1  # a quarter of a grey value a second
        answers.append(kind(one(check, day, float(step))))

    assert set(answers) == {"usable"}


def test_a_moving_thing_is_a_change() -> None:
    check = opened(frozen_s=1)
    street = scene(768, 576)
    kinds = []
    for step in range(6):
        pixels = street.copy()
        pixels[300:400, 100 + 40 * step : 140 + 40 * step] = (20, 20, 20)
        kinds.append(kind(one(check, pixels, float(step))))

    assert set(kinds) == {"usable"}


def test_dark_time_counts_as_standstill_but_darkness_is_the_reason() -> None:
    check = opened(frozen_s=3)
    night = np.zeros((48, 64, 3), np.uint8)

    assert [kind(one(check, night, seconds)) for seconds in (0.0, 5.0)] == ["dark", "dark"]


def test_a_change_of_size_or_of_time_begins_anew() -> None:
    check = opened(frozen_s=3)
    still = scene()
    one(check, still, 50.0)

    assert kind(one(check, still, 1.0)) == "usable"  # a looped file
    assert kind(one(check, still[::2, ::2], 10.0)) == "usable"
    assert kind(one(check, still[::2, ::2], 14.0)) == "frozen"


def test_each_copy_has_its_own_memory_and_open_forgets() -> None:
    check = opened(frozen_s=3)
    still = scene()
    one(check, still, 0.0)

    assert FrameCheck.stateful
    assert kind(one(opened(frozen_s=3), still, 5.0)) == "usable"
    check.open(make_context())
    assert kind(one(check, still, 5.0)) == "usable"


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 50, 3), (3, 2000, 3), (71, 71, 3), (577, 769, 3)])
def test_any_size_of_picture_will_do(shape: tuple[int, int, int]) -> None:
    check = opened(blur=0.1)
    flat = np.full(shape, 100, np.uint8)

    assert kind(one(check, flat)) == "blurred"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"darkest": 250.0}, "darkest is 250"),
        ({"darkest": -1.0}, "darkest is -1"),
        ({"brightest": 300.0}, "brightest 300"),
        ({"white": 1.5}, "white is 1.5"),
        ({"blur": -1.0}, "blur is -1"),
        ({"frozen_s": float("nan")}, "frozen_s is nan"),
    ],
)
def test_impossible_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FrameCheck(**fields)


def test_a_case_file_can_describe_it() -> None:
    adapter = pydantic.TypeAdapter(FrameCheck)

    assert adapter.validate_python({"darkest": 20}) == FrameCheck(darkest=20)
    with pytest.raises(pydantic.ValidationError, match="darkness"):
        adapter.validate_python({"darkness": 20})

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sightline.packs.vision.predictors.brightness import Brightness
from sightline.testing.fakes import make_context, make_frame


def test_grey_is_its_own_brightness() -> None:
    predictor = Brightness()
    predictor.open(make_context())

    black, grey, white = predictor.predict([make_frame(0), make_frame(77), make_frame(255)])

    assert (black.value, grey.value, white.value) == pytest.approx((0, 77, 255))
    assert grey.name == "brightness"


def test_colours_weigh_as_in_a_grey_picture() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (99, 77, 3), np.uint8)

    [brightness] = Brightness().predict([make_frame(pixels)])

    assert brightness.value == pytest.approx(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY).mean(), abs=0.05)
    [blue] = Brightness().predict([make_frame(np.full((2, 2, 3), (255, 0, 0), np.uint8))])
    assert blue.value == pytest.approx(0.114 * 255)

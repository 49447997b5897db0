"""How bright a picture is, in one number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sightline.core.plugins import Predictor
from sightline.core.prediction import Scalar
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.picture_model import pixels_of

_GREY_BGR = (0.114, 0.587, 0.299)  # luma of blue, green, red; ITU-R BT.601


@dataclass(kw_only=True)
class Brightness(Predictor):
    """The mean grey value of a frame, 0 (black) to 255 (white)."""

    def predict(self, samples: Sequence[Sample[Frame]]) -> Sequence[Scalar]:
        """Return the brightness of each frame."""
        return [Scalar(name="brightness", value=mean_grey(pixels_of(sample))) for sample in samples]


def mean_grey(pixels_HWC: npt.NDArray[np.uint8]) -> float:
    """Return the mean grey value of a picture.

    The grey of the mean colour is the mean of the grey pixels, as grey is a weighted sum: one pass, no grey picture
    (0.04 ms for 768x576).
    """
    return sum(weight * mean for weight, mean in zip(_GREY_BGR, cv2.mean(pixels_HWC)[:3], strict=True))

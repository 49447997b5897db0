"""Tells frames that are worth looking at from those that are dark, over-exposed, blurred or frozen.

Shape letters: H rows, W columns, C colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from sightline.core.errors import ConfigError
from sightline.core.plugins import Context, Predictor
from sightline.core.prediction import Prediction, Rejected, Scalar
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.picture_model import pixels_of
from sightline.packs.vision.predictors.brightness import mean_grey

_WHITE = 250  # grey from which a pixel carries no detail
_THUMBNAIL = 72  # pixels of the shorter side that are looked at
_BLUR_SIDE = 320  # pixels of the longer side in which blur is measured, whatever the camera


@dataclass(kw_only=True)
class FrameCheck(Predictor):
    """Rejects a frame that shows nothing; gives the brightness of any other.

    The kinds of rejection are `dark`, `overexposed`, `blurred` and `frozen`. Costs 0.07 ms for a frame of 768x576,
    0.2 ms more with `blur`. The answers of one copy belong to one source: frames come in the order of their time.

    Attributes:
        darkest: a frame with a lower mean grey value (0 to 255) is dark; 0 turns the check off.
        brightest: a frame with a higher mean grey value is over-exposed; 255 turns the check off.
        white: a frame with a larger share of white pixels (grey of at least 250) is over-exposed; 1 turns it off.
        blur: a frame is blurred when the variance of its Laplacian, in grey at 320 pixels of the longer side, is
            lower; 0 turns the check off. A sharp street scene has about 2000, the same out of focus 10 to 60.
        frozen_s: a picture that has not changed for this many seconds is frozen; 0 turns the check off.
        frozen_change: mean change of grey up to which a picture counts as the same. 0 finds only exact copies;
            sensor noise alone makes about 1.
    """

    stateful: ClassVar[bool] = True

    darkest: float = 12.0
    brightest: float = 243.0
    white: float = 0.8
    blur: float = 0.0
    frozen_s: float = 30.0
    frozen_change: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.darkest < self.brightest <= 255:
            raise ConfigError(
                f"darkest is {self.darkest} and brightest {self.brightest}.",
                cure="Let 0 <= darkest < brightest <= 255.",
            )
        if not 0 <= self.white <= 1:
            raise ConfigError(f"white is {self.white}; it is a share of 0 to 1.")
        for name in ("blur", "frozen_s", "frozen_change"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 0.")

    def open(self, context: Context) -> None:
        """Forget earlier pictures."""
        super().open(context)
        self._last_HW: npt.NDArray[np.uint8] | None = None
        self._since_s = 0.0

    def predict(self, samples: Sequence[Sample[Frame]]) -> Sequence[Prediction]:
        """Return for each frame why it is rejected, or its brightness."""
        return [self._checked(pixels_of(sample), sample.seconds) for sample in samples]

    def _checked(self, pixels_HWC: npt.NDArray[np.uint8], seconds: float) -> Prediction:
        thumbnail_HW = _thumbnail(pixels_HWC)
        same_s = self._same_for(thumbnail_HW, seconds)  # also for a frame that is rejected for another reason
        mean = mean_grey(pixels_HWC)
        if mean < self.darkest:
            return Rejected(kind="dark", reason=f"too dark: mean {mean:.1f}, limit {self.darkest:g}")
        if mean > self.brightest:
            return Rejected(kind="overexposed", reason=f"over-exposed: mean {mean:.1f}, limit {self.brightest:g}")
        white = np.count_nonzero(thumbnail_HW >= _WHITE) / thumbnail_HW.size
        if white > self.white:
            return Rejected(kind="overexposed", reason=f"over-exposed: {white:.0%} of it white, limit {self.white:.0%}")
        if self.blur:
            sharpness = _sharpness(pixels_HWC)
            if sharpness < self.blur:
                return Rejected(kind="blurred", reason=f"blurred: sharpness {sharpness:.1f}, limit {self.blur:g}")
        if self.frozen_s and same_s >= self.frozen_s:
            return Rejected(
                kind="frozen", reason=f"frozen: the same picture for {same_s:.1f} s, limit {self.frozen_s:g} s"
            )
        return Scalar(name="brightness", value=mean)

    def _same_for(self, thumbnail_HW: npt.NDArray[np.uint8], seconds: float) -> float:
        """Return for how many seconds the picture has not changed.

        Compared with the first picture of the standstill, not with the one before: a slow sunset is a change. Time
        that runs backwards (a looped file) begins anew.
        """
        last_HW = self._last_HW
        same = (
            last_HW is not None
            and last_HW.shape == thumbnail_HW.shape
            and seconds >= self._since_s
            and cv2.norm(last_HW, thumbnail_HW, cv2.NORM_L1) <= self.frozen_change * thumbnail_HW.size
        )
        if not same:
            self._last_HW, self._since_s = thumbnail_HW, seconds
        return seconds - self._since_s


def _thumbnail(pixels_HWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return every n-th pixel in grey, uint8 [H, W], the shorter side of 72 to 143 pixels (or as it is, if smaller).

    Picked, not averaged: averages would hide the sensor noise that tells a still scene from a frozen picture.
    """
    step = max(1, min(pixels_HWC.shape[:2]) // _THUMBNAIL)
    picked_HWC = np.ascontiguousarray(pixels_HWC[step // 2 :: step, step // 2 :: step])
    return cv2.cvtColor(picked_HWC, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)


def _sharpness(pixels_HWC: npt.NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian (Pech-Pacheco et al., 2000), measured in one size for all cameras."""
    height, width = pixels_HWC.shape[:2]
    scale = _BLUR_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey_HW = cv2.resize(cv2.cvtColor(pixels_HWC, cv2.COLOR_BGR2GRAY), size)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey_HW, cv2.CV_16S))
    return float(deviation[0, 0]) ** 2

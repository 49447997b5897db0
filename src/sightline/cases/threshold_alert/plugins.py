"""The predictor of this case: the mean value of all pixels of a frame."""

from collections.abc import Sequence
from dataclasses import dataclass

from sightline import Frame, Predictor, Sample, Scalar


@dataclass(kw_only=True)
class MeanPixel(Predictor):
    """Mean over all pixels and colours, 0 (black) to 255 (white)."""

    def predict(self, samples: Sequence[Sample[Frame]]) -> Sequence[Scalar]:
        """Return one Scalar called `mean_pixel` for each frame."""
        return [Scalar(name="mean_pixel", value=float(sample.payload.pixels_HWC.mean())) for sample in samples]

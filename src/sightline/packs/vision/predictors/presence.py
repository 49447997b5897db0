"""From boxes to one word: is somebody there?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.core.errors import ConfigError
from sightline.core.plugins import Predictor
from sightline.core.prediction import Boxes, Labels
from sightline.core.sample import Sample


@dataclass(kw_only=True)
class Presence(Predictor):
    """One label for a frame, from the boxes that an earlier predictor found.

    With c, the confidence of the `minimum`-th best wanted box (0 when there are fewer): the label is `present` with
    the confidence c when c is at least `threshold` and there are as many boxes, else `absent` with 1 - c. A detector
    gives no boxes below its own threshold, so 1 - c of an empty frame is 1: nothing was seen, not nothing is there.

    Attributes:
        of: key of the predictor that gives the boxes.
        wanted: names of the classes that count; none means all.
        present: label when they are there; its class id is 1.
        absent: label when they are not; its class id is 0.
        minimum: how many must be there.
        threshold: lowest confidence of a box that counts, 0 to 1, on top of the detector's own.
    """

    of: str = "people"
    wanted: tuple[str, ...] = ("person",)
    present: str = "person"
    absent: str = "no_person"
    minimum: int = 1
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.minimum < 1:
            raise ConfigError(f"minimum is {self.minimum}; it must be at least 1.")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold is {self.threshold}; it must lie between 0 and 1.")
        if self.present == self.absent:
            raise ConfigError(f"present and absent are both {self.present!r}; nobody could tell them apart.")

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Labels]:
        """Return the label of each sample.

        Raises:
            ConfigError: no earlier predictor gave boxes under the key `of`.
        """
        return [self._label(sample.prediction(self.of, Boxes).named(self.wanted)) for sample in samples]

    def _label(self, boxes: Boxes) -> Labels:
        best_first = np.sort(boxes.confidence)[::-1]
        enough = len(best_first) >= self.minimum
        confidence = float(best_first[self.minimum - 1]) if enough else 0.0
        there = enough and confidence >= self.threshold
        return Labels(
            class_id=np.array([int(there)], np.int64),
            confidence=np.array([confidence if there else 1 - confidence], np.float32),
            class_name=(self.present if there else self.absent,),
        )

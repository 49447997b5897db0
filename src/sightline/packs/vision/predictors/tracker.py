"""Gives the boxes of a detector an identity over time; the association itself is in `tracking`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from sightline.core.errors import ConfigError
from sightline.core.plugins import Context, Predictor
from sightline.core.prediction import Boxes
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.tracking import TrackRules, Tracks


@dataclass(kw_only=True)
class Tracker(Predictor):
    """Boxes with a `tracker_id` that stays with a thing while it is visible, and after it was hidden for a while.

    Of this sample's boxes those of confirmed tracks come out, with ids from 1 that are never used again. All times
    are real ones (`sample.seconds`), so the same settings hold from 2 to 25 and more samples a second. Boxes below
    `start` can only go on with a track: let the detector pass boxes down to about `low` (`threshold: 0.2`) and the
    tracks hold through blur and half-hidden moments, while nothing is counted that was never seen clearly.

    Attributes:
        of: key of the predictor that gives the boxes.
        low: boxes of less confidence are ignored.
        high: boxes of at least this confidence are sure: they choose their tracks first, and may find lost tracks.
        start: confidence that a box needs to begin a new track.
        confirm_s: a new track comes out once it has been seen over this many seconds; at the first sample at once.
        confirm_hits: and in at least this many samples; 1 lets new tracks come out at once.
        lost_s: seconds for which a track that is hidden, or seen only unsurely, is still waited for.
        speed: how fast new things may move, in box sizes (square root of the area) a second; 1.2 suits people,
            5 suits cars.
        per_class: a track keeps its class; set it to false where the detector wavers between classes.
    """

    of: str
    low: float = 0.15
    high: float = 0.45
    start: float = 0.55
    confirm_s: float = 0.2
    confirm_hits: int = 2
    lost_s: float = 2.0
    speed: float = 1.2
    per_class: bool = True

    stateful: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= self.start <= 1:
            raise ConfigError(
                f"The tracker's low {self.low}, high {self.high} and start {self.start} are not in order.",
                cure="Choose 0 <= low <= high <= start <= 1.",
            )
        if self.confirm_s < 0 or self.confirm_hits < 1 or self.lost_s < 0 or self.speed <= 0:
            raise ConfigError(
                "The tracker's confirm_s and lost_s must not be negative, confirm_hits at least 1, speed above 0.",
                cure="Leave them out to use the defaults.",
            )

    def open(self, context: Context) -> None:
        """Begin with no tracks."""
        super().open(context)
        self._tracks = Tracks(self.rules())

    def rules(self) -> TrackRules:
        """Return the settings of the association."""
        return TrackRules(
            low=self.low,
            high=self.high,
            start=self.start,
            confirm_s=self.confirm_s,
            confirm_hits=self.confirm_hits,
            lost_s=self.lost_s,
            speed=self.speed,
        )

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Boxes]:
        """Return the boxes of confirmed tracks, in the order of the detector."""
        return [self._tracked(sample) for sample in samples]

    def _tracked(self, sample: Sample[Any]) -> Boxes:
        boxes = sample.prediction(self.of, Boxes)
        classes = boxes.class_id if self.per_class else np.zeros(len(boxes), np.int64)
        ids = self._tracks.update(
            sample.seconds,
            boxes.xyxy.astype(np.float64),
            boxes.confidence.astype(np.float64),
            classes,
            sample.payload.size if isinstance(sample.payload, Frame) else None,
        )
        # The boxes are the detector's: the name of its model stays on them.
        return replace(boxes.select(ids > 0), tracker_id=ids[ids > 0], model=boxes.model)

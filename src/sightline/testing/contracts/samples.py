"""Samples that the contracts record."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from sightline.core.prediction import Boxes, Scalar
from sightline.core.sample import Clocks, Frame, Sample
from sightline.testing.contracts.event_store import NOON


def seen_sample(seq: int = 0, source: str = "door") -> Sample[Frame]:
    """Return a frame with predictions."""
    people = Boxes(
        xyxy=np.array([[1, 2, 30.25, 40.5]], np.float32),
        confidence=np.array([0.875], np.float32),
        class_id=np.array([0]),
        class_name=("person",),
    )
    return Sample(
        payload=Frame(np.zeros((4, 6, 3), np.uint8)),
        source=source,
        seq=seq,
        clocks=Clocks(pts_s=seq / 25, monotonic_s=1.0, wall=NOON + timedelta(seconds=seq / 25)),
        metadata={"place": "lab"},
        predictions={"people": people, "brightness": Scalar(name="brightness", value=96.0)},
    )

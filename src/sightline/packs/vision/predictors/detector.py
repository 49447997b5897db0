"""Finds things in a picture: boxes with names, by any model whose outputs have one of the known layouts.

Shape letters: N boxes, 4 left, top, right, bottom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.core.errors import ConfigError
from sightline.core.model import ModelCard
from sightline.core.plugins import Context, Predictor
from sightline.core.ports import Tensors
from sightline.core.prediction import Boxes
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.boxes import nms_per_class
from sightline.packs.vision.completing import complete_detector
from sightline.packs.vision.layouts import Candidates, layout_of
from sightline.packs.vision.metadata import CardFields, nearest
from sightline.packs.vision.picture_model import PictureModel
from sightline.packs.vision.preprocess import Placement


@dataclass(kw_only=True)
class Detector(Predictor):
    """Boxes of the things in a frame, the best first, in pixels of that frame.

    How the model is fed and read stands in its card; see `docs/reference/model-metadata.md`. For a model without
    that metadata the case can give `preprocessing`, `postprocessing` and `labels`.

    Attributes:
        model: reference of the model, `name@version-or-alias`, or the path of an ONNX file.
        threshold: lowest confidence of a box, 0 to 1; by default the card's, else 0.35.
        iou: two boxes of one class that overlap by more than this (intersection over union, 0 to 1) are one thing;
            by default the card's, else 0.5. Without effect where the model removes duplicates itself.
        classes: names of the things to look for; none means all.
        max_boxes: most boxes in a frame; the best are kept.
        preprocessing: how a picture becomes the input, in place of what the card says.
        postprocessing: how the outputs are read, in place of what the card says.
        labels: names of the classes in the order of their ids, in place of the card's; null for an id not used.
    """

    model: str = "nanodet-m"
    threshold: float | None = None
    iou: float | None = None
    classes: tuple[str, ...] = ()
    max_boxes: int = 300
    preprocessing: dict[str, Any] | None = None
    postprocessing: dict[str, Any] | None = None
    labels: tuple[str | None, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("threshold", "iou"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value}; it must lie between 0 and 1.")
        if self.max_boxes < 1:
            raise ConfigError(f"max_boxes is {self.max_boxes}; it must be at least 1.")

    @classmethod
    def completed(cls, card: ModelCard, preset: str = "") -> ModelCard:
        """Return `card` with what its inputs and outputs, and the recipe called `preset`, tell; see `Predictor`."""
        return complete_detector(card, preset)

    def open(self, context: Context) -> None:
        """Open the model and learn from its card how it is fed and read.

        Raises:
            InvalidModel: the card lacks something, or the model is no detector.
            ConfigError: a name in `classes` is unknown to the model.
        """
        super().open(context)
        self._net = PictureModel(
            context.open_model(self.model),
            "object-detection",
            preprocessing=self.preprocessing,
            postprocessing=self.postprocessing,
            labels=self.labels,
        )
        self._layout = layout_of(self._net.card, self._net.size)
        self._layout.wanted = _wanted(self._net.card, self.classes)
        fields = CardFields(self._net.card, "postprocessing")
        card_threshold = fields.number("threshold", 0, 1, 0.35)
        card_iou = fields.number("iou", 0, 1, 0.5)
        self._threshold = card_threshold if self.threshold is None else self.threshold
        self._iou = card_iou if self.iou is None else self.iou

    def predict(self, samples: Sequence[Sample[Frame]]) -> Sequence[Boxes]:
        """Return the boxes of each frame."""
        answers = self._net.answers(samples)
        return [
            self._boxes(self._layout.decode(outputs, self._threshold), placement, sample)
            for sample, (outputs, placement) in zip(samples, answers, strict=True)
        ]

    def feeds(self, sample: Sample[Frame]) -> Tensors:
        """Return what the model is fed for a frame."""
        return self._net.feeds(sample)

    @property
    def least_size(self) -> tuple[int, int] | None:
        """As the model's card says."""
        return self._net.least_size

    def _boxes(self, found: Candidates, placement: Placement, sample: Sample[Frame]) -> Boxes:
        """Return what was found without duplicates, in the picture and cut at its edges."""
        if self._layout.has_nms:
            kept = np.argsort(-found.scores_N, kind="stable")
        else:
            kept = nms_per_class(found.xyxy_N4, found.scores_N, found.class_ids_N, self._iou)
        found = found.select(kept)
        width, height = sample.payload.size
        limits_4 = np.array([width, height, width, height], np.float32)
        xyxy_N4 = np.clip(placement.to_picture(found.xyxy_N4), 0, limits_4)
        # What lies in the bars of a letterbox has no area left; NaN from a broken model compares as false.
        inside_N = (xyxy_N4[:, 2] > xyxy_N4[:, 0]) & (xyxy_N4[:, 3] > xyxy_N4[:, 1])
        best = np.flatnonzero(inside_N)[: self.max_boxes]
        found, label = found.select(best), self._net.card.label
        return Boxes(
            xyxy=xyxy_N4[best],
            confidence=found.scores_N,
            class_id=found.class_ids_N,
            class_name=tuple(label(class_id) for class_id in found.class_ids_N.tolist()),
        )


def _wanted(card: ModelCard, classes: Sequence[str]) -> Any:
    """Return the ids to look for, int64; None for all of them.

    Ids without a name are not in use (background, holes in the numbering) and never wanted.
    """
    ids: Mapping[int, str] = {class_id: name for class_id, name in enumerate(card.labels) if name is not None}
    if not classes:
        return None if len(ids) == len(card.labels) else np.array(list(ids), np.int64)
    known = sorted(set(ids.values()))
    for name in classes:
        if name not in known and (known or not name.isdecimal()):
            hint = nearest(name, known)
            raise ConfigError(
                f"The model {card.ref} knows no class {name!r}.{hint}",
                cure=f"It knows {len(known)} classes: sightline models show {card.name}"
                if known
                else "It has no labels: give labels in the case, or the numbers of the classes.",
            )
    if not known:
        return np.array([int(name) for name in classes], np.int64)
    return np.array([class_id for class_id, name in ids.items() if name in classes], np.int64)

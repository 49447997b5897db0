"""Says what a picture shows: the best classes of the whole frame.

Shape letters: C classes, N classes that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import ConfigError, InvalidModel
from sightline.core.model import ModelCard
from sightline.core.plugins import Context, Predictor
from sightline.core.ports import Tensors
from sightline.core.prediction import Labels
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.completing import complete_classifier
from sightline.packs.vision.metadata import CardFields
from sightline.packs.vision.picture_model import PictureModel

FIELDS = ("output", "activation")


@dataclass(kw_only=True)
class Classifier(Predictor):
    """The best classes of a frame, the best first.

    How the model is fed and read stands in its card; see `docs/reference/model-metadata.md`. For a model without
    that metadata the case can give `preprocessing`, `postprocessing` and `labels`.

    Attributes:
        model: reference of the model, `name@version-or-alias`, or the path of an ONNX file.
        top_k: most classes in an answer.
        threshold: lowest confidence of a class, 0 to 1.
        preprocessing: how a picture becomes the input, in place of what the card says.
        postprocessing: how the output is read, in place of what the card says.
        labels: names of the classes in the order of their ids, in place of the card's; null for an id not used.
    """

    model: str = "efficientnet-lite0"
    top_k: int = 5
    threshold: float = 0.0
    preprocessing: dict[str, Any] | None = None
    postprocessing: dict[str, Any] | None = None
    labels: tuple[str | None, ...] | None = None

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ConfigError(f"top_k is {self.top_k}; it must be at least 1.")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold is {self.threshold}; it must lie between 0 and 1.")

    @classmethod
    def completed(cls, card: ModelCard, preset: str = "") -> ModelCard:
        """Return `card` with what its inputs and outputs, and the recipe called `preset`, tell; see `Predictor`."""
        return complete_classifier(card, preset)

    def open(self, context: Context) -> None:
        """Open the model and learn from its card how it is fed and read.

        Raises:
            InvalidModel: the card lacks something, or the model is no classifier.
        """
        super().open(context)
        self._net = PictureModel(
            context.open_model(self.model),
            "image-classification",
            preprocessing=self.preprocessing,
            postprocessing=self.postprocessing,
            labels=self.labels,
        )
        card = self._net.card
        fields = CardFields(card, "postprocessing")
        fields.check_known(FIELDS)
        only = card.outputs[0].name if len(card.outputs) == 1 else None
        self._output = fields.text("output", only) if only else fields.text("output")
        if card.outputs and self._output not in [spec.name for spec in card.outputs]:
            raise fields.wrong("output", f"one of {', '.join(spec.name for spec in card.outputs)}")
        # Scores and probabilities look alike: a wrong guess would give wrong confidences in silence.
        self._activation = fields.choice("activation", ("softmax", "sigmoid", "none"))

    def predict(self, samples: Sequence[Sample[Frame]]) -> Sequence[Labels]:
        """Return the best classes of each frame."""
        return [self._labels(outputs) for outputs, _ in self._net.answers(samples)]

    def feeds(self, sample: Sample[Frame]) -> Tensors:
        """Return what the model is fed for a frame."""
        return self._net.feeds(sample)

    @property
    def least_size(self) -> tuple[int, int] | None:
        """As the model's card says."""
        return self._net.least_size

    def _labels(self, outputs: Tensors) -> Labels:
        card = self._net.card
        if self._output not in outputs:
            raise InvalidModel(f"The model {card.ref} gives no output {self._output!r}, only {', '.join(outputs)}.")
        scores_C = outputs[self._output].reshape(-1).astype(np.float32)
        if card.labels and len(card.labels) != len(scores_C):
            # A missing background class would shift every name by one.
            raise InvalidModel(
                f"The model {card.ref} gives {len(scores_C)} classes, its card names {len(card.labels)}.",
                cure="Correct the labels: sightline models add FILE --labels NAMES.txt, or labels in the case.",
            )
        confidence_C = _activated(scores_C, self._activation)
        best_N = np.argsort(-confidence_C, kind="stable")[: self.top_k]
        best_N = best_N[confidence_C[best_N] >= self.threshold]
        return Labels(
            class_id=best_N,
            confidence=confidence_C[best_N],
            class_name=tuple(card.label(class_id) for class_id in best_N.tolist()),
        )


def _activated(scores_C: npt.NDArray[np.float32], activation: str) -> npt.NDArray[np.float32]:
    """Return confidences of 0 to 1."""
    if activation == "softmax":
        weights_C = np.exp(scores_C - scores_C.max())
        return np.asarray(weights_C / weights_C.sum(), np.float32)
    if activation == "sigmoid":
        # By tanh: exp would overflow for scores far below 0.
        return np.asarray(0.5 * (1 + np.tanh(scores_C / 2)), np.float32)
    return scores_C

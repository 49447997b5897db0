"""A model that looks at one picture: what the classifier and the detector have in common.

Knows how pictures become inputs and how answers are awaited; knows nothing of what an answer means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import InvalidInput, InvalidModel
from sightline.core.model import ModelCard
from sightline.core.ports import Array, ModelHandle, Tensors
from sightline.core.prediction import JsonObject
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.metadata import completed
from sightline.packs.vision.preprocess import Placement, Preprocessor


class PictureModel:
    """An open model with its preprocessing.

    Args:
        handle: the open model.
        task: what the model must be for; a card without a task is taken at the case's word.
        preprocessing: in place of the card's; None leaves it.
        postprocessing: in place of the card's; None leaves it.
        labels: in place of the card's; None leaves them.

    Attributes:
        card: the model's card, completed by the case.
        size: width and height of the input in pixels.
        least_size: width and height at which a larger picture may be decoded; None: whole.

    Raises:
        InvalidModel: the model is for another task, or its card does not say how it is fed.
    """

    def __init__(
        self,
        handle: ModelHandle,
        task: str,
        *,
        preprocessing: JsonObject | None = None,
        postprocessing: JsonObject | None = None,
        labels: Sequence[str | None] | None = None,
    ) -> None:
        self._handle = handle
        self.card: ModelCard = completed(
            handle.card, preprocessing=preprocessing, postprocessing=postprocessing, labels=labels
        )
        if self.card.task not in ("", task) and postprocessing is None:
            raise InvalidModel(
                f"The model {self.card.ref} is for {self.card.task}, not for {task}.",
                cure="Name another model, or use the predictor for its task.",
            )
        self._preprocessor = Preprocessor(self.card)
        self.size = self._preprocessor.size
        self.least_size = self._preprocessor.least_size

    def answers(self, samples: Sequence[Sample[Any]]) -> Iterator[tuple[dict[str, Array], Placement]]:
        """Yield for each sample the outputs of the model and where the picture lies in its input, in order.

        All pictures are submitted before the first answer is awaited, so that the model's workers share them.
        """
        if len(samples) == 1:  # for one, nothing is gained by another thread
            tensor, placement = self._prepared(samples[0])
            yield self._handle.run({self._preprocessor.input: tensor}), placement
            return
        asked: list[tuple[Future[dict[str, Array]], Placement]] = []
        try:
            for sample in samples:
                tensor, placement = self._prepared(sample)
                asked.append((self._handle.submit({self._preprocessor.input: tensor}), placement))
            for future, placement in asked:
                yield future.result(), placement
        finally:
            # After an error nobody wants the others; what is done already takes no notice.
            for future, _ in asked:
                future.cancel()

    def feeds(self, sample: Sample[Any]) -> Tensors:
        """Return what the model is fed for a sample.

        Raises:
            InvalidInput: the sample holds no picture.
        """
        return {self._preprocessor.input: self._prepared(sample)[0]}

    def _prepared(self, sample: Sample[Any]) -> tuple[Array, Placement]:
        """Return the input tensor of a sample, and where its whole picture lies in it."""
        pixels_HWC = pixels_of(sample)
        tensor, placement = self._preprocessor.prepare(pixels_HWC)
        full_size = sample.payload.full_size
        if full_size is not None:
            placement = placement.of((pixels_HWC.shape[1], pixels_HWC.shape[0]), full_size)
        return tensor, placement


def pixels_of(sample: Sample[Any]) -> npt.NDArray[np.uint8]:
    """Return the picture of a sample, uint8 [H, W, 3], blue first.

    Raises:
        InvalidInput: the sample holds no picture.
    """
    payload = sample.payload
    if not isinstance(payload, Frame):
        raise InvalidInput(
            f"The sample {sample.id} holds a {type(payload).__name__}, not a Frame.",
            cure="Use this predictor behind a source of pictures, and no collector that makes windows.",
        )
    return payload.pixels_HWC

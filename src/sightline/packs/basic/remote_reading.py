"""What another model answers, read into predictions: what `reads` in a case says of its outputs.

Values are found by name among the outputs of the Open Inference Protocol, or by path in JSON (`result.0.scores`).

Shape letters: C classes, N boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from sightline.core.codec import decode_prediction
from sightline.core.errors import ConfigError, InvalidInput, Unavailable
from sightline.core.ports import Array
from sightline.core.prediction import Boxes, Generated, Labels, Prediction, Scalar

Lookup: TypeAlias = Callable[[str], Any]
"""Returns the value at a name or path of the answer.

Raises:
    InvalidInput: there is none.
"""


@dataclass(kw_only=True)
class Reads:
    """How an answer becomes a prediction.

    Attributes:
        type: kind of prediction; `prediction`: `output` holds one in Sightline's own wire form.
        output: where the scores (labels), the boxes, the number or the text are; empty: the one output, all of it.
        activation: what makes scores of what the model gives; labels only.
        labels: names by class id; none: those that the remote model tells, else numbers.
        top_k: most labels.
        threshold: least confidence.
        scores: where the scores of boxes [N], or of each class [N, C], are.
        classes: where the class ids of boxes, or their names, are; empty: the best of `scores` [N, C], else 0.
        format: what the four numbers of a box are.
        scale: pixels of the picture that was sent, or shares of its sides.
        name: of a scalar.
        unit: of a scalar.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    type: Literal["labels", "boxes", "scalar", "text", "prediction"]
    output: str = ""
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    labels: tuple[str, ...] = ()
    top_k: int = 5
    threshold: float = 0.0
    scores: str = ""
    classes: str = ""
    format: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    scale: Literal["pixels", "unit"] = "pixels"
    name: str = "value"
    unit: str = ""

    def __post_init__(self) -> None:
        if self.type == "boxes" and not (self.output and self.scores):
            raise ConfigError("reads: boxes need `output` and `scores`.", cure="Name both outputs or paths.")
        if self.top_k < 1 or not 0 <= self.threshold <= 1:
            raise ConfigError("reads: top_k is at least 1, threshold between 0 and 1.")

    def prediction(self, found: Lookup, *, size: tuple[int, int], labels: Sequence[str | None] = ()) -> Prediction:
        """Return what the answer says.

        Args:
            found: see `Lookup`.
            size: width and height of the picture that was sent.
            labels: those that the remote model tells.

        Raises:
            Unavailable: the answer is not what `reads` says.
        """
        names = self.labels or labels
        try:
            match self.type:
                case "labels":
                    return self._labels(_numbers(found(self.output)), names)
                case "boxes":
                    return self._boxes(found, size, names)
                case "scalar":
                    return Scalar(
                        name=self.name, value=float(_numbers(found(self.output)).reshape(-1)[0]), unit=self.unit
                    )
                case "text":
                    return Generated(text=_text(found(self.output)))
                case "prediction":
                    return decode_prediction(found(self.output))
        except (InvalidInput, ValueError, TypeError, IndexError, OverflowError) as error:
            raise Unavailable(
                f"The remote model answers with something else than {self.type}: {error}", cure="Check `reads`."
            ) from None

    def _labels(self, scores: Array, names: Sequence[str | None]) -> Labels:
        scores_C = _activated(scores.reshape(-1), self.activation)
        order = np.argsort(-scores_C, kind="stable")[: self.top_k]
        order = order[scores_C[order] >= self.threshold]
        return Labels(
            class_id=order.astype(np.int64),
            confidence=scores_C[order].astype(np.float32),
            class_name=tuple(_label(names, int(number)) for number in order),
        )

    def _boxes(self, found: Lookup, size: tuple[int, int], names: Sequence[str | None]) -> Boxes:
        xyxy = _corners(_numbers(found(self.output)).reshape(-1, 4), self.format)
        num = len(xyxy)
        scores = _activated(_numbers(found(self.scores)), self.activation)
        scores = scores.reshape(num, -1) if num else scores.reshape(0, 1)
        class_ids, class_names = scores.argmax(axis=1), None
        if self.classes:
            given = np.asarray(found(self.classes)).reshape(-1)
            if given.dtype.kind in "OUS":
                class_names = tuple(_text(each) for each in given)
                known = {name: number for number, name in enumerate(names)}
                class_ids = np.array([known.get(name, 0) for name in class_names], np.int64)
            else:
                class_ids = given.astype(np.int64)
        boxes = Boxes(
            xyxy=xyxy * np.tile(size, 2) if self.scale == "unit" else xyxy,
            confidence=scores.max(axis=1),
            class_id=class_ids,
            class_name=class_names or tuple(_label(names, int(number)) for number in class_ids),
        )
        boxes = boxes.select(boxes.confidence >= self.threshold)
        return boxes.select(np.argsort(-boxes.confidence, kind="stable"))


def at_path(document: Any, path: str) -> Any:
    """Return the value at `path` of JSON: keys and numbers of list items, with dots between; empty: all of it.

    Raises:
        InvalidInput: there is none.
    """
    value = document
    for part in path.split(".") if path else ():
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise InvalidInput(f"it has nothing at {path!r}")
    return value


def _numbers(value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise InvalidInput("it has no numbers there")
    if not np.isfinite(array).all():
        raise InvalidInput("it has numbers that are not finite")
    return array.astype(np.float64)


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if not isinstance(value, str):
        raise InvalidInput("it has no text there")
    return str(value)


def _activated(scores: Array, activation: str) -> Array:
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.clip(scores, -500, 500))))
    if activation == "softmax":
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    return scores


def _corners(boxes: Array, kind: str) -> Array:
    """Return left, top, right, bottom."""
    if kind == "xyxy":
        return boxes
    first, size = boxes[:, :2], boxes[:, 2:]
    if kind == "cxcywh":
        first = first - size / 2
    return np.concatenate([first, first + size], axis=1)


def _label(names: Sequence[str | None], class_id: int) -> str:
    known = 0 <= class_id < len(names)
    return (names[class_id] if known else None) or str(class_id)

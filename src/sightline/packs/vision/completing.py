"""What can be told of a picture model from its inputs and outputs, and recipes of preprocessing by name.

Used when a model is added whose file says nothing of itself. What the card has already is kept; what cannot be told is
an error with the field to give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from sightline.core.errors import InvalidInput, InvalidModel
from sightline.core.model import ModelCard, TensorSpec

_IMAGENET_MEAN, _IMAGENET_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]  # torchvision's, times 255
_NO_MEAN, _UNIT = [0.0, 0.0, 0.0], [255.0, 255.0, 255.0]
_YOLO_SIZE, _DETECTION_SIZE, _CLASSIFICATION_SIZE = 640, 640, 224

Recipe = Callable[[int, int], dict[str, Any]]

CLASSIFIER_RECIPES: Mapping[str, Recipe] = {
    "torchvision": lambda width, height: {
        "resize": "shorter",
        "shorter": round(max(width, height) * 256 / 224),  # as torchvision's reference transforms
        "colour": "rgb",
        "mean": _IMAGENET_MEAN,
        "std": _IMAGENET_STD,
    },
    "tensorflow": lambda width, height: {
        "resize": "shorter",
        "shorter": round(max(width, height) * 256 / 224),
        "colour": "rgb",
        "mean": [127.5] * 3,
        "std": [127.5] * 3,
    },
    "plain": lambda *_: {"resize": "stretch", "colour": "rgb", "mean": _NO_MEAN, "std": _UNIT},
}
"""Preprocessing of classifiers by name; the first is taken where none is named."""

DETECTOR_RECIPES: Mapping[str, Recipe] = {
    "yolo": lambda *_: {"resize": "letterbox", "pad": 114, "colour": "rgb", "mean": _NO_MEAN, "std": _UNIT},
    "torchvision": lambda *_: {"resize": "letterbox", "pad": 0, "colour": "rgb", "mean": _NO_MEAN, "std": _UNIT},
    "tensorflow": lambda *_: {"resize": "stretch", "colour": "rgb", "mean": [127.5] * 3, "std": [127.5] * 3},
    "plain": lambda *_: {"resize": "stretch", "colour": "rgb", "mean": _NO_MEAN, "std": _UNIT},
}
"""Preprocessing of detectors by name; where none is named the layout of the outputs decides."""


def complete_classifier(card: ModelCard, preset: str) -> ModelCard:
    """Return the card of a classifier with what it lacks; see `Predictor.completed`."""
    _check_preset(preset, CLASSIFIER_RECIPES)
    preprocessing = card.preprocessing or _preprocessing(
        card, CLASSIFIER_RECIPES, preset or "torchvision", _CLASSIFICATION_SIZE
    )
    postprocessing = card.postprocessing
    if not postprocessing:
        scores = [spec for spec in card.outputs if len(spec.shape) == 2]
        if len(scores) != 1:
            what = "which output holds the scores of the classes"
            raise _unclear(card, what, "outputs", 'postprocessing {"output": NAME, "activation": "softmax"}')
        postprocessing = {"output": scores[0].name, "activation": "softmax"}
    return replace(card, preprocessing=preprocessing, postprocessing=postprocessing)


def complete_detector(card: ModelCard, preset: str) -> ModelCard:
    """Return the card of a detector with what it lacks; see `Predictor.completed`."""
    _check_preset(preset, DETECTOR_RECIPES)
    postprocessing = card.postprocessing or _detector_outputs(card)
    layout = str(postprocessing.get("layout", ""))
    if not preset:
        preset = layout if layout in DETECTOR_RECIPES else "plain"
    preprocessing = card.preprocessing or _preprocessing(card, DETECTOR_RECIPES, preset, _DETECTION_SIZE)
    # Rows of a batch come out as one list of boxes when the net removes duplicates itself.
    batchable = card.batchable and layout != "torchvision"
    return replace(card, preprocessing=preprocessing, postprocessing=postprocessing, batchable=batchable)


def _preprocessing(card: ModelCard, recipes: Mapping[str, Recipe], preset: str, usual: int) -> dict[str, Any]:
    """Return a recipe for the input of the card."""
    pictures = [spec for spec in card.inputs if len(spec.shape) in (3, 4) and spec.dtype != "object"]
    if len(pictures) != 1:
        raise _unclear(card, "which input takes the picture", "inputs", 'preprocessing {"input": NAME, ...}')
    [spec] = pictures
    planar = _is_planar(spec)
    sides = spec.shape[-2:] if planar else spec.shape[-3:-1]
    height, width = (side if isinstance(side, int) and side > 0 else usual for side in sides)
    return {
        "input": spec.name,
        "size": [width, height],
        **recipes[preset](width, height),
        "layout": "NCHW" if planar else "NHWC",
        "dtype": spec.dtype,
    }


def _is_planar(spec: TensorSpec) -> bool:
    """True when colours come before rows and columns; where both could be, as most exports have it."""
    return spec.shape[-1] != 3 or spec.shape[-3] == 3


def _detector_outputs(card: ModelCard) -> dict[str, Any]:
    """Return the layout whose outputs the card has."""
    by_word = {
        word: spec.name for word in ("boxes", "labels", "scores") for spec in card.outputs if word in spec.name.lower()
    }
    ranks = {spec.name: len(spec.shape) for spec in card.outputs}
    if len(card.outputs) == 1 and ranks[card.outputs[0].name] == 3:
        return {"layout": "yolo", "output": card.outputs[0].name, "threshold": 0.35, "iou": 0.5}
    if len(by_word) == 3 and ranks[by_word["scores"]] in (1, 2):
        return {"layout": "torchvision", **by_word, "threshold": 0.5}
    if len(card.outputs) == 2:
        boxes = [spec for spec in card.outputs if spec.shape[-1] == 4]
        scores = [spec for spec in card.outputs if spec.shape[-1] != 4 and len(spec.shape) == 3]
        if len(boxes) == len(scores) == 1:
            names = {"boxes": boxes[0].name, "scores": scores[0].name}
            return {"layout": "ssd", **names, "threshold": 0.5, "iou": 0.5}
    what = "how the outputs are read"
    raise _unclear(card, what, "outputs", 'postprocessing {"layout": "yolo", "output": NAME}')


def _check_preset(preset: str, recipes: Mapping[str, Recipe]) -> None:
    if preset and preset not in recipes:
        raise InvalidInput(
            f"No preset is called {preset!r}. Known: {', '.join(recipes)}.",
            cure="Or give the preprocessing as JSON: see docs/reference/model-metadata.md",
        )


def _unclear(card: ModelCard, what: str, kind: Literal["inputs", "outputs"], field: str) -> InvalidModel:
    names = ", ".join(spec.name for spec in (card.inputs if kind == "inputs" else card.outputs))
    return InvalidModel(
        f"The model {card.name} does not tell {what}; its {kind}: {names or 'none'}.",
        cure=f"Give {field}: see docs/reference/model-metadata.md",
    )

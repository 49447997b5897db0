"""How a model of volumes is fed and read: what its card says, checked, and recipes by name.

`docs/how-to/segment-a-volume.md` lists the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sightline.core.errors import InvalidInput, InvalidModel
from sightline.core.model import ModelCard, TensorSpec
from sightline.packs.medical.card_fields import CardFields
from sightline.packs.medical.grids import is_orientation
from sightline.packs.medical.resampling import INTERPOLATIONS
from sightline.packs.medical.scaling import Normalising, normalising_of

TASK = "volume-segmentation"
INFERENCES = ("whole", "sliding")
LAYOUTS = ("NCDHW", "NDHWC")
ACTIVATIONS = ("none", "sigmoid", "softmax")
_FEEDING = (
    "input", "inference", "layout", "size", "spacing_mm", "orientation", "interpolation", "normalise", "box_model",
    "box_margin", "box_share",
)  # fmt: skip
_READING = ("output", "activation", "background", "components", "fill_holes")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a card says of a model of volumes.

    Attributes:
        input: name of the input that takes the volume.
        output: name of the output that is read.
        dtype: NumPy name of the input's type.
        inference: `whole` (the volume is stretched to `size`) or `sliding` (windows of `size`).
        channels_last: the net has [n, d, h, w, c] in place of [n, c, d, h, w].
        size: voxels of the input along its three axes.
        spacing_mm: millimetres between voxels that a `sliding` net wants; None: as the volume was taken.
        orientation: in which the voxel axes run, for instance `RAS`.
        interpolation: from the volume to `size` and back.
        normalising: from voxel values to the input.
        box_model: reference of a model of the same kind that finds the box of what is looked for; empty: none.
        box_margin: share of the box that is added on each side.
        box_share: share of a plane that must be found for it to lie in the box.
        activation: what makes probabilities of the output.
        has_background: the first channel is what is none of the labels; with one channel there is none such.
        largest: only the largest component of each label is kept.
        fills_holes: what is enclosed by a label becomes that label.
    """

    input: str
    output: str
    dtype: str
    inference: str
    channels_last: bool
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None
    orientation: str
    interpolation: str
    normalising: Normalising
    box_model: str
    box_margin: float
    box_share: float
    activation: str
    has_background: bool | None
    largest: bool
    fills_holes: bool


def recipe_of(card: ModelCard) -> Recipe:
    """Return the recipe of a card.

    Raises:
        InvalidModel: the card is for another task, or a field is missing, unknown or wrong.
    """
    if card.task not in ("", TASK):
        raise InvalidModel(
            f"The model {card.ref} is for {card.task}, not for {TASK}.",
            cure="Name another model, or use the predictor for its task.",
        )
    feeding, reading = CardFields(card, "preprocessing"), CardFields(card, "postprocessing")
    feeding.check_known(_FEEDING)
    reading.check_known(_READING)
    spec = _spec(card.inputs, feeding.text("input", ""), card, "input")
    size = feeding.sides("size")
    channels_last = feeding.choice("layout", LAYOUTS) == LAYOUTS[1]
    size = size or _fixed(spec, channels_last=channels_last)
    if size is None:
        raise feeding.wrong("size", "the three numbers of voxels of the input")
    orientation = feeding.text("orientation", "RAS")
    if not is_orientation(orientation):
        raise feeding.wrong("orientation", "an orientation such as RAS or LPS")
    background = reading.flag("background", default=True) if reading.has("background") else None
    return Recipe(
        input=spec.name,
        output=_spec(card.outputs, reading.text("output", ""), card, "output").name,
        dtype=spec.dtype,
        inference=feeding.choice("inference", INFERENCES),
        channels_last=channels_last,
        size=size,
        spacing_mm=feeding.numbers("spacing_mm", 0.05, 20),
        orientation=orientation,
        interpolation=feeding.choice("interpolation", INTERPOLATIONS, "linear"),
        normalising=normalising_of(card),
        box_model=feeding.text("box_model", ""),
        box_margin=feeding.number("box_margin", 0, 1, 0.1),
        box_share=feeding.number("box_share", 0, 1, 0.02),
        activation=reading.choice("activation", ACTIVATIONS),
        has_background=background,
        largest=reading.choice("components", ("all", "largest"), "all") == "largest",
        fills_holes=reading.flag("fill_holes", default=False),
    )


_DEEPBET: Mapping[str, Any] = {
    "inference": "whole",
    "layout": "NCDHW",
    "orientation": "RAS",
    "interpolation": "nearest",
    "normalise": {
        "kind": "percentile",
        "low": 0.5,
        "high": 99.5,
        "over": [128, 128, 128],
        "standardise": True,
        "scale": 0.226,
        "shift": 0.449,
    },
}
_ONE_BODY = {"activation": "none", "components": "largest", "fill_holes": True}
PRESETS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any], tuple[str, ...]]] = {
    "deepbrain": (
        {
            "inference": "whole",
            "size": [128, 128, 128],
            "orientation": "RAS",
            "interpolation": "area",
            "normalise": {"kind": "max"},
        },
        _ONE_BODY,
        ("background", "brain"),
    ),
    "deepbet": (
        {**_DEEPBET, "size": [256, 256, 256], "box_model": "deepbet-bbox", "box_margin": 0.1, "box_share": 0.02},
        _ONE_BODY,
        ("background", "brain"),
    ),
    "deepbet-bbox": (
        {**_DEEPBET, "size": [128, 128, 128]},
        {"activation": "none", "components": "largest"},
        ("background", "head box"),
    ),
}
"""Recipes by name: feeding, reading, labels. Those of deepbet are what PyPI deepbet 1.0.2 does."""


def completed_card(card: ModelCard, preset: str) -> ModelCard:
    """Return the card of a model with what it lacks; see `Predictor.completed`.

    Raises:
        InvalidInput: there is no such preset.
        InvalidModel: something is missing that cannot be told from the file.
    """
    if preset and preset not in PRESETS:
        raise InvalidInput(f"No recipe is called {preset!r}. Known: {', '.join(PRESETS)}.")
    feeding, reading, labels = PRESETS[preset] if preset else ({}, {}, ())
    spec = _spec(card.inputs, str(card.preprocessing.get("input", "")), card, "input")
    told: dict[str, Any] = {"input": spec.name}
    if layout := _layout(spec):
        told["layout"] = layout
    told_out = {"output": card.outputs[0].name} if len(card.outputs) == 1 else {}
    card = replace(
        card,
        preprocessing={**told, **feeding, **card.preprocessing},
        postprocessing={**told_out, **reading, **card.postprocessing},
        labels=card.labels or labels,
        batchable=False,  # two windows at once take twice the memory and are no faster: workers run side by side
    )
    if "normalise" not in card.preprocessing:
        raise InvalidModel(
            f"What the voxel values of {card.name} must be like cannot be told from the file.",
            cure=f"Name a recipe ({', '.join(PRESETS)}) or write --preprocess "
            '\'{"inference": "sliding", "size": 96, "normalise": {"kind": "zscore"}}\'',
        )
    recipe_of(card)
    return card


def _spec(specs: tuple[TensorSpec, ...], name: str, card: ModelCard, what: str) -> TensorSpec:
    """Return the input or output that is meant."""
    if name:
        found = [spec for spec in specs if spec.name == name]
        # A card without inputs is one of a file that was not opened; a session's own has them.
        return found[0] if found else _unknown(specs, name, card, what)
    if len(specs) == 1:
        return specs[0]
    raise InvalidModel(
        f"The model {card.ref} has {len(specs)} {what}s, and its card does not say which one counts.",
        cure=f'Write it into the file: "{what}": NAME',
    )


def _unknown(specs: tuple[TensorSpec, ...], name: str, card: ModelCard, what: str) -> TensorSpec:
    if specs:
        known = ", ".join(spec.name for spec in specs)
        raise InvalidModel(f"The model {card.ref} has no {what} {name!r}, only {known}.")
    return TensorSpec(name=name, dtype="float32", shape=())


def _layout(spec: TensorSpec) -> str:
    """Return the order of axes where the shape tells it, else nothing."""
    if len(spec.shape) == 5 and (spec.shape[1] == 1) != (spec.shape[4] == 1):
        return LAYOUTS[0] if spec.shape[1] == 1 else LAYOUTS[1]
    return ""


def _fixed(spec: TensorSpec, *, channels_last: bool) -> tuple[int, int, int] | None:
    """Return the size of the input where the file fixes it."""
    sides = spec.shape[1:4] if channels_last else spec.shape[2:5]
    if len(sides) != 3:
        return None
    first, second, third = sides
    if isinstance(first, int) and isinstance(second, int) and isinstance(third, int):
        return first, second, third
    return None

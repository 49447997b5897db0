"""A model: its name, version, aliases, and the card that tells how it is fed and read.

The card lives in the ONNX file itself (`metadata_props` under `sightline.*`, see `onnx_metadata`), so that a
file needs no other file beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sightline.core.errors import InvalidInput, InvalidModel
from sightline.core.prediction import JsonObject

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TEXT_FIELDS = ("name", "version", "task", "title", "description", "licence", "source", "digest")
_JSON_FIELDS = ("labels", "preprocessing", "postprocessing", "metrics")


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """An input or output of a model.

    Attributes:
        dtype: NumPy name, for instance `float32`; `object` for strings.
        shape: a number, or a name or None for an axis that may vary.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """How a model is fed and read, where it comes from, and how good it is.

    Attributes:
        task: Hugging Face pipeline name, for instance `object-detection`; empty when the file does not say.
        labels: name of each class by its id; None for an id that is not used.
        preprocessing: see `docs/reference/model-metadata.md`.
        postprocessing: see the same page.
        digest: `sha256:...` of the file without its `sightline.*` metadata.
        batchable: False when rows of a batch influence each other, or the net has a fixed batch.
    """

    name: str
    version: str = "1"
    task: str = ""
    title: str = ""
    description: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    labels: tuple[str | None, ...] = ()
    preprocessing: JsonObject = field(default_factory=dict)
    postprocessing: JsonObject = field(default_factory=dict)
    metrics: JsonObject = field(default_factory=dict)
    licence: str = ""
    source: str = ""
    digest: str = ""
    batchable: bool = True

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def sees_volumes(self) -> bool:
        """True for tasks such as `volume-segmentation`: each call is long, and takes much memory."""
        return self.task.startswith("volume-")

    def label(self, class_id: int) -> str:
        """Return the name of a class; its number where the card has none."""
        known = 0 <= class_id < len(self.labels)
        return (self.labels[class_id] if known else None) or str(class_id)

    def to_props(self) -> dict[str, str]:
        """Return the `sightline.*` metadata of this card."""
        props = {"sightline.schema": "1", "sightline.batchable": json.dumps(self.batchable)}
        for key in _TEXT_FIELDS:
            if value := getattr(self, key):
                props[f"sightline.{key}"] = value
        for key in _JSON_FIELDS:
            if value := getattr(self, key):
                props[f"sightline.{key}"] = json.dumps(value, ensure_ascii=False)
        return props


def card_from_props(
    props: Mapping[str, str],
    *,
    name: str,
    inputs: Sequence[TensorSpec] = (),
    outputs: Sequence[TensorSpec] = (),
) -> ModelCard:
    """Return the card that a file's metadata describes; `name` is used where the file has none.

    Raises:
        InvalidModel: a value is no valid JSON or of the wrong type.
    """
    fields: dict[str, Any] = {"name": name}
    for key in _TEXT_FIELDS:
        if value := props.get(f"sightline.{key}"):
            fields[key] = value
    for key in _JSON_FIELDS:
        if value := props.get(f"sightline.{key}"):
            fields[key] = _parsed(key, value, list if key == "labels" else dict)
    if "labels" in fields:
        if not all(label is None or isinstance(label, str) for label in fields["labels"]):
            raise InvalidModel("The model's metadata sightline.labels has something other than names.")
        fields["labels"] = tuple(fields["labels"])
    if value := props.get("sightline.batchable"):
        fields["batchable"] = _parsed("batchable", value, bool)
    return ModelCard(inputs=tuple(inputs), outputs=tuple(outputs), **fields)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model version that the platform knows.

    Attributes:
        files: file name -> artifact key; `model.onnx` is the one that runs.
        aliases: names that point at this version now.
    """

    name: str
    version: str
    card: ModelCard
    files: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    created: datetime | None = None

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


def checked_model_name(name: str) -> str:
    """Return `name`.

    Raises:
        InvalidInput: it is no model name.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no model name.", cure="Use letters, digits, '.', '_' and '-', at most 128.")
    return name


def split_ref(ref: str) -> tuple[str, str | None]:
    """Split `name@version-or-alias` in two; the second is None when the reference has none.

    Raises:
        InvalidInput: it is no model reference.
    """
    name, at, version = ref.partition("@")
    checked_model_name(name)
    return name, checked_model_name(version) if at else None


def named_version(name: str, version: str | None = None) -> tuple[str, str | None]:
    """Return name and version of a model that is called by its name, or by `name@version-or-alias`.

    Raises:
        InvalidInput: it is no model reference, or two versions are given.
    """
    if "@" not in name:
        return name, version
    called, found = split_ref(name)
    if version not in (None, found):
        raise InvalidInput(f"The model is called {name!r}, and its version {version!r}.", cure="Name one version.")
    return called, found


def _parsed(key: str, value: str, kind: type) -> Any:
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without an end
        raise InvalidModel(f"The model's metadata sightline.{key} is no JSON: {error}.") from None
    if not isinstance(parsed, kind):
        raise InvalidModel(f"The model's metadata sightline.{key} is no {kind.__name__}.")
    return parsed

"""What the Open Inference Protocol says of a model, made from its card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sightline.core.model import ModelCard, TensorSpec
from sightline.core.oip import datatype_of

PLATFORM = "onnxruntime_onnx"


def described_model(name: str, card: ModelCard, versions: Sequence[str]) -> dict[str, Any]:
    """Return the metadata of a model; axes that may vary are -1.

    Beyond the protocol, `parameters` has what the card says, so that a client can prepare its input.
    """
    return {
        "name": name,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [_tensor(spec) for spec in card.inputs],
        "outputs": [_tensor(spec) for spec in card.outputs],
        "parameters": {
            "version": card.version,
            "task": card.task,
            "labels": list(card.labels),
            "preprocessing": dict(card.preprocessing),
            "postprocessing": dict(card.postprocessing),
            "licence": card.licence,
            "digest": card.digest,
        },
    }


def model_config(name: str, card: ModelCard) -> dict[str, Any]:
    """Return the part of Triton's model configuration that clients read."""
    return {
        "name": name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": 0,  # every shape holds its batch axis
        "input": [_config(spec) for spec in card.inputs],
        "output": [_config(spec) for spec in card.outputs],
    }


def sides_of(spec: TensorSpec) -> list[int]:
    """Return the shape of a tensor, -1 where it may vary."""
    return [side if isinstance(side, int) else -1 for side in spec.shape]


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": datatype_of(spec.dtype), "shape": sides_of(spec)}


def _config(spec: TensorSpec) -> dict[str, Any]:
    datatype = datatype_of(spec.dtype)
    kind = "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
    return {"name": spec.name, "data_type": kind, "dims": sides_of(spec)}

"""Tensors of the Open Inference Protocol, binary in both directions: JSON that describes them, then their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline.core.codec import to_json
from sightline.core.errors import InvalidInput, InvalidModel, SightlineError
from sightline.core.oip import as_texts, datatype_of, read_outputs, to_raw
from sightline.core.ports import Array, Tensors


def write_request(inputs: Tensors, outputs: Sequence[str] | None = None) -> tuple[tuple[bytes | memoryview, ...], int]:
    """Return the parts of the body of a request, and the length of the first one, which is JSON.

    Args:
        inputs: by name; texts are an array of `str` or `bytes`.
        outputs: names of those that are wanted; None: all.

    Raises:
        InvalidInput: an array has a type that the protocol does not know.
    """
    described: list[dict[str, Any]] = []
    raw: list[bytes | memoryview] = []
    for name, given in inputs.items():
        array = np.asarray(given)
        try:
            datatype = datatype_of(array.dtype)
        except InvalidModel:
            raise InvalidInput(
                f"Input {name!r} is {array.dtype}, which cannot be sent.", cure="Make it float32."
            ) from None
        if array.dtype == object and not all(isinstance(item, str | bytes) for item in array.flat):
            raise InvalidInput(f"Input {name!r} holds something else among its texts.", cure="Send str or bytes.")
        data = to_raw(array)
        parameters = {"binary_data_size": len(data)}
        described.append({"name": name, "datatype": datatype, "shape": list(array.shape), "parameters": parameters})
        raw.append(data)
    document: dict[str, Any] = {"inputs": described, "parameters": {"binary_data_output": True}}
    if outputs is not None:
        document["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    head = to_json(document)
    return (head, *(part for part in raw if part)), len(head)


def read_answer(body: bytes, header_length: str) -> dict[str, Array]:
    """Return the outputs of an answer by name: read-only views of its bytes, and arrays of `str` for texts.

    Args:
        body: all of it.
        header_length: the header `Inference-Header-Content-Length`; empty when all is JSON.

    Raises:
        SightlineError: it is no answer of that protocol.
    """
    try:
        return dict(as_texts(read_outputs(body, header_length)))
    except InvalidInput as error:
        raise SightlineError(f"The answer is none of the Open Inference Protocol: {error}.") from None


def split_model(model: str, version: str | int | None) -> tuple[str, str | None]:
    """Return name and version of `name`, `name@version` or `name@alias`.

    Raises:
        InvalidInput: a version is given twice.
    """
    name, at, inside = model.partition("@")
    if at and version is not None:
        raise InvalidInput(f"{model!r} names a version already, and version={version!r} is given too.")
    return name, inside if at else None if version is None else str(version)

"""Tensors as nested JSON lists, as `/forward` takes and gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sightline.core.errors import InvalidInput
from sightline.core.model import ModelCard, TensorSpec
from sightline.core.ports import Array

_PLAIN = {"b": "true or false", "i": "whole numbers", "u": "whole numbers", "f": "numbers", "O": "texts"}


def read_tensors(inputs: Mapping[str, Any], card: ModelCard) -> dict[str, Array]:
    """Return the inputs of a model from nested lists, each of the type that its card says.

    Raises:
        InvalidInput: one is missing, unknown, uneven, or holds something else than the model takes.
    """
    specs = {spec.name: spec for spec in card.inputs}
    if set(inputs) != set(specs):
        wanted = ", ".join(repr(name) for name in specs)
        given = ", ".join(repr(name[:60]) for name in inputs) or "nothing"
        raise InvalidInput(f"{card.ref} needs the inputs {wanted}; given: {given}.", cure="See GET /metadata.")
    return {name: _tensor(inputs[name], spec) for name, spec in specs.items()}


def plain(array: Array) -> Any:
    """Return an output as it travels in JSON; NaN and infinities become null there."""
    if array.dtype.kind in "OSU":
        return _texts(array.tolist())
    return np.ascontiguousarray(array)


def _tensor(value: Any, spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.dtype)
    wrong = InvalidInput(f"Input {spec.name!r} must be a nested list of {_PLAIN[dtype.kind]}, even in all rows.")
    try:
        if dtype.kind == "O":
            texts = np.array(value, np.str_) if _is_texts(value) else None
            if texts is None:
                raise wrong
            return texts.astype(object)
        found = np.asarray(value)
    except (ValueError, OverflowError, RecursionError):
        raise wrong from None
    if not found.size and found.dtype.kind == "f":
        return found.astype(dtype)
    if found.dtype.kind not in {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}[dtype.kind]:
        raise wrong
    if dtype.kind in "iu" and found.size:
        limits = np.iinfo(dtype)
        if int(found.min()) < limits.min or int(found.max()) > limits.max:
            raise InvalidInput(f"Input {spec.name!r} has a number that is no {dtype.name}.")
    with np.errstate(over="ignore"):
        tensor = found.astype(dtype)
    if dtype.kind == "f" and not np.isfinite(tensor).all():
        raise InvalidInput(f"Input {spec.name!r} has a number that is no {dtype.name}.")
    return tensor


def _is_texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(_is_texts(item) for item in value))


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

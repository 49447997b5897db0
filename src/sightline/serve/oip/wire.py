"""Requests and answers of the Open Inference Protocol: JSON, or JSON followed by the raw bytes of tensors.

Knows bytes and arrays; knows no model and no server.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sightline.core.codec import to_json
from sightline.core.errors import InvalidInput
from sightline.core.oip import (
    checked_datatype,
    checked_shape,
    datatype_of,
    from_list,
    from_raw,
    to_list,
    to_raw,
)
from sightline.core.ports import Array, Tensors
from sightline.serve.bodies import read_json

_MOST_TENSORS = 256
_MOST_TEXTS = 1 << 16  # each costs as much as thousands of numbers, and while they are made nobody else is answered


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """An output that the caller asked for.

    Attributes:
        binary: raw bytes instead of JSON.
        classes: the best so many classes as texts `score:id:label`; 0 gives the tensor itself.
    """

    name: str
    binary: bool
    classes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """What was asked.

    Attributes:
        outputs: in the order of the request; empty asks for all.
        binary: form of the outputs that are not named.
        timeout_s: from the parameter `timeout`, in microseconds there; None: no limit.
    """

    id: str
    inputs: Tensors
    outputs: tuple[WantedOutput, ...] = ()
    binary: bool = False
    timeout_s: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


def read_request(body: bytes, header_length: str = "") -> InferRequest:
    """Parse a request.

    Args:
        body: JSON, and behind it the raw tensors.
        header_length: the header `Inference-Header-Content-Length`; empty when all is JSON.

    Raises:
        InvalidInput: anything is missing, too long, too short or of a wrong type.
    """
    view = memoryview(body)
    size = _header_size(header_length, len(body))
    document = read_json(body if size == len(body) else bytes(view[:size]))
    if not isinstance(document, dict):
        raise InvalidInput("The request is no JSON object.", cure='Send {"inputs": [...]}.')
    inputs, rest = _inputs(_list(document, "inputs", least=1), view[size:])
    if rest:
        raise InvalidInput(f"{rest} bytes stand behind the last tensor.", cure="Check binary_data_size of the inputs.")
    parameters = _parameters(document, "The request")
    binary = _flag(parameters, "binary_data_output", "The request")
    return InferRequest(
        id=_identity(document),
        inputs=inputs,
        outputs=tuple(_wanted(item, binary=binary) for item in _list(document, "outputs")),
        binary=binary,
        timeout_s=timeout_s(parameters),
        parameters=parameters,
    )


def write_answer(
    outputs: Tensors,
    wanted: Sequence[WantedOutput],
    *,
    model: str,
    version: str,
    request_id: str = "",
    labels: Sequence[str | None] = (),
) -> tuple[bytes, int]:
    """Return the body of an answer and the length of its JSON (0 where all of it is JSON).

    Raises:
        InvalidInput: an output is asked for that the model does not have.
    """
    described: list[dict[str, Any]] = []
    raw: list[bytes | memoryview] = []
    for want in wanted:
        array = outputs.get(want.name)
        if array is None:
            raise InvalidInput(f"{model} has no output {want.name!r}.", cure=f"Its outputs: {', '.join(outputs)}.")
        if want.classes:
            array = best_classes(array, want.classes, labels)
        entry: dict[str, Any] = {
            "name": want.name,
            "datatype": datatype_of(array.dtype),
            "shape": list(array.shape),
        }
        if want.binary:
            part = to_raw(array)
            entry["parameters"] = {"binary_data_size": len(part)}
            raw.append(part)
        else:
            entry["data"] = to_list(array, f"Output {want.name!r}")
        described.append(entry)
    document: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request_id:
        document["id"] = request_id
    head = to_json(document)
    return (b"".join((head, *raw)), len(head)) if raw else (head, 0)


def best_classes(array: Array, num: int, labels: Sequence[str | None]) -> Array:
    """Return the best classes of each row as texts `score:id:label`, the best first.

    Args:
        array: scores, numbers [..., C].
        num: most classes of a row.
        labels: names by class id; where they end, the text does too.

    Raises:
        InvalidInput: the output holds no numbers, has no axis of classes, or the texts would be too many.
    """
    if array.ndim == 0 or not array.shape[-1] or array.dtype.kind not in "iuf":
        raise InvalidInput("Classes can only be named of an output of numbers with an axis of classes.")
    rows = array.reshape(-1, array.shape[-1])
    num = min(num, rows.shape[1])
    check_texts(num * len(rows), "The output")
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :num]
    texts = np.empty(best.shape, object)
    for row, ids in enumerate(best):
        for place, class_id in enumerate(ids.tolist()):
            label = labels[class_id] if class_id < len(labels) else None
            texts[row, place] = f"{rows[row, class_id]:f}:{class_id}{f':{label}' if label else ''}".encode()
    return texts.reshape(*array.shape[:-1], num)


def check_texts(num: int, where: str) -> None:
    """Check the number of texts that are to be made, for BYTES or for the names of classes.

    Raises:
        InvalidInput: they are too many.
    """
    if num > _MOST_TEXTS:
        raise InvalidInput(f"{where} has {num} texts; at most {_MOST_TEXTS} are taken.", cure="Send several requests.")


def _header_size(given: str, total: int) -> int:
    if not given:
        return total
    if not given.isascii() or not given.isdigit() or len(given) > 12 or int(given) > total:
        raise InvalidInput(
            f"Inference-Header-Content-Length is {given[:40]!r} of a body of {total} bytes.",
            cure="It is the number of bytes of the JSON before the tensors.",
        )
    return int(given)


def _inputs(described: Sequence[Any], raw: memoryview) -> tuple[dict[str, Array], int]:
    """Return the tensors by name, and how many bytes none of them took."""
    inputs: dict[str, Array] = {}
    start = 0
    for item in described:
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or not name:
            raise InvalidInput("An input has no name.", cure='Send {"name": ..., "shape": ..., "datatype": ...}.')
        where = f"Input {name!r}"
        if name in inputs:
            raise InvalidInput(f"{where} is there twice.")
        datatype = checked_datatype(item.get("datatype"), where)
        shape = checked_shape(item.get("shape"), where)
        check_texts(math.prod(shape) if datatype == "BYTES" else 0, where)
        size = _parameters(item, where).get("binary_data_size")
        if size is None:
            if "data" not in item:
                raise InvalidInput(f"{where} has neither data nor binary_data_size.")
            inputs[name] = from_list(item["data"], datatype, shape, where)
            continue
        if type(size) is not int or size < 0 or "data" in item:
            raise InvalidInput(f"{where} needs either data, or binary_data_size as a number of bytes.")
        if start + size > len(raw):
            raise InvalidInput(f"{where} has {size} bytes by its binary_data_size, and {len(raw) - start} follow.")
        inputs[name] = from_raw(raw[start : start + size], datatype, shape, where)
        start += size
    return inputs, len(raw) - start


def _wanted(item: Any, *, binary: bool) -> WantedOutput:
    name = item.get("name") if isinstance(item, dict) else None
    if not isinstance(name, str) or not name:
        raise InvalidInput("An output that is asked for has no name.")
    where = f"Output {name!r}"
    parameters = _parameters(item, where)
    classes = parameters.get("classification", 0)
    if type(classes) is not int or not 0 <= classes < 1 << 31:
        raise InvalidInput(f"{where}: classification is a number of classes.")
    return WantedOutput(name, _flag(parameters, "binary_data", where, otherwise=binary), classes)


def _list(document: Mapping[str, Any], key: str, *, least: int = 0) -> list[Any]:
    items = document.get(key, [])
    if not isinstance(items, list) or not least <= len(items) <= _MOST_TENSORS:
        raise InvalidInput(f"`{key}` must be a list of {least} to {_MOST_TENSORS} tensors.")
    return items


def _parameters(item: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    parameters = item.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidInput(f"{where}: `parameters` must be an object.")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, where: str, *, otherwise: bool = False) -> bool:
    value = parameters.get(name, otherwise)
    if not isinstance(value, bool):
        raise InvalidInput(f"{where}: {name} must be true or false.")
    return value


def _identity(document: Mapping[str, Any]) -> str:
    identity = document.get("id", "")
    if not isinstance(identity, str) or len(identity) > 256:
        raise InvalidInput("`id` must be a text of at most 256 characters.")
    return identity


def timeout_s(parameters: Mapping[str, Any]) -> float | None:
    """Return the parameter `timeout`, microseconds, in seconds; None where there is none, or 0.

    Raises:
        InvalidInput: it is no number of microseconds.
    """
    timeout = parameters.get("timeout")
    if timeout is None or timeout == 0:
        return None
    if type(timeout) is not int or timeout < 0:
        raise InvalidInput("The parameter timeout is a number of microseconds.")
    return timeout / 1e6

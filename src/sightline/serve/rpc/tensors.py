"""Requests and answers of the Open Inference Protocol as gRPC carries them, to and from those that HTTP shares.

Tensors come as raw bytes, of which arrays are views, or as lists of numbers (`contents`); they are answered in the form
in which they came.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from sightline.core.errors import InvalidInput
from sightline.core.oip import DTYPES, checked_datatype, checked_shape, datatype_of, from_raw, to_raw
from sightline.core.ports import Array, Tensors
from sightline.serve.oip.wire import InferRequest, WantedOutput, best_classes, check_texts, timeout_s
from sightline.serve.rpc.messages import message
from sightline.serve.rpc.wire import split_request

ModelInferResponse = message("inference.ModelInferResponse")
CONTENTS: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "bool_contents",
        "INT8": "int_contents",
        "INT16": "int_contents",
        "INT32": "int_contents",
        "INT64": "int64_contents",
        "UINT8": "uint_contents",
        "UINT16": "uint_contents",
        "UINT32": "uint_contents",
        "UINT64": "uint64_contents",
        "FP32": "fp32_contents",
        "FP64": "fp64_contents",
        "BYTES": "bytes_contents",
    }
)
"""Datatype -> the list of `InferTensorContents` that holds it; FP16 has none."""

WANTS_FINAL, IS_FINAL = "triton_enable_empty_final_response", "triton_final_response"
"""Parameters by which a client of a stream learns that no further answer to a request comes."""

_MOST_TENSORS = 256
_MOST_ID = 256
_MOST_NUMBERS = 1 << 22  # in `contents`, where each is looked at by itself while nobody else is answered


def read_request(data: bytes) -> tuple[str, str, InferRequest]:
    """Return name and version of the model that is asked, and what it is asked.

    `InferRequest.binary` says that the answer goes as raw bytes.

    Raises:
        InvalidInput: the bytes are no ModelInferRequest, or its tensors do not fit what it says of them.
    """
    request, raw = split_request(data)
    if not 1 <= len(request.inputs) <= _MOST_TENSORS or len(request.outputs) > _MOST_TENSORS:
        raise InvalidInput(f"A request has 1 to {_MOST_TENSORS} inputs, and asks for at most {_MOST_TENSORS} outputs.")
    if len(request.id) > _MOST_ID:
        raise InvalidInput(f"`id` must be a text of at most {_MOST_ID} characters.")
    has_contents = any(each.HasField("contents") for each in request.inputs)
    if raw and (has_contents or len(raw) != len(request.inputs)):
        raise InvalidInput(
            f"{len(raw)} raw_input_contents came with {len(request.inputs)} inputs.",
            cure="Send one for each input and no contents, or contents only.",
        )
    parameters = {name: _value(each) for name, each in request.parameters.items()}
    return (
        request.model_name,
        request.model_version,
        InferRequest(
            id=request.id,
            inputs=_inputs(request.inputs, raw),
            outputs=tuple(_wanted(each) for each in request.outputs),
            binary=bool(raw) or not has_contents,
            timeout_s=timeout_s(parameters),
            parameters=parameters,
        ),
    )


def make_response(
    outputs: Tensors, request: InferRequest, *, model: str, version: str, labels: Sequence[str | None] = ()
) -> tuple[Any, list[bytes | memoryview]]:
    """Return a ModelInferResponse, and the raw contents that go behind it (`wire.join_response`).

    Raises:
        InvalidInput: an output is asked for that the model does not have.
    """
    response = ModelInferResponse(model_name=model, model_version=version, id=request.id)
    if request.parameters.get(WANTS_FINAL):
        response.parameters[IS_FINAL].bool_param = True  # each request has one answer here
    found = []
    for want in request.outputs or [WantedOutput(name, binary=True) for name in outputs]:
        array = outputs.get(want.name)
        if array is None:
            raise InvalidInput(f"{model} has no output {want.name!r}.", cure=f"Its outputs: {', '.join(outputs)}.")
        found.append((want.name, best_classes(array, want.classes, labels) if want.classes else array))
    # All or none travel as raw bytes.
    binary = request.binary or any(datatype_of(array.dtype) not in CONTENTS for _, array in found)
    raw: list[bytes | memoryview] = []
    for name, array in found:
        output = response.outputs.add(name=name, datatype=datatype_of(array.dtype), shape=array.shape)
        if binary:
            raw.append(to_raw(array))
        else:
            _fill(output.contents, output.datatype, array)
    return response, raw


def _inputs(described: Sequence[Any], raw: Sequence[memoryview]) -> dict[str, Array]:
    inputs: dict[str, Array] = {}
    for index, item in enumerate(described):
        name = item.name
        where = f"Input {name!r}"
        if name in inputs or not name:
            raise InvalidInput(f"{where} is there twice." if name else "An input has no name.")
        if "shared_memory_region" in item.parameters:
            raise InvalidInput(f"{where} lies in shared memory, which is not taken.", cure="Send the tensor itself.")
        datatype = checked_datatype(item.datatype, where)
        shape = checked_shape(tuple(item.shape), where)
        check_texts(math.prod(shape) if datatype == "BYTES" else 0, where)
        if raw:
            inputs[name] = from_raw(raw[index], datatype, shape, where)
        else:
            inputs[name] = _from_contents(item.contents, datatype, shape, where)
    return inputs


def _from_contents(contents: Any, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """Return the tensor in an `InferTensorContents`."""
    field = CONTENTS.get(datatype)
    if field is None:
        raise InvalidInput(f"{where} is {datatype}.", cure="Send it in raw_input_contents.")
    others = [each.name for each, _ in contents.ListFields() if each.name != field]
    if others:
        raise InvalidInput(f"{where} is {datatype}, and its elements are in {others[0]}.", cure=f"Use {field}.")
    values = getattr(contents, field)
    if len(values) != math.prod(shape):
        raise InvalidInput(f"{where} has {len(values)} elements; {datatype} {list(shape)} has {math.prod(shape)}.")
    if len(values) > _MOST_NUMBERS:
        raise InvalidInput(f"{where} has {len(values)} elements in {field}.", cure="Send them as raw_input_contents.")
    if datatype == "BYTES":
        texts = np.empty(len(values), object)
        texts[:] = list(values)
        return texts.reshape(shape)
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind in "iu" and dtype.itemsize < 4 and values:
        limits = np.iinfo(dtype)
        if min(values) < limits.min or max(values) > limits.max:
            raise InvalidInput(f"{where} has numbers outside of {datatype}: {limits.min} to {limits.max}.")
    return np.fromiter(values, dtype, len(values)).reshape(shape)


def _fill(contents: Any, datatype: str, array: Array) -> None:
    """Write a tensor into an `InferTensorContents`."""
    values = array.ravel().tolist()
    if datatype == "BYTES":
        values = [item if isinstance(item, bytes) else str(item).encode() for item in values]
    getattr(contents, CONTENTS[datatype]).extend(values)


def _wanted(item: Any) -> WantedOutput:
    where = f"Output {item.name!r}"
    if not item.name:
        raise InvalidInput("An output that is asked for has no name.")
    if "shared_memory_region" in item.parameters:
        raise InvalidInput(f"{where} shall go into shared memory, which is not taken.", cure="Leave that out.")
    classes = _value(item.parameters["classification"]) if "classification" in item.parameters else 0
    if type(classes) is not int or not 0 <= classes < 1 << 31:
        raise InvalidInput(f"{where}: classification is a number of classes.")
    return WantedOutput(item.name, binary=True, classes=classes)


def _value(parameter: Any) -> Any:
    """Return the value of an `InferParameter`; None where it has none."""
    chosen = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, chosen) if chosen else None

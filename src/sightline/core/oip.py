"""Datatypes of the Open Inference Protocol and their arrays, for servers and clients, HTTP and gRPC alike.

BYTES elements are `bytes` in arrays of objects; on the wire each has its length before it, 4 bytes little-endian.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.codec import from_json
from sightline.core.errors import InvalidInput, InvalidModel
from sightline.core.ports import Array, Tensors

DTYPES: Mapping[str, npt.DTypeLike] = MappingProxyType(
    {
        "BOOL": np.bool_,
        "UINT8": np.uint8,
        "UINT16": np.uint16,
        "UINT32": np.uint32,
        "UINT64": np.uint64,
        "INT8": np.int8,
        "INT16": np.int16,
        "INT32": np.int32,
        "INT64": np.int64,
        "FP16": np.float16,
        "FP32": np.float32,
        "FP64": np.float64,
    }
)
"""Datatypes of a fixed size; BYTES is the one without, and BF16 has no NumPy type."""

_NUMERIC: Mapping[str, np.dtype[Any]] = {name: np.dtype(kind).newbyteorder("<") for name, kind in DTYPES.items()}
_NAMES = {np.dtype(kind): name for name, kind in DTYPES.items()} | {np.dtype(object): "BYTES"}
_MOST_SIDES = 32
_MOST_ELEMENTS = 1 << 40  # of a shape with a side of 0, to which no number of bytes sets a limit


def datatype_of(dtype: str | np.dtype[Any]) -> str:
    """Return the datatype of a NumPy type.

    Raises:
        InvalidModel: the protocol has none for it.
    """
    kind = np.dtype(dtype)
    name = "BYTES" if kind.kind in "US" else _NAMES.get(kind.newbyteorder("=") if kind.kind != "O" else kind)
    if name is None:
        raise InvalidModel(f"The Open Inference Protocol has no datatype for {kind}.", cure="Export it as float32.")
    return name


def checked_datatype(datatype: Any, where: str) -> str:
    """Return `datatype`.

    Raises:
        InvalidInput: it is none that can be taken.
    """
    if datatype == "BYTES" or (isinstance(datatype, str) and datatype in DTYPES):
        return str(datatype)
    raise InvalidInput(
        f"{where} has the datatype {datatype!r}, which is not taken.", cure=f"Use one of {', '.join(DTYPES)}, BYTES."
    )


def checked_shape(shape: Any, where: str) -> tuple[int, ...]:
    """Return `shape`.

    Raises:
        InvalidInput: it is no list of whole numbers from 0 on, or no tensor can be so large.
    """
    if not isinstance(shape, Sequence) or isinstance(shape, str | bytes) or len(shape) > _MOST_SIDES:
        raise InvalidInput(f"{where} needs a shape, a list of whole numbers.")
    if any(type(side) is not int or side < 0 for side in shape):
        raise InvalidInput(f"{where} has the shape {list(shape)}; every side is a whole number from 0 on.")
    if 0 in shape and math.prod(filter(None, shape)) > _MOST_ELEMENTS:  # no bytes are needed, and NumPy cannot count it
        raise InvalidInput(f"{where} has the shape {list(shape)}, which is too large.")
    return tuple(shape)


def from_raw(raw: memoryview | bytes, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """Return the array that lies in `raw`, a view of it where the elements have a fixed size.

    Raises:
        InvalidInput: `raw` has another length than shape and datatype say.
    """
    num = math.prod(shape)
    if datatype == "BYTES":
        return _texts(memoryview(raw), num, where).reshape(shape)
    dtype = _NUMERIC[datatype]
    if len(raw) != num * dtype.itemsize:
        raise InvalidInput(
            f"{where} has {len(raw)} bytes; {datatype} {list(shape)} has {num * dtype.itemsize}.",
            cure="Send shape, datatype and bytes of the same tensor.",
        )
    if datatype == "BOOL" and num and int(np.frombuffer(raw, np.uint8).max()) > 1:
        raise InvalidInput(f"{where} has bytes other than 0 and 1, which no BOOL has.")
    return np.frombuffer(raw, dtype).reshape(shape)


def from_list(data: Any, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """Return the array of a JSON list, nested or flat.

    Raises:
        InvalidInput: an element is of another type, or out of range, or they are too many or too few.
    """
    if datatype == "BYTES":
        flat = [_text(item, where) for item in _flat(data, where)]
        _check_number(len(flat), shape, datatype, where)
        texts = np.empty(len(flat), object)
        texts[:] = flat
        return texts.reshape(shape)
    if isinstance(data, list) and len(data) > max(1, math.prod(shape)):  # before an array is made of a huge list
        _check_number(len(data), shape, datatype, where)
    try:
        found = np.asarray(data)
    except ValueError:
        raise InvalidInput(f"{where} has lists of different lengths.") from None
    except OverflowError:
        raise InvalidInput(f"{where} has a number that no datatype takes.") from None
    dtype = np.dtype(DTYPES[datatype])
    _check_number(found.size, shape, datatype, where)
    if not found.size:
        return np.empty(shape, dtype)
    if datatype == "UINT64" and found.dtype.kind in "fO":  # NumPy makes floats of whole numbers on both sides of 2**63
        found = _large_numbers(data, where)
    allowed = {"b": "b", "u": "ui", "i": "ui", "f": "uif"}[dtype.kind]
    if found.dtype.kind not in allowed:
        raise InvalidInput(f"{where} has elements that are no {datatype}.", cure="Send numbers of that datatype.")
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        if int(found.min()) < limits.min or int(found.max()) > limits.max:
            raise InvalidInput(f"{where} has numbers outside of {datatype}: {limits.min} to {limits.max}.")
    with np.errstate(over="ignore"):  # a number too large for FP16 or FP32 is infinity there, as everywhere
        return found.astype(dtype).reshape(shape)


def to_raw(array: Array) -> bytes | memoryview:
    """Return the bytes of an array as the protocol has them, without a copy where it is laid out so already."""
    if array.dtype.kind in "OUS":
        parts: list[bytes] = []
        for item in array.ravel().tolist():
            text = item if isinstance(item, bytes) else str(item).encode()
            parts += (len(text).to_bytes(4, "little"), text)
        return b"".join(parts)
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return plain.reshape(-1).view(np.uint8).data if plain.size else b""


def to_list(array: Array, where: str) -> list[Any]:
    """Return the elements as a flat JSON list.

    Raises:
        InvalidInput: BYTES that are no UTF-8 text; they can be asked for in binary form.
    """
    if array.dtype.kind not in "OUS":
        return array.astype(np.float32).ravel().tolist() if array.dtype == np.float16 else array.ravel().tolist()
    try:
        return [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
    except UnicodeDecodeError:
        raise InvalidInput(
            f"{where} holds bytes that are no text.", cure="Ask for it with binary_data: true."
        ) from None


def read_outputs(body: bytes, header_length: str) -> dict[str, Array]:
    """Return the outputs of an answer by name: JSON, or JSON followed by the raw bytes of tensors.

    Args:
        body: all of it.
        header_length: the header `Inference-Header-Content-Length`; empty when all is JSON.

    Raises:
        InvalidInput: it is no answer of the protocol.
    """
    if header_length and not (header_length.isdecimal() and int(header_length) <= len(body)):
        raise InvalidInput(f"Not an answer: {header_length[:20]!r} bytes of JSON in {len(body)}.")
    start = int(header_length) if header_length else len(body)
    try:
        described = [
            (item["name"], item["datatype"], item["shape"], item.get("parameters", {}), item.get("data"))
            for item in from_json(body[:start])["outputs"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"Not an answer of the Open Inference Protocol: {error!r}.") from None
    outputs: dict[str, Array] = {}
    for name, datatype, sides, parameters, data in described:
        where = f"Output {name!r}"
        shape = checked_shape(sides, where)
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            outputs[name] = from_list(data, checked_datatype(datatype, where), shape, where)
            continue
        if type(size) is not int or not 0 <= size <= len(body) - start:
            raise InvalidInput(f"{where} is cut off.")
        part = memoryview(body)[start : start + size]
        outputs[name] = from_raw(part, checked_datatype(datatype, where), shape, where)
        start += size
    return outputs


def as_texts(feeds: Tensors) -> Tensors:
    """Return the feeds of a model with BYTES as `str`, the form that models take them in.

    Raises:
        InvalidInput: BYTES that are no UTF-8 text.
    """
    if all(array.dtype.kind != "O" for array in feeds.values()):
        return feeds
    return {name: _decoded(array, name) if array.dtype.kind == "O" else array for name, array in feeds.items()}


def _decoded(array: Array, name: str) -> Array:
    texts = np.empty(array.size, object)
    try:
        texts[:] = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
    except UnicodeDecodeError:
        raise InvalidInput(
            f"Input {name!r} holds bytes that are no text, and the model takes text.", cure="Send UTF-8."
        ) from None
    return texts.reshape(array.shape)


def _texts(raw: memoryview, num: int, where: str) -> Array:
    """Split BYTES; the number is checked against the bytes before anything is made."""
    if num * 4 > len(raw):
        raise InvalidInput(f"{where} is too short for {num} elements of BYTES.")
    texts = np.empty(num, object)
    start = 0
    for index in range(num):
        size = int.from_bytes(raw[start : start + 4], "little")
        end = start + 4 + size
        if start + 4 > len(raw) or end > len(raw):
            raise InvalidInput(f"{where} is cut off in element {index} of {num}.")
        texts[index] = bytes(raw[start + 4 : end])
        start = end
    if start != len(raw):
        raise InvalidInput(f"{where} has {len(raw) - start} bytes behind its last element.")
    return texts


def _flat(data: Any, where: str) -> list[Any]:
    """Return the elements of nested lists in order; lists of different depth are taken as they come."""
    if not isinstance(data, list):
        raise InvalidInput(f"{where} needs a list in `data`.")
    found: list[Any] = []
    waiting = [iter(data)]
    while waiting:
        for item in waiting[-1]:
            if isinstance(item, list):
                waiting.append(iter(item))
                break
            found.append(item)
        else:
            waiting.pop()
    return found


def _large_numbers(data: Any, where: str) -> Array:
    """Return whole numbers from 0 to 2**64 - 1 without a detour by floats."""
    flat = _flat(data, where)
    if any(type(item) is not int or not 0 <= item < 1 << 64 for item in flat):
        raise InvalidInput(f"{where} has elements that are no UINT64.", cure="Send numbers of that datatype.")
    return np.array(flat, np.uint64)


def _text(item: Any, where: str) -> bytes:
    if not isinstance(item, str):
        raise InvalidInput(f"{where} has the datatype BYTES and an element that is no text.")
    return item.encode()


def _check_number(num: int, shape: tuple[int, ...], datatype: str, where: str) -> None:
    if num != math.prod(shape):
        raise InvalidInput(f"{where} has {num} elements; {datatype} {list(shape)} has {math.prod(shape)}.")

"""Requests and answers with tensors on the wire of protobuf, without the copies that its Python classes make.

`ModelInferRequest.raw_input_contents` and `ModelInferResponse.raw_output_contents` are most of a message. The first are
found by their place in the bytes that came, the second are put behind the rest of the message when it is sent; all
else goes through the generated classes. See https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError, Message

from sightline.core.errors import InvalidInput
from sightline.serve.rpc.messages import message

ModelInferRequest = message("inference.ModelInferRequest")
_RAW_INPUT = 7 << 3 | 2  # number of the field and its kind, bytes
_BYTES = 2
_RAW_OUTPUTS, _INFER_RESPONSE = 6, 2  # numbers of the fields that are written here
_MAX_FIELDS = 1024  # more than that are no tensors of a model; protobuf itself reads those faster


def parsed(kind: Any, data: bytes) -> Any:
    """Return the message of class `kind` in `data`.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return kind.FromString(data)
    except DecodeError:
        raise InvalidInput(f"The bytes are no {kind.DESCRIPTOR.full_name}.") from None


def split_request(data: bytes) -> tuple[Any, list[memoryview]]:
    """Return a ModelInferRequest without its raw contents, and views of those.

    Raises:
        InvalidInput: the bytes are no such message.
    """
    found = _raw_places(data)
    if found is None:  # unusual or damaged; protobuf knows
        request = parsed(ModelInferRequest, data)
        return request, [memoryview(raw) for raw in request.raw_input_contents]
    view, rest, raw, start = memoryview(data), [], [], 0
    for tag, begin, end in found:
        rest.append(view[start:tag])
        raw.append(view[begin:end])
        start = end
    rest.append(view[start:])
    return parsed(ModelInferRequest, b"".join(rest)), raw


def join_response(response: Message, raw: Sequence[bytes | memoryview]) -> bytes:
    """Return a ModelInferResponse in bytes, with `raw` as its raw contents."""
    parts: list[bytes | memoryview] = [response.SerializeToString()]
    for each in raw:
        parts += (_head(_RAW_OUTPUTS, len(each)), each)
    return b"".join(parts)


def in_stream(response: bytes) -> bytes:
    """Return a ModelStreamInferResponse around the bytes of a ModelInferResponse."""
    return _head(_INFER_RESPONSE, len(response)) + response


def _raw_places(data: bytes) -> list[tuple[int, int, int]] | None:
    """Return of each raw content where its field, the content itself and what follows begin; None: cannot tell."""
    places: list[tuple[int, int, int]] = []
    position, size = 0, len(data)
    for _ in range(_MAX_FIELDS):
        if position == size:
            return places
        begin, tag = position, data[position]
        if tag & 7 != _BYTES or tag > 0x7F:
            return None
        position += 1
        length = shift = 0
        while position < size:
            byte = data[position]
            length |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                break
            if shift > 28:  # longer than any message may be
                return None
        else:
            return None
        content, position = position, position + length
        if position > size:
            return None
        if tag == _RAW_INPUT:
            places.append((begin, content, position))
    return None


def _head(number: int, length: int) -> bytes:
    """Return what stands before `length` bytes of a field."""
    out = bytearray([number << 3 | _BYTES])
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out)

"""Put a card into a model file, with a digest of all but the card; read both back.

The file is `base + entries`: `base` is the serialised model without any `sightline.*` entry, the
entries follow as further occurrences of ModelProto's field 14 (metadata_props), which protobuf
joins to one list. A reader that drops those entries has `base` again, byte for byte.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import onnx
from graph import expect

PREFIX = "sightline."
METADATA_PROPS = 14  # field number in onnx.proto


def seal(model: onnx.ModelProto, card: Mapping[str, Any]) -> bytes:
    """Return the file of `model` with `card` inside; values that are no strings become JSON."""
    sealed = any(entry.key.startswith(PREFIX) for entry in model.metadata_props)
    expect(not sealed, "the model has a card already")
    base: bytes = model.SerializeToString(deterministic=True)
    card = {**card, "digest": "sha256:" + hashlib.sha256(base).hexdigest()}
    data = base + b"".join(
        onnx.ModelProto(metadata_props=[onnx.StringStringEntryProto(key=PREFIX + k, value=text(v))]).SerializeToString()
        for k, v in card.items()
    )
    expect(strip(data) == base, "the card does not come off again")
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    return data


def text(value: Any) -> str:
    """Return `value` as one metadata string."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def strip(data: bytes) -> bytes:
    """Return the file `data` without its `sightline.*` entries."""
    return b"".join(
        field
        for number, field in fields(data)
        if number != METADATA_PROPS or not onnx.load_from_string(field).metadata_props[0].key.startswith(PREFIX)
    )


def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes, tag included, of each top-level field of a protobuf message."""
    at = 0
    while at < len(data):
        start = at
        tag, at = varint(data, at)
        if tag & 7 == 0:
            _, at = varint(data, at)
        elif tag & 7 == 2:
            length, at = varint(data, at)
            at += length
        else:
            raise ValueError(f"An ONNX file has no top-level field of wire type {tag & 7}.")
        yield tag >> 3, data[start:at]


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that starts at `at`, and where the next thing starts."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at

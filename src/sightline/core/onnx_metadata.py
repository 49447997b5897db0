"""Read and write the metadata of an ONNX file without loading its graph.

An ONNX file is one protobuf message. Its `metadata_props` are the repeated field 14 of `ModelProto`, each a
message of key (field 1) and value (field 2); see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
Protobuf lets entries of a repeated field stand anywhere, so metadata is added at the end of a file, and
the file without its `sightline.*` entries has a digest that does not change when its card does.

Field 7 (the graph, nearly the whole file) is skipped by its length: a file of gigabytes costs a few reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from sightline.core.errors import InvalidModel

PREFIX = "sightline."
_VARINT, _BYTES = 0, 2
_GRAPH, _OPSETS, _METADATA_PROPS = 7, 8, 14
# Of ModelProto: the versions of the format and of the model are numbers, all else is bytes.
_KINDS = {1: _VARINT, 5: _VARINT} | dict.fromkeys((2, 3, 4, 6, _GRAPH, _OPSETS, _METADATA_PROPS, 20, 25, 26), _BYTES)
_MAX_ENTRY = 16 << 20  # bytes of one metadata entry; labels of the largest vocabularies stay far below
_MAX_SHIFT = 63  # a varint has at most ten bytes
_CHUNK = 1 << 20


class _Field(NamedTuple):
    """One top-level field: number, and where it and its content lie in the file."""

    number: int
    start: int
    content: int
    end: int


def read_props(file: BinaryIO) -> dict[str, str]:
    """Return all metadata of an ONNX file; a later entry of a key wins.

    Raises:
        InvalidModel: the file is no ONNX model.
    """
    props: dict[str, str] = {}
    for field in _fields(file):
        if field.number == _METADATA_PROPS:
            key, value = _entry(file, field)
            props[key] = value
    return props


def digest(file: BinaryIO) -> str:
    """Return `sha256:...` of the file without its `sightline.*` entries.

    Raises:
        InvalidModel: the file is no ONNX model.
    """
    total = hashlib.sha256()
    for chunk in _without_ours(file):
        total.update(chunk)
    return f"sha256:{total.hexdigest()}"


def write_props(source: BinaryIO, target: BinaryIO, props: Mapping[str, str]) -> None:
    """Copy `source` to `target` with its `sightline.*` entries replaced by `props`.

    Raises:
        InvalidModel: the file is no ONNX model.
    """
    target.writelines(_without_ours(source))
    for key, value in props.items():
        entry = _tagged(1, key.encode()) + _tagged(2, value.encode())
        target.write(_tagged(_METADATA_PROPS, entry))


def _without_ours(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of every field that is no `sightline.*` entry."""
    for _ in _fields(file):
        pass  # damage is found before the first byte is given out
    for field in _fields(file):
        if field.number == _METADATA_PROPS and _entry(file, field)[0].startswith(PREFIX):
            continue
        file.seek(field.start)
        left = field.end - field.start
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                raise _cut_off()
            left -= len(chunk)
            yield chunk


def _fields(file: BinaryIO) -> Iterator[_Field]:
    """Yield the top-level fields in order.

    Raises:
        InvalidModel: the file is no ONNX model, or cut off. A cut exactly before metadata at the end cannot be seen.
    """
    size = file.seek(0, 2)
    position = file.seek(0)
    if size == 0:
        raise InvalidModel("The file is empty.")
    _refuse_other_formats(file)
    seen = set()
    while position < size:
        file.seek(position)
        tag, content = _varint(file, position)
        number, kind = tag >> 3, tag & 7
        if _KINDS.get(number) != kind:
            raise InvalidModel("The file is no ONNX model.", cure="Export the model to ONNX.")
        value, end = _varint(file, content)
        if kind == _BYTES:
            content, end = end, end + value
        if end > size:
            raise _cut_off()
        yield _Field(number, position, content, end)
        seen.add(number)
        position = end
    if not seen >= {_GRAPH, _OPSETS}:
        raise _cut_off()


def _refuse_other_formats(file: BinaryIO) -> None:
    """Name the formats that users rename to .onnx; pickles run code when they are loaded."""
    head = file.read(4)
    file.seek(0)
    if head[:1] == b"\x80":
        raise InvalidModel(
            "The file is a Python pickle; pickles can run code and are refused.",
            cure="Export the model to ONNX: torch.onnx.export(...)",
        )
    if head in (b"PK\x03\x04", b"PK\x05\x06"):
        raise InvalidModel(
            "The file is a ZIP archive, perhaps a PyTorch checkpoint; those hold pickles and are refused.",
            cure="Export the model to ONNX: torch.onnx.export(...)",
        )


def _entry(file: BinaryIO, field: _Field) -> tuple[str, str]:
    """Return key and value of a metadata entry."""
    if field.end - field.content > _MAX_ENTRY:
        raise InvalidModel(f"A metadata entry of the model is larger than {_MAX_ENTRY} bytes.")
    file.seek(field.content)
    data = file.read(field.end - field.content)
    parts = {1: b"", 2: b""}
    position = 0
    try:
        while position < len(data):
            number, kind = data[position] >> 3, data[position] & 7
            length, shift, position = 0, 0, position + 1
            while True:
                byte = data[position]
                length |= (byte & 0x7F) << shift
                shift, position = shift + 7, position + 1
                if not byte & 0x80:
                    break
                if shift > _MAX_SHIFT:
                    raise _damaged()
            if kind != _BYTES or position + length > len(data):
                raise _damaged()
            parts[number] = data[position : position + length]
            position += length
        return parts[1].decode(), parts[2].decode()
    except (IndexError, UnicodeDecodeError):
        raise _damaged() from None


def _varint(file: BinaryIO, position: int) -> tuple[int, int]:
    """Return the varint at `position` and the position behind it; the file stands there."""
    value = 0
    for shift in range(0, _MAX_SHIFT + 1, 7):
        byte = file.read(1)
        if not byte:
            raise _cut_off()
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return value, position + shift // 7 + 1
    raise InvalidModel("The file is no ONNX model.", cure="Export the model to ONNX.")


def _cut_off() -> InvalidModel:
    return InvalidModel("The ONNX file is cut off.", cure="Copy or download the file again.")


def _damaged() -> InvalidModel:
    return InvalidModel("The metadata of the ONNX file is damaged.", cure="Copy or export the model again.")


def _tagged(number: int, content: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    return _encoded(number << 3 | _BYTES) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    """Return `value` as a varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

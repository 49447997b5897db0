"""What a step of a job leaves for the next one: samples or predictions, as a JSON header and raw arrays.

Exact, unlike the wire form of `codec`, which rounds and leaves payloads out. No pickle: what is read back is checked
against its sizes before memory is taken. Layout: magic, 8 bytes little-endian length of the header, header, then the
arrays, each at a multiple of 64 bytes behind the header, little-endian.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from sightline.core.codec import decode_time, encode_time, from_json, to_json
from sightline.core.errors import InvalidInput
from sightline.core.json_fields import DAMAGE as _DAMAGE
from sightline.core.prediction import (
    Boxes,
    Finding,
    Findings,
    Generated,
    Labels,
    Mask,
    Prediction,
    Rejected,
    Scalar,
)
from sightline.core.sample import Clocks, Frame, Reading, Sample, Text, Volume, Window

MAGIC = b"SLCKPT01"
_BROKEN = (*_DAMAGE, LookupError)
_MOST_HEADER = 256 << 20
_ALIGNED = 64
_KINDS = "biufc"  # numpy's letters of what may be in an array: truth values and numbers

_PREDICTIONS: Mapping[str, type[Prediction]] = {
    kind.__name__.lower(): kind for kind in (Boxes, Labels, Mask, Generated, Findings, Scalar, Rejected)
}
_ARRAYS: Mapping[type, tuple[str, ...]] = {
    Boxes: ("xyxy", "confidence", "class_id", "tracker_id"),
    Labels: ("class_id", "confidence"),
    Mask: ("labels_HW",),
}
"""Fields that hold an array, or None."""


def encode_samples(samples: Sequence[Sample[Any]]) -> BinaryIO:
    """Return samples with payloads and predictions as a stream of bytes; the arrays are not copied.

    Raises:
        InvalidInput: a payload or a prediction is of a kind that only its plug-in knows.
    """
    arrays = _Arrays()
    return arrays.stream({"samples": [_sample(sample, arrays) for sample in samples]})


def decode_samples(file: BinaryIO) -> list[Sample[Any]]:
    """Return the samples that `encode_samples` wrote.

    Raises:
        InvalidInput: it is damaged, or of another version.
    """
    header, arrays = _read(file)
    try:
        return [_to_sample(each, arrays) for each in header["samples"]]
    except _BROKEN as error:
        raise InvalidInput(f"Not a checkpoint of samples: {error!r}.") from None


def encode_predictions(predictions: Sequence[Prediction | None]) -> BinaryIO:
    """Return what one predictor said about samples, None where it was not asked, as a stream of bytes.

    Raises:
        InvalidInput: one is of a kind that only its plug-in knows.
    """
    arrays = _Arrays()
    return arrays.stream({"predictions": [_perhaps(each, arrays) for each in predictions]})


def decode_predictions(file: BinaryIO) -> list[Prediction | None]:
    """Return what `encode_predictions` wrote.

    Raises:
        InvalidInput: it is damaged, or of another version.
    """
    header, arrays = _read(file)
    try:
        return [None if each is None else _to_prediction(each, arrays) for each in header["predictions"]]
    except _BROKEN as error:
        raise InvalidInput(f"Not a checkpoint of predictions: {error!r}.") from None


class _Arrays:
    """The arrays of one file: told apart by their numbers."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []
        self._data: list[memoryview] = []
        self._end = 0

    def add(self, array: npt.NDArray[Any]) -> int:
        """Take an array, and return its number."""
        if array.dtype.kind not in _KINDS:
            raise InvalidInput(f"An array of {array.dtype} cannot be kept in a checkpoint.")
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        flat = np.ascontiguousarray(array.T if order == "F" else array)
        flat = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
        offset = -(-self._end // _ALIGNED) * _ALIGNED
        if offset > self._end:
            self._data.append(memoryview(bytes(offset - self._end)))
        told = {"dtype": flat.dtype.str, "shape": list(array.shape), "order": order, "offset": offset}
        self._told.append(told)
        self._data.append(flat.reshape(-1).view(np.uint8).data)
        self._end = offset + flat.nbytes
        return len(self._told) - 1

    def stream(self, header: Mapping[str, Any]) -> BinaryIO:
        """Return everything as one stream."""
        head = to_json({"schema": 1, "arrays": self._told, **header})
        start = MAGIC + len(head).to_bytes(8, "little") + head
        return cast("BinaryIO", io.BufferedReader(_Joined([memoryview(start), *self._data]), 1 << 20))


class _Joined(io.RawIOBase):
    """Buffers one behind the other, read as one file."""

    def __init__(self, parts: Sequence[memoryview]) -> None:
        super().__init__()
        self._parts = parts
        self._starts = [0]
        for part in parts:
            self._starts.append(self._starts[-1] + len(part))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        from_ = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = min(max(0, from_ + offset), self._starts[-1])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        number = int(np.searchsorted(self._starts, self._at, side="right")) - 1
        if number >= len(self._parts):
            return 0
        piece = self._parts[number][self._at - self._starts[number] :][: len(view)]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _read(file: BinaryIO) -> tuple[dict[str, Any], list[npt.NDArray[Any]]]:
    """Return the header of a file and its arrays.

    Raises:
        InvalidInput: it is no checkpoint, or damaged.
    """
    start = file.read(len(MAGIC) + 8)
    size = int.from_bytes(start[len(MAGIC) :], "little")
    if start[: len(MAGIC)] != MAGIC or size > _MOST_HEADER:
        raise InvalidInput("Not a checkpoint, or one of another version.", cure="Submit the job anew.")
    header = from_json(bytes(_exactly(file, size)))
    arrays: list[npt.NDArray[Any]] = []
    at = 0
    try:
        for told in header["arrays"]:
            dtype = np.dtype(str(told["dtype"]))
            shape = tuple(int(side) for side in told["shape"])
            num_bytes = math.prod(shape) * dtype.itemsize
            gap = int(told["offset"]) - at
            if dtype.kind not in _KINDS or min(shape, default=0) < 0 or not 0 <= gap < _ALIGNED:
                raise ValueError(f"an array {told}")
            _exactly(file, gap)
            data = np.frombuffer(_exactly(file, num_bytes), dtype)
            is_f = told["order"] == "F"
            arrays.append(data.reshape(shape[::-1]).T if is_f else data.reshape(shape))
            at += gap + num_bytes
    except _BROKEN as error:
        raise InvalidInput(f"A damaged checkpoint: {error!r}.") from None
    return header, arrays


def _exactly(file: BinaryIO, size: int) -> bytearray:
    """Read `size` bytes; in pieces, so that a false size takes no memory."""
    data = bytearray()
    while len(data) < size:
        piece = file.read(min(size - len(data), 16 << 20))
        if not piece:
            raise InvalidInput(f"The checkpoint is cut off: {size - len(data)} bytes are missing.")
        data += piece
    return data


def _sample(sample: Sample[Any], arrays: _Arrays) -> dict[str, Any]:
    clocks = sample.clocks
    return {
        "source": sample.source,
        "epoch": sample.epoch,
        "seq": sample.seq,
        "pts_s": clocks.pts_s,
        "monotonic_s": clocks.monotonic_s,
        "wall": encode_time(clocks.wall),
        "sender": None if clocks.sender is None else encode_time(clocks.sender),
        "metadata": dict(sample.metadata),
        "payload": _payload(sample.payload, arrays),
        "target": _perhaps(sample.target, arrays),
        "predictions": {key: _prediction(each, arrays) for key, each in sample.predictions.items()},
        "rejected": _perhaps(sample.rejected, arrays),
    }


def _to_sample(told: Mapping[str, Any], arrays: Sequence[npt.NDArray[Any]]) -> Sample[Any]:
    sender, target, rejected = told["sender"], told["target"], told["rejected"]
    return Sample(
        payload=_to_payload(told["payload"], arrays),
        source=told["source"],
        epoch=told["epoch"],
        seq=told["seq"],
        clocks=Clocks(
            pts_s=told["pts_s"],
            monotonic_s=told["monotonic_s"],
            wall=decode_time(told["wall"]),
            sender=None if sender is None else decode_time(sender),
        ),
        metadata=told["metadata"],
        target=None if target is None else _to_prediction(target, arrays),
        predictions={key: _to_prediction(each, arrays) for key, each in told["predictions"].items()},
        rejected=None if rejected is None else cast("Rejected", _to_prediction(rejected, arrays)),
    )


def _payload(payload: Any, arrays: _Arrays) -> dict[str, Any] | None:
    if payload is None:
        return None
    if isinstance(payload, Frame):
        return {"type": "frame", "pixels": arrays.add(payload.pixels_HWC), "full_size": payload.full_size}
    if isinstance(payload, Volume):
        return {"type": "volume", "voxels": arrays.add(payload.voxels_IJK), "affine": arrays.add(payload.affine)}
    if isinstance(payload, Text):
        return {"type": "text", "text": payload.text}
    if isinstance(payload, Reading):  # numbers that JSON does not have (NaN, infinity) are kept too
        return {
            "type": "reading",
            "names": list(payload.values),
            "values": arrays.add(np.array(list(payload.values.values()), np.float64)),
        }
    if isinstance(payload, Window):
        return {
            "type": "window",
            "samples": [_sample(each, arrays) for each in payload.samples],
            "start": encode_time(payload.start),
            "end": encode_time(payload.end),
            "num_late": payload.num_late,
        }
    raise InvalidInput(f"A {type(payload).__name__} cannot be kept in a checkpoint.", cure="Use a payload of core.")


def _to_payload(told: Mapping[str, Any] | None, arrays: Sequence[npt.NDArray[Any]]) -> Any:
    if told is None:
        return None
    kind = told["type"]
    if kind == "frame":
        size = told["full_size"]
        return Frame(arrays[told["pixels"]], None if size is None else (size[0], size[1]))
    if kind == "volume":
        return Volume(arrays[told["voxels"]], arrays[told["affine"]])
    if kind == "text":
        return Text(told["text"])
    if kind == "reading":
        return Reading(dict(zip(told["names"], arrays[told["values"]].tolist(), strict=True)))
    if kind == "window":
        samples = tuple(_to_sample(each, arrays) for each in told["samples"])
        start, end = decode_time(told["start"]), decode_time(told["end"])
        return Window(samples=samples, start=start, end=end, num_late=told["num_late"])
    raise ValueError(f"a payload {kind!r}")


def _perhaps(prediction: Prediction | None, arrays: _Arrays) -> dict[str, Any] | None:
    return None if prediction is None else _prediction(prediction, arrays)  # Boxes without a box count as false


def _prediction(prediction: Prediction, arrays: _Arrays) -> dict[str, Any]:
    kind = type(prediction)
    name = kind.__name__.lower()
    if _PREDICTIONS.get(name) is not kind:
        raise InvalidInput(f"A {kind.__name__} cannot be kept in a checkpoint.", cure="Use a prediction of core.")
    told: dict[str, Any] = {each.name: getattr(prediction, each.name) for each in fields(prediction)}
    for field in _ARRAYS.get(kind, ()):
        told[field] = None if told[field] is None else arrays.add(told[field])
    if isinstance(prediction, Mask):
        told["maps"] = {key: arrays.add(each) for key, each in prediction.maps.items()}
    if isinstance(prediction, Findings):
        told["items"] = [{each.name: getattr(item, each.name) for each in fields(item)} for item in prediction.items]
    return {"type": name, **told}


def _to_prediction(told: Mapping[str, Any], arrays: Sequence[npt.NDArray[Any]]) -> Prediction:
    kind = _PREDICTIONS[told["type"]]
    values: dict[str, Any] = {each.name: told[each.name] for each in fields(kind)}
    for field in _ARRAYS.get(kind, ()):
        values[field] = None if values[field] is None else arrays[values[field]]
    if "class_name" in values:
        values["class_name"] = tuple(values["class_name"])
    if kind is Mask:
        values["maps"] = {key: arrays[each] for key, each in values["maps"].items()}
    if kind is Findings:
        values["items"] = tuple(Finding(**item) for item in values["items"])
    return kind(**values)

"""The one wire form: JSON, or a JSON header followed by raw arrays.

The only module that knows these shapes. HTTP, SSE, WebSocket, SDK, captures, checkpoints, NDJSON and sinks use it.
`SCHEMA` rises when a field changes its meaning. JSON names are snake_case, times RFC 3339 UTC with microseconds.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from sightline.core.errors import InvalidInput
from sightline.core.events import Event
from sightline.core.json_fields import DAMAGE, member, stated, taken, words
from sightline.core.prediction import (
    Boxes,
    Finding,
    Findings,
    Generated,
    JsonObject,
    Labels,
    Mask,
    Prediction,
    Rejected,
    Scalar,
)
from sightline.core.sample import Clocks, Frame, Reading, Sample, Text, Volume, Window

SCHEMA = 1
_MASK_DTYPES: Mapping[str, type[np.unsignedinteger[Any]]] = {"uint8": np.uint8, "uint16": np.uint16}
MAX_MASK_PIXELS = 1 << 28  # of a mask that is decoded; a whole-body CT of 512 x 512 x 1024 has this many


def to_json(value: Any, *, indent: bool = False) -> bytes:
    """Return `value` (what the `encode_` functions give) as UTF-8 JSON."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | (orjson.OPT_INDENT_2 if indent else 0))


def from_json(data: bytes | str) -> Any:
    """Parse JSON.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"Not JSON: {error}.") from None


def encode_time(time: datetime) -> str:
    """Return RFC 3339 in UTC with microseconds: `2026-11-20T12:00:41.200000Z`."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def encode_span(start: datetime, end: datetime | None) -> dict[str, str | None]:
    """Return `start` and `end` of what an alarm tells of: no end while it goes on, equal for an instant."""
    return {"start": encode_time(start), "end": None if end is None else encode_time(end)}


def decode_time(text: str) -> datetime:
    """Parse RFC 3339; a time without a zone is UTC.

    Raises:
        InvalidInput: it is no time.
    """
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):  # no text, or a zone that leads out of the years 1 to 9999
        raise InvalidInput(f"Not a time: {text!r}.", cure="Write 2026-11-20T12:00:41Z") from None


def encode_sample(sample: Sample[Any], case: str) -> dict[str, Any]:
    """Return the wire form of a sample and its predictions, without its payload."""
    clocks = sample.clocks
    wire: dict[str, Any] = {
        "schema": SCHEMA,
        "case": case,
        "source": sample.source,
        "epoch": sample.epoch,
        "seq": sample.seq,
        "id": sample.id,
        "time": encode_time(sample.time),
    }
    if clocks.pts_s is not None:
        wire["pts_s"] = round(clocks.pts_s, 6)
    wire |= _payload_facts(sample.payload)
    wire["metadata"] = dict(sample.metadata)
    wire["predictions"] = {key: encode_prediction(value) for key, value in sample.predictions.items()}
    rejected = sample.rejected
    wire["rejected"] = rejected and {
        "stage": rejected.stage,
        "by": rejected.by,
        "kind": rejected.kind,
        "reason": rejected.reason,
    }
    return wire


def _payload_facts(payload: Any) -> dict[str, Any]:
    """Return what the wire form says of a payload that does not travel itself."""
    if isinstance(payload, Frame):
        return {"size": list(payload.size)}
    if isinstance(payload, Volume):
        return {"shape": list(payload.voxels_IJK.shape), "affine": payload.affine.tolist()}
    if isinstance(payload, Reading):
        return {"values": dict(payload.values)}
    if isinstance(payload, Text):
        return {"num_characters": len(payload.text)}
    if isinstance(payload, Window):
        return {
            "window": {
                "start": encode_time(payload.start),
                "end": encode_time(payload.end),
                "num_samples": len(payload.samples),
                "num_late": payload.num_late,
            }
        }
    return {}


def decode_sample(wire: JsonObject) -> Sample[None]:
    """Return the sample that `encode_sample` described; its payload is None.

    Raises:
        InvalidInput: it is no sample, or of a newer schema.
    """
    try:
        schema = member(wire, "schema", int) if "schema" in wire else SCHEMA
        if schema > SCHEMA:
            raise InvalidInput(
                f"The sample has schema {schema}, this Sightline knows {SCHEMA}.", cure="Update Sightline."
            )
        pts_s = wire.get("pts_s")
        predictions = member(wire, "predictions", Mapping)
        rejected = wire.get("rejected")
        return Sample(
            payload=None,
            source=member(wire, "source", str),
            epoch=member(wire, "epoch", int),
            seq=member(wire, "seq", int),
            clocks=Clocks(
                pts_s=None if pts_s is None else float(member(wire, "pts_s", (int, float))),
                monotonic_s=0.0,
                wall=decode_time(wire["time"]),
            ),
            metadata=member(wire, "metadata", Mapping) if "metadata" in wire else {},
            predictions={key: decode_prediction(value) for key, value in predictions.items()},
            rejected=None if rejected is None else taken(Rejected, rejected),
        )
    except DAMAGE as error:
        raise InvalidInput(f"Not a sample: {error!r}.") from None


def encode_prediction(prediction: Prediction) -> dict[str, Any]:
    """Return the wire form of a prediction."""
    encode = _ENCODERS.get(type(prediction))
    if encode is None:
        raise InvalidInput(f"A {type(prediction).__name__} cannot be sent; use one of the predictions of core.")
    name, body = encode
    wire: dict[str, Any] = {"type": name}
    if prediction.model is not None:
        wire["model"] = prediction.model
    if prediction.latency_ms is not None:
        wire["latency_ms"] = round(prediction.latency_ms, 3)
    return wire | body(prediction)


def decode_prediction(wire: JsonObject) -> Prediction:
    """Return the prediction that `encode_prediction` described.

    Raises:
        InvalidInput: the type is unknown or a field is missing or wrong.
    """
    kind = stated(wire, "type")
    decode = _DECODERS.get(str(kind))
    if decode is None:
        raise InvalidInput(f"No prediction has the type {kind!r}. Known: {', '.join(sorted(_DECODERS))}.")
    try:
        with np.errstate(over="raise"):
            prediction = decode(wire)
        stamps = taken(Prediction, wire)
    except DAMAGE as error:
        raise InvalidInput(f"Not a prediction of type {kind}: {error!r}.") from None
    return replace(prediction, model=stamps.model, latency_ms=stamps.latency_ms)


def encode_event(event: Event) -> dict[str, Any]:
    """Return the CloudEvents 1.0 structured JSON of an event."""
    wire: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": encode_time(event.time),
    }
    if event.subject is not None:
        wire["subject"] = event.subject
    return wire | {"datacontenttype": "application/json", "data": dict(event.data)}


def decode_event(wire: JsonObject) -> Event:
    """Return the event of a CloudEvents 1.0 structured JSON.

    Raises:
        InvalidInput: a field is missing, or the version is another one.
    """
    version = stated(wire, "specversion")
    if version != "1.0":
        raise InvalidInput(f"Not a CloudEvent 1.0: specversion is {version!r}.")
    try:
        return Event(
            id=member(wire, "id", str),
            source=member(wire, "source", str),
            type=member(wire, "type", str),
            time=decode_time(wire["time"]),
            subject=None if wire.get("subject") is None else member(wire, "subject", str),
            data=member(wire, "data", Mapping) if "data" in wire else {},
        )
    except DAMAGE as error:
        raise InvalidInput(f"Not a CloudEvent: {error!r}.") from None


def pack(header: JsonObject, body: bytes | memoryview = b"") -> bytes:
    """Return one binary message: 4 bytes big-endian length, JSON header, body."""
    head = to_json(header)
    return b"".join((len(head).to_bytes(4, "big"), head, body))


def unpack(message: bytes) -> tuple[dict[str, Any], memoryview]:
    """Split a binary message into its header and a view of its body.

    Raises:
        InvalidInput: it is cut off, or the header is no JSON object.
    """
    size = int.from_bytes(message[:4], "big")
    if len(message) < 4 + size:
        raise InvalidInput(f"The message is cut off: a header of {size} bytes in {len(message)} bytes.")
    header = from_json(message[4 : 4 + size])
    if not isinstance(header, dict):
        raise InvalidInput("The header of the message is no JSON object.")
    return header, memoryview(message)[4 + size :]


# One pair of functions a type, below; `round` keeps what a picture or a score can carry.


def _boxes(boxes: Boxes) -> dict[str, Any]:
    tracks = [None] * len(boxes) if boxes.tracker_id is None else boxes.tracker_id.tolist()
    rows = zip(
        np.round(boxes.xyxy.astype(np.float64), 2).tolist(),
        np.round(boxes.confidence.astype(np.float64), 4).tolist(),
        boxes.class_id.tolist(),
        boxes.class_name,
        tracks,
        strict=True,
    )
    return {
        "items": [
            {"xyxy": xyxy, "confidence": confidence, "class_id": class_id, "class_name": name}
            | ({} if track is None else {"tracker_id": track})
            for xyxy, confidence, class_id, name, track in rows
        ]
    }


def _to_boxes(wire: JsonObject) -> Boxes:
    items = wire["items"]
    tracked = bool(items) and all("tracker_id" in item for item in items)
    return Boxes(
        xyxy=np.array([item["xyxy"] for item in items], np.float32).reshape(-1, 4),
        confidence=np.array([item["confidence"] for item in items], np.float32),
        class_id=np.array([item["class_id"] for item in items], np.int64),
        class_name=tuple(member(item, "class_name", str) for item in items),
        tracker_id=np.array([item["tracker_id"] for item in items], np.int64) if tracked else None,
    )


def _labels(labels: Labels) -> dict[str, Any]:
    rows = zip(labels.class_id.tolist(), labels.class_name, labels.confidence.astype(np.float64), strict=True)
    return {
        "items": [
            {"class_id": class_id, "class_name": name, "confidence": round(float(confidence), 4)}
            for class_id, name, confidence in rows
        ]
    }


def _to_labels(wire: JsonObject) -> Labels:
    items = wire["items"]
    return Labels(
        class_id=np.array([item["class_id"] for item in items], np.int64),
        confidence=np.array([item["confidence"] for item in items], np.float32),
        class_name=tuple(member(item, "class_name", str) for item in items),
    )


def _mask(mask: Mask) -> dict[str, Any]:
    """Encode the labels; the maps are numbers for every pixel, which no JSON should carry."""
    labels = mask.labels_HW
    return {
        "encoding": "rle",
        "shape": list(labels.shape),
        "dtype": labels.dtype.name,
        "class_name": list(mask.class_name),
        "runs": run_lengths(labels.ravel()),
    }


def _to_mask(wire: JsonObject) -> Mask:
    shape = tuple(int(side) for side in wire["shape"])
    size = math.prod(shape) if min(shape, default=0) >= 0 else -1
    if not 0 <= size <= MAX_MASK_PIXELS:
        raise ValueError(f"a mask of shape {shape}")
    dtype: type[np.unsignedinteger[Any]] = _MASK_DTYPES[wire["dtype"]]
    if wire["encoding"] == "raw":
        try:
            data = base64.b64decode(wire["data"], validate=True)
        except binascii.Error as error:
            raise ValueError(str(error)) from None
        flat = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype, copy=False)
    elif wire["encoding"] == "rle":
        runs = np.array(wire["runs"], np.int64).reshape(-1, 2)
        labels, lengths = runs.T
        if ((lengths < 0) | (lengths > size)).any() or int(lengths.sum()) != size:
            raise ValueError(f"runs that do not fill the shape {shape}")
        if ((labels < 0) | (labels > np.iinfo(dtype).max)).any():
            raise ValueError(f"a label that is no {wire['dtype']}")
        flat = np.repeat(labels.astype(dtype), lengths)
    else:
        raise ValueError(f"encoding {wire['encoding']!r}")
    return Mask(labels_HW=flat.reshape(shape), class_name=words(wire, "class_name"))


def run_lengths(flat: np.ndarray[Any, Any]) -> list[list[int]]:
    """Return `[label, length]` of each run of equal labels of a flat array."""
    if not flat.size:
        return []
    starts = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1])
    lengths = np.diff(np.concatenate([starts, [flat.size]]))
    return [[int(label), int(length)] for label, length in zip(flat[starts], lengths, strict=True)]


def _finding(finding: Finding) -> dict[str, Any]:
    """Encode a finding; what it leaves empty is left out."""
    facts = ((each.name, getattr(finding, each.name)) for each in fields(finding))
    return {name: value for name, value in facts if name == "name" or value not in (None, "")}


_STAMPS = frozenset({"model", "latency_ms"})


def _plain(prediction: Prediction) -> dict[str, Any]:
    """Encode a prediction whose fields are JSON already; a text that may be empty and is so is left out."""
    facts = [(each, getattr(prediction, each.name)) for each in fields(prediction) if each.name not in _STAMPS]
    return {each.name: value for each, value in facts if value != "" or each.default != ""}


def _from_plain(kind: type[Prediction]) -> Callable[[JsonObject], Prediction]:
    return lambda wire: taken(kind, wire)


_ENCODERS: Mapping[type, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    Boxes: ("boxes", _boxes),
    Labels: ("labels", _labels),
    Mask: ("mask", _mask),
    Generated: ("generated", _plain),
    Findings: ("findings", lambda found: {"items": [_finding(item) for item in found.items]}),
    Scalar: ("scalar", _plain),
    Rejected: ("rejected", _plain),
}

_DECODERS: Mapping[str, Callable[[JsonObject], Prediction]] = {
    "boxes": _to_boxes,
    "labels": _to_labels,
    "mask": _to_mask,
    "generated": _from_plain(Generated),
    "findings": lambda wire: Findings(items=tuple(taken(Finding, item) for item in wire["items"])),
    "scalar": _from_plain(Scalar),
    "rejected": _from_plain(Rejected),
}

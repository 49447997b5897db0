from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.strategies import damaged, json_objects, json_values, predictions, texts, times

from sightline.core.codec import (
    decode_prediction,
    decode_sample,
    encode_prediction,
    encode_sample,
    from_json,
    run_lengths,
    to_json,
)
from sightline.core.errors import InvalidInput
from sightline.core.prediction import Boxes, Finding, Findings, Labels, Mask, Prediction, Rejected, Scalar
from sightline.core.sample import Clocks, Frame, Reading, Sample, Text, Volume, Window

NOON = datetime(2026, 11, 20, 12, 0, 41, 200_000, UTC)

# The example of the contract, letter by letter.
CONTRACT = """
{"schema": 1, "case": "street_people", "source": "door", "epoch": 1, "seq": 412, "id": "door/1/412",
 "time": "2026-11-20T12:00:41.200000Z", "pts_s": 41.2, "size": [768, 576], "metadata": {"location": "lab"},
 "predictions": {
   "people": {"type": "boxes", "model": "nanodet-m@1", "latency_ms": 21.4,
              "items": [{"xyxy": [12.0, 30.5, 60.1, 180.0], "confidence": 0.87, "class_id": 0, "class_name": "person", "tracker_id": 7}]},
   "label":  {"type": "labels", "model": "efficientnet-lite0@1", "items": [{"class_id": 281, "class_name": "tabby", "confidence": 0.71}]},
   "usable": {"type": "scalar", "name": "brightness", "value": 96.1}},
 "rejected": null}
"""  # noqa: E501


def make_sample(payload: Any = None, **others: Any) -> Sample[Any]:
    return Sample(
        payload=payload, source="door", seq=412, clocks=Clocks(pts_s=41.2, monotonic_s=9.0, wall=NOON), **others
    )


def contract_sample() -> Sample[Frame]:
    people = Boxes(
        xyxy=np.array([[12.0, 30.5, 60.1, 180.0]], np.float32),
        confidence=np.array([0.87], np.float32),
        class_id=np.array([0]),
        class_name=("person",),
        tracker_id=np.array([7]),
        model="nanodet-m@1",
        latency_ms=21.4,
    )
    label = Labels(
        class_id=np.array([281]),
        confidence=np.array([0.71], np.float32),
        class_name=("tabby",),
        model="efficientnet-lite0@1",
    )
    return make_sample(
        Frame(np.zeros((576, 768, 3), np.uint8)),
        metadata={"location": "lab"},
        predictions={"people": people, "label": label, "usable": Scalar(name="brightness", value=96.1)},
    )


def test_the_example_of_the_contract_is_what_is_sent() -> None:
    wire = json.loads(to_json(encode_sample(contract_sample(), "street_people")))
    assert wire == json.loads(CONTRACT)
    assert list(wire) == list(json.loads(CONTRACT))


def test_the_example_of_the_contract_is_read() -> None:
    sample = decode_sample(json.loads(CONTRACT))
    assert (sample.id, sample.time, sample.seconds) == ("door/1/412", NOON, 41.2)
    assert sample.prediction("people", Boxes).tracker_id == np.array([7])
    assert sample.prediction("label", Labels).best == "tabby"
    assert sample.prediction("usable", Scalar).value == 96.1
    assert sample.prediction("people", Boxes).model == "nanodet-m@1"
    assert sample.rejected is None


def test_a_rejection_tells_stage_predictor_and_reason() -> None:
    rejected = Rejected(reason="too dark: mean 7.9, limit 12", stage="validation", by="usable", kind="dark")
    wire = encode_sample(make_sample(rejected=rejected), "street_people")
    assert wire["rejected"] == {
        "stage": "validation",
        "by": "usable",
        "kind": "dark",
        "reason": "too dark: mean 7.9, limit 12",
    }
    back = decode_sample(wire).rejected
    assert back is not None
    assert (back.reason, back.kind, back.stage, back.by) == (rejected.reason, "dark", "validation", "usable")


def test_the_rejection_of_the_contract_is_read() -> None:
    wire = json.loads(CONTRACT) | {"rejected": {"stage": "validation", "by": "usable", "reason": "too dark"}}
    rejected = decode_sample(wire).rejected
    assert rejected is not None
    assert (rejected.kind, rejected.reason) == ("rejected", "too dark")


@pytest.mark.parametrize(
    ("payload", "facts"),
    [
        (Volume(np.zeros((2, 3, 4), np.int16), np.eye(4)), {"shape": [2, 3, 4], "affine": np.eye(4).tolist()}),
        (Reading({"temperature": 21.5}), {"values": {"temperature": 21.5}}),
        (Text("hello"), {"num_characters": 5}),
        (
            Window(samples=(make_sample(), make_sample()), start=NOON, end=NOON + timedelta(seconds=1), num_late=3),
            {
                "window": {
                    "start": "2026-11-20T12:00:41.200000Z",
                    "end": "2026-11-20T12:00:42.200000Z",
                    "num_samples": 2,
                    "num_late": 3,
                }
            },
        ),
        (None, {}),
    ],
)
def test_a_payload_is_told_of_but_not_sent(payload: Any, facts: dict[str, Any]) -> None:
    wire = encode_sample(make_sample(payload), "case")
    known = {"schema", "case", "source", "epoch", "seq", "id", "time", "pts_s", "metadata", "predictions", "rejected"}
    assert {key: value for key, value in wire.items() if key not in known} == facts
    json.loads(to_json(wire))


def test_a_sample_without_media_time_has_none() -> None:
    clocks = Clocks(pts_s=None, monotonic_s=0.0, wall=NOON)
    wire = encode_sample(Sample(payload=None, source="s", seq=0, clocks=clocks), "case")
    assert "pts_s" not in wire
    assert decode_sample(wire).clocks.pts_s is None


@given(predictions)
def test_every_prediction_survives_the_wire(prediction: Prediction) -> None:
    back = decode_prediction(from_json(to_json(encode_prediction(prediction))))
    assert type(back) is type(prediction)
    assert back.model == prediction.model
    assert back.latency_ms == (None if prediction.latency_ms is None else round(prediction.latency_ms, 3))
    if isinstance(prediction, Mask):
        assert isinstance(back, Mask)
        assert back.labels_HW.dtype == prediction.labels_HW.dtype
        np.testing.assert_array_equal(back.labels_HW, prediction.labels_HW)
        assert back.class_name == prediction.class_name
    elif isinstance(prediction, Boxes | Labels):
        assert isinstance(back, Boxes | Labels)
        assert back.class_name == prediction.class_name
        np.testing.assert_array_equal(back.class_id, prediction.class_id)
        np.testing.assert_allclose(back.confidence, prediction.confidence, atol=5.1e-5)
    if isinstance(prediction, Boxes):
        assert isinstance(back, Boxes)
        np.testing.assert_allclose(back.xyxy, prediction.xyxy, atol=0.0055)
        np.testing.assert_array_equal(back.tracker_id, prediction.tracker_id)
    if not isinstance(prediction, Mask | Boxes | Labels):
        assert encode_prediction(back) == encode_prediction(prediction)


@given(st.dictionaries(texts, predictions, max_size=2), json_objects, times)
def test_every_sample_survives_the_wire(found: dict[str, Prediction], metadata: dict[str, Any], time: datetime) -> None:
    clocks = Clocks(pts_s=1.5, monotonic_s=0.0, wall=time)
    sample = Sample(payload=None, source="s", seq=3, epoch=2, clocks=clocks, metadata=metadata, predictions=found)
    back = decode_sample(from_json(to_json(encode_sample(sample, "case"))))
    assert (back.id, back.time, dict(back.metadata)) == (sample.id, sample.time, metadata)
    assert list(back.predictions) == list(found)


def test_a_number_that_is_none_comes_back_as_such() -> None:
    back = decode_prediction(from_json(to_json(encode_prediction(Scalar(name="ratio", value=float("nan"))))))
    assert isinstance(back, Scalar)
    assert np.isnan(back.value)


def test_what_is_no_prediction_of_core_is_not_sent() -> None:
    class Mine(Prediction):
        pass

    with pytest.raises(InvalidInput, match="Mine"):
        encode_prediction(Mine())


def test_what_a_finding_leaves_empty_is_left_out() -> None:
    found = Findings(items=(Finding(name="in", value=0.0), Finding(name="news", event="line.crossed", subject="t/1")))
    assert encode_prediction(found)["items"] == [
        {"name": "in", "value": 0.0},
        {"name": "news", "subject": "t/1", "event": "line.crossed"},
    ]


def test_a_newer_schema_is_refused_with_the_cure() -> None:
    with pytest.raises(InvalidInput, match="schema 2") as raised:
        decode_sample(json.loads(CONTRACT) | {"schema": 2})
    assert raised.value.cure == "Update Sightline."


def test_fields_that_a_newer_sightline_adds_are_passed_over() -> None:
    wire = json.loads(CONTRACT) | {"new": 1}
    for prediction in wire["predictions"].values():
        prediction["new"] = 1
    wire["predictions"]["counts"] = {"type": "findings", "items": [{"name": "in", "value": 3, "new": 1}], "new": 1}
    wire["rejected"] = {"reason": "dark", "new": 1}
    sample = decode_sample(wire)
    assert sample.prediction("usable", Scalar).value == 96.1
    assert sample.prediction("counts", Findings).value("in") == 3


def test_a_mask_travels_as_runs() -> None:
    labels_HW = np.array([[0, 0, 1], [1, 1, 300]], np.uint16)
    maps = {"probability": np.ones((2, 3), np.float16)}  # JSON leaves them out
    wire = encode_prediction(Mask(labels_HW=labels_HW, class_name=("background", "liver"), maps=maps))
    assert wire == {
        "type": "mask",
        "encoding": "rle",
        "shape": [2, 3],
        "dtype": "uint16",
        "class_name": ["background", "liver"],
        "runs": [[0, 2], [1, 3], [300, 1]],
    }


def test_runs_of_falling_labels_are_found_in_unsigned_numbers() -> None:
    assert run_lengths(np.array([2, 1, 1, 0, 255], np.uint8)) == [[2, 1], [1, 2], [0, 1], [255, 1]]
    assert run_lengths(np.empty(0, np.uint8)) == []


def test_a_raw_mask_is_read() -> None:
    wire = {"type": "mask", "encoding": "raw", "dtype": "uint16", "shape": [1, 2], "class_name": [], "data": "AQAALA=="}
    mask = decode_prediction(wire)
    assert isinstance(mask, Mask)
    assert mask.labels_HW.tolist() == [[1, 0x2C00]]


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [1 << 20, 1 << 20]},
        {"shape": [1 << 32, 1 << 32], "runs": []},
        {"shape": [-1, 4]},
        {"shape": [2**64 - 1]},
        {"runs": [[0, 5]]},
        {"runs": [[0, -1], [0, 5]]},
        {"runs": [[0, 1 << 62], [0, 1 << 62], [0, 1 << 62], [0, 1 << 62], [0, 4]]},
        {"runs": [[300, 4]]},
        {"runs": [[-1, 4]]},
        {"runs": [[0, 2], [0]]},
        {"runs": "abcd"},
        {"dtype": "float64"},
        {"dtype": ["uint8"]},
        {"encoding": "zip"},
        {"encoding": "raw"},
        {"encoding": "raw", "data": "A"},
        {"encoding": "raw", "data": "AAA="},
        {"encoding": "raw", "data": 7},
        {"class_name": "background"},
        {"class_name": [7]},
    ],
)
def test_a_damaged_mask_is_refused_before_it_costs_memory(change: dict[str, Any]) -> None:
    sound = {"encoding": "rle", "shape": [2, 2], "dtype": "uint8", "class_name": ["background"], "runs": [[0, 4]]}
    assert isinstance(decode_prediction({"type": "mask", **sound}), Mask)
    with pytest.raises(InvalidInput, match="mask"):
        decode_prediction({"type": "mask", **sound, **change})


BOX = {"xyxy": [1, 2, 3, 4], "confidence": 0.5, "class_id": 0, "class_name": "person"}


@pytest.mark.parametrize(
    "wire",
    [
        {"type": "boxes", "items": [BOX | {"class_id": 2**64 - 1}]},
        {"type": "boxes", "items": [BOX | {"xyxy": [1e300, 0, 0, 0]}]},
        {"type": "boxes", "items": [BOX | {"xyxy": [1, 2, 3]}]},
        {"type": "boxes", "items": [BOX | {"xyxy": [1, 2, 3, 4, 5, 6, 7, 8]}]},
        {"type": "boxes", "items": [BOX | {"class_name": None}]},
        {"type": "boxes", "items": [BOX, "box"]},
        {"type": "boxes", "items": 7},
        {"type": "boxes"},
        {"type": "labels", "items": [{"class_id": "x", "class_name": "a", "confidence": 1}]},
        {"type": "scalar", "name": "a", "value": "high"},
        {"type": "scalar", "value": 1},
        {"type": "scalar", "name": "a", "value": 1, "model": 7},
        {"type": "scalar", "name": "a", "value": 1, "latency_ms": "long"},
        {"type": "generated", "text": None},
        {"type": "findings", "items": [{"name": "a", "data": [1]}]},
        {"type": "findings", "items": [7]},
        {"type": "rejected"},
        {"type": "thought"},
        {"type": ["boxes"]},
        {},
        [],
        None,
        "boxes",
    ],
)
def test_a_damaged_prediction_is_refused(wire: Any) -> None:
    with pytest.raises(InvalidInput):
        decode_prediction(wire)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "1"},
        {"schema": None},
        {"time": "yesterday"},
        {"time": 7},
        {"time": "0001-01-01T00:00:00+23:59"},
        {"seq": "1"},
        {"epoch": None},
        {"source": 7},
        {"metadata": []},
        {"predictions": []},
        {"predictions": {"a": None}},
        {"rejected": "dark"},
        {"rejected": {}},
        {"pts_s": "late"},
    ],
)
def test_a_damaged_sample_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        decode_sample(json.loads(CONTRACT) | change)


@given(damaged(predictions.map(encode_prediction)) | json_values)
def test_no_damage_to_a_prediction_raises_anything_else(wire: Any) -> None:
    try:
        decode_prediction(from_json(to_json(wire)))
    except InvalidInput:
        return


@given(damaged(st.just(CONTRACT).map(json.loads)) | json_values)
def test_no_damage_to_a_sample_raises_anything_else(wire: Any) -> None:
    try:
        decode_sample(wire)
    except InvalidInput:
        return

"""Requests and answers without a server."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sightline.core.errors import InvalidInput
from sightline.core.ports import Array
from sightline.serve.oip.wire import WantedOutput, best_classes, read_request, write_answer

RAW = np.array([[1, 2, 3]], np.float32).tobytes()


def request(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}
    return {"inputs": [tensor | changes.pop("tensor", {})], **changes}


def read(document: Any, raw: bytes = RAW, header: str | None = None) -> Any:
    head = json.dumps(document).encode()
    return read_request(head + raw, str(len(head)) if header is None else header)


def test_binary_tensors_follow_the_json() -> None:
    found = read(request(id="7", parameters={"binary_data_output": True, "timeout": 1_500_000}))
    assert found.inputs["x"].tolist() == [[1, 2, 3]]
    assert (found.id, found.binary, found.timeout_s) == ("7", True, 1.5)


def test_json_tensors_need_no_header() -> None:
    document = {"inputs": [{"name": "x", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]}]}
    assert read_request(json.dumps(document).encode()).inputs["x"].tolist() == [1, 2, 3]


def test_outputs_take_the_form_that_was_asked_for() -> None:
    found = read(request(outputs=[{"name": "a"}, {"name": "b", "parameters": {"binary_data": True}}]))
    assert found.outputs == (WantedOutput("a", binary=False), WantedOutput("b", binary=True))


@pytest.mark.parametrize(
    "broken",
    [
        {"inputs": []},
        {"inputs": "x"},
        {"inputs": [None]},
        {"inputs": [{"shape": [3], "datatype": "FP32", "data": [1, 2, 3]}]},
        request(tensor={"name": ""}),
        request(tensor={"datatype": "BF16"}),
        request(tensor={"datatype": "FP31"}),
        request(tensor={"datatype": 3}),
        request(tensor={"shape": [1, 4]}),
        request(tensor={"shape": [-1, -3]}),
        request(tensor={"parameters": {}}),
        request(tensor={"parameters": {"binary_data_size": -12}}),
        request(tensor={"parameters": {"binary_data_size": 13}}),
        request(tensor={"parameters": {"binary_data_size": 8}, "shape": [1, 2]}),
        request(tensor={"parameters": {"binary_data_size": 12.0}}),
        request(tensor={"parameters": {"binary_data_size": True}}),
        request(tensor={"parameters": []}),
        request(tensor={"data": [1, 2, 3]}),
        request(outputs=[{}]),
        request(outputs=[{"name": "y", "parameters": {"classification": -1}}]),
        request(outputs=[{"name": "y", "parameters": {"binary_data": "yes"}}]),
        request(parameters={"binary_data_output": 1}),
        request(parameters={"timeout": -1}),
        request(parameters={"timeout": "soon"}),
        request(id=5),
        [],
        7,
    ],
)
def test_a_broken_request_is_refused(broken: Any) -> None:
    with pytest.raises(InvalidInput):
        read(broken)


@pytest.mark.parametrize("header", ["-1", "9999999", "abc", "1e3", "", "٣"])
def test_a_wrong_header_length_is_refused(header: str) -> None:
    with pytest.raises(InvalidInput):
        read(request(), header=header)


def test_the_same_input_twice_is_refused() -> None:
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    with pytest.raises(InvalidInput, match="twice"):
        read_request(json.dumps({"inputs": [tensor, tensor]}).encode())


def test_an_answer_mixes_json_and_binary() -> None:
    outputs: dict[str, Array] = {"a": np.array([1, 2], np.int32), "b": np.array([[0.5]], np.float16)}
    wanted = [WantedOutput("b", binary=True), WantedOutput("a", binary=False)]
    body, size = write_answer(outputs, wanted, model="m", version="2", request_id="q")
    head = json.loads(body[:size])
    assert head["outputs"][0] == {
        "name": "b", "datatype": "FP16", "shape": [1, 1], "parameters": {"binary_data_size": 2},
    }  # fmt: skip
    assert head["outputs"][1]["data"] == [1, 2]
    assert (head["model_name"], head["model_version"], head["id"]) == ("m", "2", "q")
    assert np.frombuffer(body[size:], np.float16).tolist() == [0.5]


def test_an_output_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(InvalidInput, match="no output 'z'") as told:
        write_answer({"y": np.zeros(1)}, [WantedOutput("z", binary=True)], model="m", version="1")
    assert "y" in told.value.cure


def test_classes_are_the_best_ones_with_their_labels() -> None:
    scores = np.array([[0.1, 0.7, 0.2]], np.float32)
    assert best_classes(scores, 2, ["cat", "dog"]).tolist() == [[b"0.700000:1:dog", b"0.200000:2"]]
    assert best_classes(scores, 9, []).shape == (1, 3)
    with pytest.raises(InvalidInput):
        best_classes(np.array(["a"], object), 1, [])

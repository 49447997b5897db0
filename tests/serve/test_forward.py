"""`/forward`, `/forward_batch` and `/metadata` through a real server."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from tests.serve.oip.nets import echo_net
from tests.serve.photos import PHOTO
from tests.servers import RunningServer, serving

PICTURE = {"image": base64.b64encode(PHOTO).decode()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    nets = [echo_net(folder / f"echo-{kind.lower()}.onnx", kind) for kind in ("FP32", "INT8", "BYTES", "BOOL", "FP16")]
    with serving(folder, nets, models__cache_mb=1) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=30) as made:
        yield made


def refused(answer: httpx2.Response, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("fp32", [[1.5, -2, 3]]),
        ("fp32", [[1, 2, 3], [4, 5, 6]]),
        ("fp16", [[0.5, 65504, -1]]),
        ("int8", [[-128, 0, 127]]),
        ("bool", [[True, False, True]]),
        ("bytes", [["a", "", "é"]]),
    ],
)
def test_nested_lists_go_in_and_come_out(client: httpx2.Client, kind: str, rows: list[Any]) -> None:
    answer = client.post("/forward", json={"model": f"echo-{kind}", "inputs": {"x": rows}})

    assert answer.status_code == 200, answer.text
    assert answer.json() == {"model": f"echo-{kind}@1", "outputs": {"y": rows}}


def test_a_picture_is_prepared_as_the_card_says(client: httpx2.Client) -> None:
    answer = client.post("/forward?model=efficientnet-lite0", json={"inputs": PICTURE}).json()

    assert answer["model"] == "efficientnet-lite0@1"
    assert np.argmax(answer["outputs"]["logits"][0]) == 235


def test_a_batch_is_answered_in_order(client: httpx2.Client) -> None:
    inputs = [{"x": [[number, 0, 0]]} for number in range(20)]

    answer = client.post("/forward_batch", json={"model": "echo-fp32", "inputs": inputs}).json()

    assert [each["y"][0][0] for each in answer["outputs"]] == list(range(20))


def test_equal_requests_get_the_answer_that_was_given(client: httpx2.Client) -> None:
    asked = {"model": "efficientnet-lite0", "inputs": PICTURE}

    kept = [client.post("/forward", json=asked) for _ in range(2)]
    other = client.post("/forward_batch", json={**asked, "inputs": [PICTURE]})

    assert [each.headers["x-cache"] for each in (*kept, other)] == ["miss", "hit", "miss"]
    assert kept[0].content == kept[1].content


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Not JSON"),
        (b"[" * 100_000, "Not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "no `inputs`"),
        (b'{"inputs": {}, "input": 1}', "unknown field 'input'"),
        (b'{"inputs": [], "model": "echo-fp32"}', "must be an object"),
        (b'{"inputs": {}, "model": "echo-fp32"}', "needs the inputs 'x'; given: nothing"),
        (b'{"inputs": {"z": []}, "model": "echo-fp32"}', "needs the inputs 'x'; given: 'z'"),
        (b'{"inputs": {"x": [[1, 2], [3]]}, "model": "echo-fp32"}', "nested list of numbers, even in all rows"),
        (b'{"inputs": {"x": [["1", "2", "3"]]}, "model": "echo-fp32"}', "nested list of numbers"),
        (b'{"inputs": {"x": null}, "model": "echo-fp32"}', "nested list of numbers"),
        (b'{"inputs": {"x": [[1e39, 0, 0]]}, "model": "echo-fp32"}', "no float32"),
        (b'{"inputs": {"x": [[70000, 0, 0]]}, "model": "echo-fp16"}', "no float16"),
        (b'{"inputs": {"x": [[128, 0, 0]]}, "model": "echo-int8"}', "no int8"),
        (b'{"inputs": {"x": [[1.5, 0, 0]]}, "model": "echo-int8"}', "nested list of whole numbers"),
        (b'{"inputs": {"x": [[1e40, 0, 0]]}, "model": "echo-int8"}', "nested list of whole numbers"),
        (b'{"inputs": {"x": [[123456789012345678901234567890, 0, 0]]}, "model": "echo-int8"}', "whole numbers"),
        (b'{"inputs": {"x": [[1, 0, 1]]}, "model": "echo-bool"}', "true or false"),
        (b'{"inputs": {"x": [["a", 1, "b"]]}, "model": "echo-bytes"}', "nested list of texts"),
        (b'{"inputs": {"x": [["a", "b"], ["c"]]}, "model": "echo-bytes"}', "even in all rows"),
        (b'{"inputs": {"image": "???"}, "model": "efficientnet-lite0"}', "no base64"),
        (b'{"inputs": {}, "model": 7}', "must be texts"),
        (b'{"inputs": {}, "version": "1"}', "version is given without a model"),
        (b'{"inputs": {"x": []}}', "Several models are served"),
    ],
)
def test_a_malformed_request_is_refused(client: httpx2.Client, body: bytes, said: str) -> None:
    assert said in refused(client.post("/forward", content=body), 400, "invalid_input")


def test_a_picture_that_is_none_is_refused(client: httpx2.Client) -> None:
    body = {"model": "efficientnet-lite0", "inputs": {"image": base64.b64encode(b"hello").decode()}}

    refused(client.post("/forward", json=body), 400, "invalid_media")


def test_what_the_model_cannot_work_with_is_told_with_its_reason(client: httpx2.Client) -> None:
    one = client.post("/forward", json={"model": "echo-fp32", "inputs": {"x": [[1, 2]]}})
    several = client.post(
        "/forward_batch", json={"model": "echo-fp32", "inputs": [{"x": [[1, 2, 3]]}, {"x": [[1, 2]]}]}
    )

    assert "not float32[1, 2]" in refused(one, 403, "not_processed")
    assert "`inputs[1]`" in refused(several, 403, "not_processed")


@pytest.mark.parametrize("inputs", [[], {}, [{}] * 1025, "x", None])
def test_a_batch_that_is_none_is_refused(client: httpx2.Client, inputs: Any) -> None:
    answer = client.post("/forward_batch", json={"model": "echo-fp32", "inputs": inputs})

    assert "`inputs` must be a list of 1 to 1024 objects" in refused(answer, 400, "invalid_input")


def test_an_unknown_model_or_type_is_told(client: httpx2.Client) -> None:
    refused(client.post("/forward", json={"model": "nothing", "inputs": {}}), 404, "model_not_found")
    refused(client.post("/forward", json={"model": "../x", "inputs": {}}), 400, "invalid_input")
    refused(client.post("/forward", content=PHOTO, headers={"Content-Type": "image/jpeg"}), 415, "wrong_media_type")
    refused(client.post("/forward?modle=x", json={"inputs": {}}), 400, "invalid_input")
    refused(client.post("/forward?model=a", json={"model": "b", "inputs": {}}), 400, "invalid_input")


def test_metadata_is_what_stands_in_the_file(client: httpx2.Client) -> None:
    metadata = client.get("/metadata?model=nanodet-m").json()

    assert (metadata["model"], metadata["task"]) == ("nanodet-m@1", "object-detection")
    assert metadata["inputs"] == [{"name": "images", "dtype": "float32", "shape": ["n", 3, 416, 416]}]
    assert metadata["metadata_props"]["sightline.task"] == "object-detection"
    assert metadata["labels"][0] == "person"
    refused(client.get("/metadata"), 400, "invalid_input")
    refused(client.get("/metadata?model=nothing"), 404, "model_not_found")
    refused(client.get("/metadata?x=1"), 400, "invalid_input")


def test_the_only_file_is_meant_where_none_is_named(tmp_path: Path) -> None:
    net = echo_net(tmp_path / "only.onnx", "FP32")
    with serving(tmp_path, [net]) as server, httpx2.Client(base_url=server.url, timeout=30) as client:
        assert client.post("/forward", json={"inputs": {"x": [[1, 2, 3]]}}).json()["model"] == "only@1"
        assert client.get("/metadata").json()["name"] == "only"

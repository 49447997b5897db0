"""Requests that are wrong, through the tensor doors of a real server: each is the caller's mistake, none is ours."""

from __future__ import annotations

import base64
import json
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from tests.serve.oip.nets import echo_net
from tests.serve.photos import PHOTO, dog, saved
from tests.servers import RunningServer, serving

LITE = "/v2/models/efficientnet-lite0/infer"
ECHO = "/v2/models/echo-fp32/infer"
GERMAN_SHEPHERD = 235


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    nets = [echo_net(folder / f"echo-{kind.lower()}.onnx", kind) for kind in ("FP32", "BYTES", "INT8")]
    with serving(folder, nets) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=60) as made:
        yield made


def refused(answer: httpx2.Response, *codes: str) -> str:
    """Return the detail of a problem with one of these codes, which blames the caller."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert 400 <= answer.status_code < 500, problem
    assert problem["code"] in codes, problem
    assert problem["status"] == answer.status_code
    assert problem["cure"]
    return str(problem["detail"])


def huge() -> bytes:
    """Return a PNG of 20,000 x 20,000 pixels by its header, in less than 300 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def turned(orientation: int, degrees: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(dog().rotate(degrees, expand=True), "JPEG", quality=95, exif=exif)


def infer_picture(client: httpx2.Client, picture: bytes) -> httpx2.Response:
    """Send a picture as a tensor of bytes."""
    raw = struct.pack("<I", len(picture)) + picture
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return client.post(LITE, content=head + raw, headers={"Inference-Header-Content-Length": str(len(head))})


def forward_picture(client: httpx2.Client, picture: bytes) -> httpx2.Response:
    inputs = {"image": base64.b64encode(picture).decode()}
    return client.post("/forward?model=efficientnet-lite0", json={"inputs": inputs})


def scores_of(answer: httpx2.Response) -> Any:
    assert answer.status_code == 200, answer.text
    document = answer.json()
    if "model_name" in document:
        return np.asarray(document["outputs"][0]["data"]).ravel()
    return np.asarray(next(iter(document["outputs"].values()))).ravel()


both = pytest.mark.parametrize("ask", [infer_picture, forward_picture])


@both
@pytest.mark.parametrize(
    "picture",
    [b"", b"not a picture", PHOTO[: len(PHOTO) // 2], PHOTO[:20], huge(), b"<svg/>", bytes(10_000)],
    ids=["empty", "text", "half", "start", "huge", "svg", "zeros"],
)
def test_a_picture_that_is_none_is_the_callers_mistake(client: httpx2.Client, ask: Any, picture: bytes) -> None:
    assert len(huge()) < 300
    refused(ask(client, picture), "invalid_media", "invalid_input", "not_processed")


@both
@pytest.mark.parametrize(
    "picture",
    [
        saved(dog().convert("CMYK"), "JPEG", quality=95),
        saved(dog(), "GIF", save_all=True, append_images=[Image.new("RGB", dog().size)]),
        saved(dog(), "PNG", save_all=True, append_images=[Image.new("RGB", dog().size)]),
        saved(dog(), "WEBP", save_all=True, append_images=[Image.new("RGB", dog().size)]),
        saved(Image.fromarray(np.asarray(dog().convert("L")).astype(np.uint16) << 8), "PNG"),
        saved(dog().convert("RGBA"), "PNG"),
        turned(6, 90),
        turned(8, 270),
        turned(3, 180),
    ],
    ids=["cmyk", "gif", "apng", "webp", "16-bit", "alpha", "exif-6", "exif-8", "exif-3"],
)
def test_an_unusual_picture_shows_what_the_usual_one_does(client: httpx2.Client, ask: Any, picture: bytes) -> None:
    usual, unusual = scores_of(ask(client, PHOTO)), scores_of(ask(client, picture))

    assert np.argmax(usual) == np.argmax(unusual) == GERMAN_SHEPHERD


def tensor(**changed: Any) -> dict[str, Any]:
    plain = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    return {name: value for name, value in (plain | changed).items() if value is not None}


@pytest.mark.parametrize(
    "inputs",
    [
        [tensor(shape=[1, 4])],
        [tensor(shape=[1, 4], data=[1, 2, 3, 4])],
        [tensor(shape=[3])],
        [tensor(shape=[-1, 3])],
        [tensor(shape=[1, -3])],
        [tensor(shape=[0, 3], data=[])],
        [tensor(shape=[2**62, 2**62])],
        [tensor(shape=[2**31, 3])],
        [tensor(shape=[1.0, 3])],
        [tensor(shape="13")],
        [tensor(shape=[True, 3])],
        [tensor(shape=[1] * 200)],
        [tensor(name="z")],
        [tensor(name="")],
        [tensor(name=None)],
        [tensor(name=7)],
        [tensor(datatype="INT8")],
        [tensor(datatype="FP33")],
        [tensor(datatype=None)],
        [tensor(datatype=["FP32"])],
        [tensor(data=["a", "b", "c"])],
        [tensor(data=[None, 1, 2])],
        [tensor(data={"a": 1})],
        [tensor(data="123")],
        [tensor(data=[[1, 2], [3]])],
        [tensor(data=None)],
        [tensor(data=[10**400, 1, 2])],
        [tensor(), tensor()],
        [tensor(), tensor(name="y")],
        [tensor(parameters={"binary_data_size": 12})],
        [tensor(data=None, parameters={"binary_data_size": -12})],
        [tensor(data=None, parameters={"binary_data_size": 12})],
        [tensor(data=None, parameters={"binary_data_size": "12"})],
        [tensor(data=None, parameters={"binary_data_size": 2**63})],
        [tensor(data=None, parameters=[1])],
        [],
        {},
        None,
        "x",
        [None],
        [[]],
    ],
    ids=lambda inputs: json.dumps(inputs)[:60],
)
def test_a_tensor_that_does_not_fit_is_the_callers_mistake(client: httpx2.Client, inputs: Any) -> None:
    refused(client.post(ECHO, content=json.dumps({"inputs": inputs})), "invalid_input", "not_processed")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"\x00" * 100,
        b'{"inputs": NaN}',
        b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [NaN, 1, 2]}]}',
        b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [Infinity, 1, 2]}]}',
        b'{"model": "echo-fp32", "inputs": {"x": [[NaN, 1, 2]]}}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"inputs":' * 100_000,
        b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"' + b"a" * 1_000_000,
        b'{"inputs": 1' + b"0" * 100_000 + b"}",
    ],
    ids=lambda body: body[:16].decode("latin-1"),
)
@pytest.mark.parametrize("path", [ECHO, "/forward?model=echo-fp32", "/forward_batch?model=echo-fp32", "/predict"])
def test_json_that_is_none_or_a_bomb_is_the_callers_mistake(client: httpx2.Client, path: str, body: bytes) -> None:
    begin = time.monotonic()

    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})

    refused(answer, "invalid_input", "not_processed")
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("path", [ECHO, "/forward?model=echo-fp32", "/predict"])
def test_while_a_list_of_60_mb_is_read_others_are_answered(client: httpx2.Client, path: str) -> None:
    head = b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": ['
    body = head + b"1," * (30 << 20) + b"1]}]}"
    slowest_s = 0.0

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(client.post, path, content=body, headers={"Content-Type": "application/json"})
        while not asking.done():
            begin = time.monotonic()
            assert client.get("/livez").status_code == 200
            slowest_s = max(slowest_s, time.monotonic() - begin)
            time.sleep(0.01)

    refused(asking.result(), "invalid_input", "not_processed")
    assert slowest_s < 5, slowest_s


@pytest.mark.parametrize("path", ["/v2/models/nobody/infer", "/v2/models/echo-fp32/versions/9/infer"])
def test_an_unknown_model_or_version_is_not_found(client: httpx2.Client, path: str) -> None:
    answer = client.post(path, json={"inputs": [tensor()]})

    refused(answer, "model_not_found")
    assert answer.status_code == 404


@pytest.mark.parametrize("timeout", [-1, "soon", 1.5, None, 10**30, True])
def test_the_parameter_timeout_must_be_microseconds(client: httpx2.Client, timeout: Any) -> None:
    answer = client.post(ECHO, json={"inputs": [tensor()], "parameters": {"timeout": timeout}})

    if answer.status_code != 200:
        refused(answer, "invalid_input")


def test_the_parameter_timeout_is_heeded(client: httpx2.Client) -> None:
    answer = client.post(ECHO, json={"inputs": [tensor()], "parameters": {"timeout": 1}})

    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


def test_texts_of_wrong_lengths_are_the_callers_mistake(client: httpx2.Client) -> None:
    for raw in (
        b"",
        b"\x01",
        struct.pack("<I", 2**32 - 1) + b"a",
        struct.pack("<i", -5) + b"abc",
        bytes(4) * 2,
        bytes(4) * 4,
    ):
        part = {"name": "x", "shape": [1, 3], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
        head = json.dumps({"inputs": [part]}).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        refused(client.post("/v2/models/echo-bytes/infer", content=head + raw, headers=headers), "invalid_input")


@pytest.mark.parametrize("given", ["-1", "999999", "1.5", "x", "0", "9" * 30])
def test_a_length_of_the_json_that_is_none_is_the_callers_mistake(client: httpx2.Client, given: str) -> None:
    body = json.dumps({"inputs": [tensor()]}).encode()

    refused(client.post(ECHO, content=body, headers={"Inference-Header-Content-Length": given}), "invalid_input")


def test_a_body_packed_to_a_bomb_is_refused(client: httpx2.Client) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()

    refused(client.post(ECHO, content=bomb, headers={"Content-Encoding": "gzip"}), "too_large")
    refused(client.post(ECHO, content=b"xx", headers={"Content-Encoding": "br"}), "wrong_media_type")

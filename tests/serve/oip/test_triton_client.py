"""The official client of the protocol against the real server, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tests.serve.oip.nets import ONNX_TYPES, echo_net
from tests.servers import RunningServer, serving
from tritonclient.utils import InferenceServerException

from sightline.core.oip import DTYPES
from sightline.core.ports import Array

LITE = "efficientnet-lite0"
PHOTOS = Path(__file__).parents[2] / "data/photos"
each_datatype = pytest.mark.parametrize("datatype", sorted(ONNX_TYPES))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("triton")
    nets = [echo_net(folder / f"echo-{datatype.lower()}.onnx", datatype) for datatype in ONNX_TYPES]
    with serving(folder, nets) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[Any]:
    client = triton.InferenceServerClient(server.address, network_timeout=20)
    yield client
    client.close()


def values(datatype: str) -> Array:
    """Return [2, 3] with the ends of what the datatype can say."""
    if datatype == "BYTES":
        return np.array([[b"", b"a", "ü".encode()], [b"\x00", b" ", b"long" * 50]], object)
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind == "b":
        return np.array([[True, False, True], [False, False, True]])
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[limits.min, 0, limits.max], [1, 2, 3]], dtype)


def asked(datatype: str, array: Array, *, binary: bool, module: Any = triton) -> Any:
    tensor = module.InferInput("x", list(array.shape), datatype)
    return tensor.set_data_from_numpy(array, binary_data=binary)


@each_datatype
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_every_datatype_comes_back_as_it_went(client: Any, datatype: str, *, binary_in: bool, binary_out: bool) -> None:
    if datatype == "FP16" and not binary_in:
        pytest.skip("the client itself sends FP16 in binary form only")
    array = values(datatype)
    if datatype == "BYTES" and not (binary_in and binary_out):
        array = np.array([[b"", b"a", "ü".encode()]], object)  # JSON carries text
    wanted = [triton.InferRequestedOutput("y", binary_data=binary_out)]
    tensor = asked(datatype, array, binary=binary_in)
    answer = client.infer(f"echo-{datatype.lower()}", [tensor], outputs=wanted, request_id="a-7")
    found = answer.as_numpy("y")
    if datatype == "BYTES" and not binary_out:
        found = np.array([text.encode() for text in found.ravel()], object).reshape(found.shape)
    assert found.tolist() == array.tolist()
    assert answer.get_response()["id"] == "a-7"
    assert answer.get_output("y")["datatype"] == datatype


@each_datatype
def test_the_asynchronous_client_says_the_same(server: RunningServer, datatype: str) -> None:
    async def ask() -> Array:
        async with triton_aio.InferenceServerClient(server.address) as client:
            answer = await client.infer(
                f"echo-{datatype.lower()}", [asked(datatype, values(datatype), binary=True, module=triton_aio)]
            )
            return np.asarray(answer.as_numpy("y"))

    assert asyncio.run(ask()).tolist() == values(datatype).tolist()


@pytest.mark.parametrize("how", ["gzip", "deflate"])
def test_a_compressed_request_is_unpacked(client: Any, how: str) -> None:
    array = values("FP32")
    answer = client.infer(
        "echo-fp32", [asked("FP32", array, binary=True)], request_compression_algorithm=how,
        response_compression_algorithm=how,
    )  # fmt: skip
    assert answer.as_numpy("y").tolist() == array.tolist()


def test_the_server_tells_what_it_is(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    told = client.get_server_metadata()
    assert told["name"] == "sightline"
    assert "binary_tensor_data" in told["extensions"]


def test_a_model_tells_what_it_takes(client: Any) -> None:
    told = client.get_model_metadata("echo-int8")
    assert told["inputs"] == [{"name": "x", "datatype": "INT8", "shape": [-1, 3]}]
    assert told["versions"] == ["1"]
    assert client.get_model_metadata("echo-int8", "1")["outputs"][0]["name"] == "y"
    assert client.get_model_config("echo-int8")["input"][0]["data_type"] == "TYPE_INT8"
    assert client.is_model_ready("echo-int8")
    assert client.is_model_ready("echo-int8", "1")


def test_models_are_listed_unloaded_and_loaded_again(client: Any) -> None:
    assert {entry["name"] for entry in client.get_model_repository_index()} > {"echo-bool", LITE}
    client.unload_model("echo-uint8")
    assert not client.is_model_ready("echo-uint8")
    state = {entry["name"]: entry["state"] for entry in client.get_model_repository_index()}
    assert (state["echo-uint8"], state["echo-int8"]) == ("UNAVAILABLE", "READY")
    tensor = asked("UINT8", values("UINT8"), binary=True)
    with pytest.raises(InferenceServerException, match="was unloaded"):
        client.infer("echo-uint8", [tensor])
    client.load_model("echo-uint8")
    assert client.is_model_ready("echo-uint8")
    assert client.infer("echo-uint8", [tensor]).as_numpy("y").shape == (2, 3)


def test_classes_can_be_asked_for_instead_of_scores(client: Any) -> None:
    wanted = [triton.InferRequestedOutput("logits", class_count=2)]
    tensor = triton.InferInput("images", [1, 3, 224, 224], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 3, 224, 224), np.float32))
    [[first, _]] = client.infer(LITE, [tensor], outputs=wanted).as_numpy("logits")
    score, class_id, label = first.decode().split(":")
    assert float(score) > 0
    assert class_id.isdecimal()
    assert label


def test_a_photograph_is_decoded_by_the_server(client: Any) -> None:
    photo = next(PHOTOS.glob("*.jpg"))
    files = np.array([photo.read_bytes()] * 2, object)
    tensor = triton.InferInput("picture", [2], "BYTES")
    tensor.set_data_from_numpy(files)
    wanted = [triton.InferRequestedOutput("logits")]
    logits = client.infer(LITE, [tensor], outputs=wanted).as_numpy("logits")
    assert logits.shape == (2, 1000)
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-5)
    broken = np.array([photo.read_bytes(), b"no picture"], object)
    tensor.set_data_from_numpy(broken)
    with pytest.raises(InferenceServerException, match="picture 1"):
        client.infer(LITE, [tensor])


@pytest.mark.parametrize(
    ("model", "version", "name", "shape", "status"),
    [
        ("nobody", "", "x", (1, 3), "404"),
        ("echo-fp32", "9", "x", (1, 3), "404"),
        ("echo-fp32", "", "z", (1, 3), "400"),
        ("echo-fp32", "", "x", (1, 4), "400"),
        ("echo-fp32", "", "x", (3,), "400"),
        ("echo-int8", "", "x", (1, 3), "400"),
        ("echo-fp32", "", "x", (0, 3), "400"),
    ],
)
def test_what_does_not_fit_is_told_and_the_next_request_is_answered(  # noqa: PLR0917 - pytest gives them by name
    client: Any, model: str, version: str, name: str, shape: tuple[int, ...], status: str
) -> None:
    array = np.zeros(shape, np.float32)
    tensor = triton.InferInput(name, list(shape), "FP32")
    tensor.set_data_from_numpy(array)
    with pytest.raises(InferenceServerException) as told:
        client.infer(model, [tensor], model_version=version)
    assert told.value.status() == status
    assert client.infer("echo-fp32", [asked("FP32", values("FP32"), binary=True)]).as_numpy("y") is not None

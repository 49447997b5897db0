"""The official client of the protocol, sync and aio, against a real server."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tests.serve.oip.nets import ONNX_TYPES
from tritonclient.utils import InferenceServerException

from sightline.core.oip import DTYPES

Client = Any


def rows(datatype: str) -> npt.NDArray[Any]:
    """Return a [2, 3] tensor with the least and the greatest value of a datatype."""
    if datatype == "BYTES":
        return np.array([["", "a", "käse"], ["\U0001f600", "x" * 3000, "0"]], object)
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind == "b":
        return np.array([[True, False, True], [False, False, True]])
    limits: Any = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    return np.array([[limits.min, limits.max, 0], [1, 2, 3]], dtype)


def asked(datatype: str, array: npt.NDArray[Any]) -> Any:
    tensor = triton.InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def texts(array: npt.NDArray[Any]) -> list[Any]:
    return [item.decode() if isinstance(item, bytes) else item for item in array.ravel().tolist()]


@pytest.fixture(scope="module")
def client(platform_and_port: tuple[Any, int]) -> Iterator[Client]:
    made = triton.InferenceServerClient(f"127.0.0.1:{platform_and_port[1]}")
    yield made
    made.close()


@pytest.mark.parametrize("datatype", ONNX_TYPES)
def test_every_datatype_goes_in_and_comes_out(client: Client, datatype: str) -> None:
    array = rows(datatype)
    result = client.infer(f"echo-{datatype}", [asked(datatype, array)], request_id="7", client_timeout=20)
    assert result.get_response().id == "7"
    assert texts(result.as_numpy("y")) == texts(array)
    assert result.as_numpy("y").shape == (2, 3)


@pytest.mark.parametrize("datatype", [name for name in ONNX_TYPES if name != "FP16"])
def test_typed_contents_are_answered_as_typed_contents(client: Client, datatype: str) -> None:
    from sightline.serve.rpc.tensors import CONTENTS

    array = rows(datatype)
    stub = client._client_stub
    request = triton.service_pb2.ModelInferRequest(model_name=f"echo-{datatype}")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[2, 3])
    values = [item.encode() for item in texts(array)] if datatype == "BYTES" else array.ravel().tolist()
    getattr(tensor.contents, CONTENTS[datatype]).extend(values)
    response = stub.ModelInfer(request, timeout=20)
    assert not response.raw_output_contents
    assert list(getattr(response.outputs[0].contents, CONTENTS[datatype])) == pytest.approx(values) or values == list(
        getattr(response.outputs[0].contents, CONTENTS[datatype])
    )


@pytest.mark.parametrize("datatype", ONNX_TYPES)
def test_the_aio_client_gets_the_same(port: int, datatype: str) -> None:
    async def work() -> None:
        array = rows(datatype)
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{port}") as client:
            assert await client.is_model_ready(f"echo-{datatype}")
            asking = (client.infer(f"echo-{datatype}", [asked(datatype, array)], request_id=str(n)) for n in range(3))
            for number, result in enumerate(await asyncio.gather(*asking)):
                assert result.get_response().id == str(number)
                assert texts(result.as_numpy("y")) == texts(array)
                assert result.as_numpy("y").shape == (2, 3)

    asyncio.run(work())


def test_a_stream_of_the_aio_client_answers_in_order_and_goes_on_after_an_error(port: int) -> None:
    names = [f"echo-{datatype}" for datatype in ONNX_TYPES]
    names.insert(3, "nobody")

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for name in names:
            datatype = name.removeprefix("echo-") if name != "nobody" else "FP32"
            yield {"model_name": name, "inputs": [asked(datatype, rows(datatype))], "request_id": name}

    async def work() -> list[tuple[Any, Any]]:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{port}") as client:
            return [answer async for answer in client.stream_infer(requests(), stream_timeout=60)]

    answers = asyncio.run(work())
    assert len(answers) == len(names)
    for name, (result, error) in zip(names, answers, strict=True):
        if name == "nobody":
            assert "No model is called 'nobody'" in str(error)
        else:
            assert error is None
            assert result.get_response().id == name
            assert texts(result.as_numpy("y")) == texts(rows(name.removeprefix("echo-")))


def test_a_stream_answers_in_order_and_goes_on_after_an_error(client: Client) -> None:
    found: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: found.put((result, error)))
    try:
        for number in range(6):
            name = "echo-FP32" if number != 3 else "nobody"
            client.async_stream_infer(
                name,
                [asked("FP32", np.full((1, 3), number, np.float32))],
                request_id=str(number),
                enable_empty_final_response=True,
            )
        answers = [found.get(timeout=20) for _ in range(6)]
    finally:
        client.stop_stream()
    assert "No model is called 'nobody'" in str(answers[3][1])
    for number in (0, 1, 2, 4, 5):
        response = answers[number][0].get_response()
        assert response.id == str(number)
        assert response.parameters["triton_final_response"].bool_param
        assert answers[number][0].as_numpy("y")[0, 0] == number


def test_the_server_and_its_models_are_described(client: Client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo-FP32")
    assert client.get_server_metadata().name == "sightline"
    described = client.get_model_metadata("echo-FP32")
    assert (described.inputs[0].datatype, list(described.inputs[0].shape)) == ("FP32", [-1, 3])
    config = client.get_model_config("efficientnet-lite0").config
    assert config.parameters["sightline.task"].string_value == "image-classification"
    assert "efficientnet-lite0" in {model.name for model in client.get_model_repository_index().models}


def test_requests_are_counted_by_model(client: Client) -> None:
    client.infer("echo-INT8", [asked("INT8", rows("INT8"))])
    before = client.get_inference_statistics("echo-INT8").model_stats[0]
    client.infer("echo-INT8", [asked("INT8", rows("INT8"))])
    [after] = client.get_inference_statistics("echo-INT8").model_stats
    assert after.inference_count == before.inference_count + 2
    assert after.inference_stats.success.count == before.inference_stats.success.count + 1


def test_an_unloaded_model_is_not_ready_until_it_is_loaded(client: Client) -> None:
    client.unload_model("echo-INT16")
    assert not client.is_model_ready("echo-INT16")
    with pytest.raises(InferenceServerException, match=r"UNAVAILABLE.*was unloaded"):
        client.infer("echo-INT16", [asked("INT16", rows("INT16"))])
    client.load_model("echo-INT16")
    assert client.is_model_ready("echo-INT16")


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_are_taken(client: Client, algorithm: str) -> None:
    result = client.infer("echo-FP32", [asked("FP32", rows("FP32"))], compression_algorithm=algorithm)
    assert result.as_numpy("y").shape == (2, 3)


def test_a_deadline_that_passes_ends_the_call(client: Client) -> None:
    client.infer("slow", [asked("FP32", np.zeros((1, 384, 384), np.float32))])  # opens it
    array = np.zeros((16, 384, 384), np.float32)
    with pytest.raises(InferenceServerException, match="DEADLINE_EXCEEDED"):
        client.infer("slow", [asked("FP32", array)], client_timeout=0.02)

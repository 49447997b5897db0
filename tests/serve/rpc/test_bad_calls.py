"""Whatever a caller sends, the status says whose mistake it is, and never INTERNAL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serve.oip.nets import echo_net
from tests.serve.rpc.conftest import serving

from sightline.core.errors import InvalidInput, error_types
from sightline.serve.rpc.messages import MODELS, message
from sightline.serve.rpc.status import code_of
from sightline.serve.rpc.tensors import read_request
from sightline.serve.rpc.wire import split_request

INFER = "/inference.GRPCInferenceService/ModelInfer"
Request = message("inference.ModelInferRequest")


@pytest.fixture(scope="module")
def channel(platform_and_port: tuple[Any, int]) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{platform_and_port[1]}") as made:
        yield made


def request(**changed: Any) -> Any:
    made = Request(model_name="echo-FP32", raw_input_contents=[np.zeros((2, 3), np.float32).tobytes()])
    made.inputs.add(name="x", datatype="FP32", shape=[2, 3])
    for name, value in changed.items():
        setattr(made.inputs[0], name, value) if name in ("name", "datatype") else setattr(made, name, value)
    return made


def shaped(*shape: int) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        del made.inputs[0].shape[:]
        made.inputs[0].shape.extend(shape)

    return change


def refused(channel: grpc.Channel, data: bytes, method: str = INFER) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as found:
        channel.unary_unary(method)(data, timeout=20)
    return found.value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (shaped(2, 4), "has 24 bytes"),
        (shaped(-2, -3), "whole number from 0 on"),
        (shaped(1 << 40, 1 << 40), "has 24 bytes"),
        (lambda made: setattr(made.inputs[0], "datatype", "BF16"), "BF16"),
        (lambda made: setattr(made.inputs[0], "datatype", "INT32"), "int32"),
        (lambda made: setattr(made.inputs[0], "name", "z"), "'z'"),
        (lambda made: setattr(made.inputs[0], "name", ""), "no name"),
        (lambda made: made.raw_input_contents.append(b""), "2 raw_input_contents"),
        (lambda made: made.inputs[0].contents.fp32_contents.append(1), "contents"),
        (lambda made: made.outputs.add(name="nothing"), "no output 'nothing'"),
        (lambda made: made.ClearField("inputs"), "1 to 256 inputs"),
        (lambda made: made.parameters["timeout"].__setattr__("int64_param", -1), "microseconds"),
        (lambda made: made.inputs[0].parameters["shared_memory_region"].__setattr__("string_param", "a"), "shared"),
    ],
)
def test_a_request_that_does_not_fit_is_the_callers_mistake(
    channel: grpc.Channel, change: Callable[[Any], None], said: str
) -> None:
    made = request()
    change(made)
    error = refused(channel, made.SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert said in error.details()
    assert ("sightline-code", "invalid_input") in error.trailing_metadata()


def test_unknown_models_and_versions_are_not_found(channel: grpc.Channel) -> None:
    for changed in ({"model_name": "nobody"}, {"model_version": "9"}):
        assert refused(channel, request(**changed).SerializeToString()).code() is grpc.StatusCode.NOT_FOUND


def test_no_path_is_a_model_name(channel: grpc.Channel) -> None:
    error = refused(channel, request(model_name="../../secret.onnx").SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel) -> None:
    assert refused(channel, b"\xff" * 40).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_procedure_that_does_not_exist_is_unimplemented(channel: grpc.Channel) -> None:
    assert refused(channel, b"", f"/{MODELS}/TrainModel").code() is grpc.StatusCode.UNIMPLEMENTED


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_noise_is_read_or_refused(data: bytes) -> None:
    try:
        read_request(data)
    except InvalidInput:
        return


@given(st.lists(st.binary(max_size=40), max_size=5), st.text(max_size=10), st.lists(st.integers(0, 9), max_size=4))
@settings(max_examples=200, deadline=None)
def test_raw_contents_are_found_where_protobuf_finds_them(raw: list[bytes], name: str, shape: list[int]) -> None:
    made = Request(model_name=name, id="1", raw_input_contents=raw)
    made.inputs.add(name="x", shape=shape)
    rest, found = split_request(made.SerializeToString())
    assert [bytes(each) for each in found] == raw
    assert (rest.model_name, list(rest.inputs[0].shape)) == (name, shape)


def test_a_message_beyond_the_limit_is_refused_also_when_it_is_compressed(tmp_path: Path) -> None:
    with serving(tmp_path, SIGHTLINE_SERVER__MAX_BODY_MB="1") as (_, port):
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            with grpc.insecure_channel(f"127.0.0.1:{port}", compression=compression) as channel:
                error = refused(channel, bytes(8 << 20))
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_key_is_asked_for_where_one_is_needed(tmp_path: Path) -> None:
    token = "a-token-that-is-long-enough-for-all"
    environ: dict[str, Any] = {"SIGHTLINE_AUTH__MODE": "on", "SIGHTLINE_AUTH__SERVICE_TOKEN": token}
    net = echo_net(tmp_path / "echo-FP32.onnx", "FP32")
    with (
        serving(tmp_path, net, **environ) as (_, port),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        data = request().SerializeToString()
        assert refused(channel, data).code() is grpc.StatusCode.UNAUTHENTICATED
        infer = channel.unary_unary(INFER)
        with pytest.raises(grpc.RpcError) as found:
            infer(data, timeout=20, metadata=[("authorization", "Bearer wrong")])
        assert found.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert infer(data, timeout=20, metadata=[("authorization", f"Bearer {token}")])
        assert channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=20)


def test_every_error_has_a_status() -> None:
    for kind in error_types():
        assert isinstance(code_of(kind("it is wrong")), grpc.StatusCode)

"""`sightline.v1.ModelService`, and the descriptors that all messages are made of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from tests.serve.oip.nets import echo_net
from tritonclient.grpc import service_pb2

from sightline.serve.rpc.messages import MODELS, POOL, message, methods

ROOT = Path(__file__).parents[3]
PHOTO = ROOT / "tests/data/photos"
PROTOS = ROOT / "src/sightline/serve/rpc/protos"


@pytest.fixture(scope="module")
def channel(platform_and_port: tuple[Any, int]) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{platform_and_port[1]}") as made:
        yield made


def called(channel: grpc.Channel, name: str, request: Any, answer: str) -> Any:
    kind = message(f"sightline.v1.{answer}")
    return channel.unary_unary(
        f"/{MODELS}/{name}",
        request_serializer=lambda made: made.SerializeToString(),
        response_deserializer=kind.FromString,
    )(request, timeout=30)


def test_a_picture_gives_labels(channel: grpc.Channel) -> None:
    photo = min(PHOTO.glob("*.jpg")).read_bytes()
    request = message("sightline.v1.InferenceRequest")(model="efficientnet-lite0", image=photo, top_k=3, id="a")
    answer = called(channel, "InferModel", request, "Prediction")
    [prediction] = json.loads(answer.json)["predictions"].values()
    assert (answer.id, answer.model, answer.type) == ("a", "efficientnet-lite0@1", "labels")
    assert [item.class_name for item in answer.items] == [item["class_name"] for item in prediction["items"]]
    assert len(answer.items) == 3


def test_tensors_give_tensors(channel: grpc.Channel) -> None:
    request = message("sightline.v1.InferenceRequest")(model="echo-FP32")
    tensor = request.tensors.by_name["x"]
    tensor.datatype, tensor.raw = "FP32", np.arange(3, dtype=np.float32).tobytes()
    tensor.shape.extend([1, 3])
    answer = called(channel, "InferModel", request, "Prediction")
    assert np.frombuffer(answer.tensors.by_name["y"].raw, np.float32).tolist() == [0, 1, 2]


def test_a_request_with_nothing_in_it_is_refused(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as found:
        called(channel, "InferModel", message("sightline.v1.InferenceRequest")(model="echo-FP32"), "Prediction")
    assert found.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_config_makes_a_model_that_answers(channel: grpc.Channel) -> None:
    config = message("sightline.v1.ModelConfig")(
        name="mine", model="efficientnet-lite0", title="A copy", aliases=["production"]
    )
    made = called(channel, "CreateModel", config, "Model")
    assert (made.ref, made.task, list(made.aliases)) == ("mine@1", "image-classification", ["production"])
    photo = min(PHOTO.glob("*.jpg")).read_bytes()
    request = message("sightline.v1.InferenceRequest")(model="mine@production", image=photo)
    assert called(channel, "InferModel", request, "Prediction").model == "mine@1"


def test_an_alias_leads_to_the_new_version_at_once(channel: grpc.Channel) -> None:
    photo = min(PHOTO.glob("*.jpg")).read_bytes()
    request = message("sightline.v1.InferenceRequest")(model="moved@best", image=photo)
    for number in range(1, 5):  # aliases are also read once a second, which would not be in time for all of them
        config = message("sightline.v1.ModelConfig")(
            name="moved", model="efficientnet-lite0", title=f"Number {number}", aliases=["best"]
        )
        assert called(channel, "CreateModel", config, "Model").ref == f"moved@{number}"
        assert called(channel, "InferModel", request, "Prediction").model == f"moved@{number}"


def test_a_pickle_is_no_model(channel: grpc.Channel) -> None:
    config = message("sightline.v1.ModelConfig")(name="bad", onnx=b"\x80\x04N.")
    with pytest.raises(grpc.RpcError) as found:
        called(channel, "CreateModel", config, "Model")
    assert found.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "pickle" in found.value.details()


def fields(kind: Any) -> dict[str, tuple[int, int, bool, str]]:
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            (field.message_type or field.enum_type).full_name if field.message_type or field.enum_type else "",
        )
        for field in kind.fields
    }


def test_our_messages_have_the_fields_and_numbers_of_the_official_client() -> None:
    ours = POOL.FindFileByName("open_inference.proto")
    theirs = service_pb2.DESCRIPTOR.pool
    for name, kind in ours.message_types_by_name.items():
        official = fields(theirs.FindMessageTypeByName(f"inference.{name}"))
        assert fields(kind).items() <= official.items(), name
        for inner in kind.nested_types:
            official = fields(theirs.FindMessageTypeByName(inner.full_name))
            assert fields(inner).items() <= official.items(), inner.full_name
    official_methods = theirs.FindServiceByName("inference.GRPCInferenceService").methods_by_name
    for name, method in methods("inference.GRPCInferenceService").items():
        assert method.input_type.full_name == official_methods[name].input_type.full_name
        assert method.output_type.full_name == official_methods[name].output_type.full_name


def test_the_descriptors_are_those_of_the_proto_files(tmp_path: Path) -> None:
    if find_spec("grpc_tools") is None:
        pytest.skip("grpcio-tools is not installed; tools/generate_protos.py says how")
    made = tmp_path / "protos.binpb"
    subprocess.run([sys.executable, str(ROOT / "tools/generate_protos.py"), str(made)], check=True)
    assert descriptor_pb2.FileDescriptorSet.FromString(
        made.read_bytes()
    ) == descriptor_pb2.FileDescriptorSet.FromString((PROTOS / "protos.binpb").read_bytes())


def test_every_proto_file_is_in_the_descriptors() -> None:
    for path in PROTOS.glob("*.proto"):
        text = path.read_text("utf-8")
        found = POOL.FindFileByName(path.name)
        assert {line.split()[1] for line in text.splitlines() if line.startswith("message ")} == set(
            found.message_types_by_name
        )


def test_a_model_file_of_this_machine_needs_an_admin(tmp_path: Path) -> None:
    from tests.serve.rpc.conftest import serving

    token = "a-token-that-is-long-enough-for-all"  # of the service, which may manage and is no admin
    net = echo_net(tmp_path / "echo.onnx", "FP32")
    with (
        serving(tmp_path, SIGHTLINE_AUTH__MODE="on", SIGHTLINE_AUTH__SERVICE_TOKEN=token) as (_, port),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        config = message("sightline.v1.ModelConfig")(name="mine", path=str(net)).SerializeToString()
        with pytest.raises(grpc.RpcError) as found:
            channel.unary_unary(f"/{MODELS}/CreateModel")(
                config, timeout=20, metadata=[("authorization", f"Bearer {token}")]
            )
        assert found.value.code() is grpc.StatusCode.PERMISSION_DENIED

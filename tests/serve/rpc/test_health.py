"""`grpc.health.v1.Health`, as a load balancer asks it."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from tests.serve.rpc.conftest import serving

from sightline.serve.rpc.messages import HEALTH, INFERENCE, MODELS, message

CHECK = f"/{HEALTH}/Check"


def asked_about(service: str) -> bytes:
    data: bytes = message("grpc.health.v1.HealthCheckRequest")(service=service).SerializeToString()
    return data


@pytest.mark.parametrize("service", ["", INFERENCE, MODELS, HEALTH])
def test_the_server_and_its_services_are_serving(port: int, service: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = channel.unary_unary(CHECK)(asked_about(service), timeout=20)
    assert message("grpc.health.v1.HealthCheckResponse").FromString(answer).status == 1


def test_a_service_that_is_not_there_is_not_found(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as found:
        channel.unary_unary(CHECK)(asked_about("inference.Nothing"), timeout=20)
    assert found.value.code() is grpc.StatusCode.NOT_FOUND


def test_nobody_needs_a_key_for_it(tmp_path: Path) -> None:
    with (
        serving(tmp_path, SIGHTLINE_AUTH__MODE="on") as (_, port),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        assert channel.unary_unary(CHECK)(b"", timeout=20) == b"\x08\x01"

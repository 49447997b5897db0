"""What is written down of calls: a line in the log, a row, numbers; and what the caller is told beside the answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from tests.serve.oip.nets import echo_net
from tests.serve.rpc.conftest import Talk, infer_request, serving

from sightline.core.model import ModelCard
from sightline.serve.logs import set_up_log
from sightline.serve.platform import Platform
from sightline.serve.rpc.messages import MODELS, message

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


@pytest.fixture
def json_lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Return what returns the access lines that were written."""
    set_up_log("info", as_json=True)

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
        return [each for each in found if each["message"] == "request answered"]

    yield lines
    structlog.reset_defaults()


def numbers(platform: Platform) -> dict[str, float]:
    page = platform.numbers("text/plain")[0].decode()
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_each_call_and_each_message_of_a_stream_has_a_line_and_is_counted(tmp_path: Path, json_lines: Any) -> None:
    net = echo_net(tmp_path / "echo-FP32.onnx", "FP32")
    with serving(tmp_path, net) as (platform, port), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        channel.unary_unary(INFER)(infer_request(), timeout=20, metadata=[("x-request-id", "one")])
        channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=20)
        with pytest.raises(grpc.RpcError):
            channel.unary_unary(INFER)(infer_request(model="nobody"), timeout=20, metadata=[("x-request-id", "two")])
        begin_s = time.monotonic()
        talk = Talk(channel, x_request_id="talk")
        talk.say(infer_request(), infer_request(model="nobody"))
        talk.hear()
        talk.hear()
        heard_s = time.monotonic() - begin_s
        time.sleep(0.5 + 2 * heard_s)  # a stream lives on, which is no latency of anything
        talk.end()
        assert talk.last() is grpc.StatusCode.OK
        counted = numbers(platform)
    lines = json_lines()
    said = [(line["http.request.id"], line["url.path"], line["http.response.status_code"]) for line in lines]
    assert sorted(said) == [
        ("one", INFER, 200),
        ("talk:1", STREAM, 200),
        ("talk:2", STREAM, 404),
        ("two", INFER, 404),
    ]
    assert counted[f'sightline_requests_total{{method="RPC",route="{STREAM}",status="200"}}'] == 1
    assert counted[f'sightline_requests_total{{method="RPC",route="{STREAM}",status="404"}}'] == 1
    assert counted[f'sightline_request_seconds_count{{route="{STREAM}"}}'] == 2
    assert counted[f'sightline_request_seconds_sum{{route="{STREAM}"}}'] < 0.4 + 2 * heard_s


def test_the_line_says_what_came_and_went(tmp_path: Path, json_lines: Any) -> None:
    net = echo_net(tmp_path / "echo-FP32.onnx", "FP32")
    with serving(tmp_path, net) as (_, port), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = channel.unary_unary(INFER)(infer_request(), timeout=20)
        with pytest.raises(grpc.RpcError):
            channel.unary_unary(INFER)(b"\xff", timeout=20)
    good, bad = json_lines()
    assert good["http.request.body.bytes"] == len(infer_request())
    assert good["http.response.body.bytes"] == len(answer)
    assert bad["error.code"] == "invalid_input"


def test_a_stream_that_is_refused_has_a_line(tmp_path: Path, json_lines: Any) -> None:
    with (
        serving(tmp_path, SIGHTLINE_AUTH__MODE="on") as (_, port),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        assert Talk(channel).last() is grpc.StatusCode.UNAUTHENTICATED
    [line] = json_lines()
    assert line["http.response.status_code"] == 401


def test_an_answer_that_was_kept_says_so(tmp_path: Path) -> None:
    net = echo_net(tmp_path / "echo-FP32.onnx", "FP32")
    request = message("sightline.v1.InferenceRequest")(model="echo-FP32")
    tensor = request.tensors.by_name["x"]
    tensor.datatype, tensor.raw = "FP32", bytes(12)
    tensor.shape.extend([1, 3])
    with (
        serving(tmp_path, SIGHTLINE_MODELS__CACHE_MB="4") as (platform, port),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        platform.context.registry.add(net, ModelCard(name="echo-FP32"))
        kept = []
        for method, data in ((INFER, infer_request(value=1)), (f"/{MODELS}/InferModel", request.SerializeToString())):
            for _ in range(2):
                _, call = channel.unary_unary(method).with_call(data, timeout=20)
                kept.append([value for name, value in call.trailing_metadata() if name == "x-cache"])
        assert kept == [["miss"], ["hit"]] * 2


def test_where_nothing_is_kept_nothing_is_said(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        _, call = channel.unary_unary(INFER).with_call(infer_request(), timeout=20)
        assert "x-cache" not in dict(call.trailing_metadata())

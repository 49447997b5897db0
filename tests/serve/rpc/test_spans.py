"""Spans of calls and of the messages in a stream, made by the real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.serve.oip.nets import echo_net
from tests.serve.rpc.conftest import infer_request, serving

from sightline.serve.rpc.spans import CallTracer

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SENT = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=1"), ("x-request-id", "mine"))


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[InMemorySpanExporter, grpc.Channel]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    folder: Path = tmp_path_factory.mktemp("spans")
    net = echo_net(folder / "echo-FP32.onnx", "FP32")
    with (
        serving(folder, net, tracer=CallTracer(provider)) as (_, port),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield exporter, channel


@pytest.fixture
def spans(traced: tuple[InMemorySpanExporter, grpc.Channel]) -> InMemorySpanExporter:
    traced[0].clear()
    return traced[0]


@pytest.fixture
def channel(traced: tuple[InMemorySpanExporter, grpc.Channel]) -> grpc.Channel:
    return traced[1]


def parent_of(span: ReadableSpan) -> tuple[str, str]:
    assert span.parent is not None
    return format(span.context.trace_id, "032x"), format(span.parent.span_id, "016x")


def test_a_call_is_one_server_span_in_the_trace_of_its_caller(
    spans: InMemorySpanExporter, channel: grpc.Channel
) -> None:
    channel.unary_unary(INFER)(infer_request(), timeout=20, metadata=SENT)
    [span] = spans.get_finished_spans()
    assert (span.name, span.kind) == (INFER[1:], SpanKind.SERVER)
    assert parent_of(span) == (TRACE, PARENT)
    assert span.context.trace_state["vendor"] == "1"
    assert span.attributes is not None
    said = dict(span.attributes)
    assert all(said.pop(f"sightline.{name}_s") is not None for name in ("decode", "queue", "inference", "encode"))
    assert said == {
        "rpc.system.name": "grpc",
        "rpc.method": INFER[1:],
        "rpc.response.status_code": "OK",
        "sightline.request.id": "mine",
        "sightline.model": "echo-FP32@1",
    }
    assert span.status.status_code is StatusCode.UNSET


def test_each_message_of_a_stream_is_a_span(spans: InMemorySpanExporter, channel: grpc.Channel) -> None:
    sent = [infer_request(), infer_request(model="nobody"), infer_request()]
    assert len(list(channel.stream_stream(STREAM)(iter(sent), timeout=20, metadata=SENT))) == 3
    found = sorted(spans.get_finished_spans(), key=lambda span: str((span.attributes or {})["sightline.request.id"]))
    assert [parent_of(span) for span in found] == [(TRACE, PARENT)] * 3
    told = [(span.attributes or {}) for span in found]
    assert [each["sightline.request.id"] for each in told] == ["mine:1", "mine:2", "mine:3"]
    assert [each["rpc.response.status_code"] for each in told] == ["OK", "NOT_FOUND", "OK"]


@pytest.mark.parametrize("wrong", ["nonsense", f"00-{'0' * 32}-{PARENT}-01"])
def test_a_wrong_traceparent_begins_a_new_trace(spans: InMemorySpanExporter, channel: grpc.Channel, wrong: str) -> None:
    channel.unary_unary(INFER)(infer_request(), timeout=20, metadata=[("traceparent", wrong)])
    [span] = spans.get_finished_spans()
    assert span.parent is None


def test_failures_of_ours_are_errors_and_those_of_the_caller_are_not(
    spans: InMemorySpanExporter, channel: grpc.Channel
) -> None:
    unload = channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelUnload")
    load = channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")
    infer = channel.unary_unary(INFER)
    with pytest.raises(grpc.RpcError):
        infer(np.zeros(9).tobytes(), timeout=20)
    unload(b"\x12\x09echo-FP32", timeout=20)
    with pytest.raises(grpc.RpcError):
        infer(infer_request(), timeout=20)
    load(b"\x12\x09echo-FP32", timeout=20)
    theirs, _, ours, _ = spans.get_finished_spans()
    assert theirs.status.status_code is StatusCode.UNSET
    assert ours.status.status_code is StatusCode.ERROR
    assert (ours.attributes or {})["error.type"] == "UNAVAILABLE"
    assert ours.events == ()

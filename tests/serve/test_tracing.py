import subprocess
import sys
import timeit
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from sightline.serve.exchange import Exchange, Message
from sightline.serve.tracing import Tracer

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


async def nothing(*_: Any) -> Message:
    return {}


async def away(_: Message) -> None:
    return None


def exchange(**headers: str) -> Exchange:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v2/models/person/infer",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    return Exchange(scope, nothing, away, limit=1, timeout_s=1, deadline_s=1)


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Tracer(provider)


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    [span] = spans.get_finished_spans()
    return span


def test_a_request_is_one_server_span(tracer: Tracer, spans: InMemorySpanExporter) -> None:
    asked = exchange()
    with tracer.request(asked):
        asked.route, asked.status, asked.case = "/v2/models/{name}/infer", 200, "street"
        asked.call.note("person@3")
        asked.call.spent("queue", 0.25)
    span = only(spans)
    assert (span.name, span.kind) == ("POST /v2/models/{name}/infer", SpanKind.SERVER)
    assert span.attributes == {
        "http.request.method": "POST",
        "url.path": "/v2/models/person/infer",
        "http.route": "/v2/models/{name}/infer",
        "http.response.status_code": 200,
        "sightline.request.id": asked.id,
        "sightline.model": "person@3",
        "sightline.case": "street",
        "sightline.queue_s": 0.25,
    }
    assert span.parent is None
    assert span.status.status_code is StatusCode.UNSET


def test_a_request_goes_on_with_the_trace_of_its_caller(tracer: Tracer, spans: InMemorySpanExporter) -> None:
    asked = exchange(traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="vendor=1")
    with tracer.request(asked), tracer.span("decode", {"bytes": 7}):
        asked.status = 200
    decode, request = spans.get_finished_spans()
    assert request.parent is not None
    assert (format(request.context.trace_id, "032x"), format(request.parent.span_id, "016x")) == (TRACE, PARENT)
    assert request.context.trace_state["vendor"] == "1"
    assert decode.parent is not None
    assert (decode.name, decode.parent.span_id) == ("decode", request.context.span_id)


@pytest.mark.parametrize("wrong", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "\xff"])
def test_a_wrong_traceparent_begins_a_new_trace(tracer: Tracer, spans: InMemorySpanExporter, wrong: str) -> None:
    with tracer.request(exchange(traceparent=wrong)):
        pass
    span = only(spans)
    assert span.parent is None
    assert format(span.context.trace_id, "032x") != TRACE


def test_failures_of_ours_are_errors_and_those_of_the_caller_are_not(
    tracer: Tracer, spans: InMemorySpanExporter
) -> None:
    for status in (503, 404):
        asked = exchange()
        with tracer.request(asked):
            asked.status = status
    with pytest.raises(KeyError), tracer.request(exchange()):
        raise KeyError("person")
    ours, theirs, broken = spans.get_finished_spans()
    assert (ours.status.status_code, theirs.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert broken.status.status_code is StatusCode.ERROR
    assert broken.attributes is not None
    assert broken.attributes["error.type"] == "KeyError"
    assert broken.events == ()  # a traceback may hold what was sent


def test_no_span_outlives_its_request(tracer: Tracer) -> None:
    with tracer.request(exchange()):
        assert get_current_span().get_span_context().is_valid
    assert not get_current_span().get_span_context().is_valid


def test_without_a_collector_a_request_costs_next_to_nothing(record_property: Callable[[str, object], None]) -> None:
    tracer, asked = Tracer(), exchange(traceparent=f"00-{TRACE}-{PARENT}-01")
    assert not tracer.is_active

    def answer() -> None:
        with tracer.request(asked), tracer.span("decode"):
            pass

    best_us = min(timeit.repeat(answer, number=2000, repeat=5)) / 2000 * 1e6
    record_property("microseconds", best_us)
    assert best_us < 3
    tracer.close()


def test_spans_are_exported_where_the_variables_say(tmp_path: Path) -> None:
    came: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    program = """
import asyncio
from sightline.serve.exchange import Exchange
from sightline.serve.tracing import Tracer
tracer = Tracer(export=True, service="door-camera")
scope = {"type": "http", "method": "GET", "path": "/predict", "headers": []}
with tracer.request(Exchange(scope, None, None, limit=1, timeout_s=1, deadline_s=1)):
    pass
tracer.close()
"""
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "PATH": "/usr/bin:/bin"}
        command = [sys.executable, "-W", "ignore", "-c", program]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=30)
        server.shutdown()
    [(path, body)] = came
    assert path == "/v1/traces"
    assert b"door-camera" in body
    assert b"http.route" in body

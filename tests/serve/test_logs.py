import io
import json
import logging
from collections.abc import Iterator
from contextlib import redirect_stderr
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from sightline.core.access import RequestRow
from sightline.serve.logs import ACCESS, MOST_LETTERS, clean, log_request, set_up_log

LOUD = ("", "uvicorn", "uvicorn.error", "uvicorn.access")
TOKEN = "eyJhbGciOi" + "JIUzI1NiJ9.e30.abc"


class Terminal(io.StringIO):
    """A stderr that says whether it is a terminal."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class Said:
    """What was written to stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def text(self) -> str:
        return self._capsys.readouterr().err

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Leave structlog and `logging` to the other tests as they were."""
    config = structlog.get_config()
    loggers = [logging.getLogger(name) for name in LOUD]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
    yield
    structlog.configure(**config)
    for logger, handlers, level, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Said:
    set_up_log("info", as_json=None, service="door-camera")
    return Said(capsys)


def row(**changes: Any) -> RequestRow:
    fields: dict[str, Any] = {
        "time": datetime(2026, 11, 21, 12, tzinfo=UTC),
        "id": "r-1",
        "method": "POST",
        "route": "/predict",
        "status": 200,
        "latency_ms": 12.5,
    }
    return RequestRow(**{**fields, **changes})


def test_a_line_has_the_names_of_ecs(stderr: Said) -> None:
    log = structlog.get_logger()
    log.warning("stream lost", source="door", run="run-1", case="street", error="timed out", request="r-7")
    [line] = stderr.documents()
    assert datetime.fromisoformat(line.pop("@timestamp")).tzinfo is not None
    assert line == {
        "log.level": "warning",
        "message": "stream lost",
        "service.name": "door-camera",
        "event.dataset": "sightline.log",
        "ecs.version": "8.11",
        "error.message": "timed out",
        "http.request.id": "r-7",
        "labels": {"source": "door", "run": "run-1", "case": "street"},
    }


def test_an_access_line_tells_request_case_and_model_version(stderr: Said) -> None:
    log_request(
        row(model="person@3", case="street", caller="sl_1234", bytes_in=7, bytes_out=9), "/predict?access_token=secret"
    )
    [line] = stderr.documents()
    assert line == {
        "@timestamp": "2026-11-21T12:00:00Z",
        "log.level": "info",
        "message": "request answered",
        "service.name": "door-camera",
        "event.dataset": ACCESS,
        "ecs.version": "8.11",
        "http.request.id": "r-1",
        "http.request.method": "POST",
        "url.path": "/predict",
        "http.response.status_code": 200,
        "event.duration": 12_500_000,
        "http.request.body.bytes": 7,
        "http.response.body.bytes": 9,
        "user.id": "sl_1234",
        "labels": {"route": "/predict", "model": "person@3", "case": "street"},
    }


def test_a_failure_of_ours_is_an_error_and_a_quiet_log_still_has_it(stderr: Said) -> None:
    set_up_log("error", as_json=True)
    log_request(row(), "/predict")
    log_request(row(status=503), "/predict", code="overloaded")
    [line] = stderr.documents()
    assert (line["log.level"], line["error.code"]) == ("error", "overloaded")


def test_libraries_log_in_the_same_form(stderr: Said) -> None:
    logging.getLogger("uvicorn.error").warning("cannot %s", "bind")
    logging.getLogger("uvicorn.access").error("GET /secret")
    logging.getLogger("some.library").debug("never mind")
    try:
        raise ValueError("wrong")
    except ValueError:
        logging.getLogger("some.library").exception("failed")
    bind, failed = stderr.documents()
    assert (bind["message"], bind["log.level"], bind["log.logger"]) == ("cannot bind", "warning", "uvicorn.error")
    assert failed["error.stack_trace"].endswith("ValueError: wrong")


def test_setting_it_up_twice_writes_no_line_twice(stderr: Said) -> None:
    set_up_log("info", as_json=True)
    logging.getLogger("some.library").warning("once")
    assert len(stderr.documents()) == 1


@pytest.mark.parametrize("as_json", [True, False])
def test_no_line_holds_a_secret_or_a_picture(stderr: Said, as_json: bool) -> None:
    set_up_log("info", as_json=as_json)
    log = structlog.get_logger()
    log.info(
        "opened", url="rtsp://me:hunter2@cam/live", picture=b"hunter2", several=["http://a:hunter2@b/", b"hunter2"]
    )
    log.info("asked", tensor=np.full((2, 3), 7.25), header=f"Bearer {TOKEN}", deep={"query": "?access_token=hunter2"})
    logging.getLogger("uvicorn.error").warning("GET /stream?x=1&access_token=hunter2&y=2 from http://a:hunter2@b")
    try:
        raise ValueError("no access to postgresql://me:hunter2@db/x")
    except ValueError:
        log.exception("failed")
    text = stderr.text()
    assert "hunter2" not in text
    assert TOKEN not in text
    assert "7.25" not in text
    assert "<7 bytes>" in text
    assert "<array (2, 3) float64>" in text
    assert "x=1&access_token=***&y=2" in text


def test_a_long_text_is_cut(stderr: Said) -> None:
    structlog.get_logger().info("answered", said="a" * (MOST_LETTERS + 5))
    [line] = stderr.documents()
    assert line["labels"]["said"].endswith(f"a... ({MOST_LETTERS + 5} letters)")


@pytest.mark.parametrize("text", ["seq=3 of 4", "a basic frame", "token bucket is full", "key=3", "C:/x = 1"])
def test_a_plain_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_a_line_knows_the_span_that_it_belongs_to(stderr: Said) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    with provider.get_tracer("test").start_as_current_span("work") as span:
        structlog.get_logger().info("inside")
        log_request(row(), "/predict")
    structlog.get_logger().info("outside")
    inside, access, outside = stderr.documents()
    assert inside["trace.id"] == access["trace.id"] == format(span.get_span_context().trace_id, "032x")
    assert "trace.id" not in outside


def test_a_terminal_gets_lines_for_people() -> None:
    with redirect_stderr(Terminal(is_terminal=True)) as stream:
        set_up_log("info", as_json=None)
        log_request(row(status=404), "/predict")
        logging.getLogger("some.library").warning("odd")
    first, second = stream.getvalue().splitlines()
    assert "request answered" in first
    assert "status" in first
    assert "404" in first
    assert "ms" in first
    assert "12.5" in first
    assert "odd" in second
    assert not first.startswith("{")


def test_a_stderr_that_was_closed_stops_no_request() -> None:
    with redirect_stderr(Terminal()) as stream:
        set_up_log("info", as_json=True)
        log_request(row(), "/predict")
        assert "request answered" in stream.getvalue()
        stream.close()
        log_request(row(), "/predict")

from __future__ import annotations

import json
import logging

import pytest
import structlog
from structlog.testing import capture_logs

from sightline.core.access import Caller, Scope
from sightline.serve.auth.audit import audit, is_audited
from sightline.serve.logs import set_up_log


def test_managing_and_administering_leave_a_line_and_nothing_else_does() -> None:
    assert [is_audited(scope) for scope in (None, *Scope)] == [False, False, False, True, True]


def test_the_line_says_who_did_what_and_how_it_went() -> None:
    with capture_logs() as lines:
        audit(
            Caller(id="abcd1234", project="yard"),
            method="DELETE",
            route="/api/v1/runs/{id}",
            path="/api/v1/runs/7",
            status=409,
            request_id="r-1",
        )

    assert lines == [
        {
            "event": "audit", "log_level": "info", "caller": "abcd1234", "project": "yard", "method": "DELETE",
            "route": "/api/v1/runs/{id}", "path": "/api/v1/runs/7", "status": 409, "request": "r-1",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("level", ["debug", "error", "critical"])
def test_no_level_of_the_log_silences_it(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_log(level, as_json=True)
    try:
        structlog.get_logger().info("something else")
        audit(Caller(), method="POST", route="/api/v1/runs", status=401, request_id="r-2")
    finally:
        structlog.reset_defaults()

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["message"] == "audit"]
    assert (line["http.response.status_code"], line["user.id"], line["http.request.id"]) == (401, "anonymous", "r-2")
    assert line["@timestamp"]
    assert len(lines) == (2 if logging.getLevelNamesMapping()[level.upper()] <= logging.INFO else 1)

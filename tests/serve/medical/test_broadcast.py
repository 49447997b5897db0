"""Whoever listens on the WebSocket hears how a job of `/infer` ended, and the log and the numbers tell it too."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs
from tests.serve.medical.tiny import asked, write_letters
from tests.servers import serving
from websockets.sync.client import ClientConnection, connect


def heard(client: ClientConnection, short_type: str) -> dict[str, Any]:
    while True:
        event = json.loads(client.recv(timeout=20))
        if event["type"] == f"io.sightline.{short_type}.v1":
            found: dict[str, Any] = event["data"]
            return found


def test_the_end_of_a_job_is_broadcast_logged_and_counted(tmp_path: Path) -> None:
    write_letters(tmp_path)
    with serving(tmp_path, medical__case="letters") as running, capture_logs() as lines:
        for text in ("scan", "broken"):
            running.platform.context.artifacts.put(f"uploads/{text}.txt", text.encode())
        with connect(f"ws://{running.address}/ws") as client:
            client.send('{"op": "subscribe", "types": ["run.*"]}')
            client.send('{"op": "ping"}')
            assert client.recv(timeout=5) == '{"op":"pong"}'
            asked(running.url, {"job_uuid": "told", "input_object": "uploads/scan.txt"})
            told = heard(client, "run.completed")
            assert told["metadata"] == {"job_uuid": "told"}
            assert told["status"]["files"]["mask"]["key"] == "results/analysis_told.nii.gz"
            asked(running.url, {"job_uuid": "bad", "input_object": "uploads/broken.txt"})
            failed = heard(client, "run.failed")
            assert (failed["metadata"]["job_uuid"], failed["error_kind"]) == ("bad", "validation")
        with urllib.request.urlopen(f"{running.url}/metrics", timeout=10) as answer:
            page = answer.read().decode()
    assert 'sightline_jobs_total{case="letters",kind="",state="completed"} 1.0' in page
    assert 'sightline_jobs_total{case="letters",kind="validation",state="failed"} 1.0' in page
    assert 'sightline_job_seconds_count{case="letters",state="completed"} 1.0' in page
    ends = {line["job_uuid"]: line for line in lines if line["event"] == "job ended"}
    assert ends["told"]["processing_time"] > 0
    assert "model_version" in ends["told"]
    assert ends["bad"]["error_kind"] == "validation"

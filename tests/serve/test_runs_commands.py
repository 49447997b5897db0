"""Runs from the command line, where nobody works on them: empty lists, waiting streams, schedules that go."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import httpx2
from tests.programs import sightline
from tests.serve.processes import server_process


def test_an_empty_list_says_so_beside_the_output(tmp_path: Path) -> None:
    nothing = sightline(tmp_path, "runs", "list")
    assert (nothing.code, nothing.out) == (0, "")
    assert "there is no run yet" in nothing.err
    assert "there is no such run" in sightline(tmp_path, "runs", "list", "--case", "nobody").err
    assert json.loads(sightline(tmp_path, "runs", "list", "--json").out) == []


def test_a_stream_that_waits_for_a_server_is_cancelled_too(tmp_path: Path) -> None:
    """Its case may be gone for good: then each start of a server would complain of it, and nobody could end it."""
    with server_process(tmp_path, "street_people", "--run") as server:
        while not httpx2.get(f"{server.url}/api/v1/sources", timeout=30).json()["items"]:
            assert server.is_running(), server.err
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.err
    [waiting] = json.loads(sightline(tmp_path, "runs", "list", "--json").out)
    assert (waiting["kind"], waiting["state"]) == ("stream", "submitted")
    ended = sightline(tmp_path, "runs", "cancel", waiting["id"][:8], "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["state"] == "cancelled"


def test_a_schedule_that_goes_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"-")
    made = sightline(tmp_path, "runs", "schedule", "daily", "resnet50_classification", "a.jpg", "--cron", "@daily")
    assert made.code == 0, made.err
    gone = sightline(tmp_path, "runs", "unschedule", "daily", "--json")
    assert json.loads(gone.out) == {"name": "daily", "removed": True}


def test_a_case_that_only_does_jobs_says_so_when_it_is_run(tmp_path: Path) -> None:
    case = tmp_path / "cases" / "texts"
    case.mkdir(parents=True)
    (case / "plugins.py").write_text("from sightline.core.plugins import Source\n\n\nclass Lines(Source):\n    pass\n")
    (case / "case.yaml").write_text(
        "source: {use: Lines}\ninput: main\nstages: {analytics: {light: {use: brightness}}}\n"
    )
    run = sightline(tmp_path, "run", "texts")
    assert run.code != 0
    assert "sightline submit CASE OBJECT" in run.err


def test_a_folder_without_captures_is_named_and_one_picture_is_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused = sightline(tmp_path, "export", "empty", "--format", "coco", "--out", "set")
    assert refused.code == 3
    assert "There are no captures at 'empty'." in refused.err
    photo = Path(__file__).parents[1] / "data/photos/german-shepherd.jpg"
    assert "1 picture kept of 1" in sightline(tmp_path, "capture", photo, "--out", "kept").out

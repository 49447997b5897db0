"""Runs go on when their server has ended and another one begins with the same data."""

from __future__ import annotations

import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serve.conftest import opened, write_case
from tests.serve.processes import ServerProcess, server_process

from sightline.core.run import RunState

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
CASE = "source: {use: synthetic, fps: 20}\nstages: {analytics: {light: {use: brightness}}}\n"


def runs(server: ServerProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx2.get(server.url + "/api/v1/runs", timeout=60).json()["items"]
    return found


def counts(server: ServerProcess, run: str, source: str = "main") -> dict[str, Any]:
    found = httpx2.get(f"{server.url}/api/v1/runs/{run}", timeout=60).json()["status"]["sources"].get(source) or {}
    return dict(found)


def until(true: Any, seconds: float = 60) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s, "it does not come true"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_of_the_command_line_goes_on_under_its_id_and_counts_on(tmp_path: Path, number: signal.Signals) -> None:
    write_case(tmp_path, "door", CASE)
    with server_process(tmp_path, "door", "--run") as first:
        [run] = runs(first)
        until(lambda: counts(first, run["id"])["processed"] > 60)  # reported: every 2 s
        first.signal(number)
        first.wait(60)
    with opened(tmp_path) as context:
        kept = context.store.runs.get(run["id"])
    assert kept.state is (RunState.SUBMITTED if number is signal.SIGTERM else RunState.RUNNING)
    before = kept.status["sources"]["main"]
    assert before["processed"] > 20

    with server_process(tmp_path, "door", "--run") as second:
        until(lambda: counts(second, run["id"]).get("processed", 0) > before["processed"])
        [again] = runs(second)
        assert (again["id"], again["state"], again["here"]) == (run["id"], "running", True)
        assert counts(second, run["id"])["epoch"] > 10_000
        assert counts(second, run["id"])["read"] > before["read"]
        httpx2.post(f"{second.url}/api/v1/runs/{run['id']}/stop", timeout=60)
        until(lambda: runs(second)[0]["state"] == "cancelled")
        numbers = httpx2.get(second.url + "/metrics", timeout=60).text
        line = next(line for line in numbers.splitlines() if line.startswith("sightline_frames_total{"))
        assert float(line.split()[-1]) < before["read"] + 1000
    with server_process(tmp_path) as third:
        assert [each["state"] for each in runs(third)] == ["cancelled"]


def test_a_run_of_the_api_goes_on_with_sources_that_have_passwords(tmp_path: Path) -> None:
    write_case(tmp_path, "door", CASE)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"rtsp://ann:geheim@127.0.0.1:{nobody.getsockname()[1]}/door"
        with server_process(tmp_path) as first:
            begun = httpx2.post(first.url + "/api/v1/runs", json={"case": "door"}, timeout=60).json()
            add = f"{first.url}/api/v1/runs/{begun['id']}/sources"
            camera = {"id": "yard", "source": {"use": "video", "url": url}}
            assert httpx2.post(add, json=camera, timeout=60).status_code == 201
            other = {"id": "roof", "source": {"use": "synthetic", "fps": 3}}
            assert httpx2.post(add, json=other, timeout=60).status_code == 201
            first.signal(signal.SIGTERM)
            first.wait(60)
        assert "geheim" not in first.err
        for path in (tmp_path / "data").rglob("*"):
            if path.is_file() and path.parent.name != "runs":
                assert b"geheim" not in path.read_bytes(), path
        [secret] = (tmp_path / "data/secrets/runs").iterdir()
        assert secret.stat().st_mode & 0o777 == 0o600
        write_case(tmp_path, "door", CASE.replace("fps: 20", "fps: 9"))
        with server_process(tmp_path) as second:
            until(lambda: runs(second)[0]["here"])
            shown = httpx2.get(f"{second.url}/api/v1/runs/{begun['id']}/sources", timeout=60)
            found = {each["id"]: each["source"] for each in shown.json()["items"]}
            assert found["main"]["fps"] == 9  # it follows its case
            assert found["roof"]["fps"] == 3
            assert found["yard"]["url"] == url.replace("ann:geheim", "***")
            assert "geheim" not in shown.text
            second_run = httpx2.delete(f"{second.url}/api/v1/runs/{begun['id']}", timeout=60)
            assert second_run.status_code == 202
            until(lambda: not secret.exists())
            assert "geheim" not in second.err


def test_a_run_waits_for_its_case_to_be_mended(tmp_path: Path) -> None:
    folder = write_case(tmp_path, "door", CASE)
    with server_process(tmp_path) as first:
        run = httpx2.post(first.url + "/api/v1/runs", json={"case": "door"}, timeout=60).json()["id"]
        first.signal(signal.SIGTERM)
        first.wait(60)
    (folder / "case.yaml").write_text("stages: 3\n")
    with server_process(tmp_path) as second:
        [waiting] = runs(second)
        assert (waiting["id"], waiting["state"], waiting["here"]) == (run, "submitted", False)
        assert "stages" in waiting["waiting"]
        assert httpx2.get(second.url + "/readyz?verbose", timeout=60).json()["safe_mode"][0]["case"] == "door"
        (folder / "case.yaml").write_text(CASE)
        until(lambda: runs(second)[0]["state"] == "running")
        assert runs(second)[0]["waiting"] == ""


def test_a_run_of_a_file_is_not_begun_again(tmp_path: Path) -> None:
    write_case(tmp_path, "door", CASE)
    short = {"case": "door", "sources": {"a": {"use": "synthetic", "num_frames": 10**6, "realtime": False}}}
    with server_process(tmp_path) as first:
        assert httpx2.post(first.url + "/api/v1/runs", json=short, timeout=60).json()["restart"] == "never"
        first.signal(signal.SIGTERM)
        first.wait(60)
    with server_process(tmp_path) as second:
        assert [each["state"] for each in runs(second)] == ["cancelled"]


def test_two_servers_of_the_same_data_do_not_run_a_case_twice(tmp_path: Path) -> None:
    write_case(tmp_path, "door", CASE)
    with server_process(tmp_path, "door", "--run") as first, server_process(tmp_path, "door", "--run") as second:
        assert len(runs(second)) == 1
        assert runs(second)[0]["here"] is False
        first.signal(signal.SIGTERM)
        first.wait(60)
        until(lambda: runs(second)[0]["here"])
        assert len(runs(second)) == 1

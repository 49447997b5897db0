"""`sightline serve` as it is put to use: on a public address, by uvicorn, with a camera of the environment, killed."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.programs import environment
from tests.serve.conftest import PHOTOS, STREET
from tests.serve.processes import server_process
from tests.serve.test_serve_process import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

KEY = re.compile(r"key: (\S+)")
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is tried here


def test_on_a_public_address_one_key_is_made_and_shown_once(tmp_path: Path) -> None:
    with server_process(tmp_path, "--host", EVERYWHERE) as server:
        assert httpx2.get(server.url + "/livez", timeout=60).status_code == 200
        refused = httpx2.get(server.url + "/api/v1/models", timeout=60)
        assert refused.status_code == 401
        until(lambda: KEY.search(server.err) is not None)
        [key] = KEY.findall(server.err)
        for path in ("/api/v1/models", "/api/v1/keys", "/readyz?verbose"):
            assert (
                httpx2.get(server.url + path, headers={"Authorization": f"Bearer {key}"}, timeout=60).status_code == 200
            )
        server.signal(signal.SIGTERM)
        assert server.wait(60) == 0
        assert server.err.count(key) == 1  # no log says it
    with server_process(tmp_path, "--host", EVERYWHERE) as server:
        assert httpx2.get(server.url + "/api/v1/models", headers={"X-API-Key": key}, timeout=60).status_code == 200
        assert not KEY.search(server.err)


def test_without_keys_on_a_public_address_it_warns(tmp_path: Path) -> None:
    with server_process(tmp_path, "--host", EVERYWHERE, env={"SIGHTLINE_AUTH": "off"}) as server:
        assert httpx2.get(server.url + "/api/v1/models", timeout=60).status_code == 200
        [warning] = httpx2.get(server.url + "/readyz?verbose", timeout=60).json()["warnings"]
        assert "auth.mode is off" in warning
        until(lambda: "warning: " in server.err)
        assert "auth.mode is off" in server.err
        assert not KEY.search(server.err)


@contextmanager
def uvicorn(folder: Path, host: str) -> Iterator[tuple[str, subprocess.Popen[bytes], list[str]]]:
    """Run the application by uvicorn itself."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = folder / "said.txt"
    with said.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "sightline.serve.app:app", "--host", host, "--port", str(port)],
            cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL, stderr=err, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        end_s = time.monotonic() + 60
        while True:
            try:
                httpx2.get(url + "/livez", timeout=60)
                break
            except httpx2.ConnectError:
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < end_s
                time.sleep(0.05)
        yield url, process, [said.read_text()]
    finally:
        process.kill()
        process.wait()


def test_uvicorn_serves_it_too(tmp_path: Path) -> None:
    with uvicorn(tmp_path, "127.0.0.1") as (url, process, _):
        assert httpx2.get(url + "/api/v1/models", timeout=60).status_code == 200
        assert httpx2.get(url + "/docs", timeout=60).status_code == 200
        process.terminate()
        assert process.wait(60) in (0, -signal.SIGTERM)  # by uvicorn's own custom


def test_uvicorn_on_a_public_address_asks_for_keys(tmp_path: Path) -> None:
    with uvicorn(tmp_path, EVERYWHERE) as (url, _, said):
        assert httpx2.get(url + "/api/v1/models", timeout=60).status_code == 401
        [key] = KEY.findall(said[0])
        assert httpx2.get(url + "/api/v1/models", headers={"X-API-Key": key}, timeout=60).status_code == 200


def test_a_camera_of_the_environment_becomes_a_case(tmp_path: Path) -> None:
    env = {"APP_RTSP_URL": str(STREET), "APP_MODEL_NAME": "efficientnet-lite0"}
    with server_process(tmp_path, env=env) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        with client.stream("GET", "/stream") as stream:
            assert stream.status_code == 200
            events: list[dict[str, Any]] = []
            kind = ""
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    kind = line[7:]
                if line.startswith("data: ") and kind == "prediction":  # the camera's states come between them
                    events.append(json.loads(line[6:]))
                if len(events) >= 2:
                    break
        assert {(event["case"], event["source"]) for event in events} == {("camera", "camera")}
        [stream_health] = client.get("/health/stream").json()["streams"]
        assert (stream_health["case"], stream_health["source"]) == ("camera", "camera")


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        with httpx2.Client(base_url=f"{server.url}/api/v1", timeout=60) as client:
            made = client.post("/models", json={"name": "kept", "file": {"model": "efficientnet-lite0"}})
            alias = client.post("/models/kept/aliases/best", json={"version": "1"})
            key = client.post("/keys", json={"name": "kept", "scopes": ["read", "infer"]})
        assert (made.status_code, alias.status_code, key.status_code) == (201, 200, 201), (alias.text, key.text)
        server.signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
    with server_process(tmp_path, env={"SIGHTLINE_AUTH": "on"}) as server:
        headers = {"X-API-Key": key.json()["key"]}
        shown = httpx2.get(f"{server.url}/api/v1/models/kept", headers=headers, timeout=60).json()
        assert [(each["alias"], each["version"]) for each in shown["moved"]] == [("best", "1")]
        photo = (PHOTOS / "goldfish.jpg").read_bytes()
        answer = httpx2.post(f"{server.url}/predict?model=kept", content=photo, headers=headers, timeout=60)
        assert answer.json()["predictions"]["model"]["items"][0]["class_name"] == "goldfish"

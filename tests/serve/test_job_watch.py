"""What a job does that another process works on reaches clients of `serve`: SSE, WebSocket, SDK."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.programs import command, environment
from tests.serve.api.conftest import soon
from tests.serve.api.texts import write_texts
from tests.servers import RunningServer, serving
from websockets.sync.client import connect

from sightline import Client
from sightline.engine.runs import job_event


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Serve without workers."""
    folder = tmp_path_factory.mktemp("server")
    write_texts(folder)
    with serving(folder, jobs__workers=0) as running:
        running.platform.context.artifacts.put("uploads/a.txt", b"one\nfour")
        yield running


@contextmanager
def working(folder: Path) -> Iterator[None]:
    """Work in a process of its own."""
    with (
        (folder / "worker.log").open("wb") as log,
        subprocess.Popen(command("worker"), cwd=folder, env=environment(folder), stderr=log) as worker,
    ):
        try:
            yield
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0, (folder / "worker.log").read_text()


def test_progress_and_end_of_a_job_elsewhere_are_told_within_a_moment(server: RunningServer) -> None:
    told: list[tuple[float, str, dict[str, Any]]] = []
    platform = server.platform
    with Client(server.url, timeout_s=60) as client:
        job = client.submit("texts", "uploads/a.txt", parameters={"pause_s": 2.5})
        other = client.submit("texts", "uploads/a.txt", parameters={"pause_s": 0.1})

        def listen() -> None:
            for event in client.events(run=job.id, types=["run.*"]):
                told.append((time.time(), event.short_type, dict(event.data)))  # type: ignore[union-attr]
                if told[-1][1] == "run.completed":
                    return

        thread = Thread(target=listen)
        thread.start()
        with connect(f"{server.url.replace('http', 'ws')}/ws") as socket:
            socket.send(json.dumps({"op": "subscribe", "run": [job.id], "types": ["run.*"]}))
            socket.send('{"op": "ping"}')
            while json.loads(socket.recv(timeout=40)) != {"op": "pong"}:
                continue

            def are_listening() -> bool:
                platform.context.bus.publish(job_event(platform.jobs.get(job.id), "run.noted", {}))
                return bool(told)

            soon(are_listening)
            heard: list[dict[str, Any]] = []
            with working(platform.context.loaded.folder):
                while not heard or not heard[-1]["type"].endswith("run.completed.v1"):
                    heard.append(json.loads(socket.recv(timeout=60)))
                thread.join(60)
        done = client.runs.wait(job.id)
        assert {each["data"]["run"] for each in heard} == {job.id} != {other.id}
        first, *_ = client.runs.history(job.id)
        missed = []
        for event in client.events(run=job.id, types=["run.started", "run.completed"], last_event_id=first.id):
            missed.append(event)
            if len(missed) == 2:
                break
        assert [event.data["run"] for event in missed] == [job.id] * 2  # type: ignore[union-attr]
    progress = [data["progress"] for _, kind, data in told if kind == "run.progress"]
    assert progress == sorted(progress)
    assert len(progress) >= 3
    assert any("part " in data["message"] for _, kind, data in told if kind == "run.progress")
    assert done.finished is not None
    assert told[-1][0] - done.finished.timestamp() < 10

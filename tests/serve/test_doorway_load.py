"""More requests than there is room for, callers who leave, aliases and memory that change meanwhile: a real server."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import numpy as np
import pytest
from tests.serve.oip.nets import slow_net
from tests.serve.raw import RawAnswer, asked, connected
from tests.servers import RunningServer, serving

RAW = np.zeros((1, 384, 384), np.float32).tobytes()
HEAD = json.dumps(
    {
        "inputs": [
            {"name": "x", "shape": [1, 384, 384], "datatype": "FP32", "parameters": {"binary_data_size": len(RAW)}}
        ],
        "outputs": [{"name": "y", "parameters": {"classification": 1}}],
    }
).encode()
SLOW = "/v2/models/slow/infer"
LENGTH = f"Inference-Header-Content-Length: {len(HEAD)}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """Give a server with a slow model that has one worker, takes one row at a time and lets four wait."""
    net = slow_net(tmp_path / "slow.onnx", rounds=60)
    with serving(tmp_path, [net], models__workers=1, models__queue_rows=4, models__max_batch=1) as running:
        assert ask(running).status == 200
        yield running


@pytest.fixture
def slower(tmp_path: Path) -> Iterator[RunningServer]:
    """Give the same server with a model that still works on the first row when callers have come and gone."""
    net = slow_net(tmp_path / "slow.onnx", rounds=600)
    with serving(tmp_path, [net], models__workers=1, models__queue_rows=4, models__max_batch=1) as running:
        assert ask(running).status == 200
        yield running


def ask(server: RunningServer, *headers: str) -> RawAnswer:
    return asked(server.port, "POST", SLOW, LENGTH, *headers, body=HEAD + RAW)


def num_run(server: RunningServer) -> int:
    """Return how many rows the slow model has worked on."""
    for line in asked_text(server, "/metrics").splitlines():
        if line.startswith('sightline_model_batch_rows_sum{model="slow'):
            return int(float(line.rpartition(" ")[2]))
    return 0


def asked_text(server: RunningServer, path: str) -> str:
    return httpx2.get(server.url + path, timeout=30).text


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s, "it does not come about"
        time.sleep(0.01)


def test_who_finds_no_room_hears_it_at_once_and_who_has_room_is_answered(server: RunningServer) -> None:
    def timed() -> tuple[RawAnswer, float]:
        begin = time.monotonic()
        answer = ask(server)
        return answer, time.monotonic() - begin

    with ThreadPoolExecutor(24) as pool:
        answers = [future.result() for future in [pool.submit(timed) for _ in range(24)]]

    statuses = Counter(answer.status for answer, _ in answers)
    assert set(statuses) == {200, 503}
    assert statuses[200] >= 4
    slowest_s = max(spent for answer, spent in answers if answer.status == 200)
    for answer, spent_s in answers:
        if answer.status == 503:
            assert answer.code == "overloaded"
            assert int(answer.headers["retry-after"]) >= 1
            assert spent_s < slowest_s


def test_a_deadline_is_heeded_while_a_request_waits(slower: RunningServer) -> None:
    before = num_run(slower)
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(ask, slower) for _ in range(3)]
        until(lambda: slower.platform.num_running >= 3)
        late = ask(slower, "X-Request-Timeout-Ms: 5")
        assert (late.status, late.code) == (504, "deadline_exceeded")
        assert not all(each.done() for each in running)  # it has not waited for its turn
        assert [each.result().status for each in running] == [200] * 3
    assert ask(slower).status == 200
    assert num_run(slower) == before + 4  # the late one did not run


def test_for_who_has_left_the_model_does_not_run(slower: RunningServer) -> None:
    before = num_run(slower)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(ask, slower) for _ in range(2)]
        until(lambda: slower.platform.num_running >= 2)
        for reset in (True, False, True):
            with connected(slower.port) as client:
                client.ask("POST", SLOW, LENGTH, body=HEAD + RAW)
                until(lambda: slower.platform.num_running >= 3)
                if reset:
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert [each.result().status for each in running] == [200] * 2
    until(lambda: slower.platform.num_running == 0)
    assert num_run(slower) == before + 2


@pytest.fixture
def three(tmp_path: Path) -> Iterator[tuple[RunningServer, httpx2.Client]]:
    """Give a server with three models, of which two fit into memory; the first one has two versions."""
    with serving(tmp_path, models__memory_mb=150) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        for name in ("a", "b", "c"):
            config: dict[str, Any] = {
                "name": name,
                "file": {"model": "efficientnet-lite0"},
                "aliases": ["production"],
            }
            assert client.post("/api/v1/models", json=config).status_code == 201
        second = {"name": "a", "file": {"model": "efficientnet-lite0"}, "title": "The second"}
        assert client.post("/api/v1/models", json=second).json()["version"] == "2"
        yield server, client


def test_aliases_and_memory_change_under_load_and_nothing_fails(three: tuple[RunningServer, httpx2.Client]) -> None:
    server, client = three
    photo = (Path(__file__).parents[1] / "data/photos/goldfish.jpg").read_bytes()
    over, told = Event(), list[str]()

    def ask_on(names: str) -> Counter[tuple[int, str]]:
        found: Counter[tuple[int, str]] = Counter()
        with httpx2.Client(base_url=server.url, timeout=60) as asking:
            while not over.is_set():
                for name in names:
                    answer = asking.post(f"/predict?model={name}", content=photo)
                    said = answer.json()
                    model = said["predictions"]["model"]["model"] if answer.status_code == 200 else said["detail"]
                    found[answer.status_code, model] += 1
                    told.append(model)
        return found

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask_on, names) for names in ("a", "a", "aab", "aac", "abc", "cab")]
        for version in ("2", "1", "2"):
            moved = client.post("/api/v1/models/a/aliases/production", json={"version": version})
            assert moved.status_code == 200, moved.text
            answer = client.post("/predict?model=a", content=photo).json()
            assert answer["predictions"]["model"]["model"] == f"a@{version}"
            told.clear()
            until(lambda: f"a@{version}" in told)  # noqa: B023 - asked at once
        over.set()
        found = sum((future.result() for future in asking), Counter[tuple[int, str]]())
    assert {status for status, _ in found} == {200}, found
    assert {model for _, model in found} == {"a@1", "a@2", "b@1", "c@1"}


def test_a_canary_takes_its_share_and_a_shadow_is_compared(three: tuple[RunningServer, httpx2.Client]) -> None:
    _, client = three
    photo = (Path(__file__).parents[1] / "data/photos/goldfish.jpg").read_bytes()
    split = client.put("/api/v1/models/a/split", json={"weights": {"1": 1, "2": 1}})
    assert split.status_code == 200, split.text

    seen = Counter(
        client.post("/predict?model=a", content=photo).json()["predictions"]["model"]["model"] for _ in range(40)
    )

    assert set(seen) == {"a@1", "a@2"}
    assert client.delete("/api/v1/models/a/split").status_code == 204

    assert client.post("/api/v1/models/a/shadow", json={"version": "2", "share": 1}).status_code == 201
    for _ in range(10):
        answer = client.post("/predict?model=a", content=photo).json()
        assert answer["predictions"]["model"]["model"] == "a@1"  # whoever asks hears nothing of the shadow
    until(lambda: client.get("/api/v1/models/a/shadow").json()["compared"] >= 5)
    report = client.get("/api/v1/models/a/shadow").json()
    assert report["agreement"] == 1.0, report  # it is the same net

"""Triton's statistics over HTTP, and whether a model is ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serve.oip.nets import echo_net
from tests.servers import serving

REQUEST = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}]}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx2.Client]:
    with (
        serving(tmp_path, [echo_net(tmp_path / "echo.onnx", "FP32")]) as running,
        httpx2.Client(base_url=running.url, timeout=30) as made,
    ):
        yield made


def stats(client: httpx2.Client, path: str) -> list[dict[str, Any]]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["model_stats"]
    return found


def test_requests_are_counted_by_model_and_version(client: httpx2.Client) -> None:
    assert stats(client, "/v2/models/stats") == stats(client, "/v2/models/echo/stats") == []
    for _ in range(3):
        assert client.post("/v2/models/echo/infer", json=REQUEST).status_code == 200
    for path in (
        "/v2/models/stats",
        "/v2/models/echo/stats",
        "/v2/models/echo/versions/1/stats",
        "/v2/models/echo@1/stats",
    ):
        [told] = stats(client, path)
        assert (told["name"], told["version"]) == ("echo", "1")
        assert (told["inference_count"], told["execution_count"]) == (6, 3)
        spans = told["inference_stats"]
        assert spans["success"]["count"] == spans["queue"]["count"] == spans["compute_infer"]["count"] == 3
        assert spans["success"]["ns"] >= spans["compute_infer"]["ns"] > 0
        assert spans["fail"] == {"count": 0, "ns": 0}
        assert told["last_inference"] > 1_700_000_000_000
    assert stats(client, "/v2/models/nanodet-m/stats") == []
    assert "statistics" in client.get("/v2").json()["extensions"]


def test_a_model_that_is_not_there_has_no_statistics(client: httpx2.Client) -> None:
    for path in ("/v2/models/nobody/stats", "/v2/models/echo/versions/7/stats"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")
    assert client.post("/v2/models/stats").status_code == 405


def test_a_model_is_ready_unless_it_was_unloaded_or_is_not_there(client: httpx2.Client) -> None:
    def ready(path: str) -> int:
        return client.get(f"/v2/models/{path}/ready").status_code

    assert [ready(path) for path in ("echo", "echo@1", "echo/versions/1", "nanodet-m")] == [200] * 4
    assert [ready(path) for path in ("nobody", "echo@7", "echo/versions/7")] == [404] * 3
    assert client.post("/v2/repository/models/echo/unload").status_code == 200
    assert [ready(path) for path in ("echo", "echo/versions/1")] == [503] * 2
    assert client.post("/v2/repository/models/echo/load").status_code == 200
    assert ready("echo") == 200

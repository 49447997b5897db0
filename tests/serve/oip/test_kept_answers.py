"""Answers that are given again: only where they are asked to be, and never an old model's."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
from tests.engine.nets import doubling_net
from tests.servers import RunningServer, serving

from sightline.core.model import ModelCard


def ask(server: RunningServer, model: str, *values: float) -> tuple[list[float], str | None]:
    tensor = {"name": "x", "shape": [1, len(values)], "datatype": "FP32", "data": list(values)}
    answer = httpx2.post(f"{server.url}/v2/models/{model}/infer", content=json.dumps({"inputs": [tensor]}), timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["outputs"][0]["data"], answer.headers.get("x-cache")


def added(server: RunningServer, folder: Path, factor: float) -> None:
    net = doubling_net(folder / f"by-{factor}.onnx", factor=factor)
    server.platform.context.registry.add(net, ModelCard(name="scale"))


def test_nothing_is_kept_by_default(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        added(server, tmp_path, 2)
        assert ask(server, "scale", 1, 2) == ask(server, "scale", 1, 2) == ([2, 4], None)


def test_an_equal_request_is_answered_again_and_another_one_anew(tmp_path: Path) -> None:
    with serving(tmp_path, models__cache_mb=4) as server:
        added(server, tmp_path, 2)
        assert ask(server, "scale", 1, 2) == ([2, 4], "miss")
        assert ask(server, "scale", 1, 2) == ([2, 4], "hit")
        assert ask(server, "scale", 2, 1) == ([4, 2], "miss")


def test_a_new_version_never_gives_the_old_ones_answer(tmp_path: Path) -> None:
    with serving(tmp_path, models__cache_mb=4) as server:
        added(server, tmp_path, 2)
        assert ask(server, "scale", 1, 2)[1] == "miss"
        added(server, tmp_path, 3)
        server.platform.context.sessions.refresh()
        assert ask(server, "scale", 1, 2) == ([3, 6], "miss")


def test_a_version_that_is_named_has_answers_of_its_own(tmp_path: Path) -> None:
    with serving(tmp_path, models__cache_mb=4) as server:
        added(server, tmp_path, 2)
        added(server, tmp_path, 3)
        assert ask(server, "scale/versions/1", 1, 2) == ([2, 4], "miss")
        assert ask(server, "scale/versions/2", 1, 2) == ([3, 6], "miss")
        assert ask(server, "scale", 1, 2) == ([3, 6], "hit")

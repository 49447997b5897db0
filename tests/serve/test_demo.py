"""`sightline demo` as a user starts it: a page with two cameras, one of which is switched off and comes back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serve.conftest import STREET
from tests.serve.processes import ServerProcess

from sightline.packs.vision.sources.video import VideoSource
from sightline.serve.cli.demo_camera import FaultyCamera
from sightline.testing import make_context


def states(url: str) -> dict[str, Any]:
    rows = httpx2.get(f"{url}/health/stream", timeout=60).json()["streams"]
    return {row["source"]: row["state"] for row in rows}


def test_two_cameras_are_live_and_the_page_is_there(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, verb="demo")
    try:
        end_s = time.monotonic() + 60
        while states(server.url) != {"street": "live", "gate": "live"}:
            assert time.monotonic() < end_s, states(server.url)
            time.sleep(0.1)
        page = httpx2.get(f"{server.url}/", timeout=60)
        assert page.status_code == 200
        assert "<title>" in page.text
        server.signal(2)
        assert server.wait(60) == 0
        assert "Traceback" not in server.err
    finally:
        server.end()


@pytest.mark.timeout(60)
def test_the_faulty_camera_goes_and_comes_back_and_says_why() -> None:
    camera = FaultyCamera(STREET, on_s=5.0, off_s=1.5)
    camera.start()
    told: list[tuple[str, str]] = []
    source = VideoSource(url=camera.url, fps=5, timeout_s=3)
    source.open(make_context(state=lambda state, reason: told.append((state.value, reason))))
    try:
        epochs: list[int] = []
        for sample in source.read():
            epochs.append(sample.epoch)
            if sample.epoch == 2:
                break
        assert epochs.count(1) > 5
        assert ("backoff", "connection refused") in told
    finally:
        source.close()
        camera.close()

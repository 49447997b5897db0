"""The examples of the client, in Python and in JavaScript, against a real server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Timer

import pytest
from tests.client.conftest import PHOTOS
from tests.docs.runner import ROOT, blocks_of, environment
from tests.servers import RunningServer

from sightline import Client

EXAMPLES = ROOT / "examples/client"
PAGE = ROOT / "docs/how-to/ask-a-server.md"
NODE = shutil.which("node") or ""
needs_node = pytest.mark.skipif(not NODE, reason="node is not installed")


def shown(command: Sequence[str | Path], server: RunningServer, folder: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**environment(folder), "SIGHTLINE_URL": server.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_photograph_is_predicted(server: RunningServer, tmp_path: Path) -> None:
    script = EXAMPLES / "predict_a_photo.py"
    printed = shown([sys.executable, script, PHOTOS / "german-shepherd.jpg"], server, tmp_path)
    assert "German shepherd\n" in printed
    assert "dog at [" in printed


def test_tensors_are_inferred(server: RunningServer, tmp_path: Path) -> None:
    printed = shown([sys.executable, EXAMPLES / "infer_tensors.py"], server, tmp_path)
    assert printed.count(" of 1000\n") == 8


def test_a_case_is_followed(server: RunningServer, tmp_path: Path) -> None:
    printed = shown([sys.executable, EXAMPLES / "follow_a_case.py"], server, tmp_path)
    assert "line.crossed track/" in printed
    assert printed.endswith("is completed\n")


@needs_node
def test_javascript_predicts_a_photograph(server: RunningServer, tmp_path: Path) -> None:
    printed = shown([NODE, EXAMPLES / "predict.mjs", PHOTOS / "german-shepherd.jpg"], server, tmp_path)
    assert printed.startswith("dog 0.")


@needs_node
@pytest.mark.parametrize(
    ("api", "words"),
    [
        ("eventsource", ["main/1/", " people\n", " crossed the line "]),
        ("websocket", ["picture main/1/", " bytes, ", " people\n", "event io.sightline.line"]),
    ],
)
def test_javascript_follows_a_case(server: RunningServer, tmp_path: Path, api: str, words: list[str]) -> None:
    script = EXAMPLES / {"eventsource": "events.mjs", "websocket": "pictures.mjs"}[api]
    with Client(server.url) as client:
        begin = Timer(1.0, client.runs.start, ["street_people"])  # when the listener is there
        begin.start()
        printed = shown([NODE, f"--experimental-{api}", script], server, tmp_path)
        begin.join()
    assert [word for word in words if word not in printed] == [], printed


def test_the_page_shows_the_javascript_that_is_tested() -> None:
    blocks = [block.text for block in blocks_of(PAGE.read_text("utf-8")) if block.language == "js"]
    assert blocks == [(EXAMPLES / f"{name}.mjs").read_text("utf-8") for name in ("predict", "events", "pictures")]


def test_every_example_is_short() -> None:
    scripts = [path for path in EXAMPLES.iterdir() if path.suffix in (".py", ".mjs")]
    assert len(scripts) == 6
    assert [path.name for path in scripts if len(path.read_text("utf-8").splitlines()) > 40] == []

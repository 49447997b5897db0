"""Every example does what its first line says, from any folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import cv2
import pytest
from tests.docs.runner import ROOT, environment

EXAMPLES = ROOT / "examples"
CLIP = ROOT / "src/sightline/cases/street_people/street.mp4"
PHOTOS = ROOT / "tests/data/photos"

EXPECTED: dict[str, tuple[list[str], list[str]]] = {
    "run_a_case.py": ([], ["main/1/99 ", "completed ", "drawn.mp4"]),
    "detect_people_in_a_picture.py": (["street.png"], ["person 0.", "nanodet-m@1", " at ", " to "]),
    "classify_a_photo.py": ([str(PHOTOS / "giant-panda.jpg")], ["giant panda", "asked: efficientnet-lite0@1"]),
    "own_predictor.py": ([], ["pulse/1/39: ", "completed 40"]),
    "own_bus.py": ([], ["run.started: run/", "line.crossed: track/", "run.completed: run/"]),
    "read_a_camera.py": ([str(CLIP)], ["frame (480, 640, 3) uint8"]),
    "watch_events.py": ([], ["line.crossed track/", " in\n", " out\n", "zone.dwell track/", " square\n"]),
}


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Return a folder with a picture of the street."""
    with av.open(str(CLIP)) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="bgr24")
    assert cv2.imwrite(str(tmp_path / "street.png"), pixels)
    return tmp_path


@pytest.mark.parametrize("name", EXPECTED)
def test_the_example_shows_what_it_promises(name: str, desk: Path) -> None:
    arguments, expected = EXPECTED[name]
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=desk,
        env=environment(desk),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [words for words in expected if words not in done.stdout] == [], done.stdout


def test_every_example_is_tested_and_short() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [script.name for script in scripts] == sorted(EXPECTED)
    assert [script.name for script in scripts if len(script.read_text("utf-8").splitlines()) > 40] == []

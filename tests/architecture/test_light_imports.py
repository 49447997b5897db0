"""What must answer at once imports nothing heavy; a child process tells by `-X importtime` what it imported."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HEAVY = {"torch", "onnxruntime", "cv2", "av", "sqlalchemy", "fastapi", "pydicom"}
LIBRARIES = {"numpy", "pydantic"}
"""Not heavy, but not free: reported, and refused where nothing needs them."""

LINE = re.compile(r"import time:\s*(?P<self>\d+) \|\s*(?P<all>\d+) \| +(?P<name>[\w.]+)")


def imported(*arguments: str, folder: Path) -> dict[str, int]:
    """Run Python with these arguments; return the top-level packages that it imported with their microseconds."""
    command = [sys.executable, "-X", "importtime", *arguments]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    costs: dict[str, int] = {}
    for line in LINE.finditer(answer.stderr):
        top = line["name"].partition(".")[0]
        costs[top] = costs.get(top, 0) + int(line["self"])
    assert "sightline" in costs, "this test sees nothing"
    return costs


def test_importing_sightline_costs_next_to_nothing(tmp_path: Path) -> None:
    assert not (HEAVY | LIBRARIES) & imported("-c", "import sightline", folder=tmp_path).keys()


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list"], ["list", "--json"]], ids=" ".join)
def test_the_command_line_answers_without_heavy_libraries(
    arguments: list[str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    costs = imported("-m", "sightline", *arguments, folder=tmp_path)
    record_property("microseconds", {name: costs[name] for name in sorted(LIBRARIES & costs.keys())})
    assert not HEAVY & costs.keys()


def test_help_validates_nothing(tmp_path: Path) -> None:
    assert not LIBRARIES & imported("-m", "sightline", "--help", folder=tmp_path).keys()


def test_a_heavy_import_would_be_seen(tmp_path: Path) -> None:
    assert "sqlalchemy" in imported("-c", "import sightline, sqlalchemy", folder=tmp_path)

"""The wheel that users install holds what a case needs to run, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from tests.architecture.checkout import PACKAGE, ROOT, tracked_files

LARGEST_BYTES = 20_000_000
"""The models may weigh 15 MB together."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend is not installed: pip install hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    [made] = folder.glob("*.whl")
    return made


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    wanted = {path.relative_to(PACKAGE.parent).as_posix() for path in tracked_files() if PACKAGE in path.parents}
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted


@pytest.mark.parametrize(
    "name",
    [
        "sightline/py.typed",
        "sightline/zoo/nanodet-m.onnx",
        "sightline/zoo/nanodet-m.md",
        "sightline/zoo/efficientnet-lite0.onnx",
        "sightline/zoo/efficientnet-lite0.md",
        "sightline/cases/street_people/case.yaml",
        "sightline/cases/street_people/street.mp4",
        "sightline/cases/sensor_anomaly/readings.csv",
        "sightline/cases/threshold_alert/plugins.py",
        "sightline/adapters/database/migrations/script.py.mako",
        "sightline/adapters/database/migrations/env.py",
        "sightline/adapters/database/migrations/versions/r0001_first_tables.py",
    ],
)
def test_the_wheel_holds_what_is_no_module(wheel: Path, name: str) -> None:
    with ZipFile(wheel) as archive:
        assert name in archive.namelist()


def test_the_wheel_carries_its_licence_and_its_extras(wheel: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    with ZipFile(wheel) as archive:
        [info] = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
        assert b"Apache License" in archive.read(f"{info}/licenses/LICENSE")
        assert b"nanodet" in archive.read(f"{info}/licenses/NOTICE").lower()
        assert b"sightline = sightline.serve.cli:main" in archive.read(f"{info}/entry_points.txt")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra") or ()) == set(extras)


def test_the_wheel_stays_small(wheel: Path) -> None:
    assert wheel.stat().st_size < LARGEST_BYTES

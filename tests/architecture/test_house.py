"""The commands that a newcomer types: make, `.ci/run`, `cli.py`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from cli import Checkout
from tests.architecture.checkout import ROOT

TARGETS = {
    "demo",
    "test",
    "check",
    "bench",
    "bench-serving",
    "bench-jobs",
    "bench-medical",
    "chaos",
    "fuzz",
    "bench-store",
    "bench-streams",
    "soak",
    "lock",
    "help",
    "clean",
    "install",
    "format",
    "test-deps",
}


def make(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    inherited = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={**inherited, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def python_of_version(path: Path, minor: int) -> Path:
    """Write a stand-in for Python 3.`minor` that makes an empty environment."""
    path.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = --version ]; then echo "Python 3.{minor}.0"; exit; fi\n'
        f'if [ "$1" = -c ]; then exec "{sys.executable}" -c "import sys; sys.version_info = (3, {minor}, 0); $2"; fi\n'
        '[ "$2" = venv ] && mkdir -p "$3/bin" && echo made > "$3/bin/python"\n'
    )
    path.chmod(0o755)
    return path


def venv_sh(folder: Path, *pythons: Path) -> subprocess.CompletedProcess[str]:
    """Run tools/venv.sh on a machine without uv."""
    return subprocess.run(
        ["/bin/sh", str(ROOT / "tools" / "venv.sh"), str(folder / "venv"), *map(str, pythons)],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_lists_every_target() -> None:
    answer = make("help")
    assert set(re.findall(r"^make ([a-z-]+) ", answer.stdout, re.MULTILINE)) == TARGETS, answer.stderr
    assert make().stdout == answer.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX shell")
def test_an_old_python_is_refused_with_the_cure(tmp_path: Path) -> None:
    answer = venv_sh(tmp_path, python_of_version(tmp_path / "old", 10))
    assert answer.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in answer.stderr
    assert "is Python 3.10.0" in answer.stderr
    assert "make demo PYTHON=" in answer.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX shell")
def test_the_first_python_that_fits_is_taken_and_a_newer_one_only_without_it(tmp_path: Path) -> None:
    old, good, new = (python_of_version(tmp_path / f"python{minor}", minor) for minor in (10, 12, 14))
    for offered, taken in (((old, new, good), good), ((old, new), new)):
        folder = tmp_path / taken.name.replace("python", "for")
        folder.mkdir()
        taken.write_text(taken.read_text() + f'echo "{taken.name}" > "{folder}/taken"\n')
        answer = venv_sh(folder, *offered)
        assert answer.returncode == 0, answer.stderr
        assert (folder / "taken").read_text().strip() == taken.name


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX shell")
def test_half_an_environment_is_taken_away(tmp_path: Path) -> None:
    broken = python_of_version(tmp_path / "broken", 12)
    broken.write_text(broken.read_text() + "exit 1\n")
    answer = venv_sh(tmp_path, broken)
    assert answer.returncode == 1
    assert "python3-venv" in answer.stderr
    assert not (tmp_path / "venv").exists()


def test_ci_runs_the_checks_and_the_tests_with_every_server() -> None:
    script = ROOT / ".ci" / "run"
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert "SIGHTLINE_REQUIRE_SERVICES=1" in text
    assert "make --no-print-directory check" in text
    assert "make --no-print-directory test" in text


def test_cli_py_is_the_command_line() -> None:
    command = [sys.executable, str(ROOT / "cli.py"), "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["sightline", distribution("sightline").version]


def test_a_checkout_that_is_not_installed_shows_the_same_plugins() -> None:
    def points(found: Distribution) -> set[tuple[str, str, str]]:
        return {(each.group, each.name, each.value) for each in found.entry_points}

    checkout = Checkout()
    assert points(checkout) == points(distribution("sightline"))
    assert checkout.version == distribution("sightline").version

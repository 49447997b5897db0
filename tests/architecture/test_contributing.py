"""The examples of CONTRIBUTING.md are true: the files that it shows are written and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.architecture.checkout import PACKAGE, ROOT

BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"`((?:src|tests|cases)/[\w./-]+\.(?:py|yaml))`\s*$")


def contributing() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def shown_files() -> dict[str, str]:
    """Return every file that CONTRIBUTING.md shows, where the line above the block says that it is."""
    text = contributing()
    blocks = ((PATH.search(text[: block.start()].rstrip()), block["body"]) for block in BLOCK.finditer(text))
    return {place[1]: body for place, body in blocks if place}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, without models and clips, to which those files were added."""
    folder = tmp_path_factory.mktemp("contributed")
    shutil.copytree(
        PACKAGE, folder / "src" / "sightline", ignore=shutil.ignore_patterns("*.onnx", "*.mp4", "__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", folder)
    for place, body in shown_files().items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(body)
    return folder


def run(*command: str, folder: Path) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "SIGHTLINE_DATA_ROOT": str(folder / "data")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_the_plugin_and_the_adapter_pass_the_tests_beside_them(project: Path) -> None:
    tests = [place for place in shown_files() if place.startswith("tests/")]
    assert len(tests) == 2
    assert " passed" in run("pytest", "-q", "-p", "no:cacheprovider", *tests, folder=project)


def test_their_code_is_ours_in_style(project: Path) -> None:
    pytest.importorskip("ruff", reason="ruff comes with make check")
    files = [place for place in shown_files() if place.endswith(".py")]
    assert len(files) == 4
    run("ruff", "check", "--no-cache", *files, folder=project)
    run("ruff", "format", "--no-cache", "--check", *files, folder=project)


def test_the_entry_points_name_what_is_shown(project: Path) -> None:
    blocks = [tomllib.loads(block["body"]) for block in BLOCK.finditer(contributing()) if block["language"] == "toml"]
    targets = [
        target for block in blocks for group in block["project"]["entry-points"].values() for target in group.values()
    ]
    assert len(targets) == 2
    for target in targets:
        module, _, name = target.partition(":")
        assert f"class {name}(" in (project / "src" / f"{module.replace('.', '/')}.py").read_text()


def test_the_case_runs(project: Path) -> None:
    run("sightline", "run", "dim_light", folder=project)
    [events] = (project / "runs").rglob("events.jsonl")
    assert events.stat().st_size > 0


def test_the_commands_name_what_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shell = "".join(block["body"] for block in BLOCK.finditer(contributing()) if block["language"] == "bash")
    quoted = "\n".join(re.findall(r"`(make [^`]+)`", contributing()))
    assert set(re.findall(r"^make ([a-z-]+)", shell + quoted, re.MULTILINE)) <= targets
    assert [path for path in re.findall(r"tests/[\w./]+", shell) if not (ROOT / path).exists()] == []

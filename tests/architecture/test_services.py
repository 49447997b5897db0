"""A test that needs a server is skipped where the server is not there, and fails where it is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.architecture.checkout import ROOT

TESTS = """
import pytest

@pytest.fixture
def server():
    pytest.skip("nobody listens")

@pytest.mark.service("pigeon post")
def test_marked_by_fixture(server): ...

@pytest.mark.service("pigeon post")
def test_marked_in_the_test():
    pytest.skip("nobody listens")

def test_unmarked():
    pytest.skip("not today")
"""


@pytest.mark.parametrize(
    ("required", "closing"), [("", "3 skipped"), ("0", "3 skipped"), ("1", "1 failed, 1 skipped, 1 error")]
)
def test_a_required_server_may_not_be_missing(required: str, closing: str, tmp_path: Path) -> None:
    (tmp_path / "test_pigeons.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = service(name): needs a server\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)]
    # Without the mark of xdist: a process inside a test must not wait for its turn, which that test has.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    environ = {**inherited, "SIGHTLINE_REQUIRE_SERVICES": required}
    answer = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert closing in answer.stdout.splitlines()[-1], answer.stdout + answer.stderr
    if required == "1":
        assert "needs pigeon post, and SIGHTLINE_REQUIRE_SERVICES=1: nobody listens" in answer.stdout

"""The Actions workflow tries what pyproject.toml offers."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml
from tests.architecture.checkout import ROOT

WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def steps() -> list[dict[str, Any]]:
    return [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_each_extra_is_installed_alone() -> None:
    assert set(WORKFLOW["jobs"]["extra"]["strategy"]["matrix"]["extra"]) == set(PROJECT["optional-dependencies"])


def test_the_oldest_and_the_newest_python_are_tried() -> None:
    offered = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    versions = sorted(offered, key=lambda version: int(version.partition(".")[2]))
    assert WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python"] == [versions[0], versions[-1]]


def test_actions_are_pinned_by_their_major_version() -> None:
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+", name)] == []


def test_servers_are_required() -> None:
    job = WORKFLOW["jobs"]["test"]
    assert job["env"]["SIGHTLINE_REQUIRE_SERVICES"] == "1"
    assert "postgres" in job["services"]

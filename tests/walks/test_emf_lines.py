"""A stream with `meter.emf` writes its lines for CloudWatch: one for every fifty frames."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightline.build import CaseBuildContext, load_case, run
from sightline.settings import load_settings


def test_every_fifty_frames_of_a_run_make_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    environ = {
        "SIGHTLINE_DATA_ROOT": str(tmp_path / "data"),
        "SIGHTLINE_METER__EMF": "true",
        "SIGHTLINE_METER__SERVICE": "door",
        "SIGHTLINE_RUNS_ROOT": str(tmp_path / "runs"),
    }
    with CaseBuildContext(load_settings(folder=tmp_path, environ=environ)) as context:
        outcome = run(
            load_case("dummy_offline", context=context, changes={"source.realtime": "false"}), context=context
        )
        num = outcome.run.status["sources"][next(iter(outcome.run.status["sources"]))]["read"]
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    frames = [line for line in lines if line.get("kind") == "frames"]
    assert num >= 50
    assert len(frames) >= num // 50
    assert frames[0]["service"] == "door"
    assert len(frames[0]["Latency"]) == 50

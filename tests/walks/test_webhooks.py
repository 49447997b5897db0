"""From an alert of a case to the receiver of a webhook: none is lost when the process is killed or nobody listens."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from pathlib import Path

from tests.packs.basic.receiver import receiving, until
from tests.programs import command, environment, sightline

CASE = """
source: {use: synthetic, fps: 200, num_frames: %d, realtime: %s}
stages:
  analytics:
    light: {use: brightness}
    alert: {use: flicker}
sinks:
  - {use: webhook, url: "${HOOK}", name: erp, secrets: ["${SECRET}"], retry_max_s: 0.2, linger_s: 10}
"""
PLUGIN = """
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sightline import Finding, Findings, Predictor, Sample


@dataclass(kw_only=True)
class Flicker(Predictor):
    \"\"\"An alert on every tenth picture.\"\"\"

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Findings]:
        alert = Finding(name="flicker", event="threshold.alert")
        return [Findings(items=(alert,) if sample.seq % 10 == 0 else ()) for sample in samples]
"""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="


def case_in(folder: Path, num_frames: int, *, realtime: bool = False) -> None:
    place = folder / "cases" / "alarm"
    place.mkdir(parents=True)
    (place / "case.yaml").write_text(CASE % (num_frames, str(realtime).lower()))
    (place / "plugins.py").write_text(PLUGIN)


def hook(url: str) -> dict[str, str]:
    return {"HOOK": url, "SECRET": SECRET, "SIGHTLINE_WEBHOOKS__ALLOW": "127.0.0.1"}


def recorded(folder: Path) -> list[str]:
    """Return the ids of all events of the case, in the order of the outbox."""
    with sqlite3.connect(folder / "data" / "sightline.db") as database:
        rows = database.execute("select id from events where source like '/cases/alarm%' order by position")
        return [row[0] for row in rows]


def test_every_event_of_a_run_arrives_its_end_among_them(tmp_path: Path) -> None:
    case_in(tmp_path, 100)
    with receiving() as receiver:
        done = sightline(tmp_path, "run", "alarm", env=hook(receiver.url))
        assert done.code == 0, done.err
        assert receiver.ids == recorded(tmp_path)
        assert receiver.types[:2] == ["run.submitted", "run.started"]
        assert receiver.types.count("threshold.alert") == 10
        assert receiver.types[-1] == "run.completed"


def test_a_receiver_that_answers_500_holds_up_nothing(tmp_path: Path) -> None:
    case_in(tmp_path, 400)
    with receiving(answer=lambda _: 500) as receiver:
        done = sightline(tmp_path, "run", "alarm", env=hook(receiver.url))
        assert done.code == 0, done.err
        assert "400" in done.out
        assert len(receiver.messages) >= 1
        assert receiver.taken == []
        receiver.answer = lambda _: 200
        assert sightline(tmp_path, "run", "alarm", env=hook(receiver.url)).code == 0
        assert receiver.ids == recorded(tmp_path)  # those of both runs


def test_a_killed_process_loses_no_event(tmp_path: Path) -> None:
    case_in(tmp_path, 100_000, realtime=True)
    with receiving() as receiver:
        begun = subprocess.Popen(
            command("run", "alarm"),
            cwd=tmp_path,
            env=environment(tmp_path, hook(receiver.url)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: len(receiver.taken) > 10, 40)
        receiver.answer = lambda _: 500
        until(lambda: set(receiver.ids) < set(recorded(tmp_path)), 40)
        os.kill(begun.pid, signal.SIGKILL)
        begun.wait(30)
        kept = recorded(tmp_path)
        assert set(receiver.ids) < set(kept)
        receiver.answer = lambda _: 200
        done = sightline(tmp_path, "run", "alarm", "--set", "source.num_frames=10", env=hook(receiver.url))
        assert done.code == 0, done.err
        assert list(dict.fromkeys(receiver.ids)) == recorded(tmp_path)  # in order; the last one before may come twice
        assert len(receiver.ids) <= len(recorded(tmp_path)) + 1

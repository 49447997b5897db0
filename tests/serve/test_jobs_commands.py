"""Jobs from the command line: submitted, worked on by a process of their own, shown, cancelled, retried."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.programs import command, environment, sightline

PLUGINS = '''
from dataclasses import dataclass

from sightline.core.errors import InvalidInput
from sightline.core.plugins import Predictor, Source
from sightline.core.prediction import Scalar
from sightline.core.sample import Clocks, Sample, Text


@dataclass(kw_only=True)
class Lines(Source):
    """A sample a line."""

    def load(self, file, name, media_type):
        for number, line in enumerate(file.read().decode().splitlines()):
            clocks = Clocks(pts_s=None, monotonic_s=0.0, wall=self.context.now())
            yield Sample(payload=Text(line), source="lines", seq=number, clocks=clocks)


@dataclass(kw_only=True)
class Length(Predictor):
    """Length of a text."""

    factor: float = 1.0

    def predict(self, samples):
        if any("bad" in sample.payload.text for sample in samples):
            raise InvalidInput("a bad word")
        return [Scalar(name="length", value=self.factor * len(sample.payload.text)) for sample in samples]
'''
MANIFEST = """
sources: {lines: {use: Lines}}
input: lines
stages: {analytics: {length: {use: Length}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    case = tmp_path / "cases" / "texts"
    case.mkdir(parents=True)
    (case / "plugins.py").write_text(PLUGINS)
    (case / "case.yaml").write_text(MANIFEST)
    (tmp_path / "a.txt").write_text("one\nfour\n")
    (tmp_path / "bad.txt").write_text("a bad one")
    return tmp_path


@contextmanager
def worker(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    log = (folder / "worker.log").open("wb")
    begun = command("worker", "--metrics-port", "0")
    with log, subprocess.Popen(begun, cwd=folder, env=environment(folder), stderr=log) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, (folder / "worker.log").read_text()


def asked(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_jobs_are_submitted_worked_on_and_shown(folder: Path) -> None:
    waiting = sightline(folder, "submit", "texts", "a.txt", "--tag", "who=me", "--key", "k1", "--priority", "2")
    assert waiting.code == 0
    run_id = waiting.out.strip()
    unwanted = sightline(folder, "submit", "texts", "a.txt").out.strip()
    ended = json.loads(sightline(folder, "runs", "cancel", unwanted[:8], "--json").out)
    assert (ended["id"], ended["state"]) == (unwanted, "cancelled")
    with worker(folder):
        done = sightline(folder, "submit", "texts", "a.txt", "--wait", "--json", "-p", "factor=10")
        failed = sightline(folder, "submit", "texts", "bad.txt", "--wait")
        [url] = re.findall(r"http://127\.0\.0\.1:\d+", (folder / "worker.log").read_text())
        numbers = asked(f"{url}/metrics")[1]
        found = [asked(url + path) for path in ("/livez", "/readyz", "/", "/metrics/x")]
    assert (done.code, failed.code) == (0, 1)
    assert [status for status, _ in found] == [200, 200, 404, 404]
    assert json.loads(found[1][1]) == {"status": "ready", "held": 0}
    for line in (
        'sightline_jobs_total{case="texts",kind="",state="completed"} 2.0',
        'sightline_jobs_total{case="texts",kind="validation",state="failed"} 1.0',
        'sightline_job_seconds_count{case="texts",state="completed"} 2.0',
        "sightline_jobs_held 0.0", "process_cpu_seconds_total ", "process_resident_memory_bytes ",
    ):  # fmt: skip
        assert f"\n{line}" in numbers, numbers
    run = json.loads(done.out)
    assert (run["state"], run["status"]["progress"]) == ("completed", 1.0)
    stored = folder / "data" / "artifacts" / run["status"]["made"]["json"]
    values = [each["predictions"]["length"]["value"] for each in json.loads(stored.read_text())["samples"]]
    assert values == [30.0, 40.0]
    assert "a bad word" in failed.err
    assert "Submit another object" in failed.err
    shown = json.loads(sightline(folder, "runs", "show", run_id[:10], "--json").out)
    assert (shown["state"], shown["metadata"], shown["priority"]) == ("completed", {"who": "me"}, 2)
    logs = sightline(folder, "runs", "logs", run_id).out.splitlines()
    assert [line.split()[1] for line in logs] == [
        "run.submitted", "run.started", "step.done", "step.done", "run.completed"
    ]  # fmt: skip
    states = [line.split()[2] for line in sightline(folder, "runs", "list").out.splitlines()]
    assert states == ["failed", "completed", "cancelled", "completed"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("submit", "texts", "nothing.txt"), 3, "neither a file here nor an object"),
        (("submit", "nobody", "a.txt"), 3, "No case is called 'nobody'"),
        (("submit", "texts", "a.txt", "-p", "factor=red"), 1, "factor"),
        (("submit", "texts", "a.txt", "-p", "facto=2"), 1, "Did you mean 'factor'?"),
        (("runs", "retry", "nobody"), 3, "nobody"),
        (("runs", "list", "--state", "done"), 2, "none of submitted, running, completed"),
        (("runs", "unschedule", "nobody"), 3, "See sightline runs schedules"),
        (("runs", "schedule", "nightly", "texts", "a.txt", "--cron", "often"), 1, "cron line"),
    ],
)
def test_what_cannot_be_done_is_told(folder: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    done = sightline(folder, *arguments)
    assert done.code == code, done.err
    assert told in done.err
    assert "Traceback" not in done.err


def test_jobs_by_the_clock(folder: Path) -> None:
    made = sightline(folder, "runs", "schedule", "nightly", "texts", "a.txt", "--cron", "30 3 * * *", "-p", "factor=2")
    assert made.code == 0, made.err
    assert made.out.startswith("nightly  next ")
    [known] = json.loads(sightline(folder, "runs", "schedules", "--json").out)
    assert (known["name"], known["case"], known["cron"]) == ("nightly", "texts", "30 3 * * *")


def test_a_worker_waits_for_a_database_that_is_away(folder: Path) -> None:
    away = {"SIGHTLINE_DATABASE__URL": "postgresql://nobody@127.0.0.1:1/none"}
    begun = command("worker", "--metrics-port", "0")
    process = subprocess.Popen(begun, cwd=folder, env=environment(folder, away), stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stderr is not None
        [url] = re.findall(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
        assert "the worker waits" in process.stderr.readline()
        assert [asked(url + path)[0] for path in ("/livez", "/readyz", "/metrics")] == [200, 503, 200]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_without_any_worker_a_job_is_done_here(folder: Path) -> None:
    done = sightline(folder, "submit", "texts", "a.txt", "--here", "--profile-run")
    assert done.code == 0, done.err
    assert "completed" in done.out
    steps = [line.split() for line in done.out.splitlines() if line.endswith(" MB")]
    assert [step[:2] for step in steps] == [["reading", "done"], ["length", "done"], ["publishing", "done"]]
    refused = sightline(folder, "submit", "texts", "a.txt", "--here", "--debug-dir", "seen")
    assert refused.code == 1
    assert "debug_dir" in refused.err

"""Ctrl-C, once and twice, and SIGTERM: how a run is ended, and that nothing that was recorded is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import pytest
from tests.programs import command, environment, outputs
from tests.serve.conftest import STREET, opened, write_case

from sightline.core.run import Run, RunState

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

SLOW = """
import time
from dataclasses import dataclass
from sightline import Predictor, Scalar

@dataclass(kw_only=True)
class Slow(Predictor):
    seconds: float = 0.0

    def predict(self, samples):
        time.sleep(self.seconds * len(samples))
        return [Scalar(name="x", value=1.0) for _ in samples]
"""
MANIFEST = f"""
source: {{use: video, url: "{STREET}", loop: true, realtime: %s, size: [128, 96]}}
stages: {{analytics: {{slow: {{use: slow, seconds: %s}}}}}}
sinks: [jsonl, database, drawn-video]
"""


@contextmanager
def running(folder: Path, *, num_lines: int) -> Iterator[tuple[subprocess.Popen[bytes], list[dict[str, Any]]]]:
    """Start `run long --json` and wait for its first lines; give the process and those lines."""
    process = subprocess.Popen(
        command("run", "long", "--json"), cwd=folder, env=environment(folder),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process, [json.loads(process.stdout.readline()) for _ in range(num_lines)]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def await_the_first(process: subprocess.Popen[bytes]) -> None:
    """Wait until the first signal has been heard: two at once may be one."""
    assert process.stderr is not None
    while b"stopping; Ctrl-C again" not in (line := process.stderr.readline()):
        assert line, "it has ended"


def record(folder: Path) -> tuple[Run, list[str]]:
    """Return the only run, and the ids of the samples that the database has."""
    with opened(folder) as made:
        [run] = made.store.runs.list()
        rows = made.store.predictions.list(run_id=run.id, limit=10_000)
    return run, [str(row["id"]) for _, row in rows]


def written(folder: Path) -> tuple[list[str], int]:
    """Return the ids in the file of predictions, and the number of frames of the drawn video."""
    made = outputs(folder, "long")
    ids = [json.loads(line)["id"] for line in (made / "predictions.jsonl").read_text().splitlines()]
    with av.open(str(made / "drawn.mp4")) as video:
        return ids, sum(1 for _ in video.decode(video=0))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_a_run_and_writes_what_was_read(tmp_path: Path, number: signal.Signals) -> None:
    write_case(tmp_path, "long", MANIFEST % ("true", 0.0), plugins=SLOW)

    with running(tmp_path, num_lines=5) as (process, lines):
        process.send_signal(number)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert b"Traceback" not in err
    assert b"stopping; Ctrl-C again to end at once" in err
    printed = [line["id"] for line in (*lines, *map(json.loads, out.splitlines()))]
    run, recorded = record(tmp_path)
    ids, num_drawn = written(tmp_path)
    assert run.state is RunState.CANCELLED
    assert run.finished is not None
    assert printed == recorded == ids
    assert num_drawn == len(printed)
    [counts] = run.status["sources"].values()
    dropped = sum(counts["dropped"].values())
    assert counts["read"] == counts["processed"] + dropped
    assert counts["processed"] == len(printed)


def test_the_second_signal_gives_up_what_waits_and_keeps_what_is_recorded(tmp_path: Path) -> None:
    # A file, so that samples wait for the slow predictor: some seconds of work when the first signal comes.
    write_case(tmp_path, "long", MANIFEST % ("false", 0.4), plugins=SLOW)

    with running(tmp_path, num_lines=4) as (process, lines):
        process.send_signal(signal.SIGINT)
        await_the_first(process)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert b"Traceback" not in err
    printed = [line["id"] for line in (*lines, *map(json.loads, out.splitlines()))]
    run, recorded = record(tmp_path)
    ids, num_drawn = written(tmp_path)
    assert run.state is RunState.CANCELLED
    [counts] = run.status["sources"].values()
    assert counts["processed"] < counts["read"]  # the predictor's call ends by itself; nothing more is begun
    assert recorded[: len(printed)] == ids[: len(printed)] == printed
    assert num_drawn >= len(printed)


def test_the_third_signal_ends_a_process_that_foreign_code_holds(tmp_path: Path) -> None:
    write_case(tmp_path, "long", MANIFEST % ("false", 0.0), plugins=SLOW.replace("seconds * len(samples)", "seconds"))
    manifest = (tmp_path / "cases/long/case.yaml").read_text().replace("[jsonl, database, drawn-video]", "[stuck]")
    (tmp_path / "cases/long/case.yaml").write_text(manifest)
    with (tmp_path / "cases/long/plugins.py").open("a") as file:
        file.write(
            "from sightline import Sink\n\n"
            "@dataclass(kw_only=True)\nclass Stuck(Sink):\n"
            "    def write(self, samples):\n        print('{}', flush=True)\n        time.sleep(60)\n"
        )

    with running(tmp_path, num_lines=1) as (process, _):
        process.send_signal(signal.SIGINT)
        await_the_first(process)
        end_s = time.monotonic() + 30
        while process.poll() is None:  # the second one and the third; sent at once they may be one
            assert time.monotonic() < end_s, "it does not end"
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)

    assert process.returncode in (-signal.SIGINT, 130)

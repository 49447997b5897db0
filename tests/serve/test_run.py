"""What a run leaves behind, through a process of its own: samples, events, database, files."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.programs import Finished, command, environment, outputs, sightline
from tests.serve.conftest import PHOTOS, STREET, Cli, opened, write_case

from sightline.core.run import RunState

# `--duration`, `--device-serial` and `--metadata` of one run, seen from everywhere.
ABOUT = {"device_serial": "dev123", "location": "lab"}


@pytest.fixture(scope="module")
def dummy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dummy")


@pytest.fixture(scope="module")
def finished(dummy: Path) -> Finished:
    return sightline(
        dummy, "run", "dummy_offline", "--duration", "2", "--json",
        "--device-serial", "dummy_offline=dev123", "--metadata", "dummy_offline:location=lab",
    )  # fmt: skip


def test_stdout_is_ndjson_and_logs_are_json_on_stderr(finished: Finished) -> None:
    assert finished.code == 0
    lines = finished.lines()
    # Two seconds at ten a second, and some slack for a busy machine.
    assert 12 <= len(lines) <= 22
    assert all(line["case"] == "dummy_offline" for line in lines)
    for line in finished.err.splitlines():
        assert json.loads(line)["log.level"] in ("info", "warning")


def test_the_samples_carry_the_metadata(finished: Finished) -> None:
    assert all(line["metadata"] == ABOUT for line in finished.lines())


def test_the_file_of_predictions_holds_what_was_printed(finished: Finished, dummy: Path) -> None:
    text = (outputs(dummy, "dummy_offline") / "predictions.jsonl").read_text()

    assert [json.loads(line)["id"] for line in text.splitlines()] == [line["id"] for line in finished.lines()]
    assert all(json.loads(line)["metadata"] == ABOUT for line in text.splitlines())


def test_the_events_carry_the_metadata(finished: Finished, dummy: Path) -> None:
    assert finished.code == 0
    with opened(dummy) as context:
        events = [event for _, event in context.store.events.list()]

    assert [event.short_type for event in events][:2] == ["run.submitted", "run.started"]
    assert events[-1].short_type == "run.completed"
    assert all(event.data["metadata"] == ABOUT for event in events)


def test_the_database_holds_the_run_and_a_row_for_each_sample(finished: Finished, dummy: Path) -> None:
    with opened(dummy) as context:
        [run] = context.store.runs.list()
        rows = [row for _, row in context.store.predictions.list(run_id=run.id, limit=1000)]

    assert run.state is RunState.COMPLETED
    assert run.metadata == ABOUT
    assert [row["id"] for row in rows] == [line["id"] for line in finished.lines()]
    assert all(row["metadata"] == ABOUT for row in rows)
    database = sqlite3.connect(dummy / "data/sightline.db")
    [(num,)] = database.execute("select count(*) from predictions").fetchall()
    database.close()
    assert num == len(rows)


def test_serials_and_metadata_may_leave_out_the_case_and_hold_signs(cli: Cli) -> None:
    fast = ["--set", "source.realtime=false", "--set", "source.num_frames=2", "--json"]

    finished = cli(
        "run", "dummy_offline", *fast, "--device-serial", "abc", "--metadata", "url=http://x/?a=b:c",
        "--metadata", "dummy_offline:note=a:b=c",
    )  # fmt: skip

    assert finished.lines()[0]["metadata"] == {"device_serial": "abc", "url": "http://x/?a=b:c", "note": "a:b=c"}
    assert cli("run", "dummy_offline", *fast, "--device-serial", "dummy_offline=YWJj==").lines()[0]["metadata"] == {
        "device_serial": "YWJj=="
    }


def test_set_changes_manifest_and_settings(cli: Cli, tmp_path: Path) -> None:
    finished = cli(
        "run", "dummy_offline", "--json", "--set", "source.realtime=false", "--set", "source.num_frames=3",
        "--set", "source.size=[32, 24]", "--set", "runs_root=made", "--set", "log.level=error",
    )  # fmt: skip

    assert [line["size"] for line in finished.lines()] == [[32, 24]] * 3
    assert finished.err == ""
    assert list((tmp_path / "made/dummy_offline").iterdir())


def test_ten_everyday_photographs_are_named_by_resnet50_classification(tmp_path: Path) -> None:
    from skimage import data

    expected = json.loads((PHOTOS / "expected.json").read_text())
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, entry in expected.items():
        if entry["from"] == "file":
            (photos / name).write_bytes((PHOTOS / name).read_bytes())
        else:
            pixels = getattr(data, entry["from"].rpartition(".")[2])()
            Image.fromarray(pixels).save(photos / f"{name}.png")

    finished = sightline(tmp_path, "run", "resnet50_classification", "--source", photos, "--json")

    answers = {
        line["metadata"]["file"].removesuffix(".png"): line["predictions"]["label"]["items"][0]["class_name"]
        for line in finished.lines()
    }
    assert set(answers) == set(expected)
    right = [name for name, answer in answers.items() if answer in expected[name]["labels"]]
    assert len(expected) == 10
    assert len(right) >= 9, answers
    assert all(line["predictions"]["label"]["model"] == "efficientnet-lite0@1" for line in finished.lines())


def test_yolov8_detection_runs_as_it_ships_and_over_a_video(cli: Cli) -> None:
    shipped = cli("run", "yolov8_detection", "--json", "--set", "source.num_frames=3")
    street = cli("run", "yolov8_detection", "--json", "--source", STREET, "--set", "source.fps=1")

    assert shipped.code == street.code == 0
    assert len(shipped.lines()) == 3
    seconds = [line["pts_s"] for line in street.lines()]
    assert len(seconds) == 10
    people = [
        item
        for line in street.lines()
        for item in line["predictions"]["objects"]["items"]
        if item["class_name"] == "person"
    ]
    assert len(people) > 30


def test_threshold_alert_begins_and_ends_alerts(cli: Cli, tmp_path: Path) -> None:
    finished = cli("run", "threshold_alert", "--json")

    events = [
        json.loads(line) for line in (outputs(tmp_path, "threshold_alert") / "events.jsonl").read_text().splitlines()
    ]
    alerts = [event for event in events if event["type"] == "io.sightline.threshold.alert.v1"]
    assert finished.code == 0
    assert len(alerts) >= 4
    states = [alert["data"]["state"] for alert in alerts]
    assert states[:4] == ["start", "end", "start", "end"]
    with opened(tmp_path) as context:
        recorded = [event for _, event in context.store.events.list(types=["threshold.alert"])]
    assert [event.id for event in recorded] == [alert["id"] for alert in alerts]


def test_sensor_anomaly_averages_refuses_and_alerts(cli: Cli, tmp_path: Path) -> None:
    finished = cli("run", "sensor_anomaly", "--json")

    lines = finished.lines()
    assert finished.code == 0
    windows = [line for line in lines if "window" in line]
    assert len(windows) > 20
    assert any(line["rejected"] for line in lines)
    events = (outputs(tmp_path, "sensor_anomaly") / "events.jsonl").read_text()
    assert "io.sightline.threshold.alert.v1" in events


def test_the_summary_is_for_people(cli: Cli, tmp_path: Path) -> None:
    finished = cli("run", "sensor_anomaly")

    lines = finished.out.splitlines()
    assert lines[0].split() == ["source", "frames", "fps", "dropped", "counts"]
    assert lines[1].startswith("main ")
    assert "rejected: out_of_range" in lines[1]
    assert lines[2].startswith("run ")
    assert " completed after " in lines[2]
    assert "  events: runs/sensor_anomaly/" in finished.out
    assert "\x1b" not in finished.out
    for line in finished.out.splitlines():
        word, _, place = line.strip().partition(": ")
        if word in ("predictions", "events"):
            assert (tmp_path / place).is_file()


def test_a_reader_that_has_seen_enough_ends_the_run_quietly(tmp_path: Path) -> None:
    script = f"{' '.join(command('run', 'street_people', '--json'))} | head -1; echo ${{PIPESTATUS[0]}} >&2"

    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip

    assert json.loads(done.stdout)["id"] == "main/1/0"
    *logs, code = done.stderr.splitlines()
    assert code == "0"
    assert all(json.loads(line)["log.level"] == "info" for line in logs)
    with opened(tmp_path) as context:
        [run] = context.store.runs.list()
    assert run.state is RunState.CANCELLED


def test_the_demo_names_what_it_made_and_what_to_do_next(tmp_path: Path) -> None:
    finished = sightline(tmp_path, "demo", "--headless", "--duration", "1.5")

    assert finished.code == 0
    made = dict(line.strip().split(": ", 1) for line in finished.out.splitlines() if ": runs/" in line)
    assert set(made) == {"predictions", "events", "video"}
    assert all((tmp_path / place).stat().st_size for word, place in made.items() if word != "events")
    assert finished.out.index("Next:") > finished.out.index("drawn.mp4")
    assert "sightline run street_people --source 0" in finished.out
    assert "Traceback" not in finished.err


def test_a_python_module_beside_the_cases_is_found(tmp_path: Path) -> None:
    (tmp_path / "door_blueprints.py").write_text(
        "from sightline import Case\n"
        "def make_blueprint(context):\n"
        "    source = context.plugin('sources', 'synthetic', num_frames=2)\n"
        "    return Case(name='x', sources={'a': source})\n"
    )
    environ = {"SIGHTLINE_BLUEPRINT_MODULES": "door_blueprints"}
    script = Path(command()[0]).with_name("sightline")
    program = [str(script)] if script.exists() else command()

    done = subprocess.run(
        [*program, "run", "door_blueprints", "--json"], cwd=tmp_path, env=environment(tmp_path, environ),
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_a_predictor_that_raises_on_one_frame_costs_that_frame_alone(cli: Cli, tmp_path: Path) -> None:
    plugins = """
from dataclasses import dataclass
from sightline import Predictor, Scalar

@dataclass(kw_only=True)
class Moody(Predictor):
    def predict(self, samples):
        if any(sample.seq in (3, 5) for sample in samples):
            raise ValueError("not today")
        return [Scalar(name="x", value=1.0) for _ in samples]
"""
    manifest = "source: {use: synthetic, num_frames: 9}\nstages: {analytics: {m: moody}}\nsinks: [database]\n"
    write_case(tmp_path, "moody", manifest, plugins=plugins)

    finished = cli("run", "moody", "--json")

    assert finished.code == 0
    assert [line["seq"] for line in finished.lines()] == [0, 1, 2, 4, 6, 7, 8]
    failed: list[dict[str, Any]] = [
        entry for entry in map(json.loads, finished.err.splitlines()) if entry["message"] == "predictor failed"
    ]
    assert len(failed) == 1
    assert "ValueError: not today (plugins.py:" in failed[0]["error.message"]
    with opened(tmp_path) as context:
        [run] = context.store.runs.list()
        assert run.status["sources"]["main"]["failed"] == {"m": 2}
        assert len(context.store.predictions.list(run_id=run.id)) == 7

    stopped = cli("run", "moody", "--json", "--set", "on_error=stop")
    assert stopped.code == 4
    assert stopped.err.count("error: ") == 1
    assert "not today" in stopped.err.partition("error: ")[2]

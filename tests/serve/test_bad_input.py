"""Whatever is wrong: one line of cause, one line of cure, the right exit code, nothing recorded lost."""

from __future__ import annotations

import json
import os
import pickle
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from tests.build.onnx_files import write_classifier, write_yolo
from tests.programs import command, environment, outputs, sightline
from tests.serve.conftest import STREET, Cli, causes, only_cause, opened, write_case

from sightline.core.run import RunState


def last_run(folder: Path) -> tuple[RunState, str]:
    """Return state and error of the newest run."""
    with opened(folder) as made:
        run = made.store.runs.list()[0]
    return run.state, run.error or ""


def truncated(path: Path) -> None:
    """Cut a file whose index stands at its end, as a camera that lost power leaves it."""
    with av.open(str(path), "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=10)
        stream.width, stream.height = 64, 48
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="bgr24")
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
    path.write_bytes(path.read_bytes()[:-300])


def sound(path: Path) -> None:
    """Write a file with nothing but sound."""
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


Write = Callable[[Path], object]
VIDEOS: dict[str, Write] = {
    "text.mp4": lambda path: path.write_text("no video at all\n" * 100),
    "empty.mp4": lambda path: path.write_bytes(b""),
    "cut.mp4": truncated,
    "sound.mp4": sound,
    "picture.png": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\nno picture"),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_a_file_that_is_no_video_is_told(cli: Cli, tmp_path: Path, name: str) -> None:
    VIDEOS[name](tmp_path / name)

    finished = cli("run", "street_people", "--source", name)

    assert finished.code == 1
    cause = only_cause(finished)
    assert name in cause
    assert last_run(tmp_path) == (RunState.FAILED, cause)


def test_a_video_that_breaks_off_is_analysed_as_far_as_it_goes(cli: Cli, tmp_path: Path) -> None:
    data = STREET.read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])

    finished = cli("run", "dummy_offline", "--source", "half.mp4", "--json")

    assert len(finished.lines()) > 20
    if finished.code:
        assert "half.mp4" in only_cause(finished)
    with opened(tmp_path) as made:
        [run] = made.store.runs.list()
        assert len(made.store.predictions.list(run_id=run.id)) == len(finished.lines())


@pytest.mark.parametrize("name", ["text.mp4", "empty.mp4", "cut.mp4", "sound.mp4", "none.mp4"])
def test_probing_tells_the_same(cli: Cli, tmp_path: Path, name: str) -> None:
    if name in VIDEOS:
        VIDEOS[name](tmp_path / name)

    finished = cli("probe", name)

    assert finished.code == (1 if name in VIDEOS else 3)
    assert name in only_cause(finished)


def test_a_missing_file_is_told_through_a_process_of_its_own(tmp_path: Path) -> None:
    finished = sightline(tmp_path, "run", "street_people", "--source", "none.mp4", "--json")

    assert finished.code == 3
    assert finished.out == ""
    assert "none.mp4" in only_cause(finished)


def test_debug_shows_the_traceback_and_the_same_two_lines(tmp_path: Path) -> None:
    finished = sightline(tmp_path, "run", "street_people", "--source", "none.mp4", "--debug")

    assert finished.code == 3
    assert "Traceback (most recent call last):" in finished.err
    assert "FileMissing" in finished.err
    assert finished.err.count("error: ") == 1
    assert finished.err.count("  cure: ") == 1


def test_a_file_that_may_not_be_read_is_told(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "secret.mp4"
    path.write_bytes(STREET.read_bytes())
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything, but no folder as a file
        (tmp_path / "folder.mp4").mkdir()
        path = tmp_path / "folder.mp4"

    finished = cli("run", "street_people", "--source", path)

    assert finished.code in (1, 3)
    assert path.name in only_cause(finished)


def write_model(path: Path, kind: str) -> None:
    write_classifier(path)
    data = path.read_bytes()
    if kind == "corrupted":
        path.write_bytes(data[:200] + bytes(len(data) - 400) + data[-200:])
    elif kind == "cut off":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"weights": [1.0]}))
    elif kind == "text":
        path.write_text("weights")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("corrupted", ""),
        ("cut off", "cut off"),
        ("empty", "empty"),
        ("pickle", "pickle"),
        ("text", "no ONNX model"),
        ("without metadata", "own"),
    ],
)
def test_a_model_that_cannot_be_used_is_told(cli: Cli, tmp_path: Path, kind: str, words: str) -> None:
    write_model(tmp_path / "own.onnx", kind)

    finished = cli("run", "resnet50_classification", "--set", "stages.analytics.label.model=./own.onnx")

    assert finished.code == 1
    assert words in only_cause(finished)
    assert last_run(tmp_path)[0] is RunState.FAILED


def test_a_model_without_metadata_is_used_when_the_case_says_what_it_lacks(cli: Cli, tmp_path: Path) -> None:
    write_yolo(tmp_path / "own.onnx", num_classes=1)
    recipe = {
        "input": "images", "size": [64, 64], "resize": "letterbox", "pad": 114, "colour": "rgb",
        "mean": [0, 0, 0], "std": [255, 255, 255], "layout": "NCHW", "dtype": "float32",
    }  # fmt: skip
    objects = {
        "use": "detector", "model": "./own.onnx", "labels": ["mouse"], "preprocessing": recipe,
        "postprocessing": {"layout": "yolo", "output": "output0", "threshold": 0.3, "iou": 0.5},
    }  # fmt: skip

    finished = cli(
        "run", "yolov8_detection", "--json", "--set", f"stages.analytics.objects={json.dumps(objects)}",
        "--set", "source.num_frames=1",
    )  # fmt: skip

    assert finished.code == 0, finished.err
    [item] = finished.lines()[0]["predictions"]["objects"]["items"]
    assert item["class_name"] == "mouse"


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ("source: vidoe\n", "No sources plug-in is called 'vidoe'"),
        ("source: {use: synthetic, fsp: 3}\n", "'synthetic' has no field 'fsp'"),
        ("source: {use: synthetic, fps: fast}\n", "'synthetic': fps: Input should be a valid number"),
        ("source: {use: video}\n", "'video' needs the field 'url'"),
        ("source: {use: synthetic, fps: -1}\n", "fps is -1"),
        ("source: [synthetic\n", "Not YAML"),
        ("source: ${NOT_SET_ANYWHERE}\n", "NOT_SET_ANYWHERE is not set"),
        ("soruce: synthetic\nsource: synthetic\n", "no key 'soruce'"),
        ("", "is empty"),
    ],
)
def test_a_wrong_manifest_is_told_with_its_line(cli: Cli, tmp_path: Path, manifest: str, words: str) -> None:
    write_case(tmp_path, "door", manifest)

    finished = cli("run", "door")

    assert finished.code == 4
    cause = only_cause(finished)
    assert words in cause
    assert cause.startswith("cases/door/case.yaml:1: " if manifest else "cases/door/case.yaml: ")


def test_all_problems_of_a_manifest_are_told_each_with_its_cure(cli: Cli, tmp_path: Path) -> None:
    write_case(tmp_path, "door", "tilte: x\nsource: vidoe\nsinks: [jsnol]\non_error: never\n")

    finished = cli("run", "door")

    assert finished.code == 4
    assert [cause.partition(": ")[0] for cause in causes(finished)] == [
        f"cases/door/case.yaml:{line}" for line in (1, 2, 3, 4)
    ]


def test_two_plugins_of_one_name_are_told_with_both_packages(tmp_path: Path) -> None:
    info = tmp_path / "site" / "other_pack-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-pack\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sightline.sources]\nsynthetic = other_pack:Mine\n")

    finished = sightline(tmp_path, "run", "dummy_offline", env={"PYTHONPATH": str(tmp_path / "site")})

    assert finished.code == 4
    cause = only_cause(finished)
    assert "Two sources plug-ins are called 'synthetic': in other-pack and sightline" in cause
    assert ":4: " in cause


def test_a_blueprint_that_raises_is_told_with_file_and_line(cli: Cli, tmp_path: Path) -> None:
    folder = write_case(tmp_path, "door", None, blueprint="def make_blueprint(context):\n    return 1 / 0\n")

    finished = cli("run", "door")

    assert finished.code == 4
    assert only_cause(finished).startswith(f"{folder / 'blueprint.py'}:2: ")


def test_an_unknown_case_and_an_unknown_model_are_not_found(cli: Cli) -> None:
    case, model = cli("run", "street_peple"), cli("models", "show", "nanodet")

    assert case.code == model.code == 3
    assert "Did you mean 'street_people'?" in case.err
    assert "No model is called 'nanodet'" in only_cause(model)
    assert only_cause(case)


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that somebody has, and at which nobody listens."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        yield deaf.getsockname()[1]


@pytest.fixture(scope="module")
def folder_of_a_dead_camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("camera")


def test_a_camera_that_is_down_ends_with_5_and_its_password_is_nowhere(
    folder_of_a_dead_camera: Path, deaf_port: int
) -> None:
    folder = folder_of_a_dead_camera
    url = f"rtsp://admin:hunter2@127.0.0.1:{deaf_port}/cam?token=hunter2"

    finished = sightline(folder, "run", "dummy_offline", "--source", url, "--duration", "1.5", "--debug")
    probed = sightline(folder, "probe", url, "--debug")

    assert finished.code == probed.code == 5
    assert finished.err.count("error: ") == probed.err.count("error: ") == 1
    for shown in (finished.out, finished.err, probed.out, probed.err):
        assert "hunter2" not in shown
    database = sqlite3.connect(folder / "data/sightline.db")
    dump = "\n".join(database.iterdump())
    database.close()
    assert "rtsp://***@127.0.0.1" in dump or "127.0.0.1" not in dump
    assert "hunter2" not in dump
    assert all(b"hunter2" not in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_camera_that_is_down_is_told_without_a_traceback(cli: Cli, tmp_path: Path, deaf_port: int) -> None:
    url = f"rtsp://127.0.0.1:{deaf_port}/cam"

    finished = cli("run", "dummy_offline", "--source", url, "--duration", "0.5")

    assert finished.code == 5
    assert "No frame came from 'main'" in only_cause(finished)
    assert last_run(tmp_path)[0] is RunState.FAILED


def test_a_full_disk_ends_the_run_and_keeps_whole_lines(tmp_path: Path) -> None:
    pad = "x" * 20_000
    source = "source: {use: synthetic, num_frames: 200, fps: 100}\n"
    write_case(tmp_path, "full", f"{source}sinks: [jsonl]\nmetadata: {{pad: {pad}}}\n")
    limit = 1 << 20
    program = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
os.execv(sys.argv[1], sys.argv[1:])
"""

    done = subprocess.run(
        [sys.executable, "-c", program, *command("run", "full")], cwd=tmp_path, env=environment(tmp_path),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert "no room" in done.stderr.partition("error: ")[2]
    lines = (outputs(tmp_path, "full") / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(len(lines)))
    assert len(lines) >= 40
    assert last_run(tmp_path)[0] is RunState.FAILED


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["run", "dummy_offline", "--json", "--duration", "10"], ["list"]])
def test_output_to_a_full_disk_is_told(tmp_path: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(*arguments), cwd=tmp_path, env=environment(tmp_path), stdout=full, stderr=subprocess.PIPE,
            text=True, check=False, timeout=60,
        )  # fmt: skip

    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


def test_a_mistake_of_our_own_is_told_in_two_lines_too(cli: Cli, tmp_path: Path) -> None:
    plugins = """
from sightline.adapters.runtime_onnx import OnnxRuntime

class Silly(OnnxRuntime):
    def open(self, path, *, name="", device="auto"):
        raise ZeroDivisionError("nobody foresaw this")
"""
    (tmp_path / "silly_runtime.py").write_text(plugins)
    (tmp_path / "sightline.yaml").write_text("adapters: {runtime: 'silly_runtime:Silly'}\n")

    finished = cli("models", "show", "nanodet-m")

    assert finished.code == 1
    assert "ZeroDivisionError: nobody foresaw this (silly_runtime.py:6)" in only_cause(finished)

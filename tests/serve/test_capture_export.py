"""`sightline capture` and `sightline export`, as a user types them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import simplejpeg
from tests.packs.vision.sources.clips import make_clip
from tests.programs import command, environment, sightline


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds at 25 pictures a second."""
    return make_clip(tmp_path_factory.mktemp("clip") / "yard.mp4", num=100)


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jpg"))


def test_a_file_gives_a_picture_a_second_and_runs_never_write_over_each_other(tmp_path: Path, clip: Path) -> None:
    first = sightline(tmp_path, "capture", clip, "--out", "set")
    assert (first.code, first.out) == (0, "4 pictures kept of 4, in set\n"), first.err
    again = sightline(tmp_path, "capture", clip, "--fps", "2", "--size", "48x32", "--out", "set")
    assert "8 pictures kept" in again.out

    found = pictures(tmp_path / "set")
    assert len(found) == 12
    assert {path.parts[-5] for path in found} == {"capture"}
    sizes = {simplejpeg.decode_jpeg_header(path.read_bytes())[:2] for path in found}
    assert sizes == {(64, 96), (32, 48)}
    facts = json.loads(found[0].with_suffix(".json").read_text())
    assert (facts["predictions"], facts["source"]) == ({}, "main")
    assert not (tmp_path / "runs").exists()
    assert not list((tmp_path / "data").rglob("*.jpg"))


def test_there_may_be_enough_of_them_and_json_names_each(tmp_path: Path, clip: Path) -> None:
    done = sightline(tmp_path, "capture", clip, "--fps", "25", "--max", "7", "--json", "--out", "set")

    assert done.code == 0, done.err
    assert "7 pictures kept" in done.err
    assert [tmp_path / line["picture"] for line in done.lines()] == sorted(
        pictures(tmp_path / "set"), key=lambda path: int(path.stem.rpartition("-")[2])
    )
    assert all((tmp_path / line["json"]).is_file() for line in done.lines())


def test_pictures_that_show_the_same_are_left_out_if_that_is_wanted(tmp_path: Path) -> None:
    still = make_clip(tmp_path / "still.mp4", num=100, still=True)
    assert "100 pictures kept of 100" in sightline(tmp_path, "capture", still, "--fps", "25", "--out", "all").out
    done = sightline(tmp_path, "capture", still, "--fps", "25", "--dedup", "--out", "one")
    assert len(pictures(tmp_path / "one")) <= 3, done.out  # the first ones of an encoder differ from the rest


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_ctrl_c_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    long = make_clip(tmp_path / "long.mp4", num=8000, size=(64, 48))
    begun = subprocess.Popen(
        command("capture", long, "--fps", "1000", "--out", "set", "--json"),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert begun.stdout is not None
    lines: list[dict[str, Any]] = [json.loads(begun.stdout.readline()) for _ in range(20)]
    begun.send_signal(signal.SIGINT)
    lines += [json.loads(line) for line in begun.stdout]
    begun.stdout.close()

    assert begun.wait(60) == 130
    assert len(lines) < 8000
    kept = pictures(tmp_path / "set")
    assert sorted(tmp_path / line["picture"] for line in lines) == kept
    for path in (kept[0], kept[-1]):
        simplejpeg.decode_jpeg(path.read_bytes())
        assert json.loads(path.with_suffix(".json").read_text())["capture"]["picture"].endswith(path.name)


def test_predictions_of_a_case_become_labels_to_begin_with(tmp_path: Path) -> None:
    street = next((Path(__file__).parents[2] / "src/sightline/cases/street_people").rglob("*.mp4"))
    captured = sightline(tmp_path, "capture", street, "--case", "street_people", "--max", "4", "--out", "set")
    assert captured.code == 0, captured.err
    coco = sightline(tmp_path, "export", "set", "--format", "coco", "--out", "coco", "--json", "--threshold", "0.5")
    yolo = sightline(tmp_path, "export", "set", "--format", "yolo", "--out", "yolo", "--classes", "person")

    found = json.loads(coco.out)
    described = json.loads((tmp_path / "coco" / "annotations" / "instances_train.json").read_text())
    assert (found["pictures"], found["classes"]) == (4, ["person"])
    assert found["boxes"] == len(described["annotations"]) > 4
    assert all(each["score"] >= 0.5 for each in described["annotations"])
    assert found["others"] == {}
    assert "4 pictures" in yolo.out
    assert "classes: person" in yolo.out
    misspelt = sightline(tmp_path, "export", "set", "--format", "yolo", "--out", "none", "--classes", "persn")
    assert "0 boxes" in misspelt.out
    assert re.search(r"left out: \d+ boxes of the class person", misspelt.out)
    facts = json.loads(pictures(tmp_path / "set")[0].with_suffix(".json").read_text())
    assert facts["predictions"]["people"]["model"].startswith("nanodet-m@")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("capture", "none.mp4", "--out", "set"), 3, "none.mp4"),
        (("capture", "rtsp://127.0.0.1:9/x", "--out", "set", "--duration", "1"), 5, "No frame"),
        (("capture", "{clip}", "--out", "set", "--size", "big"), 2, "WIDTHxHEIGHT"),
        (("capture", "{clip}", "--out", "file/x"), 4, "file"),
        (("capture", "{clip}", "--out", "set", "--case", "nothing"), 3, "nothing"),
        (("export", "nowhere", "--format", "coco", "--out", "set"), 3, "no captures"),
        (("export", "nowhere", "--format", "voc", "--out", "set"), 4, "voc"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, clip: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    (tmp_path / "file").write_text("")
    done = sightline(tmp_path, *(argument.format(clip=clip) for argument in arguments))
    assert done.code == code, done.err
    assert words in done.err
    assert "Traceback" not in done.err

"""`sightline models`: files that users bring, from the first look to a run with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.build.onnx_files import write_classifier, write_torchvision_detector, write_yolo
from tests.serve.conftest import PHOTOS, STREET, Cli, only_cause, opened

from sightline.build import CaseBuildContext, load_model
from sightline.core.prediction import Boxes, Labels

ZOO = STREET.parents[2] / "zoo"


@pytest.fixture
def context(tmp_path: Path) -> Iterator[CaseBuildContext]:
    """What the command line left in `tmp_path`."""
    with opened(tmp_path) as made:
        yield made


def test_the_shipped_models_are_listed_with_their_other_names(cli: Cli) -> None:
    shown = cli("models", "list").out
    listed: list[dict[str, Any]] = json.loads(cli("models", "list", "--json").out)

    assert "efficientnet-lite0@1" in shown
    assert "also: mobilenet_v3_small" in shown
    by_name = {model["name"]: model for model in listed}
    assert by_name["nanodet-m"]["task"] == "object-detection"
    assert by_name["nanodet-m"]["aliases"] == ["person_detector"]
    assert by_name["efficientnet-lite0"]["num_labels"] == 1000
    tasks = {
        line.index(task) for line in shown.splitlines() for task in ("image-c", "object-d", "volume-s") if task in line
    }
    assert sum("volume-segmentation" in line for line in shown.splitlines()) == 1
    assert len(tasks) == 1


def test_a_card_is_shown(cli: Cli) -> None:
    shown = cli("models", "show", "person_detector").out
    card = json.loads(cli("models", "show", "person_detector", "--json").out)

    assert "licence          Apache-2.0" in shown
    assert "labels           80: person, bicycle" in shown
    assert card["name"] == "nanodet-m"
    assert card["labels"][0] == "person"
    assert card["inputs"] == ["images float32[n, 3, 416, 416]"]
    assert card["digest"].startswith("sha256:")
    assert Path(card["file"]).is_file()


def test_a_yolo_model_is_added_and_finds_things_in_a_case(cli: Cli, tmp_path: Path) -> None:
    file = write_yolo(tmp_path / "own.onnx", num_classes=2)

    added = cli("models", "add", file, "--task", "object-detection", "--labels", "cat,mouse", "--preprocess", "yolo")
    assert added.code == 0, added.err
    assert "added own@1: object-detection, 2 labels" in added.out

    run = cli(
        "run", "yolov8_detection", "--json", "--set", "stages.analytics.objects.model=own",
        "--set", "source.num_frames=2",
    )  # fmt: skip
    assert run.code == 0, run.err
    [item] = run.lines()[0]["predictions"]["objects"]["items"]
    assert run.lines()[0]["predictions"]["objects"]["model"] == "own@1"
    assert item["class_name"] == "mouse"
    # 32 of 64 letterboxed pixels around the middle of 640 x 480: ten source pixels each.
    assert item["xyxy"] == pytest.approx([160, 80, 480, 400], abs=1)
    card = json.loads(cli("models", "show", "own", "--json").out)
    assert card["postprocessing"]["layout"] == "yolo"
    assert card["preprocessing"]["resize"] == "letterbox"


def test_adding_again_makes_the_next_version_only_when_something_changed(cli: Cli, tmp_path: Path) -> None:
    file = write_yolo(tmp_path / "own.onnx")
    first = ["models", "add", file, "--task", "object-detection", "--labels", "cat,mouse"]

    assert json.loads(cli(*first, "--json").out)["version"] == "1"
    assert "unchanged own@1" in cli(*first).out
    second = cli("models", "add", file, "--task", "object-detection", "--labels", "dog,mouse", "--json")
    assert json.loads(second.out)["version"] == "2"
    assert [line.split()[0] for line in cli("models", "list").out.splitlines()][:2] == ["own@2", "own@1"]
    assert json.loads(cli("models", "show", "own", "--json").out)["labels"] == ["dog", "mouse"]
    assert json.loads(cli("models", "show", "own@1", "--json").out)["labels"] == ["cat", "mouse"]


def test_a_version_is_removed(cli: Cli, tmp_path: Path) -> None:
    file = write_yolo(tmp_path / "own.onnx", num_classes=2)
    for title in ("one", "two"):
        cli("models", "add", file, "--task", "object-detection", "--labels", "cat,mouse", "--title", title)

    assert cli("models", "remove", "own@1").out == "removed own@1\n"
    assert "own@1" not in cli("models", "list").out
    for ref, code in (("own@1", 3), ("own", 1), ("nanodet-m@1", 1)):
        refused = cli("models", "remove", ref)
        assert refused.code == code
        assert only_cause(refused)


def test_a_preset_that_nobody_knows_is_refused_also_where_nothing_is_missing(cli: Cli) -> None:
    refused = cli("models", "add", ZOO / "nanodet-m.onnx", "--name", "mine", "--preprocess", "bogus")

    assert "No preset is called 'bogus'" in only_cause(refused)


def test_a_torchvision_detector_is_added_and_answers(cli: Cli, tmp_path: Path, context: CaseBuildContext) -> None:
    file = write_torchvision_detector(tmp_path / "frcnn.onnx")
    labels = ",".join(["background", "person", *(f"class {number}" for number in range(90))])
    assert len(labels) > 255  # longer than a file name may be

    added = cli(
        "models", "add", file, "--name", "faster-rcnn", "--task", "object-detection", "--labels", labels,
        "--preprocess", "torchvision", "--json",
    )  # fmt: skip

    assert added.code == 0, added.err
    card = json.loads(added.out)
    assert (card["postprocessing"]["layout"], card["batchable"]) == ("torchvision", False)
    with load_model("faster-rcnn", context=context) as model:
        answer = model.predict(PHOTOS / "german-shepherd.jpg")
    assert isinstance(answer, Boxes)
    assert answer.class_name == ("person",)
    run = cli(
        "run", "yolov8_detection", "--json", "--source", STREET, "--set", "source.fps=1",
        "--set", "stages.analytics.objects.model=faster-rcnn",
    )  # fmt: skip
    assert [len(line["predictions"]["objects"]["items"]) for line in run.lines()] == [1] * 10


def test_a_classifier_is_added_with_labels_of_a_file(cli: Cli, tmp_path: Path, context: CaseBuildContext) -> None:
    file = write_classifier(tmp_path / "mobilenet_v3_small.onnx", num_classes=5, best=3)
    (tmp_path / "names.txt").write_text("zero\none\n\nthree\nfour\n")

    added = cli("models", "add", file, "--task", "image-classification", "--labels", "names.txt", "--json")

    assert added.code == 0, added.err
    assert json.loads(added.out)["preprocessing"]["shorter"] == 256
    with load_model("mobilenet_v3_small", context=context) as model:
        answer = model.predict(PHOTOS / "hens.jpg")
    assert isinstance(answer, Labels)
    assert (answer.best, answer.model) == ("three", "mobilenet_v3_small@1")
    assert answer.confidence[0] > 0.99


def test_labels_of_another_model_and_processing_as_json(cli: Cli, tmp_path: Path) -> None:
    file = write_classifier(tmp_path / "own.onnx", num_classes=1000, best=0)
    recipe = {
        "input": "images", "size": [224, 224], "resize": "stretch", "colour": "bgr", "mean": [0.0, 0.0, 0.0],
        "std": [255.0, 255.0, 255.0], "layout": "NCHW", "dtype": "float32",
    }  # fmt: skip
    (tmp_path / "post.json").write_text('{"output": "logits", "activation": "none"}')

    added = cli(
        "models", "add", file, "--task", "image-classification", "--labels", "mobilenet_v3_small", "--title", "Mine",
        "--preprocess", json.dumps(recipe), "--postprocess", "post.json", "--licence", "MIT", "--origin", "me",
        "--json",
    )  # fmt: skip

    card = json.loads(added.out)
    assert (card["num_labels"], card["title"], card["licence"], card["source"]) == (1000, "Mine", "MIT", "me")
    assert card["preprocessing"]["colour"] == "bgr"
    assert card["postprocessing"]["activation"] == "none"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 1, "does not say what its task is"),
        (["--task", "object-detecton"], 4, "object-detecton"),
        (["--task", "image-classification"], 1, "which output holds the scores"),
        (["--task", "object-detection", "--preprocess", "yollo"], 1, "No preset is called 'yollo'"),
        (["--task", "image-classification"], 1, "its outputs: output0."),
        (["--task", "object-detection", "--preprocess", "{not json"], 1, "Not JSON"),
        (["--task", "object-detection", "--postprocess", "[1]"], 1, "is a JSON object"),
        (["--task", "object-detection", "--postprocess", "[" * 300], 1, "Not JSON"),
        (["--task", "object-detection", "--labels", "none.txt"], 3, "No labels file"),
        (["--task", "object-detection", "--labels", "person"], 3, "No model is called 'person'"),
        (["--task", "object-detection", "--labels", "numbers.json"], 1, "no list of names"),
        (["--task", "object-detection", "--labels", "binary.bin"], 1, "no UTF-8"),
        (["--task", "object-detection", "--name", "a/b"], 1, "no model name"),
    ],
)
def test_what_cannot_be_added_is_told(cli: Cli, tmp_path: Path, options: list[str], code: int, words: str) -> None:
    file = write_yolo(tmp_path / "own.onnx")
    (tmp_path / "numbers.json").write_text("[1, 2]")
    (tmp_path / "binary.bin").write_bytes(b"\xff\xfe\x00")

    finished = cli("models", "add", file, *options)

    assert finished.code == code
    assert words in only_cause(finished)
    assert "own" not in cli("models", "list").out

"""Data sets are read back as a trainer reads them: ids meet, numbers are inside their pictures, files are there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import yaml

from sightline.core.errors import ConfigError, Conflict
from sightline.core.prediction import Boxes
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.datasets.coco import CocoDataset
from sightline.packs.vision.datasets.gathering import DatasetSink
from sightline.packs.vision.datasets.yolo import YoloDataset
from sightline.testing import FakePorts, make_context, make_frame, make_reading

IDS = {"person": 0, "bicycle": 1, "car": 2}


def boxes(*items: tuple[str, float, tuple[float, float, float, float]]) -> Boxes:
    return Boxes(
        xyxy=np.array([place for _, _, place in items], np.float32).reshape(-1, 4),
        confidence=np.array([confidence for _, confidence, _ in items], np.float32),
        class_id=np.array([IDS.get(name, 9) for name, _, _ in items], np.int64),
        class_name=tuple(name for name, _, _ in items),
    )


def picture(seq: int, found: Boxes | None = None, size: tuple[int, int] = (64, 48)) -> Sample[Frame]:
    frame = make_frame(100, size=size, seq=seq, source="door")
    return frame if found is None else frame.with_prediction("people", found)


TWO = boxes(("person", 0.9, (10, 10, 20, 34)), ("car", 0.3, (-5, 40, 70, 60)))


def written(sink: DatasetSink, samples: Sequence[Sample[Any]], root: Path, ports: FakePorts | None = None) -> Path:
    made = replace(sink, path=str(root / "set"))
    made.open(make_context(ports=ports or FakePorts(), run="r1"))
    for sample in samples:
        made.write([sample])
    made.close()
    return root / "set"


def coco_of(root: Path, part: str = "train") -> dict[str, Any]:
    """Read a COCO file and check what every reader relies on."""
    found: dict[str, Any] = json.loads((root / "annotations" / f"instances_{part}.json").read_text())
    images = {image["id"]: image for image in found["images"]}
    categories = {category["id"] for category in found["categories"]}
    assert len(images) == len(found["images"])
    assert len({each["id"] for each in found["annotations"]}) == len(found["annotations"])
    for image in images.values():
        jpeg = (root / "images" / part / image["file_name"]).read_bytes()
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
        assert (image["width"], image["height"]) == (width, height)
    for each in found["annotations"]:
        image, (left, top, width, height) = images[each["image_id"]], each["bbox"]
        assert each["category_id"] in categories
        assert each["iscrowd"] == 0
        assert each["area"] == pytest.approx(width * height, abs=0.01)
        assert width > 0
        assert height > 0
        assert left >= 0
        assert top >= 0
        assert left + width <= image["width"] + 1e-6
        assert top + height <= image["height"] + 1e-6
    return found


def yolo_of(root: Path) -> tuple[dict[str, Any], dict[str, list[tuple[int, list[float]]]]]:
    """Read a YOLO data set: `data.yaml`, and the boxes by picture; check what every reader relies on."""
    description = yaml.safe_load((root / "data.yaml").read_text())
    assert list(description["names"]) == list(range(description["nc"]))
    labels: dict[str, list[tuple[int, list[float]]]] = {}
    for part in {description["train"], description["val"]}:
        assert (root / part).is_dir()
    for path in sorted((root / "labels").rglob("*.txt")):
        image = root / "images" / path.relative_to(root / "labels").with_suffix(".jpg")
        assert image.is_file()
        rows = [line.split() for line in path.read_text().splitlines()]
        labels[path.stem] = [(int(row[0]), [float(number) for number in row[1:]]) for row in rows]
        for number, (x, y, width, height) in labels[path.stem]:
            assert number in description["names"]
            assert min(x - width / 2, y - height / 2) >= -1e-6
            assert max(x + width / 2, y + height / 2) <= 1 + 1e-6
    return description, labels


def test_coco_has_pictures_categories_and_boxes_cut_at_the_edges(tmp_path: Path) -> None:
    root = written(CocoDataset(), [picture(0, TWO), picture(1, boxes())], tmp_path)

    found = coco_of(root)

    assert [(each["id"], each["name"]) for each in found["categories"]] == [(1, "person"), (2, "car")]
    assert [image["file_name"] for image in found["images"]] == ["door-r1-1-0.jpg", "door-r1-1-1.jpg"]
    person, car = found["annotations"]
    assert (person["bbox"], person["area"], person["score"]) == ([10, 10, 10, 24], 240, pytest.approx(0.9))
    assert (car["bbox"], car["category_id"], car["image_id"]) == ([0, 40, 64, 8], 2, 1)


def test_yolo_has_shares_of_the_picture(tmp_path: Path) -> None:
    root = written(YoloDataset(), [picture(0, TWO), picture(1, boxes()), picture(2)], tmp_path)

    description, labels = yolo_of(root)

    assert description == {"train": "images/train", "val": "images/train", "nc": 2, "names": {0: "person", 1: "car"}}
    assert labels.keys() == {"door-r1-1-0", "door-r1-1-1"}  # nobody looked at the third one
    [(number, place), _] = labels["door-r1-1-0"]
    assert number == 0
    assert place == pytest.approx([15 / 64, 22 / 48, 10 / 64, 24 / 48], abs=1e-5)
    assert labels["door-r1-1-1"] == []
    assert len(list((root / "images" / "train").iterdir())) == 3


@pytest.mark.parametrize("sink", [CocoDataset(split=0.7), YoloDataset(split=0.7)])
def test_the_split_is_about_right_and_stays_when_pictures_are_added(sink: DatasetSink, tmp_path: Path) -> None:
    samples = [picture(seq, TWO) for seq in range(200)]
    few = written(sink, samples[:100], tmp_path / "few")
    many = written(sink, samples, tmp_path / "many")

    parts = {part: {path.name for path in (many / "images" / part).iterdir()} for part in ("train", "val")}
    assert 0.6 < len(parts["train"]) / 200 < 0.8
    assert len(parts["train"] | parts["val"]) == 200
    for part, names in parts.items():
        assert {path.name for path in (few / "images" / part).iterdir()} <= names
    if isinstance(sink, CocoDataset):
        train, val = coco_of(many), coco_of(many, "val")
        assert train["categories"] == val["categories"]
        assert len(train["images"]) + len(val["images"]) == 200
    else:
        assert yolo_of(many)[0]["val"] == "images/val"


def test_classes_choose_and_order_and_the_threshold_leaves_out(tmp_path: Path) -> None:
    chosen = yolo_of(written(YoloDataset(classes=("car", "person")), [picture(0, TWO)], tmp_path / "a"))
    assert chosen[0]["names"] == {0: "car", 1: "person"}
    assert [number for number, _ in chosen[1]["door-r1-1-0"]] == [1, 0]
    only = coco_of(written(CocoDataset(classes=("bicycle",)), [picture(0, TWO)], tmp_path / "b"))
    assert ([each["name"] for each in only["categories"]], only["annotations"]) == (["bicycle"], [])
    sure = coco_of(written(CocoDataset(threshold=0.5), [picture(0, TWO)], tmp_path / "c"))
    assert [each["score"] for each in sure["annotations"]] == [pytest.approx(0.9)]


def test_labels_of_a_person_win_over_predictions_and_have_no_score(tmp_path: Path) -> None:
    target = boxes(("bicycle", 1.0, (1, 1, 9, 9)))
    sample = replace(picture(0, TWO), target=target)

    [label] = coco_of(written(CocoDataset(threshold=1.0), [sample], tmp_path))["annotations"]

    assert label["bbox"] == [1, 1, 8, 8]
    assert "score" not in label


def test_of_several_predictors_the_last_or_the_named_one_is_taken(tmp_path: Path) -> None:
    sample = picture(0, TWO).with_prediction("tracks", boxes(("person", 0.9, (11, 11, 21, 35))))

    assert len(coco_of(written(CocoDataset(), [sample], tmp_path / "a"))["annotations"]) == 1
    assert len(coco_of(written(CocoDataset(of="people"), [sample], tmp_path / "b"))["annotations"]) == 2
    with pytest.raises(ConfigError, match="cars"):
        written(CocoDataset(of="cars"), [sample], tmp_path / "c")


def test_boxes_of_a_picture_that_was_decoded_smaller_are_scaled(tmp_path: Path) -> None:
    sample = picture(0, boxes(("person", 0.9, (10, 10, 20, 34))))
    small = sample.with_payload(Frame(np.full((24, 32, 3), 9, np.uint8), full_size=(64, 48)))

    [found] = coco_of(written(CocoDataset(), [small], tmp_path))["annotations"]

    assert found["bbox"] == [5, 5, 5, 12]


def test_the_picture_of_a_capture_is_copied_and_not_encoded_again(tmp_path: Path) -> None:
    ports, jpeg = FakePorts(), simplejpeg.encode_jpeg(np.full((48, 64, 3), 7, np.uint8), quality=30)
    ports.artifacts.put("captures/a/x.jpg", jpeg)
    sample = picture(0, TWO).with_metadata({"capture": {"picture": "captures/a/x.jpg"}})

    root = written(CocoDataset(), [sample, sample], tmp_path, ports)

    assert (root / "images" / "train" / "x.jpg").read_bytes() == jpeg
    assert [image["file_name"] for image in coco_of(root)["images"]] == ["x.jpg", "x-2.jpg"]


def test_strange_names_of_classes_and_sources_are_written_so_that_they_are_read(tmp_path: Path) -> None:
    strange = boxes(('a "b": [c]', 0.9, (1, 1, 9, 9)), ("человек", 0.9, (1, 1, 9, 9)))
    sample = replace(picture(0, strange), source="../a b")

    description, labels = yolo_of(written(YoloDataset(), [sample, make_reading(1.0)], tmp_path))

    assert set(description["names"].values()) == {'a "b": [c]', "человек"}
    assert list(labels) == ["_a_b-r1-1-0"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(Conflict, match="is there already"):
        written(CocoDataset(), [picture(0)], tmp_path)
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "fields", [{"split": 0.0}, {"split": 1.1}, {"threshold": 2.0}, {"classes": ("a", "a")}, {"quality": 0}]
)
def test_wrong_fields_are_refused(fields: Any) -> None:
    with pytest.raises(ConfigError):
        YoloDataset(**fields)

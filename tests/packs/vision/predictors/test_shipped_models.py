"""The two models that ship, on the clip that ships and on everyday photographs."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from sklearn.datasets import load_sample_image

from sightline.adapters.runtime_onnx import OnnxRuntime
from sightline.core.ports import Session
from sightline.core.prediction import Boxes
from sightline.packs.vision.boxes import iou
from sightline.packs.vision.predictors.classifier import Classifier
from sightline.packs.vision.predictors.detector import Detector
from sightline.packs.vision.predictors.presence import Presence
from sightline.testing.fakes import make_context, make_frame

ROOT = Path(__file__).parents[4]
TRUTH = json.loads((ROOT / "tests/data/street/truth.json").read_text())
COUNTED = range(0, 100, 10)  # frames whose boxes were drawn by hand
CATS = {"tabby", "tiger cat", "Egyptian cat"}


def shipped(name: str) -> Session:
    with as_file(files("sightline") / "zoo" / f"{name}.onnx") as path:
        return OnnxRuntime().open(path, device="cpu")


@pytest.fixture(scope="module")
def street() -> dict[int, npt.NDArray[np.uint8]]:
    """Return the counted frames of the street clip."""
    clip = files("sightline") / "cases" / "street_people" / "street.mp4"
    with as_file(clip) as path, av.open(str(path)) as container:
        frames = enumerate(container.decode(video=0))
        return {n: frame.to_ndarray(format="bgr24").astype(np.uint8) for n, frame in frames if n in COUNTED}


def true_boxes(frame: int) -> npt.NDArray[np.float32]:
    boxes = [track["boxes"][str(frame)] for track in TRUTH["tracks"] if str(frame) in track["boxes"]]
    return np.array(boxes, np.float32)


def people(street: dict[int, npt.NDArray[np.uint8]], **fields: Any) -> dict[int, Boxes]:
    detector = Detector(classes=("person",), **fields)
    detector.open(make_context(session=shipped("nanodet-m")))
    found = detector.predict([make_frame(street[n], seq=n) for n in COUNTED])
    return dict(zip(COUNTED, found, strict=True))


def test_the_people_in_the_street_are_found(street: dict[int, npt.NDArray[np.uint8]]) -> None:
    num_true = num_found = num_false = 0
    for frame, boxes in people(street, threshold=0.45).items():
        overlap = iou(true_boxes(frame), boxes.xyxy)
        num_true += len(overlap)
        num_found += int((overlap.max(axis=1) > 0.5).sum())
        num_false += int((overlap.max(axis=0) < 0.5).sum())

    assert num_true > 60
    assert num_found / num_true > 0.9
    assert num_false / num_true < 0.1


def test_a_box_of_the_detector_lies_close_to_that_drawn_by_hand(street: dict[int, npt.NDArray[np.uint8]]) -> None:
    overlaps = [
        iou(true_boxes(frame), boxes.xyxy).max(axis=1) for frame, boxes in people(street, threshold=0.45).items()
    ]

    assert np.median(np.concatenate(overlaps)) > 0.7  # a shift of an eighth of a person's width costs this much


def test_the_fields_of_the_shipped_card_are_on_the_reference_page() -> None:
    page = (ROOT / "docs/reference/model-metadata.md").read_text()
    example = json.loads(page.partition("```json\n")[2].partition("```")[0])
    card = shipped("nanodet-m").card

    assert example == {"preprocessing": card.preprocessing, "postprocessing": card.postprocessing}


def test_presence_says_person_on_the_street_and_not_on_an_empty_wall(
    street: dict[int, npt.NDArray[np.uint8]],
) -> None:
    detector, presence = Detector(), Presence(of="things")
    context = make_context(session=shipped("nanodet-m"))
    detector.open(context)
    presence.open(context)
    samples = [make_frame(street[0]), make_frame(160, size=(640, 480))]

    found = detector.predict(samples)
    seen = [sample.with_prediction("things", boxes) for sample, boxes in zip(samples, found, strict=True)]

    assert [labels.best for labels in presence.predict(seen)] == ["person", "no_person"]


@pytest.mark.parametrize(
    ("photograph", "wanted"),
    [
        (skimage.data.chelsea, CATS),
        (skimage.data.coffee, {"espresso"}),
        (lambda: load_sample_image("flower.jpg"), {"daisy"}),
        (lambda: load_sample_image("china.jpg"), {"palace"}),
    ],
)
def test_the_classifier_names_everyday_photographs(photograph: Any, wanted: set[str]) -> None:
    classifier = Classifier()
    classifier.open(make_context(session=shipped("efficientnet-lite0")))

    [labels] = classifier.predict([make_frame(np.ascontiguousarray(photograph()[..., ::-1]))])

    assert labels.best in wanted
    assert len(labels.class_name) == 5
    assert (np.diff(labels.confidence) <= 0).all()

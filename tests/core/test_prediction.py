from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from sightline.core.errors import InvalidInput
from sightline.core.prediction import Boxes, Finding, Findings, Labels, Mask

WITHOUT_SUPERVISION = """
import sys
sys.modules["supervision"] = None  # as Python itself marks what cannot be imported
from sightline.core.errors import MissingExtra
from sightline.core.prediction import Boxes
try:
    Boxes.none().to_supervision()
except MissingExtra as error:
    print(error, error.cure)
"""


def two_boxes(tracks: list[int] | None = None) -> Boxes:
    return Boxes(
        xyxy=np.array([[0, 1, 2, 3], [4, 5, 6, 7]], np.float32),
        confidence=np.array([0.9, 0.8], np.float32),
        class_id=np.array([0, 16]),
        class_name=("person", "dog"),
        tracker_id=None if tracks is None else np.array(tracks),
    )


def test_boxes_of_columns_of_different_lengths_are_refused_with_the_lengths() -> None:
    with pytest.raises(InvalidInput, match=r"'class_name': 1.*'confidence': 2") as raised:
        Boxes(
            xyxy=np.zeros((2, 4), np.float32),
            confidence=np.zeros(2, np.float32),
            class_id=np.zeros(2, np.int64),
            class_name=("person",),
        )
    assert "'xyxy': 2" in str(raised.value)


def test_a_short_column_of_tracks_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'tracker_id': 1"):
        two_boxes(tracks=[7])


def test_labels_of_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one length"):
        Labels(class_id=np.zeros(2, np.int64), confidence=np.zeros(1, np.float32), class_name=("a", "b"))


def test_columns_have_the_documented_types_whatever_they_are_made_of() -> None:
    boxes = Boxes(
        xyxy=np.zeros((1, 4), np.float64),
        confidence=np.ones(1, np.float16),
        class_id=np.zeros(1, np.int32),
        class_name=("person",),
        tracker_id=np.zeros(1, np.uint8),
    )
    assert boxes.tracker_id is not None
    kinds = [array.dtype.name for array in (boxes.xyxy, boxes.confidence, boxes.class_id, boxes.tracker_id)]
    assert kinds == ["float32", "float32", "int64", "int64"]


def test_arrays_cannot_be_written_but_the_callers_own_can() -> None:
    own = np.zeros((2, 4), np.float32)
    boxes = Boxes(xyxy=own, confidence=np.ones(2, np.float32), class_id=np.zeros(2, np.int64), class_name=("a", "b"))
    mask = Mask(labels_HW=np.zeros((2, 2), np.uint8), class_name=("background",))
    for array in (boxes.xyxy, boxes.confidence, boxes.class_id, mask.labels_HW, two_boxes([1, 2]).tracker_id):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    own[0, 0] = 5
    assert own[0, 0] == 5


def test_boxes_are_selected_by_mask_and_by_position_in_that_order() -> None:
    boxes = two_boxes(tracks=[7, 8])
    dog = boxes.select(np.array([False, True]))
    assert (dog.class_name, dog.tracker_id, len(dog)) == (("dog",), np.array([8]), 1)
    np.testing.assert_array_equal(dog.xyxy, [[4, 5, 6, 7]])
    turned = boxes.select(np.array([1, 0]))
    assert turned.class_name == ("dog", "person")
    assert turned.confidence.tolist() == pytest.approx([0.8, 0.9])
    assert len(boxes.select(np.array([], np.int64))) == 0


def test_boxes_are_selected_by_name_and_no_names_mean_all() -> None:
    boxes = two_boxes()
    assert boxes.named(("dog", "cat")).class_name == ("dog",)
    assert boxes.named(()) is boxes
    assert len(boxes.named(("cat",))) == 0
    assert len(Boxes.none().named(("dog",))) == 0


def test_a_mask_of_signed_numbers_is_refused() -> None:
    with pytest.raises(InvalidInput, match="int32"):
        Mask(labels_HW=np.zeros((2, 2), np.int32), class_name=())


def test_a_mask_holds_maps_on_the_grid_of_its_labels() -> None:
    labels_HW = np.ones((2, 3), np.uint8)
    mask = Mask(
        labels_HW=labels_HW, class_name=("background", "brain"), maps={"probability": np.ones((2, 3), np.float16)}
    )
    with pytest.raises(ValueError, match="read-only"):
        mask.maps["probability"][0, 0] = 0
    with pytest.raises(InvalidInput, match=r"'probability' of a mask is float32 \[2, 3\], not float16"):
        Mask(labels_HW=labels_HW, class_name=(), maps={"probability": np.ones((2, 3), np.float32)})
    with pytest.raises(InvalidInput, match=r"float16 \[3, 2\], not float16 \[2, 3\]"):
        Mask(labels_HW=labels_HW, class_name=(), maps={"agreement": np.ones((3, 2), np.float16)})


def test_findings_answer_by_name() -> None:
    findings = Findings(items=(Finding(name="in", value=3), Finding(name="in", value=4), Finding(name="news")))
    assert findings.value("in") == 3
    assert findings.value("news") is None
    assert findings.value("out") is None
    assert [finding.name for finding in findings] == ["in", "in", "news"]


def test_the_best_label_is_the_first() -> None:
    labels = Labels(class_id=np.array([3]), confidence=np.array([0.5], np.float32), class_name=("cat",))
    assert labels.best == "cat"
    none = Labels(class_id=np.empty(0, np.int64), confidence=np.empty(0, np.float32), class_name=())
    assert none.best == ""


def test_without_the_package_to_supervision_says_what_to_install() -> None:
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_SUPERVISION], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install supervision" in child.stdout


@pytest.mark.skipif(find_spec("supervision") is None, reason="the package supervision is not installed")
def test_boxes_become_detections_of_supervision() -> None:
    # In a child: importing it costs seconds and brings warnings of its own.
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DETECTIONS], capture_output=True, text=True, check=True, timeout=100
    )
    assert child.stdout.split() == ["2", "[7,8]", "[0,16]", "person,dog", "0.9", "True"]


DETECTIONS = """
import numpy as np
from sightline.core.prediction import Boxes
boxes = Boxes(xyxy=np.array([[0, 1, 2, 3], [4, 5, 6, 7]]), confidence=np.array([0.9, 0.8]), class_id=np.array([0, 16]),
    class_name=("person", "dog"), tracker_id=np.array([7, 8]))
found = boxes.to_supervision()
found.xyxy[0, 0] = 5  # theirs to write, ours stays
print(len(found), str(found.tracker_id.tolist()).replace(" ", ""), str(found.class_id.tolist()).replace(" ", ""),
    ",".join(found["class_name"]), round(float(found.confidence[0]), 2), boxes.xyxy[0, 0] == 0)
"""

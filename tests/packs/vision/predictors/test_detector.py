from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pydantic
import pytest
from onnx import TensorProto, helper
from tests.packs.vision.predictors.onnx_models import answering, opened, white_finder

from sightline.adapters.runtime_onnx import OnnxRuntime
from sightline.core.errors import ConfigError, InvalidInput, InvalidModel, Overloaded
from sightline.core.model import ModelCard
from sightline.core.ports import Array, ModelHandle, Session, Tensors
from sightline.core.prediction import Boxes
from sightline.core.sample import Text
from sightline.packs.vision.predictors.detector import Detector
from sightline.testing.fakes import FakeSession, make_context, make_frame

PLAIN = {"resize": "stretch", "colour": "rgb", "mean": [0, 0, 0], "std": [255, 255, 255]}
RAW = {**PLAIN, "std": [1, 1, 1]}
YOLO = {"layout": "yolo", "output": "out"}
TORCHVISION = {"layout": "torchvision", "boxes": "boxes", "labels": "labels", "scores": "scores"}


def detected(detector: Detector, session: Session, *pixels: npt.NDArray[np.uint8]) -> list[Boxes]:
    """Run the detector over pictures."""
    detector.open(make_context(session=session))
    return list(detector.predict([make_frame(picture) for picture in pixels]))


def black(width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


def yolo_output(*boxes: tuple[float, ...], num_classes: int = 3) -> npt.NDArray[np.float32]:
    """Return [1, 4 + C, N] of (centre x, centre y, width, height, score of each class)."""
    return np.array([boxes], np.float32).reshape(1, -1, 4 + num_classes).transpose(0, 2, 1).copy()


def yolo(size: tuple[int, int] = (64, 64), resize: str = "stretch", **fields: Any) -> Detector:
    return Detector(
        preprocessing={**PLAIN, "size": list(size), "resize": resize, "pad": 0},
        **{"postprocessing": YOLO, "labels": ("person", "car", "dog"), **fields},
    )


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "shorter"])
@pytest.mark.parametrize("size", [(64, 64), (96, 48)])
def test_a_thing_is_found_where_it_is_in_the_picture(tmp_path: Path, resize: str, size: tuple[int, int]) -> None:
    pixels = black(200, 160)
    pixels[60:100, 80:130] = 255
    detector = Detector(
        preprocessing={**RAW, "size": list(size), "resize": resize, "shorter": max(size)},
        postprocessing=TORCHVISION,
        labels=(None, "thing"),
    )

    [boxes] = detected(detector, white_finder(tmp_path, batched=True), pixels)

    assert boxes.class_name == ("thing",)
    np.testing.assert_allclose(boxes.xyxy, [[80, 60, 130, 100]], atol=3.4)  # one pixel of the net's input


def test_an_exported_torchvision_net_takes_one_picture_without_a_batch_axis(tmp_path: Path) -> None:
    first, second = black(200, 160), black(200, 160)
    first[60:100, 80:130] = 255
    second[0:20, 0:20] = 255
    detector = Detector(preprocessing={**RAW, "size": [200, 160]}, postprocessing=TORCHVISION, labels=(None, "thing"))

    one, two = detected(detector, white_finder(tmp_path, batched=False), first, second)

    np.testing.assert_array_equal(one.xyxy, [[80, 60, 130, 100]])
    np.testing.assert_array_equal(two.xyxy, [[0, 0, 20, 20]])


def test_channels_last(tmp_path: Path) -> None:
    pixels = black(50, 40)
    pixels[10:20, 5:25] = 255
    fields = {**RAW, "size": [50, 40], "layout": "NHWC"}
    detector = Detector(preprocessing=fields, postprocessing=TORCHVISION)

    [boxes] = detected(detector, white_finder(tmp_path, batched=True, layout="NHWC"), pixels)

    assert boxes.class_name == ("1",)  # no labels: the number
    np.testing.assert_array_equal(boxes.xyxy, [[5, 10, 25, 20]])


def test_a_net_that_removes_duplicates_itself(tmp_path: Path) -> None:
    """As torchvision exports: NonMaxSuppression inside, as many rows as things; its word is final."""
    inside: dict[str, npt.NDArray[Any]] = {
        "all_boxes": np.array([[[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 40, 40]]], np.float32),
        "all_scores": np.array([[[0.8, 0.9, 0.75, 0.7]]], np.float32),
        "most": np.array([10], np.int64),
        "iou": np.array([0.95], np.float32),
        "lowest": np.array([0.05], np.float32),
        "axis_1": np.array([1], np.int64),
        "flat": np.array([-1], np.int64),
        "rows": np.array([-1, 4], np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0, 1, 2], keepdims=0),
        helper.make_node("NonMaxSuppression", ["all_boxes", "all_scores", "most", "iou", "lowest"], ["selected_N3"]),
        helper.make_node("Split", ["selected_N3"], ["batch", "class", "row_N1"], axis=1),
        helper.make_node("Reshape", ["row_N1", "flat"], ["row_N"]),
        helper.make_node("Reshape", ["all_boxes", "rows"], ["boxes_K4"]),
        helper.make_node("Reshape", ["all_scores", "flat"], ["scores_K"]),
        helper.make_node("Gather", ["boxes_K4", "row_N"], ["picked"], axis=0),
        helper.make_node("Add", ["picked", "mean"], ["boxes"]),
        helper.make_node("Gather", ["scores_K", "row_N"], ["scores"], axis=0),
        helper.make_node("Reshape", ["class", "flat"], ["labels"]),
    ]
    outputs: dict[str, tuple[int, list[int | str]]] = {
        "boxes": (TensorProto.FLOAT, ["found", 4]),
        "labels": (TensorProto.INT64, ["found"]),
        "scores": (TensorProto.FLOAT, ["found"]),
    }
    session = opened(tmp_path, nodes, {"image": [3, "height", "width"]}, outputs, inside)
    detector = Detector(
        preprocessing={**PLAIN, "size": [50, 50]}, postprocessing={**TORCHVISION, "class_offset": 1}, iou=0.0
    )

    [boxes] = detected(detector, session, black(100, 50))

    assert boxes.class_id.tolist() == [1, 1, 1]
    np.testing.assert_allclose(boxes.confidence, [0.9, 0.8, 0.7])
    np.testing.assert_allclose(boxes.xyxy, [[0, 0, 20, 9], [0, 0, 20, 10], [40, 20, 80, 40]])


def test_boxes_come_best_first_without_duplicates_cut_at_the_edges(tmp_path: Path) -> None:
    out = yolo_output(
        (10, 10, 20, 20, 0.6, 0, 0),
        (10, 10, 20, 19, 0.8, 0, 0),
        (10, 10, 20, 20, 0, 0.5, 0),  # another class at the same place
        (60, 60, 20, 20, 0.7, 0, 0),
        (90, 90, 10, 10, 0.9, 0, 0),  # wholly outside
    )

    [boxes] = detected(yolo(), answering(tmp_path, {"out": out}, width=64, height=64), black(128, 64))

    assert boxes.class_name == ("person", "person", "car")
    np.testing.assert_allclose(boxes.confidence, [0.8, 0.7, 0.5])
    wanted: Any = [[0, 0.5, 40, 19.5], [100, 50, 128, 64], [0, 0, 40, 20]]
    np.testing.assert_allclose(boxes.xyxy, wanted)


def test_what_is_found_in_the_bars_of_a_letterbox_is_no_thing(tmp_path: Path) -> None:
    out = yolo_output((32, 4, 10, 6, 0.9, 0, 0), (32, 32, 10, 10, 0.8, 0, 0))

    [boxes] = detected(yolo(resize="letterbox"), answering(tmp_path, {"out": out}, width=64, height=64), black(64, 32))

    np.testing.assert_allclose(boxes.xyxy, [[27, 11, 37, 21]])


def test_nothing_found_is_an_answer(tmp_path: Path) -> None:
    session = answering(tmp_path, {"out": yolo_output((9, 9, 9, 9, 0.1, 0, 0))}, width=64, height=64)

    [boxes] = detected(yolo(), session, black(64, 64))

    assert len(boxes) == 0


def test_the_fields_of_the_case_go_before_those_of_the_card(tmp_path: Path) -> None:
    out = yolo_output((20, 20, 20, 20, 0.3, 0, 0), (24, 20, 20, 20, 0.29, 0, 0))  # iou 0.667
    session = answering(tmp_path, {"out": out}, width=64, height=64)

    def num(**fields: Any) -> int:
        return len(detected(yolo(**fields), session, black(64, 64))[0])

    assert num() == 0  # 0.35 by default
    assert num(postprocessing={**YOLO, "threshold": 0.25}) == 1
    assert num(postprocessing={**YOLO, "threshold": 0.25, "iou": 0.7}) == 2
    assert num(threshold=0.25) == 1
    assert num(threshold=0.295, iou=0.9) == 1
    assert num(threshold=0.0, iou=0.7) == 2
    assert num(threshold=0.0, iou=0.7, max_boxes=1) == 1


def test_only_the_wanted_classes_are_looked_for(tmp_path: Path) -> None:
    out = yolo_output((9, 9, 9, 9, 0.5, 0.6, 0), (40, 40, 9, 9, 0, 0, 0.9))
    session = answering(tmp_path, {"out": out}, width=64, height=64)

    def names(*classes: str) -> tuple[str, ...]:
        return detected(yolo(classes=classes), session, black(64, 64))[0].class_name

    assert names() == ("dog", "car")
    assert names("person") == ("person",)
    assert names("dog", "person") == ("dog", "person")


def test_an_unknown_class_names_the_nearest(tmp_path: Path) -> None:
    session = answering(tmp_path, {"out": yolo_output((9, 9, 9, 9, 0, 0, 0))}, width=64, height=64)

    with pytest.raises(ConfigError, match=r"knows no class 'persn'\. Did you mean 'person'\?") as caught:
        yolo(classes=("persn",)).open(make_context(session=session))
    assert "sightline models show net" in caught.value.cure
    with pytest.raises(ConfigError, match="knows no class 'person'") as caught:
        yolo(classes=("person",), labels=None).open(make_context(session=session))
    assert "It has no labels" in caught.value.cure


def test_classes_of_a_model_without_labels_go_by_number(tmp_path: Path) -> None:
    out = yolo_output((9, 9, 9, 9, 0.5, 0.6, 0), (40, 40, 9, 9, 0, 0, 0.9))
    session = answering(tmp_path, {"out": out}, width=64, height=64)

    [boxes] = detected(yolo(classes=("2",), labels=None), session, black(64, 64))

    assert boxes.class_name == ("2",)


def test_ids_without_a_name_are_not_in_use(tmp_path: Path) -> None:
    # The background is the best class of the first cell.
    out = yolo_output((9, 9, 9, 9, 0.9, 0.6, 0), (40, 40, 9, 9, 0.9, 0, 0.1))
    session = answering(tmp_path, {"out": out}, width=64, height=64)

    [boxes] = detected(yolo(labels=(None, "car", "dog")), session, black(64, 64))

    assert boxes.class_name == ("car",)


def test_a_net_with_a_fixed_batch_of_one_sees_every_picture(tmp_path: Path) -> None:
    session = answering(tmp_path, {"out": yolo_output((9, 9, 9, 9, 0.9, 0, 0))}, width=64, height=64, batch=1)

    found = detected(yolo(), session, black(64, 64), black(64, 64), black(64, 64))

    assert [len(boxes) for boxes in found] == [1, 1, 1]


def test_pictures_of_different_sizes_keep_their_own_pixels(tmp_path: Path) -> None:
    session = answering(tmp_path, {"out": yolo_output((32, 32, 64, 64, 0.9, 0, 0))}, width=64, height=64)

    one, two = detected(yolo(), session, black(640, 480), black(20, 10))

    np.testing.assert_allclose(one.xyxy, [[0, 0, 640, 480]], atol=1e-3)
    assert two.xyxy.tolist() == [[0, 0, 20, 10]]


class SlowHandle(ModelHandle):
    """Answers when all were asked; counts what was given up."""

    def __init__(self, session: Session, num: int, *, refuse: int | None = None) -> None:
        self._session = session
        self._num = num
        self._refuse = refuse
        self.asked: list[tuple[Future[dict[str, Array]], Tensors]] = []

    @property
    def card(self) -> ModelCard:
        return self._session.card

    @property
    def version(self) -> str:
        return self._session.card.ref

    def run(self, feeds: Tensors) -> dict[str, Array]:
        return self.submit(feeds).result()

    def submit(self, feeds: Tensors) -> Future[dict[str, Array]]:
        if len(self.asked) == self._refuse:
            raise Overloaded("256 rows wait for the model already.")
        future: Future[dict[str, Array]] = Future()
        self.asked.append((future, feeds))
        if len(self.asked) == self._num:
            for waiting, held in reversed(self.asked):
                waiting.set_result(self._session.run(held))
        return future


def test_all_pictures_are_submitted_before_the_first_answer_is_awaited() -> None:
    out = yolo_output((32, 32, 64, 64, 0.9, 0, 0))
    handle = SlowHandle(FakeSession({"out": out}), num=3)
    detector = yolo()
    detector.preprocessing = {**(detector.preprocessing or {}), "input": "images"}
    detector.open(make_context(open_model=lambda _: handle))

    found = detector.predict([make_frame(black(8, 8)), make_frame(black(16, 8)), make_frame(black(24, 8))])

    assert [boxes.xyxy[0, 2] for boxes in found] == [8, 16, 24]


def test_a_refusal_gives_up_what_was_asked_before() -> None:
    handle = SlowHandle(FakeSession({}), num=9, refuse=2)
    detector = yolo()
    detector.preprocessing = {**(detector.preprocessing or {}), "input": "images"}
    detector.open(make_context(open_model=lambda _: handle))

    with pytest.raises(Overloaded):
        detector.predict([make_frame(black(8, 8))] * 4)

    assert [future.cancelled() for future, _ in handle.asked] == [True, True]


def test_a_model_for_something_else_is_refused(tmp_path: Path) -> None:
    session = answering(tmp_path, {"out": np.zeros((1, 7, 3), np.float32)}, width=64, height=64)
    session.card = replace(session.card, task="image-classification", postprocessing=YOLO)

    with pytest.raises(InvalidModel, match="net@1 is for image-classification, not for object-detection"):
        Detector().open(make_context(session=session))


def test_a_model_without_metadata_says_what_is_missing_one_after_the_other(tmp_path: Path) -> None:
    session = answering(tmp_path, {"out": np.zeros((1, 7, 3), np.float32)}, width=64, height=64)

    with pytest.raises(InvalidModel, match=r"has no preprocessing\.size") as caught:
        Detector().open(make_context(session=session))
    assert "or give preprocessing in the case" in caught.value.cure
    with pytest.raises(InvalidModel, match=r"has no postprocessing\.layout"):
        Detector(preprocessing={**PLAIN, "size": [64, 64]}).open(make_context(session=session))


def test_a_sample_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    detector = yolo()
    session = answering(tmp_path, {"out": np.zeros((1, 7, 3), np.float32)}, width=64, height=64)
    detector.open(make_context(session=session))
    text: Any = replace(make_frame(), payload=Text("hello"))  # type: ignore[arg-type]

    with pytest.raises(InvalidInput, match="holds a Text, not a Frame"):
        detector.predict([text])


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"threshold": 1.5}, "threshold is 1.5"), ({"iou": -1.0}, "iou is -1"), ({"max_boxes": 0}, "max_boxes is 0")],
)
def test_impossible_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Detector(**fields)


def test_a_case_file_can_describe_it() -> None:
    adapter = pydantic.TypeAdapter(Detector)
    fields = {
        "model": "models/yolo.onnx",
        "classes": ["person"],
        "labels": [None, "person"],
        "preprocessing": {"size": [640, 640]},
    }

    detector = adapter.validate_python(fields)

    assert detector.labels == (None, "person")
    assert replace(detector) == detector
    with pytest.raises(pydantic.ValidationError, match="treshold"):
        adapter.validate_python({"treshold": 0.5})


def test_the_metadata_in_a_file_is_enough(tmp_path: Path) -> None:
    out = yolo_output((32, 32, 64, 64, 0.9, 0, 0))
    answering(tmp_path, {"out": out}, width=64, height=64).close()
    model = onnx.load(tmp_path / "net.onnx")
    card = ModelCard(
        name="mine",
        task="object-detection",
        labels=("person", "car", "dog"),
        preprocessing={**PLAIN, "size": [64, 64]},
        postprocessing=YOLO,
    )
    helper.set_model_props(model, card.to_props())
    onnx.save(model, tmp_path / "mine.onnx")

    [boxes] = detected(Detector(), OnnxRuntime().open(tmp_path / "mine.onnx"), black(20, 10))

    assert boxes.class_name == ("person",)
    assert boxes.xyxy.tolist() == [[0, 0, 20, 10]]

"""Each layout against boxes computed by hand; `test_detector` runs them through real nets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sightline.core.errors import InvalidModel
from sightline.core.model import ModelCard, TensorSpec
from sightline.packs.vision.layouts import Candidates, layout_of

NANODET = {"layout": "nanodet", "strides": [8, 16], "scores": ["s8", "s16"], "distances": ["d8", "d16"]}
SSD = {"layout": "ssd", "boxes": "boxes", "scores": "scores"}
TORCHVISION = {"layout": "torchvision", "boxes": "boxes", "labels": "labels", "scores": "scores"}
YOLO = {"layout": "yolo", "output": "out"}


def card(postprocessing: dict[str, Any], *, outputs: tuple[str, ...] = (), num_labels: int = 0) -> ModelCard:
    return ModelCard(
        name="net",
        labels=tuple(f"class {n}" for n in range(num_labels)),
        outputs=tuple(TensorSpec(name=name, dtype="float32", shape=(None,)) for name in outputs),
        postprocessing=postprocessing,
    )


def rows(found: Candidates) -> list[tuple[list[float], float, int]]:
    order = np.argsort(-found.scores_N)
    return [
        (np.round(found.xyxy_N4[i], 3).tolist(), round(float(found.scores_N[i]), 3), int(found.class_ids_N[i]))
        for i in order
    ]


def nanodet_outputs(width: int, height: int, *, num_classes: int = 2, num_bins: int = 4) -> dict[str, Any]:
    """Return outputs in which nothing is found."""
    outputs = {}
    for stride in (8, 16):
        cells = -(-width // stride) * -(-height // stride)
        outputs[f"s{stride}"] = np.zeros((1, cells, num_classes), np.float32)
        outputs[f"d{stride}"] = np.zeros((1, cells, 4 * num_bins), np.float32)
    return outputs


def sides(*bins: int) -> Any:
    """Return the four sides as distances that fall wholly into one of four bins each."""
    distances = np.full((4, 4), -100, np.float32)
    distances[np.arange(4), bins] = 100
    return distances.ravel()


def test_nanodet_boxes_of_an_oblong_input_by_hand() -> None:
    outputs = nanodet_outputs(width=40, height=24)
    # Stride 8: 5 columns, 3 rows; cell 7 is column 2, row 1, its centre (20, 12).
    outputs["s8"][0, 7] = [0.2, 0.9]
    outputs["d8"][0, 7] = sides(1, 0, 2, 1)
    # Stride 16: 3 columns, 2 rows (the last ones reach over the edge); cell 5: column 2, row 1, centre (40, 24).
    outputs["s16"][0, 5] = [0.5, 0.1]
    outputs["d16"][0, 5] = sides(2, 1, 0, 0)

    found = layout_of(card(NANODET), (40, 24)).decode(outputs, 0.35)

    assert rows(found) == [([12, 12, 36, 20], 0.9, 1), ([8, 8, 40, 24], 0.5, 0)]
    assert found.xyxy_N4.dtype == np.float32
    assert found.class_ids_N.dtype == np.int64


def test_a_nanodet_side_is_the_mean_of_its_bins() -> None:
    outputs = nanodet_outputs(width=16, height=16)
    outputs["s8"][0, 0, 0] = 0.9
    outputs["d8"][0, 0] = np.log([0.1, 0.2, 0.3, 0.4, 1, 1, 1, 1, 1e-9, 1, 1, 1e-9, 4, 1e-9, 1e-9, 4])

    [(box, _, _)] = rows(layout_of(card(NANODET), (16, 16)).decode(outputs, 0.35))

    # Means 2.0, 1.5, 1.5, 1.5 bins of 8 pixels from the centre (4, 4).
    assert box == [4 - 16, 4 - 12, 4 + 12, 4 + 12]


def test_ssd_boxes_are_turned_round_and_scaled_by_hand() -> None:
    boxes = np.array([[[[0.1, 0.2, 0.5, 0.6]], [[0.0, 0.0, 1.0, 1.0]], [[0.3, 0.3, 0.4, 0.4]]]], np.float32)
    scores = np.array([[[0.1, 0.8], [0.6, 0.2], [0.3, 0.3]]], np.float32)
    layout = layout_of(card({**SSD, "class_offset": 1}), (300, 200))

    found = layout.decode({"boxes": boxes, "scores": scores}, 0.5)

    assert rows(found) == [([60, 20, 180, 100], 0.8, 2), ([0, 0, 300, 200], 0.6, 1)]
    flat = layout.decode({"boxes": boxes.reshape(1, 3, 4), "scores": scores}, 0.5)
    np.testing.assert_array_equal(flat.xyxy_N4, found.xyxy_N4)


def test_torchvision_boxes_are_taken_as_they_are() -> None:
    outputs: dict[str, Any] = {
        "boxes": np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 9, 10, 10]], np.float32),
        "labels": np.array([1, 18, 1]),
        "scores": np.array([0.4, 0.9, 0.1], np.float32),
    }
    layout = layout_of(card(TORCHVISION), (64, 64))

    assert layout.has_nms
    assert rows(layout.decode(outputs, 0.35)) == [([5, 6, 7, 8], 0.9, 18), ([1, 2, 3, 4], 0.4, 1)]
    batch_of_one = {name: array[None] for name, array in outputs.items()}
    assert rows(layout.decode(batch_of_one, 0.35)) == rows(layout.decode(outputs, 0.35))


def test_torchvision_may_find_nothing() -> None:
    outputs: dict[str, Any] = {
        "boxes": np.empty((0, 4), np.float32),
        "labels": np.empty(0, np.int64),
        "scores": np.empty(0, np.float32),
    }

    assert len(layout_of(card(TORCHVISION), (64, 64)).decode(outputs, 0.35)) == 0


def test_yolo_boxes_by_hand() -> None:
    out = np.zeros((1, 4 + 3, 5), np.float32)
    out[0, :, 1] = [100, 50, 20, 10, 0.1, 0.2, 0.7]
    out[0, :, 4] = [10, 20, 4, 8, 0.9, 0.0, 0.0]
    out[0, :, 2] = [10, 20, 4, 8, 0.3, 0.3, 0.3]

    found = layout_of(card(YOLO, num_labels=3), (640, 640)).decode({"out": out}, 0.35)

    assert rows(found) == [([8, 16, 12, 24], 0.9, 0), ([90, 45, 110, 55], 0.7, 2)]


def every_layout() -> list[Any]:
    """Return for each layout outputs with one cell whose classes 0 and 1 both pass the threshold."""
    nanodet = nanodet_outputs(width=16, height=16)
    nanodet["s8"][0, 0] = [0.5, 0.8]
    yolo = np.zeros((1, 6, 3), np.float32)
    yolo[0, :, 1] = [5, 5, 4, 4, 0.5, 0.8]
    ssd = {"boxes": np.zeros((1, 2, 4), np.float32), "scores": np.array([[[0.5, 0.8], [0, 0]]], np.float32)}
    return [
        pytest.param(NANODET, nanodet, id="nanodet"),
        pytest.param(YOLO, {"out": yolo}, id="yolo"),
        pytest.param(SSD, ssd, id="ssd"),
    ]


@pytest.mark.parametrize(("fields", "outputs"), every_layout())
def test_a_cell_gives_one_box_of_its_best_wanted_class(fields: dict[str, Any], outputs: dict[str, Any]) -> None:
    layout = layout_of(card(fields), (16, 16))

    assert layout.decode(outputs, 0.35).class_ids_N.tolist() == [1]
    layout.wanted = np.array([0])
    assert layout.decode(outputs, 0.35).class_ids_N.tolist() == [0]
    layout.wanted = np.array([7])
    assert layout.decode(outputs, 0.35).class_ids_N.tolist() == []


@pytest.mark.parametrize(("fields", "outputs"), every_layout())
def test_half_precision_is_read_the_same(fields: dict[str, Any], outputs: dict[str, Any]) -> None:
    layout = layout_of(card(fields), (16, 16))

    half = layout.decode({key: value.astype(np.float16) for key, value in outputs.items()}, 0.35)

    assert half.xyxy_N4.dtype == half.scores_N.dtype == np.float32
    np.testing.assert_allclose(half.xyxy_N4, layout.decode(outputs, 0.35).xyxy_N4, atol=0.1)


def test_a_score_at_the_threshold_counts_and_nan_does_not() -> None:
    out = np.zeros((1, 5, 3), np.float32)
    out[0, 4] = [0.5, np.nan, 0.4999]

    assert len(layout_of(card(YOLO), (16, 16)).decode({"out": out}, 0.5)) == 1


def test_only_hits_are_decoded_and_every_cell_may_hit() -> None:
    rng = np.random.default_rng(3)
    outputs = nanodet_outputs(width=416, height=416, num_classes=80, num_bins=11)
    for name, array in outputs.items():
        array[:] = rng.random(array.shape) if name.startswith("s") else rng.normal(0, 3, array.shape)

    found = layout_of(card(NANODET), (416, 416)).decode(outputs, 0.99)

    wanted = []
    for stride, columns in ((8, 52), (16, 26)):
        for cell in range(columns * columns):
            class_id = int(outputs[f"s{stride}"][0, cell].argmax())
            score = outputs[f"s{stride}"][0, cell, class_id]
            if score < 0.99:
                continue
            bins = outputs[f"d{stride}"][0, cell].reshape(4, 11).astype(np.float64)
            share = np.exp(bins) / np.exp(bins).sum(axis=1, keepdims=True)
            left, top, right, bottom = share @ np.arange(11) * stride
            x, y = (cell % columns + 0.5) * stride, (cell // columns + 0.5) * stride
            wanted.append([x - left, y - top, x + right, y + bottom, score, class_id])
    got = np.column_stack([found.xyxy_N4, found.scores_N, found.class_ids_N])
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, r"net@1 has no postprocessing\.layout; it must be 'nanodet' or 'ssd' or 'torchvision' or 'yolo'"),
        ({"layout": "yolo3"}, "one of nanodet, ssd, torchvision, yolo"),
        ({"layout": "yolo"}, r"no postprocessing\.output"),
        ({**YOLO, "stride": 8}, r"unknown field postprocessing\.stride"),
        ({**YOLO, "output": "nothing"}, r"postprocessing\.output = 'nothing'; it must be of the model's outputs: out"),
        ({**YOLO, "class_offset": -1}, r"postprocessing\.class_offset"),
        ({**NANODET, "strides": []}, r"postprocessing\.strides"),
        ({**NANODET, "scores": ["s8"]}, r"postprocessing\.scores = \['s8'\]; it must be a list of 2 names"),
        ({**SSD, "boxes": 3}, r"postprocessing\.boxes = 3; it must be a name"),
        ({"layout": "torchvision", "boxes": "out", "labels": "out"}, r"no postprocessing\.scores"),
    ],
)
def test_a_wrong_card_is_named_with_the_cure(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidModel, match=message) as caught:
        layout_of(card(fields, outputs=("out",)), (16, 16))

    assert "sightline models add FILE --postprocess" in caught.value.cure


@pytest.mark.parametrize(
    ("fields", "outputs", "message"),
    [
        (YOLO, {"other": np.zeros((1, 84, 8400))}, "no output 'out', only other"),
        (YOLO, {"out": np.zeros((1, 8400, 84))}, r"gives out as \[1, 8400, 84\], not \[1, 4 \+ 80 classes, cells\]"),
        (YOLO, {"out": np.zeros((84, 8400))}, "gives out as"),
        (NANODET, nanodet_outputs(416, 416, num_classes=80), r"gives s8 as \[1, 2704, 80\], not \[1, 4, classes\]"),
        (NANODET, {**nanodet_outputs(16, 16), "d8": np.zeros((1, 4, 45))}, "4 times bins for 16x16"),
        (SSD, {"boxes": np.zeros((1, 9, 4)), "scores": np.zeros((1, 8, 90))}, "gives boxes as"),
        (
            TORCHVISION,
            {"boxes": np.zeros((3, 4)), "labels": np.zeros(2, np.int64), "scores": np.zeros(3)},
            r"not \[found, 4\]",
        ),
    ],
)
def test_outputs_of_another_layout_are_named(fields: dict[str, Any], outputs: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidModel, match=message) as caught:
        layout_of(card(fields, num_labels=80), (16, 16)).decode(outputs, 0.35)

    assert "name the layout that it has" in caught.value.cure

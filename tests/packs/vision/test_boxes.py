from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from sightline.packs.vision import boxes
from sightline.packs.vision.boxes import iou, nms_per_class


def test_overlap_of_two_boxes_by_hand() -> None:
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[5, 0, 15, 10], [0, 0, 10, 10], [20, 20, 30, 30], [2, 2, 4, 7]], np.float32)

    np.testing.assert_allclose(iou(a, b), [[50 / 150, 1, 0, 10 / 100]], rtol=1e-6)


def test_boxes_without_area_overlap_nothing() -> None:
    point = np.array([[3, 3, 3, 3], [9, 9, 1, 1]], np.float32)

    np.testing.assert_array_equal(iou(point, point), np.zeros((2, 2)))


def test_no_boxes_are_no_problem() -> None:
    none = np.empty((0, 4), np.float32)

    assert iou(none, none).shape == (0, 0)
    kept = nms_per_class(none, np.empty(0), np.empty(0, np.int64), 0.5)
    assert kept.dtype == np.int64
    assert len(kept) == 0


def test_the_better_of_two_duplicates_stays() -> None:
    xyxy = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], np.float32)

    kept = nms_per_class(xyxy, np.array([0.5, 0.8, 0.6]), np.zeros(3, np.int64), 0.5)

    assert kept.tolist() == [1, 2]


def test_boxes_of_two_classes_do_not_hide_each_other() -> None:
    xyxy = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], np.float32)

    assert nms_per_class(xyxy, np.array([0.5, 0.8]), np.array([0, 1]), 0.5).tolist() == [1, 0]


def test_a_box_that_was_dropped_hides_nothing() -> None:
    # The middle one covers both others, which do not touch the limit among themselves.
    xyxy = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)

    assert nms_per_class(xyxy, np.array([0.9, 0.8, 0.7]), np.zeros(3, np.int64), 0.3).tolist() == [0, 2]


def test_of_equal_scores_the_earlier_stays() -> None:
    xyxy = np.array([[0, 0, 10, 10]] * 3, np.float32)

    assert nms_per_class(xyxy, np.array([0.5, 0.5, 0.5]), np.zeros(3, np.int64), 0.5).tolist() == [0]


def brute_force(xyxy: Any, scores: Any, class_ids: Any, limit: float) -> list[int]:
    """Non-maximum suppression as it is defined, one pair at a time."""
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        rivals = [k for k in kept if class_ids[k] == class_ids[index]]
        if all(iou(xyxy[k : k + 1], xyxy[index : index + 1])[0, 0] <= limit for k in rivals):
            kept.append(index)
    return kept


def crowd(rng: np.random.Generator, num: int) -> tuple[Any, Any, Any]:
    """Return boxes that overlap a lot, with few distinct scores."""
    corner = rng.integers(0, 30, (num, 2))
    xyxy = np.concatenate([corner, corner + rng.integers(1, 30, (num, 2))], axis=1).astype(np.float32)
    return xyxy, rng.integers(0, 20, num) / 20, rng.integers(0, 3, num)


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_the_kept_boxes_are_those_of_the_definition(seed: int, num: int, limit: float) -> None:
    xyxy, scores, class_ids = crowd(np.random.default_rng(seed), num)

    assert nms_per_class(xyxy, scores, class_ids, limit).tolist() == brute_force(xyxy, scores, class_ids, limit)


def test_many_boxes_are_compared_in_blocks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "_BLOCK", 100)
    num = 250
    rng = np.random.default_rng(7)
    corner = rng.integers(0, 300, (num, 2))
    xyxy = np.concatenate([corner, corner + rng.integers(5, 40, (num, 2))], axis=1).astype(np.float32)
    scores, class_ids = rng.random(num), rng.integers(0, 2, num)

    kept = nms_per_class(xyxy, scores, class_ids, 0.4)

    assert kept.tolist() == brute_force(xyxy, scores, class_ids, 0.4)
    assert 100 < len(kept) < num


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_type_of_score_will_do(dtype: type[np.floating[Any]]) -> None:
    xyxy = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], dtype)

    assert nms_per_class(xyxy, np.array([0.5, 0.8], dtype), np.zeros(2, np.int64), 0.5).tolist() == [1]


@given(st_np.arrays(np.float32, (5, 4), elements=st.floats(0, 100, width=32)))
def test_overlap_is_symmetric_and_a_share(xyxy: npt.NDArray[np.float32]) -> None:
    overlap = iou(xyxy, xyxy)

    np.testing.assert_allclose(overlap, overlap.T, atol=1e-6)
    assert (overlap >= 0).all()
    assert (overlap <= 1 + 1e-5).all()

"""How boxes overlap, and which of them are duplicates.

Knows corners, scores and class ids; knows nothing of models or pictures.

Shape letters: N and M boxes, K boxes that were kept, B boxes of one block, 4 left, top, right, bottom.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK = 512  # boxes compared with each other at once: 1 MB of overlaps, however many boxes there are


def iou(a_N4: npt.NDArray[Any], b_M4: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the intersection over union of each box of `a` with each of `b`, float32 [N, M], 0 to 1.

    Two boxes without any area do not overlap: 0.
    """
    a_N4, b_M4 = np.asarray(a_N4, np.float32), np.asarray(b_M4, np.float32)
    left_NM = np.maximum(a_N4[:, None, 0], b_M4[None, :, 0])
    top_NM = np.maximum(a_N4[:, None, 1], b_M4[None, :, 1])
    right_NM = np.minimum(a_N4[:, None, 2], b_M4[None, :, 2])
    bottom_NM = np.minimum(a_N4[:, None, 3], b_M4[None, :, 3])
    shared_NM = np.maximum(right_NM - left_NM, 0) * np.maximum(bottom_NM - top_NM, 0)
    union_NM = _area(a_N4)[:, None] + _area(b_M4)[None, :] - shared_NM
    result: npt.NDArray[np.float32] = shared_NM / np.maximum(union_NM, np.float32(1e-9))
    return result


def nms_per_class(
    xyxy_N4: npt.NDArray[Any],
    scores_N: npt.NDArray[Any],
    class_ids_N: npt.NDArray[Any],
    limit: float,
) -> npt.NDArray[np.int64]:
    """Return the indices of the boxes to keep, int64 [K], the best first.

    Greedy non-maximum suppression: a box is dropped when a better one of its class that is kept overlaps it by
    more than `limit` (intersection over union). Of equal scores the earlier box is the better one.
    """
    order_N = np.argsort(-np.asarray(scores_N), kind="stable")
    kept_K = np.empty(0, np.int64)
    for start in range(0, len(order_N), _BLOCK):
        block_B = order_N[start : start + _BLOCK]
        if len(kept_K):
            block_B = block_B[~_covers(xyxy_N4, class_ids_N, kept_K, block_B, limit).any(axis=0)]
        covers_BB = _covers(xyxy_N4, class_ids_N, block_B, block_B, limit)
        alive_B = np.ones(len(block_B), np.bool_)
        # Only boxes that cover another one need a look; the rest of a usual frame stands alone.
        for row in np.flatnonzero(np.triu(covers_BB, 1).any(axis=1)):
            if alive_B[row]:
                alive_B[row + 1 :] &= ~covers_BB[row, row + 1 :]
        kept_K = np.concatenate([kept_K, block_B[alive_B]])
    return kept_K


def _covers(
    xyxy_N4: npt.NDArray[Any],
    class_ids_N: npt.NDArray[Any],
    a: npt.NDArray[np.int64],
    b: npt.NDArray[np.int64],
    limit: float,
) -> npt.NDArray[np.bool_]:
    """Return for the boxes of indices `a` and `b` which of `a` hide which of `b`."""
    same = class_ids_N[a][:, None] == class_ids_N[b][None, :]
    covers: npt.NDArray[np.bool_] = same & (iou(xyxy_N4[a], xyxy_N4[b]) > limit)
    return covers


def _area(xyxy_N4: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return width times height; 0 for a box that is turned inside out."""
    width_N = np.maximum(xyxy_N4[:, 2] - xyxy_N4[:, 0], 0)
    height_N = np.maximum(xyxy_N4[:, 3] - xyxy_N4[:, 1], 0)
    area_N: npt.NDArray[np.float32] = width_N * height_N
    return area_N

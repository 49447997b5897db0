"""From a picture to boxes, as the card of the detector says; and how far two sets of boxes agree.

Shapes: N boxes, K cells of one or all strides, C classes, B bins of a side; 4 sides or corners.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
from cards import NANODET

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Pixels = npt.NDArray[np.uint8]

PRE, POST = NANODET["preprocessing"], NANODET["postprocessing"]
WIDTH, HEIGHT = PRE["size"]
OUTPUTS = [*POST["scores"], *POST["distances"]]


@dataclass(frozen=True)
class Boxes:
    """Boxes of one picture, best first, in pixels of that picture."""

    xyxy: Floats
    scores: Floats
    classes: Indices


def prepare(pixels_HWC: Pixels, resize: str = PRE["resize"]) -> tuple[Floats, Floats]:
    """Return the net's input [1, 3, H, W] for a BGR picture, and scale and shift (x, y) of it."""
    height, width = pixels_HWC.shape[:2]
    scale, shift = np.array([WIDTH / width, HEIGHT / height]), np.zeros(2)
    if resize == "letterbox":
        scale[:] = scale.min()
    inner = cv2.resize(pixels_HWC, (round(width * scale[0]), round(height * scale[1])))
    outer = np.full((HEIGHT, WIDTH, 3), PRE["pad"], np.uint8)
    left, top = (WIDTH - inner.shape[1]) // 2, (HEIGHT - inner.shape[0]) // 2
    shift[:] = left, top
    outer[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    images_NCHW = ((outer - PRE["mean"]) / PRE["std"]).transpose(2, 0, 1)[None]
    return images_NCHW.astype(np.float32), np.stack([scale, shift]).astype(np.float32)


def decode(out: list[Floats], back: Floats, threshold: float = POST["threshold"]) -> Boxes:
    """Return the boxes of row 0 of `out` (in the order of OUTPUTS) after NMS within each class.

    A side is the expectation of its bins, times the stride (Li et al., Generalized Focal Loss).
    """
    all_boxes, all_scores = list[Floats](), list[Floats]()
    for stride, scores_KC, bins_KB in zip(POST["strides"], out[:3], out[3:], strict=True):
        bins_K4B = bins_KB[0].reshape(len(bins_KB[0]), 4, -1)
        share_K4B = np.exp(bins_K4B - bins_K4B.max(-1, keepdims=True))
        share_K4B /= share_K4B.sum(-1, keepdims=True)
        sides_K4 = (share_K4B * np.arange(share_K4B.shape[-1])).sum(-1) * stride
        down, right = np.mgrid[: HEIGHT // stride, : WIDTH // stride]
        centre_K2 = (np.stack([right.ravel(), down.ravel()], 1) + 0.5) * stride
        corners = [centre_K2 - sides_K4[:, :2], centre_K2 + sides_K4[:, 2:]]
        all_boxes.append(np.concatenate(corners, 1))
        all_scores.append(scores_KC[0])
    boxes_K4, scores_KC = np.concatenate(all_boxes), np.concatenate(all_scores)
    cells, classes = np.nonzero(scores_KC > threshold)
    scores = scores_KC[cells, classes]
    order = np.argsort(-scores, kind="stable")
    order = order[suppress(boxes_K4[cells[order]], classes[order])]
    xyxy = (boxes_K4[cells[order]] - np.tile(back[1], 2)) / np.tile(back[0], 2)
    return Boxes(xyxy.astype(np.float32), scores[order], classes[order])


def suppress(xyxy_N4: Floats, classes: Indices) -> Indices:
    """Return the indices of the boxes, best first, that no better box of their class covers."""
    left, kept = np.arange(len(xyxy_N4)), list[int]()
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        covered = overlap(xyxy_N4[[best]], xyxy_N4[left])[0] > POST["iou"]
        left = left[~(covered & (classes[left] == classes[best]))]
    return np.array(kept, np.intp)


def overlap(one_N4: Floats, other_N4: Floats) -> Floats:
    """Return the intersection over union of each box of `one` with each of `other`."""
    low = np.maximum(one_N4[:, None, :2], other_N4[None, :, :2])
    high = np.minimum(one_N4[:, None, 2:], other_N4[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    one, other = ((boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (one_N4, other_N4))
    iou: Floats = common / np.maximum(one[:, None] + other[None] - common, 1e-9)
    return iou


def match(one: Boxes, other: Boxes) -> dict[int, tuple[int, float]]:
    """Return for each box of `one`, best first, its partner of the same class and their IoU."""
    iou = overlap(one.xyxy, other.xyxy) * (one.classes[:, None] == other.classes[None])
    pairs: dict[int, tuple[int, float]] = {}
    for i in range(len(one.scores) if len(other.scores) else 0):
        j = int(iou[i].argmax())
        if iou[i, j] > 0:
            pairs[i] = (j, float(iou[i, j]))
            iou[:, j] = 0
    return pairs


@dataclass
class Agreement:
    """How far the boxes of a changed net agree with those of the first one, over many pictures.

    "Sure" boxes score over 0.40. A box is the same if class and place (IoU at least 0.9) are.
    """

    frames: int = 0
    same_count: int = 0  # frames with equally many boxes at the card's threshold
    boxes: list[int] = field(default_factory=lambda: [0, 0])
    sure: int = 0
    found: int = 0  # sure boxes of the first net that the other has, at any score shown
    extra: int = 0  # sure boxes of the other that the first has not, at any score shown
    score_gap: float = 0.0

    SURE = 0.40
    IOU = 0.9

    def add(self, first: Boxes, other: Boxes) -> None:
        """Count one picture."""
        self.frames += 1
        self.same_count += len(first.scores) == len(other.scores)
        self.boxes[0] += len(first.scores)
        self.boxes[1] += len(other.scores)
        there, back = match(first, other), match(other, first)
        for i in np.flatnonzero(first.scores > self.SURE).tolist():
            j, iou = there.get(i, (0, 0.0))
            self.sure += 1
            if iou >= self.IOU:
                self.found += 1
                gap = float(abs(first.scores[i] - other.scores[j]))
                self.score_gap = max(self.score_gap, gap)
        for j in np.flatnonzero(other.scores > self.SURE).tolist():
            self.extra += back.get(j, (0, 0.0))[1] < self.IOU

    @property
    def equal(self) -> bool:
        """Whether 99 % of the sure boxes are found, and at most 1 % came in addition."""
        return self.found >= 0.99 * self.sure and self.extra <= 0.01 * self.sure

    def __str__(self) -> str:
        """Return the counts as one sentence."""
        return (
            f"{self.found}/{self.sure} sure boxes found ({self.found / max(self.sure, 1):.2%}), "
            f"{self.extra} extra, {self.boxes[0]} -> {self.boxes[1]} boxes in all, same count in "
            f"{self.same_count}/{self.frames} frames, scores within {self.score_gap:.3f}: "
            f"{'equal' if self.equal else 'NOT equal'}"
        )

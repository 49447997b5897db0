"""From the outputs of a detector to boxes, one class for each layout that a card may name.

Knows where a layout keeps boxes and scores; knows nothing of pictures, names of classes or duplicates (`boxes`). Only
cells that pass the threshold are decoded: a street frame has 60 of 3549.

Shape letters: N boxes, K cells (places of all strides, anchors), C classes, S sides times bins, B bins of one side,
2 x and y, 4 left, top, right, bottom; a leading 1 is the batch of one picture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from sightline.core.errors import InvalidModel
from sightline.core.model import ModelCard
from sightline.core.ports import Array, Tensors
from sightline.packs.vision.metadata import CardFields

_COMMON = ("layout", "threshold", "iou", "class_offset")


@dataclass(frozen=True, eq=False, slots=True)
class Candidates:
    """What a net found in one picture, before duplicates are removed, in no particular order.

    Attributes:
        xyxy_N4: float32, in pixels of the net's input.
        scores_N: float32, 0 to 1.
        class_ids_N: int64.
    """

    xyxy_N4: npt.NDArray[np.float32]
    scores_N: npt.NDArray[np.float32]
    class_ids_N: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores_N)

    def select(self, which: npt.NDArray[Any]) -> Candidates:
        """Return those that `which` (bool or indices) picks."""
        return Candidates(self.xyxy_N4[which], self.scores_N[which], self.class_ids_N[which])


class Layout(ABC):
    """Reads the outputs of one model.

    A cell gives at most one box: that of its best class among the wanted ones.

    Args:
        card: whose `postprocessing` names this layout.
        size: width and height of the net's input in pixels.

    Attributes:
        has_nms: the net has removed duplicates itself.
        wanted: class ids to look for; None for all.
    """

    has_nms: ClassVar[bool] = False
    fields: ClassVar[tuple[str, ...]]

    def __init__(self, card: ModelCard, size: tuple[int, int]) -> None:
        self._card = card
        self._size = size
        self._section = CardFields(card, "postprocessing")
        self._section.check_known((*_COMMON, *self.fields))
        self._offset = self._section.integer("class_offset", 0, 1 << 20, 0)
        self.wanted: npt.NDArray[np.int64] | None = None

    @abstractmethod
    def decode(self, outputs: Tensors, threshold: float) -> Candidates:
        """Return what scores at least `threshold`.

        Raises:
            InvalidModel: an output is missing or has another shape than the layout.
        """

    def _named(self, key: str) -> str:
        """Return the output that field `key` names; the card must list it, where it lists outputs at all."""
        return self._checked(key, self._section.text(key))

    def _checked(self, key: str, name: str) -> str:
        known = [spec.name for spec in self._card.outputs]
        if known and name not in known:
            raise self._section.wrong(key, f"of the model's outputs: {', '.join(known)}")
        return name

    def _array(self, outputs: Tensors, name: str) -> Array:
        try:
            return outputs[name]
        except KeyError:
            raise self._misfit(f"gives no output {name!r}, only {', '.join(outputs)}") from None

    def _misfit(self, fault: str) -> InvalidModel:
        return InvalidModel(
            f"The model {self._card.ref} {fault}.",
            cure=f"Its postprocessing says layout {self._section.text('layout')!r}: name the layout that it has, "
            "and as many labels as classes.",
        )

    def _hits(
        self, scores: Array, threshold: float, *, classes_first: bool = False
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return cell, class id and score of each cell whose best wanted class scores at least `threshold`.

        `scores` is [K, C], or [C, K] with `classes_first`. One comparison over everything, then only the few hits.
        """
        ids = self.wanted
        if ids is not None:
            # Few wanted classes of many: most of the scores need not be looked at.
            columns = ids - self._offset
            ids = ids[(columns >= 0) & (columns < scores.shape[0 if classes_first else 1])]
            scores = scores[ids - self._offset] if classes_first else scores[:, ids - self._offset]
            if len(ids) == 1:  # nothing to choose between
                scores_K = scores.reshape(-1)
                cells = np.flatnonzero(scores_K >= threshold)
                return cells, np.full(len(cells), ids[0]), scores_K[cells].astype(np.float32)
        found = np.flatnonzero(scores >= threshold)
        rows, places = np.divmod(found, max(1, scores.shape[1]))
        cells, classes = (places, rows) if classes_first else (rows, places)
        scores_N = scores.reshape(-1)[found].astype(np.float32)
        class_ids = classes + self._offset if ids is None else ids[classes]
        order = np.lexsort((-scores_N, cells))
        best = order[np.flatnonzero(np.diff(cells[order], prepend=-1))]  # the first of each cell
        return cells[best], class_ids[best], scores_N[best]


class NanoDet(Layout):
    """NanoDet: for each stride scores [1, K, C], already sigmoid, and distances [1, K, 4 * B].

    A side of a box is the expectation of the softmax over its bins, times the stride, from the centre of the cell
    ((i + 0.5) * stride): left, top, right, bottom (generalised focal loss, https://arxiv.org/abs/2006.04388).
    """

    fields = ("strides", "scores", "distances")

    def __init__(self, card: ModelCard, size: tuple[int, int]) -> None:
        super().__init__(card, size)
        strides = self._section.integers("strides", None)
        self._scores = [self._checked("scores", name) for name in self._section.texts("scores", len(strides))]
        self._distances = [self._checked("distances", name) for name in self._section.texts("distances", len(strides))]
        self._centres_K2 = [_centres(size, stride) for stride in strides]
        self._strides = strides

    def decode(self, outputs: Tensors, threshold: float) -> Candidates:
        """Decode the cells of all strides together."""
        sides_NS, centres_N2, strides_N, class_ids_N, scores_N = [], [], [], [], []
        levels = zip(self._strides, self._centres_K2, self._scores, self._distances, strict=True)
        for stride, centres_K2, scores, distances in levels:
            scores_1KC, sides_1KS = self._array(outputs, scores), self._array(outputs, distances)
            self._check(scores, scores_1KC, len(centres_K2), 1)
            self._check(distances, sides_1KS, len(centres_K2), 4)
            cells, class_ids, best = self._hits(scores_1KC[0], threshold)
            sides_NS.append(sides_1KS[0][cells])
            centres_N2.append(centres_K2[cells])
            strides_N.append(np.full(len(cells), stride, np.float32))
            class_ids_N.append(class_ids)
            scores_N.append(best)
        sides_N4 = _expectation(np.concatenate(sides_NS)) * np.concatenate(strides_N)[:, None]
        centre_N2 = np.concatenate(centres_N2)
        return Candidates(
            np.concatenate([centre_N2 - sides_N4[:, :2], centre_N2 + sides_N4[:, 2:]], axis=1),
            np.concatenate(scores_N),
            np.concatenate(class_ids_N),
        )

    def _check(self, name: str, array: Array, num_cells: int, multiple: int) -> None:
        if array.ndim != 3 or array.shape[1] != num_cells or array.shape[2] % multiple:
            last = f"4 times bins for {self._size[0]}x{self._size[1]}" if multiple == 4 else "classes"
            raise self._misfit(f"gives {name} as {list(array.shape)}, not [1, {num_cells}, {last}]")


class Ssd(Layout):
    """SSD: boxes [1, K, 4] or [1, K, 1, 4] as top, left, bottom, right of 0 to 1, scores [1, K, C].

    `class_offset` is 1 where the background has no column of its own.
    """

    fields = ("boxes", "scores")

    def __init__(self, card: ModelCard, size: tuple[int, int]) -> None:
        super().__init__(card, size)
        self._boxes, self._scores = self._named("boxes"), self._named("scores")

    def decode(self, outputs: Tensors, threshold: float) -> Candidates:
        """Turn the corners round and into pixels."""
        boxes, scores_1KC = self._array(outputs, self._boxes), self._array(outputs, self._scores)
        if scores_1KC.ndim != 3 or boxes.size != scores_1KC.shape[1] * 4 or boxes.shape[-1] != 4:
            raise self._misfit(
                f"gives {self._boxes} as {list(boxes.shape)} and {self._scores} as {list(scores_1KC.shape)}, "
                "not [1, anchors, 4] and [1, anchors, classes]"
            )
        cells, class_ids, scores_N = self._hits(scores_1KC[0], threshold)
        top_left_N4 = boxes.reshape(-1, 4)[cells].astype(np.float32)
        width, height = self._size
        scale_4 = np.array([width, height, width, height], np.float32)
        return Candidates(top_left_N4[:, [1, 0, 3, 2]] * scale_4, scores_N, class_ids)


class Torchvision(Layout):
    """torchvision's detectors: boxes [N, 4] in pixels of the input, labels [N], scores [N]; duplicates are removed."""

    has_nms = True
    fields = ("boxes", "labels", "scores")

    def __init__(self, card: ModelCard, size: tuple[int, int]) -> None:
        super().__init__(card, size)
        self._boxes, self._labels, self._scores = (self._named(key) for key in self.fields)

    def decode(self, outputs: Tensors, threshold: float) -> Candidates:
        """Keep what passes the threshold."""
        boxes = self._array(outputs, self._boxes)
        labels, scores = self._array(outputs, self._labels), self._array(outputs, self._scores)
        if boxes.shape[-1:] != (4,) or not boxes.size // 4 == labels.size == scores.size:
            raise self._misfit(
                f"gives {self._boxes} as {list(boxes.shape)}, {self._labels} as {list(labels.shape)} and "
                f"{self._scores} as {list(scores.shape)}, not [found, 4], [found] and [found]"
            )
        found = Candidates(
            boxes.reshape(-1, 4).astype(np.float32, copy=False),
            scores.reshape(-1).astype(np.float32, copy=False),
            labels.reshape(-1).astype(np.int64) + self._offset,
        )
        fits_N = found.scores_N >= threshold
        if self.wanted is not None:
            fits_N &= np.isin(found.class_ids_N, self.wanted)
        return found.select(fits_N)


class Yolo(Layout):
    """YOLOv8 and YOLO11 exports: one output [1, 4 + C, K]: centre x, centre y, width, height in pixels of the input.

    The class scores below them are already sigmoid.
    """

    fields = ("output",)

    def __init__(self, card: ModelCard, size: tuple[int, int]) -> None:
        super().__init__(card, size)
        self._output = self._named("output")

    def decode(self, outputs: Tensors, threshold: float) -> Candidates:
        """Turn centre and size into corners."""
        out_1RK = self._array(outputs, self._output)  # R: the four of the box, then the classes
        num_labels = len(self._card.labels) - self._offset
        if out_1RK.ndim != 3 or out_1RK.shape[1] < 5 or (num_labels > 0 and out_1RK.shape[1] != 4 + num_labels):
            rows = f"4 + {num_labels} classes" if num_labels > 0 else "4 + classes"
            raise self._misfit(f"gives {self._output} as {list(out_1RK.shape)}, not [1, {rows}, cells]")
        cells, class_ids, scores_N = self._hits(out_1RK[0, 4:], threshold, classes_first=True)
        boxes_N4 = out_1RK[0, :4, cells].astype(np.float32)
        half_N2 = boxes_N4[:, 2:] / 2
        xyxy_N4 = np.concatenate([boxes_N4[:, :2] - half_N2, boxes_N4[:, :2] + half_N2], axis=1)
        return Candidates(xyxy_N4, scores_N, class_ids)


LAYOUTS: dict[str, type[Layout]] = {"nanodet": NanoDet, "ssd": Ssd, "torchvision": Torchvision, "yolo": Yolo}


def layout_of(card: ModelCard, size: tuple[int, int]) -> Layout:
    """Return the layout that the card's `postprocessing` names, for an input of `size` (width, height).

    Raises:
        InvalidModel: it names none or an unknown one, or a field of it is missing or wrong.
    """
    name = CardFields(card, "postprocessing").choice("layout", tuple(LAYOUTS))
    return LAYOUTS[name](card, size)


def _centres(size: tuple[int, int], stride: int) -> npt.NDArray[np.float32]:
    """Return the centres of the cells of one stride row by row, float32 [K, 2], x and y in pixels."""
    columns, rows = -(-size[0] // stride), -(-size[1] // stride)
    y, x = np.mgrid[:rows, :columns]
    centres_K2: npt.NDArray[np.float32] = (np.stack([x.ravel(), y.ravel()], axis=1) + 0.5).astype(np.float32) * stride
    return centres_K2


def _expectation(sides_NS: Array) -> npt.NDArray[np.float32]:
    """Return the mean bin of each side by softmax, float32 [N, 4]."""
    num_bins = sides_NS.shape[1] // 4
    bins_N4B = sides_NS.reshape(len(sides_NS), 4, num_bins).astype(np.float32)
    weight_N4B = np.exp(bins_N4B - bins_N4B.max(axis=2, keepdims=True))
    mean_N4: npt.NDArray[np.float32] = (weight_N4B @ np.arange(num_bins, dtype=np.float32)) / weight_N4B.sum(axis=2)
    return mean_N4

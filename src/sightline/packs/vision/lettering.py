"""Small readable text on pictures: smooth letters on a plate with round corners.

Pillow's own font is used: it travels with Pillow, and OpenCV's stroke fonts are hard to read at this size.
Colours are blue, green, red.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Colour: TypeAlias = tuple[int, int, int]
Shape: TypeAlias = npt.NDArray[np.float32]

BLACK: Colour = (20, 18, 16)
WHITE: Colour = (250, 250, 250)
_LITTLE = 0.08  # share of a plate that may lie on boxes of others


class Plates:
    """Texts of one picture, side by side rather than on top of each other; nothing is drawn before `draw`."""

    def __init__(self, pixels: npt.NDArray[np.uint8], unit: float) -> None:
        self._pixels = pixels
        self._letters = max(11, round(13 * unit))
        self._written: list[tuple[str, tuple[int, int, int, int], Colour, Colour]] = []

    def size(self, text: str) -> tuple[int, int]:
        """Return width and height of the plate of `text`."""
        plate, _ = _shapes(text, self._letters)
        return plate.shape[1], plate.shape[0]

    def write(
        self,
        text: str,
        *places: tuple[int, int],
        back: Colour,
        ink: Colour | None = None,
        avoid_N4: npt.NDArray[np.floating[Any]] | None = None,
        needed: bool = True,
    ) -> int:
        """Note `text` on a plate of colour `back`; return the row below it.

        The plate's upper left corner comes to the first of `places` where it covers no other plate, and little of the
        boxes `avoid_N4` (left, top, right, bottom); where it covers much of them everywhere, to where that is least.
        Where no place is free of plates it comes to the first, or is left out where it is not `needed`. What would
        stick out of the picture is moved inside. The ink is black or white by the brightness of the plate where none
        is given.
        """
        width, height = self.size(text)
        rows, columns = self._pixels.shape[:2]
        boxes: list[tuple[int, int, int, int]] = [
            (left, top, left + width, top + height)
            for left, top in ((max(0, min(x, columns - width)), max(0, min(y, rows - height))) for x, y in places)
        ]
        free = [box for box in boxes if not any(_overlap(box, other) for _, other, _, _ in self._written)]
        if not free and not needed:
            return boxes[0][3]
        box = _least_covering(free, avoid_N4) if free and avoid_N4 is not None else [*free, *boxes][0]
        if ink is None:
            ink = BLACK if back[0] * 0.114 + back[1] * 0.587 + back[2] * 0.299 > 120 else WHITE
        self._written.append((text, box, back, ink))
        return box[3]

    def draw(self) -> None:
        """Draw all texts into the picture, those last that were written first."""
        for text, (left, top, right, bottom), back, ink in reversed(self._written):
            region = self._pixels[top:bottom, left:right]
            plate, letters = (shape[: region.shape[0], : region.shape[1]] for shape in _shapes(text, self._letters))
            mixed = region.astype(np.float32)
            mixed += (np.array(back, np.float32) - mixed) * (plate * 0.9)[..., None]
            mixed += (np.array(ink, np.float32) - mixed) * letters[..., None]
            region[:] = np.round(mixed)


def _least_covering(
    plates: Sequence[tuple[int, int, int, int]], boxes_N4: npt.NDArray[np.floating[Any]]
) -> tuple[int, int, int, int]:
    """Return the first plate that covers little of the boxes, else the one that covers least of them."""
    best, least = plates[0], np.inf
    for plate in plates:
        sides_N2 = np.minimum(boxes_N4[:, 2:], plate[2:]) - np.maximum(boxes_N4[:, :2], plate[:2])
        covered = float(np.prod(np.maximum(sides_N2, 0), axis=1).sum())
        if covered < least:
            best, least = plate, covered
        if covered <= _LITTLE * (plate[2] - plate[0]) * (plate[3] - plate[1]):
            return plate
    return best


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@lru_cache(maxsize=512)  # a track keeps its text for many frames
def _shapes(text: str, size: int) -> tuple[Shape, Shape]:
    """Return how much of each pixel is plate and letter, 0 to 1."""
    font = ImageFont.load_default(size)
    beside, above = round(size * 0.45), round(size * 0.22)
    width, height = round(font.getlength(text)) + 2 * beside, round(size * 1.15) + 2 * above
    plate = Image.new("L", (width * 4, height * 4))
    ImageDraw.Draw(plate).rounded_rectangle((0, 0, width * 4 - 1, height * 4 - 1), radius=size, fill=255)
    letters = Image.new("L", (width, height))
    ImageDraw.Draw(letters).text((beside, height / 2), text, font=font, fill=255, anchor="lm")
    smooth = plate.resize((width, height), Image.Resampling.BOX)
    full = np.float32(255)
    return np.asarray(smooth, np.float32) / full, np.asarray(letters, np.float32) / full

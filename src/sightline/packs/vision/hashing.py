"""A fingerprint of a picture that small changes leave nearly as it is, to find pictures that show the same.

Shape letters: H rows, W columns, C colours.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
import numpy.typing as npt

NUM_BITS = 64
_SIDE = 32
_LOW = 8
_NOISE = 4.0  # grey levels; on an even picture all frequencies are noise, which must not be taken for a scene


def picture_hash(pixels_HWC: npt.NDArray[np.uint8]) -> int:
    """Return 64 bits: which of the lowest 8 x 8 cosine frequencies of the grey picture are above their median.

    This is pHash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010) on 32 x 32
    pixels. Noise, compression and brightness change few bits, another scene about half of them.
    """
    grey_HW = cv2.cvtColor(pixels_HWC, cv2.COLOR_BGR2GRAY)
    small_HW = cv2.resize(grey_HW, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = np.asarray(cv2.dct(small_HW))[:_LOW, :_LOW].ravel()
    # The first is the mean of the picture, which says nothing of what is on it.
    bits = low > np.median(low[1:]) + _NOISE
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def distance(one: int, other: int) -> int:
    """Return in how many bits two hashes differ."""
    return (one ^ other).bit_count()


class Seen:
    """The hashes of the last pictures of one source.

    Args:
        most: so many are remembered.
    """

    def __init__(self, most: int) -> None:
        self._hashes: deque[int] = deque(maxlen=most)

    def is_new(self, picture: int, within: int) -> bool:
        """Return whether no remembered picture differs in `within` bits or less."""
        return all(distance(picture, known) > within for known in self._hashes)

    def add(self, picture: int) -> None:
        """Remember a picture."""
        self._hashes.append(picture)

"""A volume that is filled slice by slice: int16 as long as every value fits, then float32.

Shape letters: K slices, J rows, I columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.plugins import NewArray
from sightline.packs.medical.reading.problems import Problems

NAME = "voxels"
_LEAST, _MOST = -32768, 32767


class Voxels:
    """Holds voxels in the unit of their modality.

    Args:
        new_array: makes the array.
        shape: K, J, I.
        whole: every value is a whole number, as far as slopes and intercepts tell.

    Attributes:
        num_rounded: whole numbers that float32 does not hold.
    """

    def __init__(self, new_array: NewArray, shape: tuple[int, int, int], *, whole: bool) -> None:
        self._new = new_array
        self._shape = shape
        self.num_rounded = 0
        self.array_KJI: npt.NDArray[Any] = new_array(NAME, shape, "int16" if whole else "float32")

    def put(self, k: int, stored_JI: npt.NDArray[Any], slope: float, intercept: float, ends: tuple[int, int]) -> None:
        """Take the stored integers of a slice: value = slope x stored + intercept.

        Args:
            k: which slice.
            stored_JI: integers, perhaps in the `room` of this slice.
            slope: of the modality.
            intercept: of the modality.
            ends: least and greatest integer that could be stored; where these fit, nobody looks at those that are.
        """
        if (
            self.array_KJI.dtype == np.int16
            and not _fits(ends, slope, intercept)
            and not _fits((int(stored_JI.min()), int(stored_JI.max())), slope, intercept)
        ):
            self._widen()
        target = self.array_KJI[k]
        if target.dtype == np.int16:
            # The result fits, as was seen; what wraps on the way wraps back.
            if stored_JI.ctypes.data != target.ctypes.data:
                target[...] = stored_JI if stored_JI.dtype.itemsize <= 2 else stored_JI.astype(np.int16)
            if slope != 1:
                target *= np.int16(slope)
            if intercept:
                target += np.int16(intercept)
        elif slope == 1 and intercept == 0:
            target[...] = stored_JI
            if stored_JI.dtype.itemsize > 2:
                self.num_rounded += int(np.count_nonzero(target != stored_JI))
        else:
            target[...] = stored_JI.astype(np.float64) * slope + intercept

    def room(self, k: int) -> npt.NDArray[Any] | None:
        """Return room for the stored integers of a slice that `put` then takes without a copy; None: there is none."""
        return self.array_KJI[k] if self.array_KJI.dtype == np.int16 else None

    def fill(self, k: int, before: int, after: int) -> None:
        """Make a slice by linear interpolation between two that are there."""
        share = (k - before) / (after - before)
        mixed = self.array_KJI[before] * (1.0 - share) + self.array_KJI[after] * share
        self.array_KJI[k] = np.rint(mixed) if self.array_KJI.dtype == np.int16 else mixed

    def _widen(self) -> None:
        narrow = self.array_KJI
        self.array_KJI = self._new(NAME, self._shape, "float32")
        for k in range(self._shape[0]):
            self.array_KJI[k] = narrow[k]


def tell_rounded(num: int, problems: Problems) -> None:
    """Note that so many whole numbers were rounded."""
    if num:
        problems.note("rounded", f"{num} of its voxels are whole numbers of more than 24 bits: they were rounded.")


def _fits(ends: tuple[int, int], slope: float, intercept: float) -> bool:
    """Return whether int16 holds every value between two stored integers."""
    if not (slope.is_integer() and intercept.is_integer()):
        return False
    if not (_LEAST <= slope <= _MOST and _LEAST <= intercept <= _MOST):
        return False
    scaled = [end * int(slope) + int(intercept) for end in ends]
    return min(scaled) >= _LEAST and max(scaled) <= _MOST

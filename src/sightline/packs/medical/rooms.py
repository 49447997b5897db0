"""Arrays of the size of a volume: small ones in memory, large ones in a file without a name that goes with them."""

from __future__ import annotations

import math
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

IN_MEMORY = 64 << 20
"""Bytes up to which an array is held in memory."""


def room(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of zeros; above `IN_MEMORY` bytes it is mapped from a temporary file.

    The file has no name: it goes when the array does, also where the process is killed.
    """
    if math.prod(shape) * np.dtype(dtype).itemsize <= IN_MEMORY:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(prefix="sightline-") as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def pieces(shape: tuple[int, ...], num_bytes: int = 4 << 20) -> list[slice]:
    """Return slices of the first axis of a volume; each holds at most about `num_bytes` / 4 voxels.

    They are small so that what is made of a piece stays in the processor's cache, and its memory is used again.
    """
    step = max(1, num_bytes // (4 * max(1, math.prod(shape[1:]))))
    return [slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]

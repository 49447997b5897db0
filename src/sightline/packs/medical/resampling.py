"""Volumes at other sizes: every axis by itself, as a product with a small matrix, nearly all of it zeros.

Each value is the sum of a few products in the order of the axis: the same bits however a volume lies in memory. The
centres of the outermost voxels move as the field's tools have them (`align_corners=False`, skimage's `resize`).

Shape letters: IJK voxel axes; N in, M out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
INTERPOLATIONS = ("nearest", "linear", "area")
_PIECE = 4 << 20  # bytes of a piece of a volume that is made float32 at a time; stays in the processor's cache
_REACH = 4  # standard deviations at which a Gaussian is cut off, as scipy and skimage do


def resized(volume_IJK: npt.NDArray[Any], shape: tuple[int, int, int], interpolation: str) -> Floats:
    """Return the volume at another size, float32.

    Args:
        volume_IJK: any type of number; may be a view, or mapped from a file. It is never copied as a whole.
        shape: the size that is wanted.
        interpolation: `nearest` (torch's `nearest-exact`), `linear` (beyond the outermost centres their value), or
            `area`: where a side gets shorter, a Gaussian of (ratio - 1) / 2 voxels first, as skimage's
            `resize(anti_aliasing=True)`.
    """
    if interpolation == "nearest":
        picked = (_nearest(num, wanted) for num, wanted in zip(volume_IJK.shape, shape, strict=True))
        return np.asarray(volume_IJK[np.ix_(*picked)], np.float32)
    # The axis that shrinks most comes first, so that little is left for the others.
    order = sorted(range(3), key=lambda axis: shape[axis] / volume_IJK.shape[axis])
    volume = volume_IJK
    for axis in order:
        if volume.shape[axis] != shape[axis]:
            volume = _along(volume, axis, matrix(volume.shape[axis], shape[axis], interpolation))
    return np.asarray(volume, np.float32)


def matrix(num: int, wanted: int, interpolation: str) -> Floats:
    """Return the weights, float32 [M, N], that make `wanted` values of `num`; each row sums to 1."""
    if interpolation == "nearest":
        weights = np.zeros((wanted, num))
        weights[np.arange(wanted), _nearest(num, wanted)] = 1
        return weights.astype(np.float32)
    ratio = num / wanted
    centres_M = (np.arange(wanted) + 0.5) * ratio - 0.5
    weights = np.zeros((wanted, num))
    low_M = np.floor(centres_M).astype(int)
    share_M = centres_M - low_M
    rows = np.arange(wanted)
    np.add.at(weights, (rows, np.clip(low_M, 0, num - 1)), 1 - share_M)
    np.add.at(weights, (rows, np.clip(low_M + 1, 0, num - 1)), share_M)
    sigma = max(0.0, (ratio - 1) / 2)
    if interpolation == "area" and sigma > 0:
        weights = _few(weights) @ _gaussian(num, sigma)
    return weights.astype(np.float32)


def _gaussian(num: int, sigma: float) -> npt.NDArray[np.float64]:
    """Return the matrix [N, N] of a Gaussian filter that goes on beyond the ends with their values."""
    reach = int(_REACH * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    blur = np.zeros((num, num))
    for offset, weight in zip(offsets, kernel, strict=True):
        np.add.at(blur, (np.arange(num), np.clip(np.arange(num) + offset, 0, num - 1)), weight)
    return blur


def _nearest(num: int, wanted: int) -> npt.NDArray[np.int64]:
    return np.minimum(((np.arange(wanted) + 0.5) * (num / wanted)).astype(np.int64), num - 1)


def _along(volume_IJK: npt.NDArray[Any], axis: int, weights_MN: Floats) -> Floats:
    """Return the volume with one axis multiplied by a matrix, in pieces that are float32 at a time."""
    few_MN = _few(weights_MN)
    shape = list(volume_IJK.shape)
    shape[axis] = len(weights_MN)
    result = np.empty(shape, np.float32)
    source, target = np.moveaxis(volume_IJK, axis, 0), np.moveaxis(result, axis, 0)
    num, across, side = source.shape
    piece = max(1, _PIECE // (4 * num * side))
    for start in range(0, across, piece):
        part = np.ascontiguousarray(source[:, start : start + piece], np.float32)
        target[:, start : start + piece] = (few_MN @ part.reshape(num, -1)).reshape(-1, *part.shape[1:])
    return result


def _few(weights_MN: npt.NDArray[Any]) -> Any:
    """Return a matrix without its zeros."""
    from scipy import sparse  # of the extra; listing plug-ins does without

    return sparse.csr_array(weights_MN)

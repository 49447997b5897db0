"""A net looks at a large volume window by window; the answers are joined slab by slab.

Memory is bounded by a slab of the volume, not by the volume: windows are taken in the order of its longest axis, and
what no later window touches is given out and forgotten. The weights of windows are products of one factor for each
axis, so their sums are too: no second accumulator is needed.

Shape letters: IJK voxel axes, C channels of the net, S the axis along which slabs go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ask = Callable[[Floats], "Future[Floats]"]
"""Takes a window, float32 [I, J, K]; the answer is float32 [C, I, J, K]."""

_IN_FLIGHT = 1  # a model of volumes runs one call with all cores; a second one would take its memory once more


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How a volume is cut.

    Attributes:
        tile: voxels of a window along each axis.
        overlap: share of a window that the next one sees again, 0 to below 1.
        blend: `gaussian` or `constant`.
        sigma: standard deviation of the Gaussian, as a share of the window; an eighth as nnU-Net and MONAI have it.
    """

    tile: tuple[int, int, int]
    overlap: float = 0.25
    blend: str = "gaussian"
    sigma: float = 0.125

    def starts(self, shape: tuple[int, ...]) -> tuple[list[int], list[int], list[int]]:
        """Return where windows start along each axis; the last one ends with the volume (MONAI's positions)."""
        i, j, k = (
            _starts(num, side, max(1, int(side * (1 - self.overlap))))
            for num, side in zip(shape, self.tile, strict=True)
        )
        return i, j, k

    def factors(self) -> tuple[Floats, Floats, Floats]:
        """Return the weights of a window along each axis."""
        i, j, k = (_factor(side, self.blend, self.sigma) for side in self.tile)
        return i, j, k


@dataclass(frozen=True, eq=False)
class Slab:
    """A finished part of the answer.

    Attributes:
        axis: along which the volume was cut into slabs.
        start: first index of the slab along that axis.
        stop: index behind its last one.
        outputs_CIJK: float32, what the net says of the voxels of the slab; may be written, and is lost with the next.
    """

    axis: int
    start: int
    stop: int
    outputs_CIJK: Floats

    @property
    def where(self) -> tuple[slice, slice, slice]:
        """Index of the slab in the volume."""
        index = [slice(None)] * 3
        index[self.axis] = slice(self.start, self.stop)
        return index[0], index[1], index[2]


def num_windows(shape: tuple[int, ...], windows: Windows) -> int:
    """Return how many windows cover a volume."""
    i, j, k = windows.starts(shape)
    return len(i) * len(j) * len(k)


def slide(
    volume_IJK: npt.NDArray[Any],
    scale: Callable[[npt.NDArray[Any]], Floats],
    ask: Ask,
    windows: Windows,
    *,
    done: Callable[[int, int], None] = lambda *_: None,
    in_flight: int = _IN_FLIGHT,
) -> Iterator[Slab]:
    """Yield the answer of a net about a volume, slab by slab; the slabs cover it in order, without gaps.

    Args:
        volume_IJK: any type of number; may be a view, or mapped from a file.
        scale: makes the input of the net, float32, of a piece of the volume.
        ask: asks the net; see `Ask`. Beyond the volume it is given zeros.
        windows: how the volume is cut.
        done: is told how many windows are done, of how many; may raise to end it.
        in_flight: windows that are asked for at the same time.
    """
    shape = volume_IJK.shape
    axis = max(range(3), key=lambda number: shape[number])
    starts, factors = windows.starts(shape), windows.factors()
    sums = [_sums(num, each, factor) for num, each, factor in zip(shape, starts, factors, strict=True)]
    weight_IJK = factors[0][:, None, None] * factors[1][:, None] * factors[2]
    total, num_done = num_windows(shape, windows), 0
    across = [number for number in range(3) if number != axis]
    held = _Held(shape, axis, windows.tile[axis])
    waiting: deque[tuple[tuple[int, ...], Future[Floats]]] = deque()

    def add_first() -> None:
        # In a function: the answer is gone when it ends, so that the next call of the net finds its memory free.
        nonlocal num_done
        corner, answer = waiting.popleft()
        held.add(answer.result(), weight_IJK, corner)
        num_done += 1
        done(num_done, total)

    for number, start in enumerate(starts[axis]):
        try:
            for others in product(*(starts[other] for other in across)):
                if len(waiting) == in_flight:
                    add_first()
                corner = _corner(axis, start, across, others)
                waiting.append((corner, ask(_window(volume_IJK, corner, windows.tile, scale))))
            while waiting:
                add_first()
        finally:
            for _, answer in waiting:
                answer.cancel()
        later = starts[axis][number + 1] if number + 1 < len(starts[axis]) else shape[axis]
        stop = min(later, shape[axis])
        yield held.finished(start, stop, sums)
        held.go_on(stop)


class _Held:
    """The sum of weighted answers along one tile of the axis S, and where it begins."""

    def __init__(self, shape: tuple[int, ...], axis: int, depth: int) -> None:
        self._shape, self._axis = shape, axis
        self._depth = min(depth, shape[axis])
        self._start = 0
        self._sum_CIJK: Floats | None = None

    def add(self, outputs_CIJK: Floats, weight_IJK: Floats, corner: tuple[int, ...]) -> None:
        """Add the answer about the window at a corner of the volume."""
        if self._sum_CIJK is None:
            sides = list(self._shape)
            sides[self._axis] = self._depth
            self._sum_CIJK = np.zeros((len(outputs_CIJK), *sides), np.float32)
        inside = [min(side, num - at) for side, num, at in zip(weight_IJK.shape, self._shape, corner, strict=True)]
        cut = tuple(slice(0, num) for num in inside)
        at = list(corner)
        at[self._axis] -= self._start
        target = tuple(slice(low, low + num) for low, num in zip(at, inside, strict=True))
        for channel, output_IJK in zip(self._sum_CIJK, outputs_CIJK, strict=True):
            channel[target] += output_IJK[cut] * weight_IJK[cut]

    def finished(self, start: int, stop: int, sums: list[Floats]) -> Slab:
        """Return the part from `start` to `stop`, divided by its weights; a view, no copy."""
        sum_CIJK = self._sum_CIJK
        if sum_CIJK is None:  # a volume without voxels has no windows
            raise ValueError("no window was added")
        along: list[slice] = [slice(None)] * 4
        along[self._axis + 1] = slice(0, stop - start)
        slab_CIJK = sum_CIJK[tuple(along)]
        for axis, sums_N in enumerate(sums):
            part = sums_N[start:stop] if axis == self._axis else sums_N
            slab_CIJK /= part.reshape([-1 if each == axis else 1 for each in range(3)])
        return Slab(self._axis, start, stop, slab_CIJK)

    def go_on(self, stop: int) -> None:
        """Forget what lies before `stop`; the rest moves to the front."""
        if self._sum_CIJK is None:
            return
        along = np.moveaxis(self._sum_CIJK, self._axis + 1, 0)
        num = stop - self._start
        kept = max(0, self._depth - num)
        for index in range(kept):  # in order, each onto a place that was read before
            along[index] = along[index + num]
        along[kept:] = 0
        self._start = stop


def _starts(num: int, side: int, step: int) -> list[int]:
    if num <= side:
        return [0]
    return [min(at, num - side) for at in range(0, num - side + step, step)]


def _factor(side: int, blend: str, sigma: float) -> Floats:
    if blend == "constant":
        return np.ones(side, np.float32)
    offsets = np.arange(side) - (side - 1) / 2
    return np.asarray(np.exp(-0.5 * (offsets / (sigma * side)) ** 2), np.float32)


def _sums(num: int, starts: list[int], factor: Floats) -> Floats:
    """Return the sum of the factors of all windows at each index of an axis."""
    total = np.zeros(max(num, starts[-1] + len(factor)), np.float32)
    for start in starts:
        total[start : start + len(factor)] += factor
    return total[:num]


def _corner(axis: int, start: int, across: list[int], others: tuple[int, ...]) -> tuple[int, ...]:
    corner = [0, 0, 0]
    corner[axis] = start
    for other, at in zip(across, others, strict=True):
        corner[other] = at
    return tuple(corner)


def _window(
    volume_IJK: npt.NDArray[Any],
    corner: tuple[int, ...],
    tile: tuple[int, int, int],
    scale: Callable[[npt.NDArray[Any]], Floats],
) -> Floats:
    """Return the input of the net for a window; zeros where it reaches beyond a volume that is smaller."""
    piece = scale(volume_IJK[tuple(slice(at, at + side) for at, side in zip(corner, tile, strict=True))])
    if piece.shape == tile:
        return np.ascontiguousarray(piece)
    window = np.zeros(tile, np.float32)
    window[tuple(slice(0, num) for num in piece.shape)] = piece
    return window

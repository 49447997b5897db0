"""How the voxel axes of a volume lie in the patient, and the grid on which a model wants to see it.

Affines lead from voxel indices to RAS millimetres. A `Turn` only renames and mirrors axes: it copies nothing and loses
nothing. A sheared grid (a tilted gantry) is no box: `upright` gives the box around it, and `sampled` the values there.

Shape letters: IJK voxel axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import InvalidInput

Affine = npt.NDArray[np.float64]
_POSITIVE, _NEGATIVE = "RAS", "LPI"
_SHEARED = 0.0175  # cosine between two axes: one degree off square; nets bear less than that without harm


@dataclass(frozen=True)
class Turn:
    """The renaming and mirroring of axes that brings a volume into the order of an orientation.

    Attributes:
        axes: for each new axis the old one.
        mirrored: for each new axis whether it runs backwards.
    """

    axes: tuple[int, int, int]
    mirrored: tuple[bool, bool, bool]

    def applied(self, volume_IJK: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of the volume with turned axes."""
        return volume_IJK.transpose(self.axes)[self._steps()]

    def undone(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view with the axes as they were; leading axes, of channels for instance, stay."""
        lead = volume.ndim - 3
        back = np.argsort(self.axes)
        mirrored = volume[(slice(None),) * lead + self._steps()]
        return mirrored.transpose(*range(lead), *(int(axis) + lead for axis in back))

    def affine(self, affine: Affine, shape: tuple[int, ...]) -> Affine:
        """Return the affine of the turned volume; `shape` is that of the volume as it was."""
        turned = np.zeros((4, 4))
        turned[3, 3] = 1
        for new, (old, mirrored) in enumerate(zip(self.axes, self.mirrored, strict=True)):
            turned[old, new] = -1 if mirrored else 1
            turned[old, 3] = shape[old] - 1 if mirrored else 0
        return affine @ turned

    def _steps(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if each else 1) for each in self.mirrored)


def checked_affine(affine: Affine) -> Affine:
    """Return `affine`.

    Raises:
        InvalidInput: a number in it is not finite, or it gives voxels no volume.
    """
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InvalidInput("The affine of the volume gives its voxels no place in space.", cure="Export it again.")
    return affine


def resized_affine(
    affine: Affine, shape: Sequence[int], wanted: Sequence[int], start: Sequence[int] = (0, 0, 0)
) -> Affine:
    """Return the affine of a part of a volume at another size: `shape` voxels from `start` on have become `wanted`."""
    ratio = np.array(shape) / np.array(wanted)
    step = np.diag([*ratio, 1.0])
    step[:3, 3] = np.array(start) + (ratio - 1) / 2  # the outer faces stay where they are
    return affine @ step


def turn_to(affine: Affine, orientation: str = "RAS") -> Turn:
    """Return the turn that brings a volume nearest to an orientation such as `RAS` or `LPS`.

    Each voxel axis is given the direction of the patient that it runs along most; the best fit of all three counts.
    """
    directions = affine[:3, :3] / spacing_of(affine)
    # The rotation nearest to the directions: with it, axes that are far off square still find their partners.
    left, _, right = np.linalg.svd(directions)
    nearest = left @ right
    best = max(
        (tuple(axes) for axes in product(range(3), repeat=3) if len(set(axes)) == 3),
        key=lambda axes: sum(abs(nearest[world, axes[world]]) for world in range(3)),
    )
    axes, mirrored = [], []
    for letter in orientation:
        world = next(number for number in range(3) if letter in (_POSITIVE[number], _NEGATIVE[number]))
        axes.append(best[world])
        mirrored.append(bool((nearest[world, best[world]] < 0) != (letter == _NEGATIVE[world])))
    return Turn((axes[0], axes[1], axes[2]), (mirrored[0], mirrored[1], mirrored[2]))


def is_orientation(word: Any) -> bool:
    """Tell whether a word names an orientation: one of R/L, A/P and S/I each, in any order."""
    if not isinstance(word, str) or len(word) != 3:
        return False
    return all(any(letter in word for letter in pair) for pair in zip(_POSITIVE, _NEGATIVE, strict=True))


def spacing_of(affine: Affine) -> npt.NDArray[np.float64]:
    """Return the millimetres between voxels along each voxel axis."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0), np.float64)


def voxel_volume_mm3(affine: Affine) -> float:
    """Return the volume of a voxel, also where the axes are not square to one another."""
    return abs(float(np.linalg.det(affine[:3, :3])))


def is_sheared(affine: Affine) -> bool:
    """Tell whether two voxel axes are more than a degree off square."""
    directions = affine[:3, :3] / spacing_of(affine)
    cosines = directions.T @ directions - np.eye(3)
    return bool(np.abs(cosines).max() > _SHEARED)


def upright(affine: Affine, shape: tuple[int, ...]) -> tuple[Affine, tuple[int, int, int]]:
    """Return affine and shape of the box, square to the patient, that holds a volume which is turned to RAS."""
    spacing = np.abs(affine[:3, :3]).max(axis=1)
    corners = np.array(list(product(*((-0.5, num - 0.5) for num in shape))))
    points = corners @ affine[:3, :3].T + affine[:3, 3]
    low, high = points.min(axis=0), points.max(axis=0)
    sides = np.ceil((high - low) / spacing - 1e-6).astype(int)
    box = np.eye(4)
    box[:3, :3] = np.diag(spacing)
    box[:3, 3] = low + spacing / 2
    return box, (int(sides[0]), int(sides[1]), int(sides[2]))


def sampled(
    volume_IJK: npt.NDArray[Any],
    affine: Affine,
    target: Affine,
    shape: tuple[int, int, int],
    *,
    order: int,
    fill: float,
) -> npt.NDArray[np.float32]:
    """Return the values of a volume on another grid, float32; `fill` where it has none.

    `order` 0 takes the nearest voxel, 1 interpolates linearly.
    """
    from scipy import ndimage  # of the extra; listing plug-ins does without

    lead = np.linalg.inv(affine) @ target
    return np.asarray(
        ndimage.affine_transform(
            volume_IJK, lead[:3, :3], lead[:3, 3], shape, np.float32, order=order, mode="constant", cval=fill
        )
    )

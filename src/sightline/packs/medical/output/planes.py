"""Planes of a volume as a radiologist holds them, and the greys in which they are shown.

Axial, coronal and sagittal whatever the order of the voxel axes: the patient's right is on the left of the picture,
the front and the head are up. Knows nothing of colours and letters' shapes.

Shape letters: I, J, K voxel axes; H rows, W columns of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import InvalidInput

AXES: Mapping[str, tuple[int, int, int]] = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
"""Plane -> world axes (RAS) of its normal, its rows and its columns; rows and columns run against the axis."""

_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True)
class Window:
    """Which numbers are shown from black to white.

    Attributes:
        name: what it is made for.
        low: black at and below this.
        high: white at and above this.
    """

    name: str
    low: float
    high: float

    @property
    def text(self) -> str:
        """Width and level, as viewers write it."""
        return f"W {self.high - self.low:.0f} L {(self.high + self.low) / 2:.0f}"


CT_WINDOWS: Mapping[str, Window] = {
    "soft": Window("soft", -160, 240),
    "lung": Window("lung", -1350, 150),
    "bone": Window("bone", -500, 1300),
    "brain": Window("brain", 0, 80),
}
"""Presets in Hounsfield units, as viewers have them."""

_LUNG_BELOW, _BONE_ABOVE = -300, 250  # HU: air in tissue, and where bone begins
_SAMPLES = 200_000


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice as a picture.

    Attributes:
        values_HW: of any dtype.
        step_mm: millimetres between rows and between columns.
        letters: sides of the patient at the left, right, upper and lower edge.
        at: row and column of the point through which it goes.
        name: `axial`, `coronal` or `sagittal`.
        index: number of the slice along its voxel axis.
        axis: that voxel axis, 0 to 2.
    """

    values_HW: npt.NDArray[Any]
    step_mm: tuple[float, float]
    letters: tuple[str, str, str, str]
    at: tuple[int, int]
    name: str
    index: int
    axis: int


def plane_of(
    voxels_IJK: npt.NDArray[Any], affine: npt.NDArray[np.float64], name: str, point: tuple[int, int, int]
) -> Plane:
    """Return the plane `name` through a voxel (i, j, k). Oblique grids are shown along their nearest axes."""
    normal, down, across = AXES[name]
    axes, grows = voxel_axes(affine)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    axis, row_axis, column_axis = axes[normal], axes[down], axes[across]
    where: list[Any] = [slice(None)] * 3
    where[axis] = point[axis]
    values = voxels_IJK[tuple(where)]
    if row_axis > column_axis:
        values = values.T
    row, column = point[row_axis], point[column_axis]
    if grows[down]:  # rows run against the axis: the head is up
        values, row = values[::-1], values.shape[0] - 1 - row
    if grows[across]:
        values, column = values[:, ::-1], values.shape[1] - 1 - column
    left, right = _LETTERS[across][1], _LETTERS[across][0]
    upper, lower = _LETTERS[down][1], _LETTERS[down][0]
    return Plane(
        values,
        (float(lengths[row_axis]), float(lengths[column_axis])),
        (left, right, upper, lower),
        (row, column),
        name,
        point[axis],
        axis,
    )


def voxel_axes(affine: npt.NDArray[np.float64]) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Return for each world axis (R, A, S) the voxel axis nearest to it, and whether it grows the same way."""
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    near = np.abs(steps)
    axes = [-1, -1, -1]
    for _ in range(3):
        world, voxel = np.unravel_index(int(np.argmax(near)), near.shape)
        axes[int(world)] = int(voxel)
        near[world, :] = near[:, voxel] = -1
    grows = tuple(bool(steps[world, voxel] > 0) for world, voxel in enumerate(axes))
    return (axes[0], axes[1], axes[2]), (grows[0], grows[1], grows[2])


def window_of(
    voxels_IJK: npt.NDArray[Any], modality: str, *, preset: str = "", around: npt.NDArray[Any] | None = None
) -> Window:
    """Return the window for a volume.

    CT has presets in Hounsfield units; without a `preset` the one that fits where something was found: lung below
    -300 HU, bone above 250 HU, else soft tissue. Everything else is shown between the 1st and the 99.5th percentile
    of what is no background.

    Args:
        voxels_IJK: in units of the modality.
        modality: DICOM word.
        preset: key of CT_WINDOWS.
        around: values in and around what was found.

    Raises:
        InvalidInput: there is no such preset.
    """
    if preset:
        if preset not in CT_WINDOWS:
            raise InvalidInput(f"No window is called {preset!r}.", cure=f"Choose among {', '.join(CT_WINDOWS)}.")
        return CT_WINDOWS[preset]
    if modality == "CT":
        middle = float(np.median(around)) if around is not None and around.size else 0.0
        return CT_WINDOWS["lung" if middle < _LUNG_BELOW else "bone" if middle > _BONE_ABOVE else "soft"]
    step = max(1, round((voxels_IJK.size / _SAMPLES) ** (1 / 3)))
    values = voxels_IJK[::step, ::step, ::step].astype(np.float32).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        values = np.zeros(1, np.float32)
    shown = values[values > values.min()]
    low, high = np.percentile(shown if shown.size else values, (1, 99.5))
    if shown.size and low == high:  # one value on a background, as in a mask
        low = values.min()
    return Window("percentiles", float(low), float(max(high, low + 1e-6)))


def greys(values_HW: npt.NDArray[Any], window: Window) -> npt.NDArray[np.float32]:
    """Return values as greys, 0 (black) to 255 (white), float32 [H, W]; what is no number is black."""
    scaled = (values_HW.astype(np.float32) - window.low) * (255 / (window.high - window.low))
    clipped: npt.NDArray[np.float32] = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=255, neginf=0), 0, 255)
    return clipped

"""How well a mask agrees with a reference, and what each number means where a mask is empty.

Distances are in millimetres between the centres of surface voxels: those of a mask with one of their six neighbours
outside of it, beyond the volume counts as outside. `hausdorff_distance_95` is the greater of the two directed 95th
percentiles (linear between ranks); other tools take the percentile of both directions together, and get another number.

Shape letters: IJK voxel axes; N surface voxels of the mask, M of the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.packs.medical.components import numbered
from sightline.packs.medical.grids import Affine

Truths = npt.NDArray[np.bool_]
Values = dict[str, float | None]

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "dice_score": "Dice similarity coefficient",
        "iou": "Intersection over union",
        "sensitivity": "Share of the reference's voxels that were found",
        "specificity": "Share of the other voxels that were left out",
        "precision": "Share of the found voxels that are the reference's",
        "volume_difference": "Volume of the mask minus that of the reference in mm3",
        "hausdorff_distance": "Hausdorff distance in mm",
        "hausdorff_distance_95": "Greater of the two directed 95th percentiles of the surface distances in mm",
        "assd": "Average symmetric surface distance in mm",
        "nsd": "Normalised surface Dice at the tolerance",
        "lesion_sensitivity": "Share of the reference's components that the mask touches",
        "lesion_precision": "Share of the mask's components that touch the reference",
        "lesion_f1": "Harmonic mean of lesion sensitivity and precision",
    }
)
"""What each metric is called; None as a value: it is not defined for an empty mask."""

UNITS: Mapping[str, str] = MappingProxyType(
    {"volume_difference": "mm3", "hausdorff_distance": "mm", "hausdorff_distance_95": "mm", "assd": "mm"}
)


def metrics_of(
    mask_IJK: Truths, reference_IJK: Truths, affine: Affine, *, tolerance_mm: float = 1.0, connectivity: int = 26
) -> Values:
    """Return every metric of `DESCRIPTIONS` by its name.

    Args:
        mask_IJK: what was found.
        reference_IJK: what is right, on the same grid.
        affine: from voxels to millimetres.
        tolerance_mm: surface distance that counts as none for `nsd`.
        connectivity: 6, 18 or 26, for components.
    """
    counts = _counts(mask_IJK, reference_IJK)
    voxel_mm3 = abs(float(np.linalg.det(affine[:3, :3])))
    return {
        **counts,
        "volume_difference": voxel_mm3 * (_num(mask_IJK) - _num(reference_IJK)),
        **surface_metrics(mask_IJK, reference_IJK, affine, tolerance_mm),
        **lesion_metrics(mask_IJK, reference_IJK, connectivity),
    }


def _counts(mask_IJK: Truths, reference_IJK: Truths) -> Values:
    """Return what follows from counting voxels. Two empty masks agree; nothing is missed of an empty reference."""
    both, found, right = _num(mask_IJK & reference_IJK), _num(mask_IJK), _num(reference_IJK)
    either, outside = found + right - both, mask_IJK.size - right
    return {
        "dice_score": 2 * both / (found + right) if found + right else 1.0,
        "iou": both / either if either else 1.0,
        "sensitivity": both / right if right else 1.0,
        "specificity": (outside - (found - both)) / outside if outside else 1.0,
        "precision": both / found if found else 1.0,
    }


def surface_metrics(mask_IJK: Truths, reference_IJK: Truths, affine: Affine, tolerance_mm: float) -> Values:
    """Return what follows from the distances of the surfaces.

    Two empty masks are 0 mm apart and agree; from an empty one to another there is no distance (None), and `nsd` is 0.
    """
    names = ("hausdorff_distance", "hausdorff_distance_95", "assd")
    if not mask_IJK.any() or not reference_IJK.any():
        alike = not mask_IJK.any() and not reference_IJK.any()
        none_apart: Values = dict.fromkeys(names, 0.0 if alike else None)
        return {**none_apart, "nsd": 1.0 if alike else 0.0}
    there_N, back_M = surface_distances(mask_IJK, reference_IJK, affine)
    together = np.concatenate([there_N, back_M])
    return {
        "hausdorff_distance": float(together.max()),
        "hausdorff_distance_95": float(max(np.percentile(there_N, 95), np.percentile(back_M, 95))),
        "assd": float(together.mean()),
        "nsd": float((together <= tolerance_mm).mean()),
    }


def surface_distances(
    mask_IJK: Truths, reference_IJK: Truths, affine: Affine
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return, in mm, float64 [N] and [M]: of each surface voxel to the nearest one of the other mask."""
    from scipy.spatial import KDTree  # of the extra; listing plug-ins does without

    mask_N3, reference_M3 = (surface_of(each) @ affine[:3, :3].T for each in (mask_IJK, reference_IJK))
    there_N, _ = KDTree(reference_M3).query(mask_N3)
    back_M, _ = KDTree(mask_N3).query(reference_M3)
    return there_N, back_M


def surface_of(mask_IJK: Truths) -> npt.NDArray[np.int64]:
    """Return the indices of surface voxels, int64 [N, 3]."""
    where = _box(mask_IJK)
    low = np.array([each.start for each in where])
    inner = np.pad(mask_IJK[where], 1)
    core = inner[1:-1, 1:-1, 1:-1]
    hidden = core.copy()
    for axis in range(3):
        for step in (slice(0, -2), slice(2, None)):
            index: list[Any] = [slice(1, -1)] * 3
            index[axis] = step
            hidden &= inner[tuple(index)]
    return np.asarray(np.argwhere(core & ~hidden) + low, np.int64)


def lesion_metrics(mask_IJK: Truths, reference_IJK: Truths, connectivity: int = 26) -> Values:
    """Return what follows from counting components; a component is found where the other mask has one voxel of it."""
    found_IJK, found = numbered(mask_IJK, connectivity)
    right_IJK, right = numbered(reference_IJK, connectivity)
    both = mask_IJK & reference_IJK
    hit = len(np.unique(right_IJK[both]))
    true = len(np.unique(found_IJK[both]))
    sensitivity = hit / len(right) if len(right) else 1.0
    precision = true / len(found) if len(found) else 1.0
    total = sensitivity + precision
    return {
        "lesion_sensitivity": sensitivity,
        "lesion_precision": precision,
        "lesion_f1": 2 * sensitivity * precision / total if total else 0.0,
    }


def _num(mask_IJK: Truths) -> int:
    return int(np.count_nonzero(mask_IJK))


def _box(mask_IJK: Truths) -> tuple[slice, slice, slice]:
    """Return the bounding box of a mask that is not empty."""
    edges = []
    for axis in range(3):
        planes = np.flatnonzero(mask_IJK.any(axis=tuple(other for other in range(3) if other != axis)))
        edges.append(slice(int(planes[0]), int(planes[-1]) + 1))
    return edges[0], edges[1], edges[2]

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import nibabel
import numpy as np
import pytest

from sightline.core.errors import InvalidInput
from sightline.packs.medical.grids import (
    checked_affine,
    is_orientation,
    is_sheared,
    sampled,
    turn_to,
    upright,
    voxel_volume_mm3,
)

nib: Any = nibabel  # half of it has types
ORIENTATIONS = ["".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)]


def affine_of(orientation: str, spacing: tuple[float, float, float] = (1.0, 2.0, 3.0)) -> np.ndarray:
    ornt = nib.orientations.axcodes2ornt(orientation)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(ornt):
        affine[int(world), axis] = sign * spacing[axis]
    affine[:3, 3] = [-7, 11, 5]
    return affine


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_axis_order_is_turned_to_ras_and_back(orientation: str) -> None:
    affine = affine_of(orientation)
    voxels = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    turn = turn_to(affine)
    turned, lead = turn.applied(voxels), turn.affine(affine, voxels.shape)
    assert nib.aff2axcodes(lead) == ("R", "A", "S")
    np.testing.assert_array_equal(turned, nib.as_closest_canonical(nib.Nifti1Image(voxels, affine)).dataobj)
    np.testing.assert_array_equal(turn.undone(turned), voxels)
    np.testing.assert_array_equal(turn.undone(np.stack([turned, turned]))[1], voxels)
    assert np.shares_memory(turned, voxels)
    there = turn_to(affine, "LPS")
    assert nib.aff2axcodes(there.affine(affine, voxels.shape)) == ("L", "P", "S")


def test_there_are_48_axis_orders() -> None:
    assert len(set(ORIENTATIONS)) == 48
    assert all(is_orientation(each) for each in ORIENTATIONS)
    assert not any(is_orientation(each) for each in ("RAX", "RRS", "RA", 3, "RLS"))


def test_a_tilted_gantry_is_sheared_and_an_oblique_series_is_not() -> None:
    angle = np.radians(20)
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    tilted = np.eye(4)
    tilted[:3, 2] = [0, np.sin(angle), np.cos(angle)]
    assert not is_sheared(turned)
    assert is_sheared(tilted)
    assert voxel_volume_mm3(tilted) == pytest.approx(np.cos(angle))


def test_values_of_a_sheared_grid_come_back_through_the_box_around_it() -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 0.7
    shape = (12, 14, 10)
    points = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T
    volume = (points @ [1.0, 2.0, -1.0]).reshape(shape)  # a linear field: linear interpolation is exact inside
    box, sides = upright(affine, shape)
    inside = sampled(volume, affine, box, sides, order=1, fill=-999)
    back = sampled(inside, box, affine, shape, order=1, fill=0)
    core = (slice(2, -2),) * 3
    np.testing.assert_allclose(back[core], volume[core], atol=1e-3)
    corners = np.array(list(product(*((0, num - 1) for num in shape)))) @ affine[:3, :3].T
    ends = box[:3, 3] + (np.array(sides) - 1) * np.diag(box)[:3]
    assert (corners.min(axis=0) >= box[:3, 3] - 1e-6).all()
    assert (corners.max(axis=0) <= ends + np.diag(box)[:3]).all()


@pytest.mark.parametrize("affine", [np.full((4, 4), np.nan), np.zeros((4, 4))])
def test_an_affine_that_places_nothing_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="no place in space"):
        checked_affine(affine)

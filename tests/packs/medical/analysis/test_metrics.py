from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sightline.packs.medical.metrics import DESCRIPTIONS, metrics_of, surface_distances, surface_of

Truths = npt.NDArray[np.bool_]


def box(*edges: tuple[int, int], shape: tuple[int, int, int] = (12, 12, 12)) -> Truths:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*edge) for edge in edges)] = True
    return mask


def test_a_shifted_box_by_hand() -> None:
    one, other = box((2, 6), (2, 6), (2, 6)), box((4, 8), (2, 6), (2, 6))
    values = metrics_of(one, other, np.diag([0.5, 1, 1, 1]), tolerance_mm=0.5)
    assert values["dice_score"] == 0.5  # 32 of 64 voxels in common
    assert values["iou"] == pytest.approx(32 / 96)
    assert values["sensitivity"] == values["precision"] == 0.5
    assert values["specificity"] == pytest.approx(1 - 32 / (12**3 - 64))
    assert values["hausdorff_distance"] == 1.0  # two voxels of half a millimetre
    assert values["volume_difference"] == 0
    assert values["lesion_f1"] == 1
    assert set(values) == set(DESCRIPTIONS)


def test_the_95th_percentile_is_the_greater_of_both_directions() -> None:
    """A speck far away counts in one direction alone, where it is one of few; together it would be lost."""
    one = box((2, 3), (2, 3), (0, 12))
    other = one.copy()
    other[10, 2, 5] = True
    there, back = surface_distances(one, other, np.eye(4))
    assert there.max() == 0
    assert sorted(back)[-2:] == [0.0, 8.0]
    values = metrics_of(one, other, np.eye(4))
    assert values["hausdorff_distance"] == 8
    assert values["hausdorff_distance_95"] == pytest.approx(np.percentile(back, 95))
    assert values["hausdorff_distance_95"] > np.percentile(np.concatenate([there, back]), 95)


def test_distances_follow_a_sheared_affine() -> None:
    affine = np.eye(4)
    affine[0, 2] = 3.0  # one step along k is three to the right and one up
    one, other = box((5, 6), (5, 6), (5, 6)), box((5, 6), (5, 6), (6, 7))
    assert metrics_of(one, other, affine)["hausdorff_distance"] == pytest.approx(np.hypot(3, 1))


def test_empty_masks_are_defined() -> None:
    none, some = box((0, 0), (0, 0), (0, 0)), box((2, 4), (2, 4), (2, 4))
    both = metrics_of(none, none, np.eye(4))
    assert [both[name] for name in ("dice_score", "iou", "nsd", "sensitivity", "specificity", "lesion_f1")] == [1.0] * 6
    assert both["hausdorff_distance"] == both["hausdorff_distance_95"] == both["assd"] == 0
    missed = metrics_of(none, some, np.eye(4))
    assert (missed["dice_score"], missed["sensitivity"], missed["nsd"], missed["lesion_f1"]) == (0, 0, 0, 0)
    assert missed["specificity"] == 1
    assert missed["hausdorff_distance"] is missed["hausdorff_distance_95"] is missed["assd"] is None
    invented = metrics_of(some, none, np.eye(4))
    assert (invented["dice_score"], invented["sensitivity"], invented["precision"]) == (0, 1, 0)


def test_lesions_are_counted_by_touch() -> None:
    reference = box((0, 2), (0, 2), (0, 2)) | box((5, 7), (5, 7), (5, 7)) | box((9, 11), (0, 2), (9, 11))
    mask = box((1, 3), (0, 2), (0, 2)) | box((5, 7), (5, 7), (5, 7)) | box((0, 2), (9, 11), (9, 11))
    values = metrics_of(mask, reference, np.eye(4))
    assert values["lesion_sensitivity"] == values["lesion_precision"] == pytest.approx(2 / 3)


def surface_by_loop(mask: Truths) -> list[list[int]]:
    def inside(voxel: npt.NDArray[np.int64]) -> bool:
        return bool((voxel >= 0).all() and (voxel < mask.shape).all() and mask[tuple(voxel)])

    steps = [sign * np.eye(3, dtype=int)[axis] for axis in range(3) for sign in (-1, 1)]
    return [voxel.tolist() for voxel in np.argwhere(mask) if not all(inside(voxel + step) for step in steps)]


masks = npst.arrays(bool, (5, 4, 6), elements=st.booleans(), fill=st.just(False))


@settings(max_examples=60, deadline=None)
@given(one=masks, other=masks, spacing=st.tuples(*[st.sampled_from([0.5, 1.0, 2.5])] * 3))
def test_surfaces_and_distances_are_those_of_brute_force(
    one: Truths, other: Truths, spacing: tuple[float, float, float]
) -> None:
    if not one.any() or not other.any():
        return
    assert sorted(surface_of(one).tolist()) == sorted(surface_by_loop(one))
    affine = np.diag([*spacing, 1.0])
    points, others = (np.array(surface_by_loop(each)) * spacing for each in (one, other))
    apart = np.linalg.norm(points[:, None] - others[None], axis=2)
    there, back = apart.min(axis=1), apart.min(axis=0)
    values = metrics_of(one, other, affine, tolerance_mm=1.0)
    assert values["hausdorff_distance"] == pytest.approx(max(there.max(), back.max()))
    assert values["hausdorff_distance_95"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert values["assd"] == pytest.approx((there.sum() + back.sum()) / (len(there) + len(back)))
    near = (there <= 1.0 + 1e-12).sum() + (back <= 1.0 + 1e-12).sum()
    assert values["nsd"] == pytest.approx(near / (len(there) + len(back)))
    assert values["dice_score"] == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()))

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from sightline.packs.medical.components import components_of, largest, occupied, without_holes, without_small


@settings(max_examples=60, deadline=None)
@given(
    labels=npst.arrays(
        np.uint8, npst.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7), elements=st.integers(0, 2)
    ),
    connectivity=st.sampled_from([6, 18, 26]),
)
def test_figures_are_those_of_a_loop_over_components(labels: np.ndarray, connectivity: int) -> None:
    sure = np.random.default_rng(0).random(labels.shape).astype(np.float16)
    found = components_of(labels, connectivity=connectivity, maps={"probability": sure})
    structure = ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[connectivity])
    assert len(found) == sum(ndimage.label(labels == value, structure)[1] for value in (1, 2))
    assert (found.numbered_IJK > 0).tolist() == (labels > 0).tolist()
    for row in range(len(found)):
        voxels = np.argwhere(found.numbered_IJK == row + 1)
        where = tuple(voxels.T)
        assert set(labels[where]) == {found.label[row]}
        assert found.num_voxels[row] == len(voxels)
        assert found.low_N3[row].tolist() == voxels.min(axis=0).tolist()
        assert found.high_N3[row].tolist() == voxels.max(axis=0).tolist()
        centre = voxels.mean(axis=0)
        np.testing.assert_allclose(found.centre_N3[row], centre)
        away = ((voxels - centre) ** 2).sum(axis=1)
        inside = found.inside_N3[row]
        assert inside.tolist() in voxels.tolist()
        assert ((inside - centre) ** 2).sum() == pytest.approx(away.min())
        edge = (voxels == 0).any() or (voxels == np.array(labels.shape) - 1).any()
        assert found.touches_border[row] == edge
        assert found.means["probability"][row] == pytest.approx(sure[where].astype(float).mean())
        assert found.greatest["probability"][row] == sure[where].max()


def test_voxels_that_touch_by_a_corner_are_one_component_at_26_alone() -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 1
    assert [len(components_of(labels, connectivity=each)) for each in (6, 18, 26)] == [2, 2, 1]


def test_an_empty_mask_has_no_components() -> None:
    found = components_of(np.zeros((3, 4, 5), np.uint8), maps={"probability": np.zeros((3, 4, 5), np.float16)})
    assert len(found) == 0
    assert found.low_N3.shape == (0, 3)


def test_small_components_leave_and_the_largest_stays() -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[0, 0, :2], labels[3:5, 3:5, 3:5], labels[0, 5, 5] = 1, 2, 2
    assert without_small(labels, 1, 26) is labels
    kept = without_small(labels, 2, 26)
    assert (kept[0, 0, 0], kept[0, 5, 5], kept[3, 3, 3]) == (1, 0, 2)
    assert without_small(labels, 3, 26).sum() == 16
    assert largest(labels > 0).sum() == 8
    assert not largest(np.zeros((2, 2, 2), bool)).any()


@settings(max_examples=60, deadline=None)
@given(mask=npst.arrays(np.bool_, npst.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7)))
def test_what_a_mask_encloses_is_filled_as_scipy_does_and_its_box_holds_all_of_it(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(without_holes(mask), ndimage.binary_fill_holes(mask))
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    assert occupied(mask) == (boxes[0] if boxes else None)

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skimage import transform

from sightline.packs.medical.resampling import matrix, resized

skimage_transform: Any = transform  # has no types


@pytest.mark.parametrize("shape", [(7, 9, 5), (20, 31, 40), (12, 12, 3)])
def test_area_and_linear_are_skimages_resize(shape: tuple[int, int, int]) -> None:
    volume = np.random.default_rng(1).integers(0, 255, (19, 31, 11)).astype(np.uint8)
    for kind, smooth in (("area", True), ("linear", False)):
        wanted = skimage_transform.resize(volume.astype(float), shape, order=1, mode="edge", anti_aliasing=smooth)
        np.testing.assert_allclose(resized(volume, shape, kind), wanted, atol=0.02)


def test_nearest_takes_the_voxel_whose_box_the_centre_lies_in() -> None:
    volume = np.arange(4 * 2 * 3).reshape(4, 2, 3)
    assert resized(volume, (2, 2, 3), "nearest").tolist() == volume[[1, 3]].tolist()
    assert resized(volume, (8, 2, 3), "nearest").tolist() == np.repeat(volume, 2, axis=0).tolist()


@pytest.mark.parametrize("kind", ["nearest", "linear", "area"])
def test_an_even_volume_stays_even_and_a_size_that_fits_changes_nothing(kind: str) -> None:
    np.testing.assert_allclose(resized(np.full((9, 5, 7), 3.0), (4, 11, 7), kind), 3, rtol=1e-5)
    volume = np.random.default_rng(2).random((5, 6, 7)).astype(np.float32)
    np.testing.assert_array_equal(resized(volume, (5, 6, 7), kind), volume)
    np.testing.assert_allclose(matrix(13, 5, kind).sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "area"])
def test_the_bits_are_the_same_however_a_volume_lies_in_memory(kind: str) -> None:
    volume = np.random.default_rng(3).integers(-1000, 3000, (61, 40, 57)).astype(np.int16)
    found = resized(volume, (32, 48, 33), kind)
    for other in (np.asfortranarray(volume), np.ascontiguousarray(volume[::-1])[::-1], volume.astype(np.float64)):
        np.testing.assert_array_equal(resized(other, (32, 48, 33), kind), found)

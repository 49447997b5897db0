"""What a stored integer means: slopes, signs, bits, darkness; and what is no pixel at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian
from tests.packs.medical.phantoms import files, phantom, series, set_pixels
from tests.packs.medical.reading.reading import read

from sightline.core.errors import InvalidMedia

PHANTOM = phantom()
TRUE = PHANTOM.voxels_IJK.astype(np.float64)


def test_whole_scales_give_int16() -> None:
    found = read(files(series(PHANTOM, slope=2, intercept=-1024)), "refuse")

    assert found.voxels_IJK.dtype == np.int16
    np.testing.assert_array_equal(found.voxels_IJK, TRUE * 2 - 1024)


def test_other_scales_give_float32() -> None:
    found = read(files(series(PHANTOM, slope=0.25, intercept=0.5)), "refuse")

    assert found.voxels_IJK.dtype == np.float32
    np.testing.assert_array_equal(found.voxels_IJK, (TRUE * 0.25 + 0.5).astype(np.float32))


def test_each_slice_has_its_own_scale() -> None:
    slices = series(PHANTOM, modality="PT")
    for k, each in enumerate(slices):
        each.RescaleSlope = 1 + k / 8
    found = read(files(slices), "refuse")

    np.testing.assert_allclose(found.voxels_IJK, TRUE * (1 + np.arange(16) / 8), rtol=1e-6)
    assert found.problems == {"slope_changes": "note"}


def test_values_that_leave_int16_half_way_widen_the_volume() -> None:
    slices = series(PHANTOM)
    high = PHANTOM.voxels_IJK[:, :, 9].T.astype(np.uint16) + 40_000
    set_pixels(slices[9], high)
    found = read(files(slices), "refuse")

    assert found.voxels_IJK.dtype == np.float32
    np.testing.assert_array_equal(found.voxels_IJK[:, :, 9], TRUE[:, :, 9] + 40_000)
    np.testing.assert_array_equal(found.voxels_IJK[:, :, :9], TRUE[:, :, :9])
    np.testing.assert_array_equal(found.voxels_IJK[:, :, 10:], TRUE[:, :, 10:])


def test_an_unsigned_ct_becomes_hounsfield_units_in_int16() -> None:
    slices = series(PHANTOM, intercept=-1024)
    for k, each in enumerate(slices):
        set_pixels(each, PHANTOM.voxels_IJK[:, :, k].T.astype(np.uint16), bits_stored=12)
    found = read(files(slices), "refuse")

    assert found.voxels_IJK.dtype == np.int16
    np.testing.assert_array_equal(found.voxels_IJK, TRUE - 1024)


def test_bits_above_the_pixels_are_cut_and_told() -> None:
    slices = series(PHANTOM)
    for k, each in enumerate(slices):
        set_pixels(each, PHANTOM.voxels_IJK[:, :, k].T.astype(np.uint16) | (k % 2) << 15, bits_stored=12)
    found = read(files(slices), "refuse")

    np.testing.assert_array_equal(found.voxels_IJK, TRUE)
    assert found.problems == {"overlay_bits": "note"}


def test_twelve_bits_with_a_sign_keep_it() -> None:
    slices = series(PHANTOM)
    for k, each in enumerate(slices):
        negative = PHANTOM.voxels_IJK[:, :, k].T - 1000
        set_pixels(each, negative & 0x0FFF, bits_stored=12)
    found = read(files(slices), "refuse")

    np.testing.assert_array_equal(found.voxels_IJK, TRUE - 1000)


def test_pixels_may_lie_in_the_upper_bits() -> None:
    slices = series(PHANTOM)
    for k, each in enumerate(slices):
        set_pixels(each, PHANTOM.voxels_IJK[:, :, k].T.astype(np.uint16) << 4, bits_stored=12)
        each.HighBit = 15
    np.testing.assert_array_equal(read(files(slices), "refuse").voxels_IJK, TRUE)


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint32, 32), (np.int32, 32)])
def test_other_widths_are_read(dtype: type[np.integer], bits: int) -> None:
    slices = series(PHANTOM)
    shown = np.minimum(PHANTOM.voxels_IJK, 255)
    for k, each in enumerate(slices):
        set_pixels(each, shown[:, :, k].T.astype(dtype), bits_stored=bits)
    found = read(files(slices), "refuse")

    assert found.voxels_IJK.dtype == np.int16
    np.testing.assert_array_equal(found.voxels_IJK, shown)


def test_whole_numbers_that_float32_rounds_are_told() -> None:
    slices = series(PHANTOM)
    for k, each in enumerate(slices):
        stored = PHANTOM.voxels_IJK[:, :, k].T.astype(np.uint32)
        stored[0, :2] += 1 << 24 if k == 3 else 0
        stored[0, 0] |= 1
        set_pixels(each, stored, bits_stored=32)
    found = read(files(slices), "refuse")

    assert found.voxels_IJK.dtype == np.float32
    assert found.problem("rounded")["message"].startswith("1 of its voxels")


def test_where_large_is_dark_the_values_are_turned_over_and_told() -> None:
    slices = series(PHANTOM, modality="MR")
    for k, each in enumerate(slices):
        set_pixels(each, 4095 - PHANTOM.voxels_IJK[:, :, k].T.astype(np.uint16), bits_stored=12)
        each.PhotometricInterpretation = "MONOCHROME1"
    found = read(files(slices), "refuse")

    np.testing.assert_array_equal(found.voxels_IJK, TRUE)
    assert found.problem("monochrome1")["slices"] == list(range(16))


def test_a_measure_stays_one_where_large_is_dark() -> None:
    slices = series(PHANTOM, modality="CT")
    for each in slices:
        each.PhotometricInterpretation = "MONOCHROME1"
    np.testing.assert_array_equal(read(files(slices), "refuse").voxels_IJK, TRUE)


def set_all(**values: object) -> Callable[[Dataset], None]:
    def alter(dataset: Dataset) -> None:
        for name, value in values.items():
            setattr(dataset, name, value)

    return alter


def without_pixels(dataset: Dataset) -> None:
    del dataset.PixelData


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (set_all(Rows=65535, Columns=65535), "a frame of 65535 x 65535 pixels is not read"),
        (set_all(Rows=0), "a frame of 0 x 40 pixels is not read"),
        (set_all(Rows=4000), "its pixel data are cut off: 2880 bytes, where 320000 are needed"),
        (set_all(NumberOfFrames=2000000), "a file of 2000000 frames is not read"),
        (set_all(NumberOfFrames=3), "its pixel data are cut off: 2880 bytes, where 8640 are needed"),
        (set_all(BitsAllocated=12), "16 bits up to bit 15 in 12 are no pixel"),
        (set_all(BitsStored=20, HighBit=19), "20 bits up to bit 19 in 16 are no pixel"),
        (set_all(RescaleSlope=0), "its rescale slope is 0"),
        (set_all(SamplesPerPixel=3, PhotometricInterpretation="RGB"), r"coloured pictures \(RGB\) are no volume"),
        (without_pixels, "it has no pixel data"),
    ],
)
def test_pixels_that_cannot_be_are_refused_before_anything_is_allocated(
    alter: Callable[[Dataset], None], reason: str
) -> None:
    slices = series(PHANTOM)
    for each in slices:
        alter(each)
    for policy in ("refuse", "repair", "accept"):
        with pytest.raises(InvalidMedia, match=reason):
            read(files(slices), policy)


def test_a_data_set_that_was_stored_deflated_is_read_and_a_bomb_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    slices = series(PHANTOM)
    for each in slices:
        each.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = files(slices)
    assert sum(map(len, data.values())) < TRUE.nbytes
    np.testing.assert_array_equal(read(data, "refuse").voxels_IJK, TRUE)

    monkeypatch.setattr("sightline.packs.medical.reading.headers._MOST_INFLATED", 2000)
    with pytest.raises(InvalidMedia, match="its deflated data set is damaged or too large"):
        read(data, "accept")


def test_a_file_that_is_cut_off_is_refused() -> None:
    cut = {name: data[: len(data) - 1000] for name, data in files(series(PHANTOM)).items()}
    with pytest.raises(InvalidMedia, match="the file ends before they do"):
        read(cut)
    early = {name: data[:700] for name, data in files(series(PHANTOM)).items()}
    with pytest.raises(InvalidMedia, match="header is damaged or cut off"):
        read(early)

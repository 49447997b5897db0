"""NIfTI: places by sform and qform, values by their scale, and headers that lie."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import nibabel
import numpy as np
import pytest
from tests.packs.medical.phantoms import AXIS_ORDERS, nifti, phantom
from tests.packs.medical.reading.reading import read

from sightline.core.errors import InvalidMedia, TooLarge

PHANTOM = phantom()
TRUE = PHANTOM.voxels_IJK


def altered(offset: int, layout: str, *values: Any, data: bytes | None = None) -> bytes:
    """Return a NIfTI-1 file with other values at a place of its header."""
    file = bytearray(nifti(PHANTOM) if data is None else data)
    struct.pack_into("<" + layout, file, offset, *values)
    return bytes(file)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_comes_back_as_it_was_written(compressed: bool) -> None:
    found = read(nifti(PHANTOM, compressed=compressed), "refuse")

    np.testing.assert_array_equal(found.voxels_IJK, TRUE)
    assert found.voxels_IJK.dtype == np.int16
    np.testing.assert_allclose(found.affine, PHANTOM.affine, atol=1e-6)
    assert found.study["container"] == "nifti"
    assert found.study["problems"] == []


def test_the_digest_is_that_of_the_content() -> None:
    plain, packed = read(nifti(PHANTOM)), read(nifti(PHANTOM, compressed=True))
    assert plain.study["digest"] == packed.study["digest"] != read(nifti(PHANTOM, descrip=b"x")).study["digest"]


@pytest.mark.parametrize("order", AXIS_ORDERS)
def test_matter_stays_where_it_is_in_every_orientation(order: str) -> None:
    found = read(nifti(PHANTOM.reoriented(order)), "refuse")

    assert found.study["orientation"] == order
    inside = np.argwhere(found.voxels_IJK == 900)
    np.testing.assert_allclose(
        found.affine[:3, :3] @ inside.mean(0) + found.affine[:3, 3], PHANTOM.centroid_mm, atol=1e-4
    )


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_every_kind_of_number_is_read_as_nibabel_reads_it(dtype: str, order: str) -> None:
    voxels = np.minimum(TRUE, 120).astype(dtype)
    header: Any = nibabel.Nifti1Header(endianness=order)  # type: ignore[no-untyped-call]
    header.set_data_dtype(np.dtype(dtype))
    image: Any = nibabel.Nifti1Image(voxels, PHANTOM.affine, header)  # type: ignore[no-untyped-call]

    found = read(image.to_bytes(), "refuse")

    np.testing.assert_array_equal(found.voxels_IJK, voxels.astype(np.float64))
    assert found.voxels_IJK.dtype == (np.float32 if dtype[0] == "f" else np.int16)


@pytest.mark.parametrize(("dtype", "most"), [("u2", 65535), ("i4", 1 << 24), ("u4", 1 << 24), ("i8", 1 << 24)])
def test_what_int16_does_not_hold_is_float32_without_loss(
    dtype: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.packs.medical.reading.nifti._CHUNK", 4096)  # the first pieces are narrow
    voxels = TRUE.astype(dtype)
    voxels[-1, -1, -2:] = most, most - 1
    image: Any = nibabel.Nifti1Image(voxels, PHANTOM.affine, dtype=dtype)  # type: ignore[no-untyped-call]

    found = read(image.to_bytes(), "refuse")

    assert found.voxels_IJK.dtype == np.float32
    np.testing.assert_array_equal(found.voxels_IJK, voxels)
    assert found.study["problems"] == []


def test_numbers_that_float32_rounds_or_cannot_hold_are_told() -> None:
    voxels = TRUE.astype(np.int64)
    voxels[:3, 0, 0] = (1 << 24) + 1, -(1 << 40) - 1, 1 << 40
    image: Any = nibabel.Nifti1Image(voxels, PHANTOM.affine, dtype="i8")  # type: ignore[no-untyped-call]
    found = read(image.to_bytes(), "refuse")
    assert found.problem("rounded")["message"].startswith("2 of its voxels")
    assert found.voxels_IJK[1, 0, 0] == -(1 << 40)
    assert found.voxels_IJK[2, 0, 0] == 1 << 40

    with pytest.raises(InvalidMedia, match="no_numbers"):
        read(altered(112, "ff", 2.0**127, 0, data=image.to_bytes()), "refuse")


def test_the_second_version_is_read() -> None:
    image: Any = nibabel.Nifti2Image(TRUE, PHANTOM.affine)  # type: ignore[no-untyped-call]
    found = read(image.to_bytes(), "refuse")

    np.testing.assert_array_equal(found.voxels_IJK, TRUE)
    np.testing.assert_allclose(found.affine, PHANTOM.affine)


def test_values_are_scaled() -> None:
    found = read(altered(112, "ff", 0.5, -3), "refuse")
    np.testing.assert_array_equal(found.voxels_IJK, TRUE * 0.5 - 3)
    found = read(altered(112, "ff", 2, -1024), "refuse")
    np.testing.assert_array_equal(found.voxels_IJK, TRUE * 2 - 1024)
    assert found.voxels_IJK.dtype == np.int16
    for slope in (0, float("nan")):
        np.testing.assert_array_equal(read(altered(112, "ff", slope, -3), "refuse").voxels_IJK, TRUE)
    with pytest.raises(InvalidMedia, match="scaled by inf"):
        read(altered(112, "ff", float("inf"), 0))


@pytest.mark.parametrize("order", ["RAS", "LPI", "SAL", "PIR"])
def test_a_qform_alone_tells_the_place_as_nibabel_reads_it(order: str) -> None:
    turned = PHANTOM.reoriented(order)
    image: Any = nibabel.Nifti1Image(turned.voxels_IJK, None)  # type: ignore[no-untyped-call]
    tilt = np.eye(4)
    tilt[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    image.set_qform(tilt @ turned.affine, 1)

    found = read(image.to_bytes(), "refuse")

    np.testing.assert_allclose(found.affine, image.get_qform(), atol=1e-4)
    np.testing.assert_allclose(found.affine, tilt @ turned.affine, atol=1e-3)


def test_an_sform_counts_before_a_qform_that_differs_and_this_is_told() -> None:
    image: Any = nibabel.Nifti1Image(TRUE, PHANTOM.affine)  # type: ignore[no-untyped-call]
    image.set_qform(np.diag([3, 3, 3, 1]), 1)
    with pytest.raises(InvalidMedia, match="two_places"):
        read(image.to_bytes(), "refuse")

    found = read(image.to_bytes(), "repair")

    np.testing.assert_allclose(found.affine, PHANTOM.affine, atol=1e-6)
    assert found.problems == {"two_places": "accepted"}


def test_a_file_that_tells_no_place_is_taken_only_where_that_is_accepted() -> None:
    image: Any = nibabel.Nifti1Image(TRUE, None)  # type: ignore[no-untyped-call]
    image.header.set_zooms((1.5, 1.25, 2.0))
    for policy in ("refuse", "repair"):
        with pytest.raises(InvalidMedia, match="no_orientation"):
            read(image.to_bytes(), policy)

    found = read(image.to_bytes(), "accept")

    np.testing.assert_allclose(found.affine, np.diag([1.5, 1.25, 2.0, 1.0]))


def test_metres_become_millimetres() -> None:
    found = read(altered(123, "B", 1), "refuse")
    np.testing.assert_allclose(found.study["spacing"], [1500, 1250, 2000], rtol=1e-6)
    assert found.problems == {"units": "note"}

    image: Any = nibabel.Nifti1Image(TRUE, PHANTOM.affine)  # type: ignore[no-untyped-call]
    image.set_qform(PHANTOM.affine, 1)  # which says the same
    assert read(altered(123, "B", 1, data=image.to_bytes()), "refuse").problems == {"units": "note"}


def test_a_fourth_axis_of_one_is_no_axis() -> None:
    np.testing.assert_array_equal(read(altered(40, "8h", 4, 40, 36, 16, 1, 1, 1, 1), "refuse").voxels_IJK, TRUE)
    with pytest.raises(InvalidMedia, match="40 x 36 x 8 x 2: not one volume") as caught:
        read(altered(40, "8h", 4, 40, 36, 8, 2, 1, 1, 1))
    assert "Send one of its volumes by itself" in caught.value.cure


def test_numbers_that_are_none_are_mended_or_refused() -> None:
    voxels = TRUE.astype(np.float32)
    voxels[3, 4, 5] = np.nan
    voxels[0, 0, 0] = np.inf
    image: Any = nibabel.Nifti1Image(voxels, PHANTOM.affine)  # type: ignore[no-untyped-call]
    with pytest.raises(InvalidMedia, match="2 of its voxels are no finite numbers"):
        read(image.to_bytes(), "refuse")

    found = read(image.to_bytes(), "repair")

    assert found.voxels_IJK[3, 4, 5] == found.voxels_IJK[0, 0, 0] == 0
    assert found.problems == {"no_numbers": "repaired"}


NAN = float("nan")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (altered(40, "8h", 3, 30000, 30000, 30000, 1, 1, 1, 1), "30000 x 30000 x 30000 voxels"),
        (altered(40, "8h", 3, 40, -36, 16, 1, 1, 1, 1), "of its sizes"),
        (altered(40, "8h", 9, 40, 36, 16, 1, 1, 1, 1), "of its sizes"),
        (altered(40, "8h", 3, 400, 36, 16, 1, 1, 1, 1), "It is cut off: 46432 bytes, where 461152 are needed"),
        (altered(70, "2h", 128, 24), "Its voxels are colours"),
        (altered(70, "2h", 32, 64), "Its voxels are complex numbers"),
        (altered(70, "2h", 99, 16), "numbers of type 99"),
        (altered(72, "h", 32), "32 bits a voxel and int16, which has 16"),
        (altered(108, "f", 10), "begin at byte 10"),
        (altered(108, "f", NAN), "begin at byte nan"),
        (altered(280, "4f", NAN, 0, 0, 0), "affine holds what is no number"),
        (altered(280, "4f", 0, 0, 0, 0), "affine is flat"),
        (altered(280, "4f", 2e4, 0, 0, 0), "said to be 20000 x"),
        (altered(292, "f", 1e30), r"at 1e\+30 x"),
        (nifti(PHANTOM)[:-100], "It is cut off: 46332 bytes, where 46432 are needed"),
        (nifti(PHANTOM, compressed=True)[:2000], "cut off"),
        (nifti(PHANTOM, compressed=True)[:1500] + b"\xff" * 400 + nifti(PHANTOM, compressed=True)[1900:], "damaged"),
        (nifti(PHANTOM, compressed=True)[:30] + b"\xff" * 40 + nifti(PHANTOM, compressed=True)[70:], "damaged"),
        (gzip.compress(b"no volume" * 100, mtime=0), "It is no NIfTI file"),
        (gzip.compress(b"", mtime=0), "It is no NIfTI file"),
    ],
)
def test_a_header_that_lies_is_refused(data: bytes, reason: str) -> None:
    for policy in ("refuse", "accept"):
        with pytest.raises((InvalidMedia, TooLarge), match=reason):
            read(data, policy)


def test_a_gzip_bomb_is_refused_when_it_goes_beyond_its_header() -> None:
    bomb = gzip.compress(nifti(PHANTOM) + bytes(64 << 20), 6)
    assert len(bomb) < 200_000
    with pytest.raises(TooLarge, match="inflates to more than its header says"):
        read(bomb)

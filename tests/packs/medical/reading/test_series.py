"""Several series in one place: one is chosen, and the others are named with the reason."""

from __future__ import annotations

import numpy as np
import pytest
from tests.packs.medical.phantoms import Phantom, files, phantom, series, written, zipped
from tests.packs.medical.reading.reading import read

from sightline.core.errors import InvalidMedia

PHANTOM = phantom()
SMALL = Phantom(PHANTOM.voxels_IJK[:, :, :5], PHANTOM.mask_IJK[:, :, :5], PHANTOM.affine)


def study() -> dict[str, bytes]:
    scout = series(SMALL, uid="1.2.9", description="scout", number=1)
    report = series(SMALL, uid="1.2.8", description="report", number=8)[:1]
    report[0].Modality = "SR"
    del report[0].PixelData, report[0].Rows
    others = {f"b/{k}": written(each) for k, each in enumerate([*scout, *report])}
    return {**others, **files(series(PHANTOM)), "README": b"made by hand"}


def test_the_series_with_the_most_slices_is_chosen_and_the_rest_is_named() -> None:
    for data in (study(), zipped(study())):
        found = read(data, "refuse")

        np.testing.assert_array_equal(found.voxels_IJK, PHANTOM.voxels_IJK)
        assert found.study["series"] == {"uid": "1.2.826.0.1.3680043.10.1.1", "description": "axial", "number": 2}
        rest = {each["reason"]: (each["description"], each["num_files"]) for each in found.study["rest"]}
        assert rest == {
            "another series; 16 slices were chosen over it": ("scout", 5),
            "no picture (SR)": ("report", 1),
            "no DICOM": ("", 1),
        }


def test_among_equally_long_series_ct_comes_before_mr() -> None:
    both = {
        **{f"a/{k}": written(each) for k, each in enumerate(series(PHANTOM, modality="MR", uid="1.2.1", number=1))},
        **{f"b/{k}": written(each) for k, each in enumerate(series(PHANTOM, modality="CT", uid="1.2.2", number=2))},
    }
    assert read(both).study["modality"] == "CT"


def test_the_digest_knows_neither_names_nor_containers() -> None:
    slices = series(PHANTOM)
    digests = {
        read(data).study["digest"]
        for data in (files(slices), files(slices[::-1]), zipped(files(slices)), {**files(slices), "README": b"x"})
    }
    slices[3].PatientPosition = "FFS"

    assert len(digests) == 1
    assert read(files(slices)).study["digest"] not in digests


def test_a_study_without_a_slice_says_what_is_there() -> None:
    with pytest.raises(InvalidMedia, match="It holds no DICOM file"):
        read({"a": b"text", "b": b"more text"})
    with pytest.raises(InvalidMedia, match="It is empty"):
        read(b"")


def test_a_description_may_be_russian() -> None:
    slices = series(PHANTOM, description="голова")
    for each in slices:
        each.SpecificCharacterSet = "ISO_IR 144"
    assert read(files(slices)).study["series"]["description"] == "голова"

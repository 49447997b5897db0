"""The source `study`: one sample, read in a process of its own."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

import numpy as np
import pytest
from tests.packs.medical.phantoms import enhanced, files, nifti, phantom, series, written, zipped

from sightline.core.errors import Cancelled, ConfigError, InvalidInput, InvalidMedia, TooLarge
from sightline.core.sample import Sample, Volume
from sightline.packs.medical.reading.datasets import headers_of
from sightline.packs.medical.sources.study import StudySource
from sightline.testing import make_context

PHANTOM = phantom()


def opened(**fields: Any) -> StudySource:
    source = StudySource(**fields)
    source.open(make_context(source="study"))
    return source


def load(data: bytes, name: str = "scan", **fields: Any) -> Sample[Volume]:
    [sample] = opened(**fields).load(io.BytesIO(data), name, "application/octet-stream")
    return sample


def many(content: Mapping[str, bytes]) -> Iterator[tuple[str, BinaryIO]]:
    return ((name, io.BytesIO(data)) for name, data in content.items())


@pytest.mark.parametrize("container", ["nifti", "zip", "dicom"])
def test_equal_pixels_give_equal_volumes_in_every_container(container: str) -> None:
    slices = series(PHANTOM, modality="MR")
    if container == "dicom":
        [sample] = opened(geometry="refuse").load_many(many(files(slices)), "study/")
    else:
        sample = load(zipped(files(slices)) if container == "zip" else nifti(PHANTOM), geometry="refuse")

    assert sample.payload.voxels_IJK.dtype == np.int16
    np.testing.assert_array_equal(sample.payload.voxels_IJK, PHANTOM.voxels_IJK)
    np.testing.assert_allclose(sample.payload.affine, PHANTOM.affine, atol=1e-6)
    study = sample.metadata["study"]
    assert study["container"] == container
    assert study["dimensions"] == [40, 36, 16]
    assert study["spacing"] == [1.5, 1.25, 2.0]
    assert study["orientation"] == "RAS"
    assert study["problems"] == []
    assert study["digest"].startswith("sha256:")


def test_the_profile_says_what_is_done_about_a_doubtful_geometry(tmp_path: Path) -> None:
    data = zipped(files(series(PHANTOM)[:6] + series(PHANTOM)[7:]))
    assert load(data, profile="fast_debug").metadata["study"]["problems"][0]["code"] == "missing_slice"
    with pytest.raises(InvalidMedia, match=r"^scan: 1 of 16 slices are missing\. \(missing_slice\)$"):
        load(data, profile="production")
    assert load(data, profile="production", geometry="repair").payload.voxels_IJK.shape == (40, 36, 16)
    with pytest.raises(InvalidInput, match="No profile is called"):
        opened(profile="slow", profiles=str(tmp_path))


def test_a_wrong_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="timeout_s"):
        StudySource(timeout_s=0)


def test_a_folder_without_a_file_says_so() -> None:
    with pytest.raises(InvalidMedia, match="uploads/nothing/ holds no file"):
        list(opened().load_many(iter(()), "uploads/nothing/"))


def test_a_file_that_is_none_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidMedia, match="scan: It holds no DICOM file"):
        load(b"a text")


def test_too_little_time_or_memory_is_an_error_about_the_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidMedia, match=r"scan: It took more than 0\.01 s to read"):
        load(nifti(PHANTOM), timeout_s=0.01)
    (tmp_path / "small.yaml").write_text("memory_mb: 64\n", "utf-8")
    large = bytearray(nifti(PHANTOM))
    struct.pack_into("<4h", large, 40, 3, 512, 512, 200)  # what it says counts, before anything is inflated
    with pytest.raises(TooLarge, match="scan: It holds an array of 200 x 512 x 512: 100 MB, where 64 MB may be used"):
        load(gzip.compress(large), profile="small", profiles=str(tmp_path))


def test_a_job_that_is_stopped_does_not_wait_for_the_reader() -> None:
    stopping = Event()
    stopping.set()
    source = StudySource()
    source.open(make_context(stopping=stopping))
    with pytest.raises(Cancelled):
        list(source.load(io.BytesIO(nifti(PHANTOM)), "scan", ""))


def test_headers_come_in_the_order_of_the_slices_without_pixels() -> None:
    slices = series(PHANTOM)
    slices[2].add_new(0x00091010, "LO", "private")
    content = files([*slices, *series(PHANTOM, uid="1.2.5", description="short")[:3]])
    [sample] = opened().load_many(many(content), "study/")

    found = headers_of(make_context(), many(content), sample.metadata["study"])

    assert list(found) == [each.SOPInstanceUID for each in slices]
    for each, header in zip(slices, found.values(), strict=True):
        assert header.ImagePositionPatient == each.ImagePositionPatient
        assert header.PatientName == "Phantom^A"
        assert "PixelData" not in header
        assert 0x00091010 not in header


def test_an_enhanced_file_has_one_header_and_a_nifti_none() -> None:
    data = written(enhanced(PHANTOM))
    study = load(data).metadata["study"]

    [header] = headers_of(make_context(), many({"scan": data}), study).values()

    assert len(header.PerFrameFunctionalGroupsSequence) == 16
    assert not headers_of(make_context(), many({"scan": nifti(PHANTOM)}), load(nifti(PHANTOM)).metadata["study"])

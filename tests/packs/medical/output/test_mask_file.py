from __future__ import annotations

import gzip
import io
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tests.packs.medical.output.reports import report_of, study_of
from tests.packs.medical.phantoms import AXIS_ORDERS, phantom

from sightline.core.prediction import Mask
from sightline.packs.medical.output.mask_file import (
    mask_file,
    nifti_file,
    nifti_head,
    uncertainty_file,
    uncertainty_kind,
)
from sightline.packs.medical.output.report import Report
from sightline.packs.medical.output.result_json import orientation_of


def opened(data: bytes, folder: Path) -> Any:  # nibabel tells no types
    path = folder / "file.nii.gz"
    path.write_bytes(data)
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image | nib.Nifti2Image)
    return image


@pytest.mark.parametrize("order", AXIS_ORDERS)
def test_a_mask_lies_on_the_grid_of_its_input(order: str, tmp_path: Path) -> None:
    report = report_of(phantom((9, 8, 7)).reoriented(order))

    image = opened(mask_file(report).read(), tmp_path)

    np.testing.assert_array_equal(np.asarray(image.dataobj), report.mask.labels_HW)
    np.testing.assert_allclose(image.affine, report.volume.affine, atol=1e-5)
    np.testing.assert_allclose(image.get_qform(), report.volume.affine, atol=1e-4)
    assert orientation_of(image.affine) == order
    assert image.get_data_dtype() == np.uint8
    assert image.header.get_intent()[0] == "label"
    assert image.header.get_xyzt_units()[0] == "mm"


def test_the_codes_tell_scanner_space_for_dicom_and_what_a_nifti_had(tmp_path: Path) -> None:
    of = phantom()
    for study, code in (
        (study_of(of, container="dicom"), 1),
        (study_of(of), 2),
        (study_of(of, form_code=4), 4),
    ):
        header = opened(mask_file(report_of(of, study=study)).read(), tmp_path).header
        assert (int(header["sform_code"]), int(header["qform_code"])) == (code, code)


def test_a_tilted_grid_keeps_its_shear_and_claims_no_rotation(tmp_path: Path) -> None:
    report = report_of(phantom().sheared(12))
    image = opened(mask_file(report).read(), tmp_path)
    np.testing.assert_allclose(image.affine, report.volume.affine, atol=1e-5)
    assert int(image.header["qform_code"]) == 0
    assert int(image.header["sform_code"]) == 2


def test_equal_masks_are_equal_bytes_and_any_gzip_reads_them() -> None:
    first, second = mask_file(report_of()).read(), mask_file(report_of()).read()
    assert first == second
    shape = report_of().mask.labels_HW.shape
    assert len(gzip.decompress(first)) == 352 + int(np.prod(shape))


def test_many_labels_need_two_bytes(tmp_path: Path) -> None:
    of = phantom()
    many = Mask(labels_HW=of.mask_IJK.astype(np.uint16) * 300, class_name=tuple(map(str, range(301))))
    few = Mask(labels_HW=of.mask_IJK.astype(np.uint16), class_name=("background", "lesion"))
    for mask, dtype in ((many, np.uint16), (few, np.uint8)):
        image = opened(mask_file(report_of(of, mask=mask)).read(), tmp_path)
        assert image.get_data_dtype() == dtype
        np.testing.assert_array_equal(np.asarray(image.dataobj), mask.labels_HW)


def test_the_uncertainty_of_an_ensemble_is_its_spread(tmp_path: Path) -> None:
    report = report_of(maps=True)
    file = uncertainty_file(report)
    assert file is not None
    image = opened(file.read(), tmp_path)
    np.testing.assert_allclose(image.get_fdata(), 0.25 * report.mask.labels_HW.astype(float), atol=0.5 / 255)
    np.testing.assert_allclose(image.affine, report.volume.affine, atol=1e-5)
    assert uncertainty_kind(report) == "spread"


def test_the_uncertainty_of_one_net_is_the_entropy_of_its_probability(tmp_path: Path) -> None:
    of = phantom()
    half = np.where(of.mask_IJK > 0, 0.5, 1.0).astype(np.float16)
    mask = Mask(labels_HW=of.mask_IJK, class_name=("background", "lesion"), maps={"probability": half})
    report = report_of(of, mask=mask)
    file = uncertainty_file(report)
    assert file is not None
    np.testing.assert_allclose(opened(file.read(), tmp_path).get_fdata(), of.mask_IJK, atol=0.5 / 255)
    assert uncertainty_kind(report) == "entropy"


def test_without_a_map_there_is_no_uncertainty() -> None:
    assert uncertainty_file(report_of()) is None
    assert uncertainty_kind(report_of()) == ""


def test_a_side_too_long_for_the_old_format_makes_the_new_one() -> None:
    head = nifti_head((40_000, 1, 1), np.eye(4), np.dtype(np.uint8))
    kind: Any = nib.Nifti2Header
    header = kind.from_fileobj(io.BytesIO(head))
    assert header.get_data_shape() == (40_000, 1, 1)
    assert int(header["vox_offset"]) == 544


def test_writing_takes_the_memory_of_a_slab_and_not_of_the_volume(large: Report) -> None:
    tracemalloc.start()
    file = mask_file(large)
    num_bytes = 0
    while piece := file.read(1 << 20):
        num_bytes += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_bytes > 0
    assert peak < 24 << 20 < large.mask.labels_HW.nbytes


@pytest.fixture
def large() -> Report:
    labels = np.zeros((256, 256, 600), np.uint8)
    labels[100:140, 90:130, 200:400] = 1
    voxels = np.broadcast_to(np.int16(0), labels.shape)
    of = phantom((8, 8, 8))
    return report_of(
        of,
        volume=type(report_of(of).volume)(voxels, of.affine),
        mask=Mask(labels_HW=labels, class_name=("background", "lesion")),
        findings=(),
    )


def test_numbers_may_be_scaled(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 8 * 4 * 3, dtype=np.float32).reshape(8, 4, 3)
    data = nifti_file(values, np.eye(4), dtype=np.dtype(np.uint8), slope=1 / 255, convert=lambda v: np.rint(v * 255))
    np.testing.assert_allclose(opened(data.read(), tmp_path).get_fdata(), values, atol=0.5 / 255)

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID, JPEGLSLossless
from tests.packs.medical.output.reports import finding_of, report_of, study_of
from tests.packs.medical.phantoms import Phantom, enhanced, phantom, series, written

from sightline.core.errors import InvalidMedia
from sightline.core.prediction import Mask
from sightline.packs.medical.output.deidentify import deidentified
from sightline.packs.medical.output.dicom_seg import segmentation
from sightline.packs.medical.output.dicom_source import NoPictures, Pictures, pictures_of, placed_labels
from sightline.packs.medical.output.dicom_sr import structured_report
from sightline.packs.medical.output.report import Report

TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
LABELMAP, BINARY = "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.66.4"


def by_uid(datasets: Sequence[Dataset]) -> dict[str, Dataset]:
    """Return headers without pixels, as the reading gives them."""
    made = {}
    for each in datasets:
        header = Dataset.from_json(Dataset(each).to_json_dict())
        if "PixelData" in header:
            del header.PixelData
        made[str(each.SOPInstanceUID)] = header
    return made


def of_series(of: Phantom, datasets: Sequence[Dataset] = (), **others: Any) -> tuple[Report, Pictures]:
    datasets = datasets or series(of)
    report = report_of(of, study=study_of(of, datasets), **others)
    return report, pictures_of(report, by_uid(datasets))


def of_enhanced(of: Phantom) -> tuple[Report, Pictures]:
    dataset = enhanced(of)
    last = of.voxels_IJK.shape[2] - 1
    slices = [{"index": k, "sop_uid": str(dataset.SOPInstanceUID), "frame": last - k} for k in range(last + 1)]
    report = report_of(of, study=study_of(of, container="dicom", slices=slices))
    return report, pictures_of(report, by_uid([dataset]))


def again(dataset: Any) -> Dataset:
    """Return a dataset as another program reads it."""
    file = io.BytesIO()
    dataset.save_as(file)
    file.seek(0)
    return dcmread(file)


def labels_in(dataset: Dataset, report: Report) -> np.ndarray[Any, Any]:
    """Return the labels of a segmentation on the grid of the input, by the geometry that it tells."""
    volume = hd.seg.Segmentation.from_dataset(dataset).get_volume(combine_segments=True)
    made = np.zeros(report.mask.labels_HW.shape, np.uint8)
    places = np.argwhere(volume.array)
    world = np.c_[places, np.ones(len(places))] @ (TO_LPS @ volume.affine).T
    voxels = world @ np.linalg.inv(report.volume.affine).T
    i, j, k = np.rint(voxels[:, :3]).astype(int).T
    np.testing.assert_allclose(voxels[:, :3], np.c_[i, j, k], atol=1e-3)  # on the grid, not between
    made[i, j, k] = volume.array[tuple(places.T)]
    return made


@pytest.mark.parametrize("form", ["labelmap", "binary"])
def test_a_segmentation_holds_the_labels_where_they_are(form: Any) -> None:
    report, pictures = of_series(phantom())
    dataset = again(segmentation(report, pictures, form=form))

    np.testing.assert_array_equal(labels_in(dataset, report), report.mask.labels_HW)
    assert dataset.SOPClassUID == {"labelmap": LABELMAP, "binary": BINARY}[form]
    assert (dataset.file_meta.TransferSyntaxUID == JPEGLSLossless) is (form == "labelmap")
    assert dataset.FrameOfReferenceUID == pictures.first.FrameOfReferenceUID
    assert dataset.StudyInstanceUID == pictures.first.StudyInstanceUID
    assert dataset.SeriesInstanceUID != pictures.first.SeriesInstanceUID


@pytest.mark.parametrize("order", ["RAS", "LPS", "LAI", "PIR", "ASL", "SRP"])
def test_the_order_of_the_axes_changes_nothing(order: str) -> None:
    report, pictures = of_series(phantom((20, 18, 12)).reoriented(order))
    dataset = again(segmentation(report, pictures))
    np.testing.assert_array_equal(labels_in(dataset, report), report.mask.labels_HW)


@pytest.mark.parametrize("order", ["LPS", "ALS", "RPS", "PRS"])
def test_a_volume_whose_axes_were_turned_still_finds_its_pictures(order: str) -> None:
    """The reading may lay the pictures' columns and rows along whichever of the first two axes it likes."""
    of = phantom((20, 18, 12))
    turned = of.reoriented(order)
    report = report_of(turned, study=study_of(turned, series(of)))
    dataset = again(segmentation(report, pictures_of(report, by_uid(series(of)))))
    np.testing.assert_array_equal(labels_in(dataset, report), turned.mask_IJK)


def test_a_tilted_series_keeps_the_places_of_its_pictures() -> None:
    of = phantom().sheared(12)
    report, pictures = of_series(of)
    dataset = again(segmentation(report, pictures))
    positions = [
        tuple(float(each) for each in frame.PlanePositionSequence[0].ImagePositionPatient)
        for frame in dataset.PerFrameFunctionalGroupsSequence
    ]
    filled = [k for k in range(of.mask_IJK.shape[2]) if of.mask_IJK[:, :, k].any()]
    wanted = [tuple(map(float, pictures.headers[k].ImagePositionPatient)) for k in filled]
    np.testing.assert_allclose(sorted(positions), sorted(wanted))


def test_each_frame_names_the_picture_from_which_it_was_made() -> None:
    report, pictures = of_series(phantom())
    dataset = again(segmentation(report, pictures, form="binary"))
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        [header] = [each for each in pictures.headers if each.SOPInstanceUID == source]
        assert frame.PlanePositionSequence[0].ImagePositionPatient == header.ImagePositionPatient


def test_the_frames_of_an_enhanced_file_are_found_whatever_their_order() -> None:
    report, pictures = of_enhanced(phantom())
    dataset = again(segmentation(report, pictures))
    np.testing.assert_array_equal(labels_in(dataset, report), report.mask.labels_HW)


def test_segments_are_named_and_coded_as_the_labels() -> None:
    of = phantom()
    labels = of.mask_IJK.copy()
    labels[6:12, 10:20, 4:8] = 3
    mask = Mask(labels_HW=labels, class_name=("background", "brain", "", "очаг"), model="little-net@2")
    report, pictures = of_series(of, mask=mask)
    for form in ("labelmap", "binary"):
        dataset = again(segmentation(report, pictures, form=form))
        np.testing.assert_array_equal(labels_in(dataset, report), labels)
        told = {int(each.SegmentNumber): each for each in dataset.SegmentSequence if each.SegmentNumber}
        assert [told[number].SegmentLabel for number in (1, 2, 3)] == ["brain", "label 2", "очаг"]
        assert told[1].SegmentedPropertyTypeCodeSequence[0].CodeValue == "12738006"
        assert told[3].SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99SIGHTLINE"
        assert told[1].SegmentAlgorithmName == "little-net"
        assert told[1].SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "2"


def test_an_empty_mask_has_a_segmentation_and_a_report() -> None:
    of = phantom()
    of.mask_IJK[:] = 0
    report, pictures = of_series(of)
    made = segmentation(report, pictures)
    assert not hd.seg.Segmentation.from_dataset(again(made)).get_volume(combine_segments=True).array.any()
    groups = hd.sr.Comprehensive3DSR.from_dataset(again(structured_report(report, pictures, made)))
    assert "0.0" in str(groups.content)


def test_slices_without_a_picture_are_left_out() -> None:
    of = phantom()
    datasets = series(of)
    hole = int(np.argwhere(of.mask_IJK)[:, 2].mean())
    study = study_of(of, datasets)
    study = {**study, "slices": [each for each in study["slices"] if each["index"] != hole]}
    report = report_of(of, study=study)
    pictures = pictures_of(report, by_uid(datasets))
    wanted = of.mask_IJK.copy()
    wanted[:, :, hole] = 0
    assert hole not in pictures.slices
    assert placed_labels(report, pictures).sum() == wanted.sum()
    assert again(segmentation(report, pictures)).NumberOfFrames == len({*np.argwhere(wanted)[:, 2]})


def test_a_volume_that_was_no_dicom_has_no_pictures() -> None:
    with pytest.raises(NoPictures, match="no DICOM"):
        pictures_of(report_of(), {})


def test_pictures_of_another_grid_are_refused() -> None:
    report, _ = of_series(phantom())
    datasets = series(phantom(spacing_mm=(1.0, 1.25, 2.0)))
    with pytest.raises(InvalidMedia, match="not lie on the grid"):
        segmentation(report, pictures_of(report, by_uid(datasets)))


def test_headers_with_missing_elements_are_enough() -> None:
    datasets = series(phantom())
    for each in datasets:
        for keyword in ("PatientID", "PatientName", "StudyID", "AccessionNumber", "StudyTime", "PatientBirthDate"):
            delattr(each, keyword)
    report, pictures = of_series(phantom(), datasets)
    assert again(segmentation(report, pictures)).PatientID == ""


def test_the_same_job_gives_the_same_uids_and_another_job_others() -> None:
    report, pictures = of_series(phantom())
    other = replace(report, provenance=replace(report.provenance, run="run-2"))
    one, two, three = (segmentation(each, pictures).SOPInstanceUID for each in (report, report, other))
    assert one == two != three
    assert UID(one).is_valid


def test_a_patient_whose_name_is_written_in_an_old_alphabet_keeps_it() -> None:
    datasets = series(phantom())
    for each in datasets:
        each.SpecificCharacterSet, each.PatientName = "ISO_IR 144", "Иванова^Анна"
    datasets = [dcmread(io.BytesIO(written(each))) for each in datasets]
    report, pictures = of_series(phantom(), datasets)
    made = segmentation(report, pictures)
    for dataset in (made, structured_report(report, pictures, made)):
        assert str(again(dataset).PatientName) == "Иванова^Анна"


def groups_of(dataset: Dataset) -> list[Any]:
    content: Any = hd.sr.Comprehensive3DSR.from_dataset(dataset).content
    return [
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]


def test_a_report_measures_each_finding_and_refers_to_its_segment() -> None:
    report, pictures = of_series(phantom())
    made = segmentation(report, pictures)
    dataset = again(structured_report(report, pictures, made))

    [group] = groups_of(dataset)
    [volume] = group.get_measurements()
    assert group.tracking_identifier == "lesion_1"
    assert group.finding_type.value == "52988006"
    assert (volume.value, volume.unit.value) == (report.findings[0].value, "mm3")
    assert group.referenced_segment.referenced_sop_instance_uid == made.SOPInstanceUID
    assert dataset.PreliminaryFlag == "PRELIMINARY"
    assert dataset.VerificationFlag == "UNVERIFIED"
    assert dataset.StudyInstanceUID == pictures.first.StudyInstanceUID


def test_findings_of_one_label_refer_to_the_pictures_through_their_middles() -> None:
    of = phantom()
    findings = tuple(finding_of(of.mask_IJK, of.affine, number) for number in (1, 2))
    report, pictures = of_series(of, findings=findings)
    dataset = again(structured_report(report, pictures, segmentation(report, pictures)))
    groups = groups_of(dataset)
    assert [group.tracking_identifier for group in groups] == ["lesion_1", "lesion_2"]
    k = (findings[0].data or {})["location"]["z"]
    [image] = groups[0].source_images
    assert image.referenced_sop_instance_uid == pictures.headers[k].SOPInstanceUID


def test_of_an_enhanced_file_the_frame_is_named() -> None:
    report, pictures = of_enhanced(phantom())
    [group] = groups_of(again(structured_report(report, pictures)))
    k = (report.findings[0].data or {})["location"]["z"]
    assert group.source_images[0].referenced_frame_numbers == [of_frame(pictures, k)]


def of_frame(pictures: Pictures, k: int) -> int:
    assert pictures.frames is not None
    return pictures.frames[k] + 1


def test_from_headers_without_a_patient_nothing_of_one_comes_out() -> None:
    key = "a key that nobody knows"
    of = phantom()
    datasets = series(of, description="Ivanova head")
    for each in datasets:
        each.PatientName, each.PatientID, each.PatientBirthDate = "Ivanova^Anna", "MRN-778812", "19610312"
        each.StudyDescription = each.InstitutionName = "Ivanova clinic"
    cleaned = [deidentified(each, key) for each in datasets]
    report, pictures = of_series(of, cleaned)
    made = segmentation(report, pictures)
    for dataset in (made, structured_report(report, pictures, made)):
        file = io.BytesIO()
        dataset.save_as(file)
        for word in (b"IVANOVA", b"778812", b"19610312", str(datasets[0].StudyInstanceUID).encode()):
            assert word not in file.getvalue().upper()
    np.testing.assert_array_equal(labels_in(again(made), report), of.mask_IJK)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("what", ["seg", "sr"])
def test_the_validator_of_dicom3tools_has_nothing_to_say(what: str, tmp_path: Path) -> None:
    report, pictures = of_series(phantom())
    made = segmentation(report, pictures, form="binary")  # labelmaps are younger than the packaged validators
    path = tmp_path / f"{what}.dcm"
    (made if what == "seg" else structured_report(report, pictures, made)).save_as(path)
    said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")] == []


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dcmtk is not installed")
def test_dcmtk_reads_the_report(tmp_path: Path) -> None:
    report, pictures = of_series(phantom())
    path = tmp_path / "sr.dcm"
    structured_report(report, pictures, segmentation(report, pictures, form="binary")).save_as(path)
    said = subprocess.run(["dsrdump", str(path)], capture_output=True, text=True, timeout=60, check=True)
    assert '"Volume")="2148.75' in said.stdout or '"Volume")="' in said.stdout
    assert "lesion_1" in said.stdout

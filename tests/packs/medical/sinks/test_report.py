from __future__ import annotations

import gzip
import io
import json
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from threading import Event as Flag
from typing import Any

import highdicom as hd
import jsonschema_rs
import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from tests.packs.medical.output.reports import METRICS, finding_of, report_of, sample_of, study_of
from tests.packs.medical.output.workbooks import sheets_of
from tests.packs.medical.phantoms import LESION, enhanced, phantom, series
from tests.packs.medical.phantoms import files as dicom_in
from tests.packs.medical.phantoms import written as dicom

from sightline.core.errors import Cancelled, ConfigError, InvalidInput
from sightline.core.model import ModelCard
from sightline.core.prediction import Findings, Mask
from sightline.core.run import Run, RunKind
from sightline.core.sample import Sample, Volume
from sightline.packs.medical.output.report import Report
from sightline.packs.medical.sinks.report import MedicalReport
from sightline.packs.medical.sources.study import StudySource
from sightline.testing import START, FakeClock, FakePorts, FakeSession, make_context

STEM = "runs/run-1/1/result"
SCHEMA = json.loads(files("sightline.packs.medical.output").joinpath("result.schema.json").read_text("utf-8"))
NET = FakeSession({}, ModelCard(name="little-net", version="2", digest="sha256:" + "7" * 64, licence="MIT"))
KEY = "a key that nobody knows"


def finished(report: Report) -> Sample[Volume]:
    """Return the sample of a report as the predictors of a job leave it."""
    sample = sample_of(report).with_prediction("mask", report.mask)
    sample = sample.with_prediction("findings", Findings(items=tuple(report.findings)))
    return sample.with_prediction("metrics", Findings(items=METRICS))


def written(
    report: Report | None = None,
    *,
    ports: FakePorts | None = None,
    output: str | None = "results/analysis_1",
    context: dict[str, Any] | None = None,
    **fields: Any,
) -> tuple[dict[str, str], FakePorts]:
    """Return what the sink made, and where it is."""
    ports = ports or FakePorts()
    clock = FakeClock()
    run = Run(case="brain", kind=RunKind.JOB, id="run-1", spec={"output": output, "object": "uploads/scan.zip"})
    ports.store.runs.create(run, worker="w")
    sink = MedicalReport(**{"of": "mask", "findings": "findings", "metrics": "metrics", **fields})
    world = {"results": STEM, "object": "uploads/scan.zip", "run": "run-1", "models": {"little-net@2": NET}}
    sink.open(make_context(ports=ports, clock=clock, **world | (context or {})))
    clock.advance(45.2)
    sink.write([finished(report or report_of())])
    sink.close()
    return dict(sink.made), ports


def stored(ports: FakePorts, key: str) -> bytes:
    with ports.artifacts.open(key) as file:
        return file.read()


def result(made: dict[str, str], ports: FakePorts) -> dict[str, Any]:
    value = json.loads(stored(ports, made["json"]))
    jsonschema_rs.validator_for(SCHEMA).validate(value)
    return dict(value)


def test_a_job_leaves_what_its_profile_says_under_its_stem() -> None:
    report = report_of()
    made, ports = written(report)
    assert made == {"mask": f"{STEM}.nii.gz", "xlsx": f"{STEM}.xlsx", "json": f"{STEM}.json"}
    assert list(ports.artifacts.list()) == sorted(made.values())

    voxels = np.frombuffer(gzip.decompress(stored(ports, made["mask"]))[352:], np.uint8)
    np.testing.assert_array_equal(voxels.reshape(report.mask.labels_HW.shape, order="F"), report.mask.labels_HW)
    assert "Findings" in sheets_of(stored(ports, made["xlsx"]))


def test_the_result_names_the_public_keys_and_where_it_comes_from() -> None:
    told = result(*written(threshold=0.4))
    assert told["files"] == {
        "mask": "results/analysis_1.nii.gz",
        "xlsx": "results/analysis_1.xlsx",
        "json": "results/analysis_1.json",
    }
    assert told["segmentation"]["file_path"] == "results/analysis_1.nii.gz"
    provenance = told["provenance"]
    assert provenance["models"] == [{"model": "little-net@2", "digest": "sha256:" + "7" * 64, "licence": "MIT"}]
    assert (provenance["profile"]["name"], provenance["profile"]["threshold"]) == ("fast_debug", 0.4)
    assert provenance["input"] == {"object": "uploads/scan.zip", "digest": "sha256:" + "5" * 64}
    assert provenance["finished"] == (START + timedelta(seconds=45.2)).isoformat()
    assert provenance["run"] == "run-1"
    assert provenance["code"].startswith("sightline ")
    assert [each["name"] for each in told["metrics"]] == ["dice_score", "hausdorff_distance", "assd"]


def test_without_an_output_the_keys_of_the_attempt_are_the_result() -> None:
    assert result(*written(output=None))["segmentation"]["file_path"] == f"{STEM}.nii.gz"


def test_each_member_of_an_ensemble_is_told_also_one_that_is_gone() -> None:
    report = report_of()
    report = replace(report, mask=replace(report.mask, model="little-net@2 + gone@1"))
    models = result(*written(report))["provenance"]["models"]
    assert [(each["model"], each["digest"][:8]) for each in models] == [("little-net@2", "sha256:7"), ("gone@1", "")]


def test_pictures_stand_beside_the_report_and_in_it() -> None:
    made, ports = written(outputs=("json", "xlsx", "previews"))
    assert list(made) == ["preview", "axial", "coronal", "sagittal", "xlsx", "json"]
    assert result(made, ports)["provenance"]["profile"]["outputs"] == ["json", "xlsx", "previews"]
    assert stored(ports, made["preview"]).startswith(b"\x89PNG")
    assert result(made, ports)["files"]["axial"] == "results/analysis_1.axial.png"


def test_the_uncertainty_is_a_map_of_its_own() -> None:
    report = report_of(maps=True)
    made, ports = written(report, outputs=("mask", "uncertainty", "json"))
    data = gzip.decompress(stored(ports, made["uncertainty"]))
    image = nib.Nifti1Image.from_stream(io.BytesIO(data))
    np.testing.assert_allclose(image.get_fdata(), 0.25 * report.mask.labels_HW, atol=0.002)
    assert result(made, ports)["segmentation"]["uncertainty"] == {
        "file_path": "results/analysis_1.uncertainty.nii.gz",
        "kind": "spread",
    }


def test_what_a_viewer_wants_lies_beside_the_mask() -> None:
    report = report_of(maps=True)
    made, ports = written(report, outputs=("json", "probability", "volume"))
    chances: Any = nib.Nifti1Image.from_bytes(gzip.decompress(stored(ports, made["probability"])))
    np.testing.assert_allclose(np.asarray(chances.dataobj), 0.9 * report.mask.labels_HW, atol=0.003)
    is_nifti = report.study.get("container") == "nifti"
    assert ("volume" in made) is not is_nifti
    other = replace(report, study={**report.study, "container": "dicom" if is_nifti else "nifti"})
    made_too, ports_too = written(other, outputs=("json", "volume"))
    assert ("volume" in made_too) is is_nifti
    both = {**made, **made_too}["volume"]
    volume: Any = nib.Nifti1Image.from_bytes(gzip.decompress(stored(ports_too if is_nifti else ports, both)))
    assert np.array_equal(np.asarray(volume.dataobj), report.volume.voxels_IJK)
    assert np.allclose(volume.affine, report.volume.affine)


def test_what_cannot_be_made_is_a_note_and_no_failure() -> None:
    made, ports = written(outputs=("json", "seg", "sr", "uncertainty"))
    assert list(made) == ["json"]
    notes = {each["code"]: each["severity"] for each in result(made, ports)["problems"]}
    assert notes == {"uncertainty_not_made": "note", "dicom_not_made": "note"}


def read(key: str, content: dict[str, bytes]) -> Sample[Volume]:
    """Read an object as a job does."""
    source = StudySource()
    source.open(make_context())
    if key.endswith("/"):
        [sample] = source.load_many(((name, io.BytesIO(data)) for name, data in content.items()), key)
    else:
        [sample] = source.load(io.BytesIO(content[key]), key, "")
    return sample


def from_object(
    key: str, content: dict[str, bytes], sample: Sample[Volume], **fields: Any
) -> tuple[dict[str, str], FakePorts]:
    """Find the lesion of the phantom in a volume that was read from an object, and return what the sink makes of it."""
    ports = FakePorts()
    for name, data in content.items():
        ports.artifacts.put(name, data)
    labels = (sample.payload.voxels_IJK == LESION).astype(np.uint8)
    report = report_of(
        volume=sample.payload,
        mask=Mask(labels_HW=labels, class_name=("background", "lesion"), model="little-net@2"),
        study=sample.metadata["study"],
        findings=(finding_of(labels, sample.payload.affine),),
    )
    return written(report, ports=ports, context={"object": key}, **fields)


def from_series(datasets: list[Dataset], folder: str, **fields: Any) -> tuple[dict[str, str], FakePorts]:
    """Return what the sink makes of a series of the phantom that lies in a folder."""
    content = {f"{folder}{name}": data for name, data in dicom_in(datasets).items()}
    sample = sample_of(report_of(OF, study=study_of(OF, datasets)))
    return from_object(folder, content, sample, **fields)


def in_segmentation(data: bytes) -> float:
    """Return the volume of the first segment in mm3."""
    volume = hd.seg.Segmentation.from_dataset(dcmread(io.BytesIO(data))).get_volume(combine_segments=True)
    return float((volume.array == 1).sum() * abs(np.linalg.det(volume.affine[:3, :3])))


OF = phantom()
OBJECTS = {
    "a folder": ("uploads/head/", {f"uploads/head/{name}": data for name, data in dicom_in(series(OF)).items()}),
    "an enhanced file": ("uploads/head.dcm", {"uploads/head.dcm": dicom(enhanced(OF))}),
}


@pytest.mark.parametrize("what", OBJECTS)
def test_dicom_results_refer_to_the_object_of_the_job(what: str) -> None:
    key, content = OBJECTS[what]
    sample = read(key, content)
    made, ports = from_object(key, content, sample, outputs=("seg", "sr", "json"))
    assert list(made) == ["seg", "sr", "json"]

    segmentation, report = (dcmread(io.BytesIO(stored(ports, made[word]))) for word in ("seg", "sr"))
    assert in_segmentation(stored(ports, made["seg"])) == pytest.approx(OF.volume_mm3)
    known = {each["sop_uid"] for each in sample.metadata["study"]["slices"]}
    referred = {
        each.ReferencedSOPInstanceUID for each in segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referred <= known
    assert report.StudyInstanceUID == segmentation.StudyInstanceUID == series(OF)[0].StudyInstanceUID
    assert result(made, ports)["problems"] == sample.metadata["study"]["problems"]


def test_with_a_key_dicom_results_fit_together_and_name_nobody() -> None:
    datasets = series(OF, description="Ivanova head")
    for each in datasets:
        each.PatientName, each.PatientID = "Ivanova^Anna", "MRN-778812"
    made, ports = from_series(datasets, "uploads/ivanova/", outputs=("seg", "sr", "json"), deidentify_key=KEY)

    for word in made:
        data = stored(ports, made[word]).upper()
        for said in (b"IVANOVA", b"778812", str(datasets[0].StudyInstanceUID).encode()):
            assert said not in data, (word, said)
    assert in_segmentation(stored(ports, made["seg"])) == pytest.approx(OF.volume_mm3)
    told = {each["sop_uid"] for each in result(made, ports)["findings"][0]["slices"]}
    segmentation = dcmread(io.BytesIO(stored(ports, made["seg"])))
    referred = {
        each.ReferencedSOPInstanceUID for each in segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert told & referred == told


def test_pictures_in_which_words_may_stand_make_no_dicom_that_leaves() -> None:
    datasets = series(OF)
    for each in datasets:
        each.BurnedInAnnotation = "YES"
    made, ports = from_series(datasets, "uploads/a/", outputs=("seg", "previews", "json"), deidentify_key=KEY)
    assert list(made) == ["json"]
    told = {each["code"]: each["message"] for each in result(made, ports)["problems"]}
    assert "burned into its pixels" in told["dicom_not_made"]
    assert "previews_not_made" in told
    made, ports = from_series(datasets, "uploads/a/", outputs=("previews", "json"))  # without a key no picture either
    assert list(made) == ["json"]
    assert [each["code"] for each in result(made, ports)["problems"]] == ["previews_not_made"]


def test_headers_that_are_not_enough_are_a_note() -> None:
    datasets = series(OF)
    for each in datasets:
        del each.FrameOfReferenceUID
    made, ports = from_series(datasets, "uploads/a/", outputs=("mask", "seg", "json"))
    assert list(made) == ["mask", "json"]
    assert "dicom_not_made" in {each["code"] for each in result(made, ports)["problems"]}


def test_with_a_key_nothing_that_leaves_names_the_patient() -> None:
    # The object has gone meanwhile, so that nobody can tell whether words stand in its pictures.
    of = phantom()
    datasets = series(of, description="Ivanova head")
    problem = {"code": "missing_slice", "message": "ivanova-7.dcm", "severity": "accepted", "slices": [7]}
    report = report_of(of, study=study_of(of, datasets, problems=[problem]))
    made, ports = written(
        report,
        outputs=("mask", "json", "xlsx", "previews", "seg", "sr"),
        deidentify_key=KEY,
        context={"object": "uploads/ivanova.zip"},
    )
    text = json.dumps(result(made, ports)).lower()
    assert list(made) == ["mask", "xlsx", "json"]
    assert "previews_not_made" in text
    cells = [
        cell.value.lower() for sheet in sheets_of(stored(ports, made["xlsx"])).values() for cell in sheet.cells.values()
    ]
    for told in (text, "\n".join(cells)):
        assert "ivanova" not in told
        assert str(datasets[0].SeriesInstanceUID) not in told


def test_a_job_has_one_volume() -> None:
    sink = MedicalReport(of="mask", findings="findings")
    sink.open(make_context(results=STEM, models={"little-net@2": NET}))
    sample = finished(report_of())
    with pytest.raises(InvalidInput, match="one volume"):
        sink.write([sample, sample])


def test_outside_a_job_it_says_what_to_do() -> None:
    sink = MedicalReport(of="mask", findings="findings")
    sink.open(make_context())
    with pytest.raises(InvalidInput, match="jobs alone"):
        sink.write([finished(report_of())])


def test_a_stopped_job_writes_nothing_more() -> None:
    stopping = Flag()
    stopping.set()
    ports = FakePorts()
    with pytest.raises(Cancelled):
        written(ports=ports, context={"stopping": stopping})
    assert list(ports.artifacts.list()) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"outputs": ("mask", "pdf")}, "'pdf'"),
        ({"window": "liver"}, "'liver'"),
        ({"deidentify_key": "short"}, "5 characters"),
    ],
)
def test_wrong_fields_are_told_before_anything_runs(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        MedicalReport(of="mask", findings="findings", **fields)


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(MedicalReport(of="mask", findings="findings", deidentify_key=KEY))


def test_with_a_folder_what_the_result_was_made_of_is_kept_and_shown(tmp_path: Path) -> None:
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-1/mask-01-seen.png").write_bytes(b"of another step")
    made, ports = written(report_of(maps=True), debug_dir=str(tmp_path))
    kept = sorted(path.name for path in (tmp_path / "run-1").glob("*.nii.gz"))
    assert kept == [
        "report-01-volume.nii.gz",
        "report-02-mask.nii.gz",
        "report-03-probability.nii.gz",
        "report-04-agreement.nii.gz",
    ]
    shown = [word for word in made if word.startswith("debug/")]
    assert shown == sorted(f"debug/{path.name}" for path in (tmp_path / "run-1").iterdir())
    assert stored(ports, made["debug/mask-01-seen.png"]) == b"of another step"
    assert made["debug/report-02-mask.nii.gz"] == f"{STEM}.debug/report-02-mask.nii.gz"
    assert not [key for key in result(made, ports)["segmentation"].values() if "debug" in str(key)]


def test_intermediates_stay_where_they_are_when_nothing_may_name_the_patient(tmp_path: Path) -> None:
    made, _ = written(report_of(maps=True), debug_dir=str(tmp_path), deidentify_key=KEY)
    assert list((tmp_path / "run-1").glob("*.png"))
    assert not [word for word in made if word.startswith("debug/")]

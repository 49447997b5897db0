from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from tests.packs.medical.output.reports import finding_of, report_of, study_of
from tests.packs.medical.phantoms import phantom, series

from sightline.packs.medical.output.report import Report
from sightline.packs.medical.output.result_json import orientation_of, result_json

FILES = {"mask": "results/analysis_1234.nii.gz", "xlsx": "results/analysis_1234.xlsx"}
SCHEMA = json.loads(files("sightline.packs.medical.output").joinpath("result.schema.json").read_text("utf-8"))
PAGE = Path(__file__).parents[4] / "docs" / "reference" / "result-json.md"


def result(report: Report) -> dict[str, Any]:
    """Return the result of a report after it was held against the schema."""
    value = json.loads(result_json(report, FILES))
    jsonschema_rs.validator_for(SCHEMA).validate(value)
    return dict(value)


def test_the_names_that_clients_rely_on() -> None:
    of = phantom()
    told = result(report_of(of))

    assert told["summary"] == {
        "total_volume": pytest.approx(of.volume_mm3, abs=1e-3),
        "lesions_count": 1,
        "confidence": 0.92,
        "processing_time": 45.2,
        "by_type": {"lesion": {"count": 1, "volume": pytest.approx(of.volume_mm3, abs=1e-3)}},
    }
    [finding] = told["findings"]
    low, high = np.argwhere(of.mask_IJK).min(0), np.argwhere(of.mask_IJK).max(0)
    assert (finding["id"], finding["type"], finding["confidence"]) == ("lesion_1", "lesion", 0.92)
    assert finding["volume"] == pytest.approx(of.volume_mm3, abs=1e-3)
    assert of.mask_IJK[tuple(finding["location"][axis] for axis in "xyz")] == 1
    assert [finding["bounding_box"][f"min_{axis}"] for axis in "xyz"] == low.tolist()
    assert [finding["bounding_box"][f"max_{axis}"] for axis in "xyz"] == high.tolist()
    assert told["metrics"][:2] == [
        {"name": "dice_score", "value": 0.89, "description": "Dice similarity coefficient"},
        {"name": "hausdorff_distance", "value": 2.3, "description": "Hausdorff distance in mm", "unit": "mm"},
    ]
    assert told["segmentation"] | {"affine": None} == {
        "file_path": "results/analysis_1234.nii.gz",
        "format": "nifti",
        "dimensions": [40, 36, 16],
        "spacing": [1.5, 1.25, 2.0],
        "orientation": "RAS",
        "affine": None,
        "labels": [{"value": 1, "name": "lesion"}],
    }


def test_what_was_added_to_them() -> None:
    of = phantom()
    datasets = series(of)
    told = result(report_of(of, study=study_of(of, datasets)))

    [finding] = told["findings"]
    assert told["schema_version"] == "1.0"
    assert [finding["centroid_mm"][axis] for axis in "xyz"] == pytest.approx(of.centroid_mm.tolist())
    box = finding["bounding_box"]
    assert finding["slices"] == [
        {"index": k, "sop_uid": str(datasets[k].SOPInstanceUID)} for k in range(box["min_z"], box["max_z"] + 1)
    ]
    assert finding["touches_border"] is False
    assert finding["confidence_detail"] == {"mean": 0.92, "max": 0.99, "agreement": None, "calibrated": False}
    assert told["provenance"]["models"] == [
        {"model": "little-net@2", "digest": "sha256:" + "5" * 64, "licence": "MIT"},
    ]
    assert told["provenance"]["profile"]["threshold"] == 0.55
    assert told["provenance"]["input"]["digest"].startswith("sha256:")
    assert told["provenance"]["finished"] > told["provenance"]["started"]
    assert told["files"] == FILES


def test_problems_of_the_reading_stand_before_notes_of_the_writing() -> None:
    of = phantom()
    gap = {"code": "missing_slice", "message": "Slice 7 is missing.", "severity": "accepted", "slices": [7]}
    told = {"code": "seg_not_made", "message": "No DICOM.", "severity": "note", "slices": []}
    value = result(report_of(of, study=study_of(of, problems=[gap]), notes=(told,)))
    assert [each["code"] for each in value["problems"]] == ["missing_slice", "seg_not_made"]
    assert "problems" not in value["study"]


def test_a_volume_in_which_nothing_was_found_has_a_result() -> None:
    of = phantom()
    of.mask_IJK[:] = 0
    told = result(report_of(of, metrics=()))
    assert told["summary"] | {"processing_time": 0} == {
        "total_volume": 0.0,
        "lesions_count": 0,
        "confidence": 0.0,
        "processing_time": 0,
        "by_type": {},
    }
    assert told["findings"] == told["metrics"] == []


def test_the_confidence_of_a_result_counts_each_finding_by_its_volume() -> None:
    of = phantom()
    large, small = finding_of(of.mask_IJK, of.affine), finding_of(of.mask_IJK, of.affine, 2)
    small = type(small)(name="lesion", value=0.0, unit="mm3", data={**(small.data or {}), "confidence": 0.1})
    assert result(report_of(of, findings=(large, small)))["summary"]["confidence"] == 0.92


def test_a_distance_that_does_not_exist_is_null() -> None:
    metric = result(report_of())["metrics"][2]
    assert metric["name"] == "assd"
    assert metric["value"] is None


def test_the_schema_refuses_a_renamed_field() -> None:
    value = result(report_of())
    value["findings"][0]["size"] = value["findings"][0].pop("volume")
    assert not jsonschema_rs.validator_for(SCHEMA).is_valid(value)


@pytest.mark.parametrize("order", ["RAS", "LPS", "PIR", "ASL"])
def test_orientation_says_towards_which_side_the_axes_grow(order: str) -> None:
    assert orientation_of(phantom((4, 5, 6)).reoriented(order).affine) == order


def test_the_page_names_every_field_of_the_schema() -> None:
    def names(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return set().union(*map(names, schema))
        if not isinstance(schema, dict):
            return set()
        own = set(schema.get("properties", ())) if isinstance(schema.get("properties"), dict) else set()
        return own.union(*map(names, schema.values()))

    page = PAGE.read_text("utf-8")
    assert {name for name in names(SCHEMA) if f"`{name}`" not in page} == set()

"""The result of a job as JSON: the shape that clients rely on, and what was added to it.

`result.schema.json` beside this module is the same in JSON Schema; `docs/reference/result-json.md` explains it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightline.core.codec import to_json
from sightline.core.prediction import Finding, JsonObject
from sightline.packs.medical.metrics import DESCRIPTIONS
from sightline.packs.medical.output.mask_file import uncertainty_kind
from sightline.packs.medical.output.report import Report, details, volume_of

SCHEMA_VERSION = "1.0"
"""Raised in its first number where a field changes its meaning or goes; in its second where one is added."""


def result_json(report: Report, files: Mapping[str, str]) -> bytes:
    """Return the result as UTF-8 JSON; `files` are the public keys of what was made beside it, by their words."""
    return to_json(result_of(report, files), indent=True)


def result_of(report: Report, files: Mapping[str, str]) -> dict[str, Any]:
    """Return the result as `result_json` writes it."""
    slices = report.slices()
    return {
        "schema_version": SCHEMA_VERSION,
        "summary": {
            "total_volume": _rounded(report.total_volume_mm3, 3),
            "lesions_count": len(report.findings),
            "confidence": _rounded(report.confidence, 4),
            "processing_time": _rounded(report.provenance.seconds, 3),
            "by_type": {
                kind: {"count": len(found), "volume": _rounded(sum(map(volume_of, found)), 3)}
                for kind, found in report.by_type().items()
            },
        },
        "findings": [_finding(each, number, slices) for number, each in enumerate(report.findings, 1)],
        "metrics": [metric_of(each) for each in report.metrics],
        "segmentation": _segmentation(report, files),
        "study": _study(report.study),
        "problems": [dict(each) for each in report.problems],
        "files": dict(files),
        "provenance": {
            "models": [dict(each) for each in report.provenance.models],
            "profile": dict(report.provenance.profile),
            "code": report.provenance.code,
            "run": report.provenance.run,
            "input": dict(report.provenance.input),
            "started": report.provenance.started.isoformat(),
            "finished": report.provenance.finished.isoformat(),
        },
    }


def metric_of(finding: Finding) -> dict[str, Any]:
    """Return a metric as the result shows it; a number that does not exist is null."""
    known = details(finding)
    value = finding.value
    metric: dict[str, Any] = {
        "name": finding.name,
        "value": _rounded(float(value), 6) if isinstance(value, int | float) and math.isfinite(value) else None,
        "description": str(known.get("description") or DESCRIPTIONS.get(finding.name, finding.name.replace("_", " "))),
    }
    if finding.unit:
        metric["unit"] = finding.unit
    if finding.subject:
        metric["subject"] = finding.subject
    return metric


def xyz(value: Any) -> dict[str, Any]:
    """Return three numbers, given as a mapping or as a list, by the names of their axes."""
    if isinstance(value, Mapping):
        return {axis: value[axis] for axis in "xyz"}
    return dict(zip("xyz", value, strict=True))


def _finding(finding: Finding, number: int, slices: Mapping[int, JsonObject]) -> dict[str, Any]:
    known = dict(details(finding))
    box = known.get("bounding_box") or {}
    told = {
        "id": str(known.pop("id", "") or finding.subject or f"{finding.name}_{number}"),
        "type": str(known.pop("type", "") or finding.name),
        "volume": _rounded(volume_of(finding), 3),
        "confidence": _rounded(float(known.pop("confidence", 0.0) or 0.0), 4),
        "location": xyz(known.pop("location")) if "location" in known else None,
        "bounding_box": {name: int(at) for name, at in box.items()} or None,
        "centroid_mm": xyz(known.pop("centroid_mm")) if "centroid_mm" in known else None,
        "touches_border": bool(known.pop("touches_border", False)),
        "confidence_detail": {"calibrated": False, **known.pop("confidence_detail", {})},
        "slices": _slices(box, slices),
    }
    for taken in ("volume", "bounding_box", "slices"):
        known.pop(taken, None)
    return {name: value for name, value in told.items() if value is not None} | known


def _slices(box: Mapping[str, Any], slices: Mapping[int, JsonObject]) -> list[dict[str, Any]]:
    """Return the slices that a finding reaches, with the UIDs of their pictures where the input was DICOM."""
    if not {"min_z", "max_z"} <= box.keys():
        return []
    return [
        {"index": k, "sop_uid": str(slices.get(k, {}).get("sop_uid") or "")}
        for k in range(int(box["min_z"]), int(box["max_z"]) + 1)
    ]


def _segmentation(report: Report, files: Mapping[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "file_path": files.get("mask", ""),
        "format": "nifti",
        "dimensions": list(report.mask.labels_HW.shape),
        "spacing": [_rounded(step, 6) for step in report.spacing],
        "orientation": orientation_of(report.volume.affine),
        "affine": [[_rounded(float(value), 6) for value in row] for row in report.volume.affine],
        "labels": [{"value": number, "name": name} for number, name in report.labels.items()],
    }
    if "uncertainty" in files:
        told["uncertainty"] = {"file_path": files["uncertainty"], "kind": uncertainty_kind(report)}
    return told


def _study(study: JsonObject) -> dict[str, Any]:
    """Return what the reading says, without the slices: those of a finding stand with it."""
    left_out = ("problems", "slices", "digest", "form_code")
    return {name: value for name, value in study.items() if name not in left_out}


def orientation_of(affine: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """Return towards which side of the patient i, j and k grow, for instance `LPS`."""
    letters: list[str] = []
    left = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    taken: list[int] = []
    for column in left.T:
        axis = max((a for a in range(3) if a not in taken), key=lambda a: abs(column[a]))
        taken.append(axis)
        letters.append(("LR", "PA", "IS")[axis][int(column[axis] > 0)])
    return "".join(letters)


def _rounded(value: float, digits: int) -> float:
    return round(float(value), digits)


def names_of(findings: Sequence[Finding]) -> list[str]:
    """Return the ids of findings as the result shows them."""
    return [
        str(details(each).get("id") or each.subject or f"{each.name}_{number}")
        for number, each in enumerate(findings, 1)
    ]

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.packs.medical.analysis.nets import sample_of

from sightline.core.prediction import Findings, Mask
from sightline.core.sample import Sample
from sightline.packs.medical.predictors.volume_findings import VolumeFindings
from sightline.testing import make_context


def findings_of(sample: Sample[Any], **fields: Any) -> Findings:
    predictor = VolumeFindings(of="mask", **fields)
    predictor.open(make_context())
    [findings] = predictor.predict([sample])
    return findings


def masked(**fields: Any) -> Sample[Any]:
    labels = np.zeros((10, 12, 8), np.uint8)
    labels[2:4, 3:6, 4:6], labels[8, 8, 0], labels[5, 5, 5] = 1, 2, 1
    sure = np.where(labels > 0, 0.75, 0).astype(np.float16)
    sure[2, 3, 4] = 0.875
    affine = np.diag([-0.5, -2.0, 3.0, 1.0])
    affine[:3, 3] = [10, 20, 30]
    mask = Mask(labels_HW=labels, class_name=("background", "lesion", "cyst"), maps={"probability": sure, **fields})
    return sample_of(labels, affine).with_prediction("mask", mask)


def test_each_component_is_a_finding_with_its_volume_and_place() -> None:
    findings = findings_of(masked())
    assert [(item.subject, item.value, item.unit) for item in findings] == [
        ("lesion_1", 36.0, "mm3"),
        ("lesion_2", 3.0, "mm3"),
        ("cyst_1", 3.0, "mm3"),
    ]
    first, _, cyst = findings
    assert first.data is not None
    assert first.name == "lesion"
    assert first.data["bounding_box"] == {"min_x": 2, "max_x": 3, "min_y": 3, "max_y": 5, "min_z": 4, "max_z": 5}
    assert first.data["location"] == {"x": 2, "y": 4, "z": 4}
    assert first.data["centroid_mm"] == {"x": 10 - 1.25, "y": 20 - 8.0, "z": 30 + 13.5}
    assert first.data["confidence"] == pytest.approx(0.75 + 0.125 / 12, abs=1e-4)
    assert first.data["confidence_detail"] == {
        "mean": first.data["confidence"], "max": 0.875, "agreement": None, "calibrated": False,
    }  # fmt: skip
    assert first.data["touches_border"] is False
    assert cyst.data is not None
    assert cyst.data["touches_border"] is True


def test_agreement_is_told_where_there_is_an_ensemble() -> None:
    [first, *_] = findings_of(masked(agreement=np.full((10, 12, 8), 0.5, np.float16)))
    assert first.data is not None
    assert first.data["confidence_detail"]["agreement"] == 0.5


def test_the_profile_says_what_touches_and_what_is_too_small(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("minimum_volume_mm3: 5\n")
    assert len(findings_of(masked(), profile="mine", profiles=str(tmp_path)).items) == 1
    (tmp_path / "faces.yaml").write_text("connectivity: 6\n")
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 1
    sample = sample_of(labels).with_prediction("mask", Mask(labels_HW=labels, class_name=("background", "lesion")))
    assert len(findings_of(sample).items) == 1
    assert len(findings_of(sample, profile="faces", profiles=str(tmp_path)).items) == 2


def test_a_phantom_of_known_volume_is_measured() -> None:
    """A ball of 15 mm radius: 14,137 mm3, on a grid whose axes are not square to one another."""
    affine = np.array([[0.9, 0.1, 0, -30], [0, 1.1, 0.3, -40], [0.05, 0, 1.5, -45], [0, 0, 0, 1.0]])
    shape = (70, 75, 62)
    points = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    centre = affine[:3, :3] @ [35, 37, 31] + affine[:3, 3]
    labels = (np.linalg.norm(points - centre, axis=1) <= 15).reshape(shape).astype(np.uint8)
    sample = sample_of(labels, affine).with_prediction(
        "mask", Mask(labels_HW=labels, class_name=("background", "ball"))
    )
    [ball] = findings_of(sample)
    assert ball.value == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.01)
    assert ball.data is not None
    assert list(ball.data["centroid_mm"].values()) == pytest.approx(centre.tolist(), abs=0.1)


def test_an_empty_mask_has_no_findings() -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    sample = sample_of(labels).with_prediction("mask", Mask(labels_HW=labels, class_name=("background", "lesion")))
    assert findings_of(sample).items == ()

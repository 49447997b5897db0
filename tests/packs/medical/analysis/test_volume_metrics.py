from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from tests.packs.medical.analysis.nets import sample_of

from sightline.core.errors import ConfigError, InvalidInput, NotFound
from sightline.core.prediction import Findings, Mask
from sightline.engine.isolation import run_isolated
from sightline.packs.medical.predictors.volume_metrics import VolumeMetrics
from sightline.testing import FakePorts, make_context

nib: Any = nibabel  # half of it has types
AFFINE = np.diag([-1.0, 2.0, 1.5, 1.0])


def labels_of() -> npt.NDArray[np.uint8]:
    labels = np.zeros((10, 12, 9), np.uint8)
    labels[2:6, 2:6, 2:6], labels[7:9, 7:9, 7:9] = 1, 2
    return labels


def metrics_of(
    tmp_path: Path,
    reference: npt.NDArray[np.uint8] | None,
    affine: npt.NDArray[np.float64] = AFFINE,
    names: tuple[str, ...] = ("background", "lesion"),
) -> Findings:
    ports = FakePorts()
    if reference is not None:
        nib.save(nib.Nifti1Image(reference, affine), tmp_path / "reference.nii.gz")
        ports.artifacts.put("refs/reference.nii.gz", (tmp_path / "reference.nii.gz").read_bytes())
    predictor = VolumeMetrics(of="mask", reference_object="refs/reference.nii.gz")
    predictor.open(make_context(ports=ports, isolation=run_isolated))
    labels = labels_of()
    mask = Mask(labels_HW=labels, class_name=names)
    [found] = predictor.predict([sample_of(labels, AFFINE).with_prediction("mask", mask)])
    return found


def test_without_a_reference_there_are_no_metrics() -> None:
    predictor = VolumeMetrics(of="mask")
    predictor.open(make_context())
    [found] = predictor.predict([sample_of(labels_of())])
    assert found.items == ()


def test_a_mask_is_compared_with_the_reference_that_is_stored(tmp_path: Path) -> None:
    found = metrics_of(tmp_path, labels_of())
    assert [found.value(name) for name in ("dice_score", "hausdorff_distance", "sensitivity")] == [1.0, 0.0, 1.0]
    shifted = metrics_of(tmp_path, np.roll(labels_of(), 1, axis=1))
    assert shifted.value("hausdorff_distance") == pytest.approx(2.0)
    first = next(iter(shifted))
    assert first.data == {"description": "Dice similarity coefficient"}
    assert {item.name: item.unit for item in shifted}["assd"] == "mm"


def test_several_labels_are_compared_each_by_itself_too(tmp_path: Path) -> None:
    swapped = (labels_of() > 0).astype(np.uint8)  # right where, wrong what
    found = metrics_of(tmp_path, swapped, names=("background", "lesion", "cyst"))
    dice = {item.subject: item.value for item in found if item.name == "dice_score"}
    assert dice == {"": 1.0, "lesion": pytest.approx(2 * 64 / (64 + 72)), "cyst": 0.0}
    far = next(item for item in found if item.subject == "cyst" and item.name == "hausdorff_distance")
    assert far.value is None
    assert far.data is not None
    assert far.data["description"].endswith("not defined, for one of the masks is empty")


def test_a_reference_on_another_grid_or_in_another_place_is_refused(tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] = 4
    for reference, affine in ((labels_of()[:-1], AFFINE), (labels_of(), moved)):
        with pytest.raises(InvalidInput, match="not on the grid of the volume"):
            metrics_of(tmp_path, reference, affine)


def test_a_reference_that_is_not_there_and_a_tolerance_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="reference"):
        metrics_of(tmp_path, None)
    with pytest.raises(ConfigError, match="tolerance_mm"):
        VolumeMetrics(of="mask", tolerance_mm=0)

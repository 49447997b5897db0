"""A real head: Colin27 and the mask beside it, from Debian's package mricron-data."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from tests.packs.medical.analysis.nets import Counted, sample_of

from sightline.core.prediction import Findings, Mask
from sightline.packs.medical.metrics import metrics_of
from sightline.packs.medical.predictors.segmenter import VolumeSegmenter
from sightline.packs.medical.predictors.volume_findings import VolumeFindings
from sightline.packs.medical.profiles import load_profile
from sightline.packs.medical.recipes import completed_card
from sightline.testing import FakePorts, make_context

TEMPLATES = Path("/usr/share/mricron/templates")
ZOO = Path(__file__).parents[4] / "src" / "sightline" / "zoo"
NETS = Path(__file__).parents[3] / "data" / "nets"
pytestmark = pytest.mark.service("mricron-data")


@cache
def head() -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    if not (TEMPLATES / "ch2bet.nii.gz").exists():
        pytest.skip("Colin27 is not there: apt-get install mricron-data")
    image: Any = nib.load(TEMPLATES / "ch2.nii.gz")
    reference: Any = nib.load(TEMPLATES / "ch2bet.nii.gz")
    return np.asarray(image.dataobj), image.affine, np.asarray(reference.dataobj) > 0


@cache
def session() -> Counted:
    return Counted(ZOO / "deepbrain.onnx")


@cache
def ports() -> FakePorts:
    """What a net has said of a volume is kept, so that each is asked once."""
    return FakePorts()


@cache
def answer() -> tuple[Mask, Findings]:
    voxels, affine, _ = head()
    return segmented(voxels, affine)


def segmented(voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> tuple[Mask, Findings]:
    context = make_context(session=session(), ports=ports())
    segmenter, findings = VolumeSegmenter(), VolumeFindings(of="mask")
    segmenter.open(context)
    findings.open(context)
    sample = sample_of(voxels, affine)
    [mask] = segmenter.predict([sample])
    [found] = findings.predict([sample.with_prediction("mask", mask)])
    return mask, found


def test_the_shipped_net_finds_the_brain() -> None:
    _, affine, reference = head()
    mask, findings = answer()
    values = metrics_of(mask.labels_HW > 0, reference, affine)
    dice, far = values["dice_score"], values["hausdorff_distance_95"]
    assert dice is not None
    assert far is not None
    assert dice >= 0.925
    assert far <= 13
    [brain] = findings
    assert (brain.name, brain.subject) == ("brain", "brain_1")
    assert brain.value == np.count_nonzero(mask.labels_HW)
    assert 1.5e6 < float(brain.value or 0) < 2.1e6  # mm3; the template is a large head


def test_deepbet_finds_the_brain_too_and_the_ensemble_of_research_tells_where_they_agree(tmp_path: Path) -> None:
    models = {"deepbrain": session()}
    for name in ("deepbet", "deepbet-bbox"):  # as `models add --preprocess NAME` does
        models[name] = Counted(NETS / f"{name}.onnx")
        models[name].card = completed_card(models[name].card, name)
    voxels, affine, reference = head()
    members = list(load_profile("research").members)
    (tmp_path / "upright.yaml").write_text(f"members: {members}\noverlap: 0\nblend: constant\nthreshold: 0.5\n")

    def found(**fields: Any) -> Mask:
        segmenter = VolumeSegmenter(profiles=str(tmp_path), **fields)
        segmenter.open(make_context(models=models, ports=ports()))
        [mask] = segmenter.predict([sample_of(voxels, affine)])
        brain = mask.labels_HW > 0
        dice = 2 * np.count_nonzero(brain & reference) / (np.count_nonzero(brain) + np.count_nonzero(reference))
        assert dice >= 0.93
        return mask

    deepbet, both = found(model="deepbet"), found(profile="upright")  # without mirror images, which double the time
    assert models["deepbet"].calls == models["deepbet-bbox"].calls == 1
    assert both.model == "deepbrain@1 + deepbet@1"
    uncertain = 1 - both.maps["agreement"].astype(np.float32)
    differ = (deepbet.labels_HW > 0) != (answer()[0].labels_HW > 0)
    assert uncertain[differ].mean() > 0.4
    assert uncertain[~differ].mean() < 0.02
    assert differ.mean() < 0.05


def test_the_same_head_in_the_order_of_a_dicom_series_has_the_same_mask() -> None:
    voxels, affine, _ = head()
    turned, lead = voxels.transpose(2, 0, 1)[::-1, ::-1], np.eye(4)
    lead[:3, :3] = 0
    for axis, (old, backwards) in enumerate(((2, True), (0, True), (1, False))):
        lead[old, axis] = -1 if backwards else 1
        lead[old, 3] = voxels.shape[old] - 1 if backwards else 0
    mask, _ = segmented(turned, affine @ lead)
    wanted, _ = answer()
    np.testing.assert_array_equal(mask.labels_HW[::-1, ::-1].transpose(1, 2, 0), wanted.labels_HW)

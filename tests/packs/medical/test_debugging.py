from __future__ import annotations

import io
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from tests.packs.medical.phantoms import phantom

from sightline.core.errors import ConfigError
from sightline.packs.medical.debugging import Intermediates
from sightline.testing import make_context


def test_each_array_is_kept_for_a_viewer_and_for_the_eye(tmp_path: Path) -> None:
    of = phantom()
    kept = Intermediates(str(tmp_path / "debug"), make_context(run="run-7"), "segmenter")
    assert kept.is_on
    kept.keep("as read", of.voxels_IJK, of.affine, labels_IJK=of.mask_IJK, modality="CT")
    kept.keep("probability", (0.9 * of.mask_IJK).astype(np.float16), of.affine)
    kept.keep("above", of.mask_IJK > 0, of.affine)

    folder = tmp_path / "debug" / "run-7"
    names = ["segmenter-01-as_read", "segmenter-02-probability", "segmenter-03-above"]
    assert sorted(path.name for path in folder.iterdir()) == [f"{n}{e}" for n in names for e in (".nii.gz", ".png")]
    image = nib.load(folder / f"{names[0]}.nii.gz")
    assert isinstance(image, nib.Nifti1Image)
    np.testing.assert_array_equal(np.asarray(image.dataobj), of.voxels_IJK)
    np.testing.assert_allclose(image.affine, of.affine, atol=1e-5)
    probability = nib.load(folder / f"{names[1]}.nii.gz")
    assert isinstance(probability, nib.Nifti1Image)
    np.testing.assert_allclose(probability.get_fdata(), 0.9 * of.mask_IJK, atol=1e-3)
    with Image.open(io.BytesIO((folder / f"{names[0]}.png").read_bytes())) as picture:
        assert np.ptp(np.asarray(picture).astype(int), axis=2).max() > 60  # what was found is drawn in colour


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = Intermediates("", make_context(), "segmenter")
    kept.keep("volume", phantom().voxels_IJK, np.eye(4))
    assert not kept.is_on
    assert list(tmp_path.iterdir()) == []


def test_the_id_of_a_run_cannot_leave_the_folder(tmp_path: Path) -> None:
    Intermediates(str(tmp_path / "debug"), make_context(run="../../etc"), "report").keep(
        "../x", np.ones((2, 2, 2)), np.eye(4)
    )
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.png")} == {"debug"}


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be kept"):
        Intermediates(str(tmp_path / "file"), make_context(), "report")


@pytest.mark.skipif(os.name == "nt" or not Path("/dev/full").exists(), reason="no full disk at hand")
def test_a_full_disk_ends_the_keeping_and_not_the_job(tmp_path: Path) -> None:
    kept = Intermediates(str(tmp_path), make_context(run="r"), "report")
    (tmp_path / "r" / "report-01-volume.nii.gz").symlink_to("/dev/full")
    kept.keep("volume", phantom().voxels_IJK, np.eye(4))
    assert not kept.is_on

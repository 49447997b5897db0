"""Jobs as their users ask for them: by profiles of their own, and with everything kept that lay on the way."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tests.packs.medical.phantoms import nifti, phantom
from tests.programs import sightline
from tests.serve.medical.tiny import asked
from tests.servers import serving

MANIFEST = """
sources: {study: {use: study}}
input: study
stages:
  analytics:
    mask: {use: volume-segmenter, model: deepbrain}
    findings: {use: volume-findings, of: mask}
sinks:
  - {use: medical-report, of: mask, findings: findings}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case with a profile of its own, beside those of the user."""
    folder = tmp_path_factory.mktemp("submit")
    case = folder / "cases" / "heads"
    (case / "profiles").mkdir(parents=True)
    (case / "case.yaml").write_text(MANIFEST)
    (case / "profiles" / "both.yaml").write_text("title: Of the case\nthreshold: 0.25\noutputs: [json]\n")
    mine = folder / "mine"
    mine.mkdir()
    (mine / "both.yaml").write_text("title: Of the user\nthreshold: 0.75\n")
    (mine / "low.yaml").write_text("title: Finds much\nthreshold: 0.01\noutputs: [mask, json]\n")
    (mine / "wrong.yaml").write_text("threshold: 0.5\ntreshold: 0.5\n")
    (folder / "head.nii.gz").write_bytes(nifti(phantom(), compressed=True))
    return folder


SETTINGS = {"SIGHTLINE_MEDICAL__PROFILES_ROOT": "mine"}


def test_the_profile_of_a_case_goes_before_the_users_and_all_that_lay_on_the_way_is_kept(folder: Path) -> None:
    wish = ("submit", "heads", "head.nii.gz", "--here", "--json", "-p", "profile=both", "--debug-dir", "seen")
    done = sightline(folder, *wish, env=SETTINGS)
    assert done.code == 0, done.err
    run = json.loads(done.out)
    result = json.loads((folder / "data" / "artifacts" / run["status"]["made"]["json"]).read_text())
    profile = result["provenance"]["profile"]
    assert (profile["name"], profile["threshold"], profile["outputs"]) == ("both", 0.25, ["json"])

    kept = folder / "seen" / run["id"]
    names = [path.name.removesuffix(".nii.gz") for path in sorted(kept.glob("*.nii.gz"))]
    assert names == [
        "1-mask-01-volume",
        "1-mask-02-deepbrain_resampled",
        "1-mask-03-deepbrain_scaled",
        "1-mask-04-deepbrain_brain",
        "1-mask-05-untidied",
        "2-findings-01-components",
        "report-01-volume",
        "report-02-mask",
        "report-03-probability",
    ]
    assert [path.stem for path in sorted(kept.glob("*.png"))] == names
    image: Any = nib.load(kept / "1-mask-01-volume.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), phantom().voxels_IJK)
    shown = {word for word in run["status"]["files"] if word.startswith("debug/")}
    assert shown == {f"debug/{path.name}" for path in kept.iterdir()}  # where the page of the study finds them


def test_the_list_shows_all_profiles_and_the_check_tells_a_mistake_with_its_line(folder: Path) -> None:
    done = sightline(folder, "list", "--check", env=SETTINGS)
    assert done.code == 1
    assert "broken: profile wrong" in done.err
    assert "wrong.yaml:2: A profile has no field 'treshold'" in done.err
    assert "Did you mean 'threshold'?" in done.err
    rows = {tuple(line.split()[:2]) for line in done.out.partition("\nProfiles\n")[2].splitlines()}
    assert {("low", "profiles_root"), ("both", "profiles_root"), ("both", "case"), ("production", "shipped")} <= rows


def test_a_server_lists_the_profiles_of_a_case_and_infers_by_them(folder: Path) -> None:
    settings: dict[str, Any] = {
        "cases_root": folder / "cases",
        "medical__profiles_root": folder / "mine",
        "medical__case": "heads",
    }
    with serving(folder, **settings, jobs__workers=1) as running:  # what the net said before is kept there
        with urllib.request.urlopen(f"{running.url}/api/v1/profiles?case=heads", timeout=20) as answer:
            listed = {each["name"]: each for each in json.load(answer)["items"]}
        assert {name: each["origin"] for name, each in listed.items()} == {
            "both": "case", "low": "profiles_root", "wrong": "profiles_root",
            "fast_debug": "shipped", "production": "shipped", "research": "shipped",
        }  # fmt: skip
        assert listed["both"]["title"] == "Of the case"
        assert "wrong.yaml:2" in listed["wrong"]["problem"]["message"]

        running.platform.context.artifacts.put("uploads/head.nii.gz", (folder / "head.nii.gz").read_bytes())
        wish = {"input_object": "uploads/head.nii.gz"}
        status, told, _ = asked(running.url, {**wish, "job_uuid": "low", "profile": "low"})
        assert (status, told["status"]) == (200, "completed")
        assert "xlsx_object" not in told  # as the profile has it
        status, told, _ = asked(running.url, {**wish, "job_uuid": "unknown", "profile": "lwo"})
        assert (status, told["kind"]) == (422, "validation")
        assert "Known: both, fast_debug, low, production, research, wrong." in told["detail"]
        status, told, _ = asked(running.url, {**wish, "job_uuid": "wrong", "profile": "wrong"})
        assert "wrong.yaml:2: A profile has no field 'treshold'" in told["detail"]

"""The page of a study in a real browser: what is shown of a volume, of its mask and of what was found, and where."""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.packs.medical.phantoms import LESION, Phantom, nifti, phantom
from tests.serve.live.browser import WEBGL, Browser, Page, started
from tests.serve.live.conftest import Served
from tests.web.conftest import Shoot, enter, press, resize
from tests.web.hands import box, fill, push, shows

from sightline.core.run import Run, RunKind, RunState

pytestmark = pytest.mark.service("Chromium")
PICTURE = "document.querySelector('.study-pic')?.dataset"
CANVAS = "document.querySelector('.study-canvas').dataset"
SHOWN = f"{PICTURE}.phase === 'shown'"
STEPS = (("reading", 0.8, 92.0), ("segment", 3.1, 310.0), ("publishing", 0.1, 100.0))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that draws in three dimensions, by the processor."""
    with started(tmp_path_factory.mktemp("browser"), *WEBGL) as browser:
        yield browser


def chances(of: Phantom) -> bytes:
    """Return a file of probabilities in steps of 1/255: 0.8 in the lesion, 0.4 in the slab of it, else nothing."""
    values = np.where(of.mask_IJK == 1, 204, 0).astype(np.uint8)
    least, most = np.argwhere(of.mask_IJK).min(0), np.argwhere(of.mask_IJK).max(0) + 1
    inside = tuple(slice(low, high) for low, high in zip(least, most, strict=True))
    values[inside] = np.maximum(values[inside], 102)
    data = bytearray(nifti(Phantom(of.voxels_IJK, values, of.affine), mask=True))
    struct.pack_into("<ff", data, 112, 1 / 255, 0.0)  # scl_slope, scl_inter
    return gzip.compress(bytes(data), 1)


def place_of(of: Phantom) -> list[int]:
    """Return a voxel in the middle of the lesion."""
    found = np.argwhere(of.mask_IJK)
    return [int(place) for place in found[np.linalg.norm(found - found.mean(0), axis=1).argmin()]]


def result(of: Phantom, **more: Any) -> dict[str, Any]:
    """Return the result of a job on a phantom, as the writers of the pack shape it."""
    x, y, z = place_of(of)
    corner = {
        "id": "lesion_2",
        "type": "lesion",
        "volume": 3.0,
        "confidence": 0.4,
        "location": {"x": 1, "y": 2, "z": 3},
    }
    return {
        "summary": {"total_volume": of.volume_mm3, "lesions_count": 2, "confidence": 0.9, "processing_time": 4},
        "findings": [
            {
                "id": "lesion_1",
                "type": "lesion",
                "volume": of.volume_mm3,
                "confidence": 0.9,
                "location": {"x": x, "y": y, "z": z},
            },
            corner | {"touches_border": True},
        ],
        "metrics": [{"name": "dice_score", "value": 0.921, "description": "Dice similarity coefficient"}],
        "segmentation": {
            "dimensions": list(of.mask_IJK.shape),
            "spacing": [1.5, 1.25, 2.0],
            "orientation": "RAS",
            "labels": [{"value": 1, "name": "lesion"}],
        },
        "study": {"modality": "CT", "rest": [{"description": "Localizer", "num_files": 3, "reason": "one slice each"}]},
        "problems": [
            {"code": "spacing", "message": "The gap at slice 4 is 2.1 mm.", "severity": "repaired", "slices": [4, 5]}
        ],
        "provenance": {"models": [{"model": "deepbrain@1"}], "profile": {"name": "fast_debug", "threshold": 0.5}},
        **more,
    }


def type_of(word: str) -> str:
    """Return the media type of a file that a job left."""
    if word == "json":
        return "application/json"
    return "image/png" if word == "axial" or word.endswith(".png") else "application/gzip"


def done(served: Served, key: str, volume: bytes, files: dict[str, bytes], **parameters: Any) -> Run:
    """Record a job that is done, with an object and the files that it left."""
    store, artifacts = served.context.store, served.context.artifacts
    artifacts.put(key, volume)
    run = store.runs.create(
        Run(case="brain", kind=RunKind.JOB, spec={"object": key, "parameters": parameters}), worker="elsewhere"
    )
    made = {word: f"results/{run.id}.{word}" for word in files}
    told: dict[str, Any] = {}
    for word, data in files.items():
        artifacts.put(made[word], data)
        told[word] = {"key": made[word], "num_bytes": len(data), "media_type": type_of(word)}
    steps = [{"name": name, "state": "done", "seconds": took, "peak_mb": peak} for name, took, peak in STEPS]
    status = {"progress": 1.0, "stage": "publishing", "attempt": 1, "steps": steps, "made": made, "files": told}
    return store.runs.finish(run.id, run.token, RunState.COMPLETED, status=status)


def studied(served: Served, of: Phantom, kept: dict[str, bytes] | None = None, **files: bytes) -> Run:
    """Record a job that is done on a phantom; `kept`: what its debugging left, by name."""
    made = {"mask": nifti(of, mask=True, compressed=True), "json": json.dumps(result(of)).encode(), **files}
    made |= {f"debug/{name}": data for name, data in (kept or {}).items()}
    return done(served, "uploads/scan.nii.gz", nifti(of, compressed=True), made)


def pixels(page: Page, tmp_path: Path) -> Any:
    """Return the planes as they are on the screen: H x W x 3."""
    left, top, width, height = box(page, ".study-canvas")
    page.picture(tmp_path / "seen.png")
    image = Image.open(io.BytesIO((tmp_path / "seen.png").read_bytes())).convert("RGB")
    return np.asarray(image)[int(top) : int(top + height), int(left) : int(left + width)]


def test_a_finding_is_gone_to_in_whatever_order_the_axes_lie(
    served: Served, page: Page, shoot: Shoot, tmp_path: Path
) -> None:
    resize(page, 1440, 900)
    for order in ("RAS", "PIR"):
        of = phantom((40, 36, 32)).reoriented(order)
        run = studied(served, of)
        page.open("about:blank")  # the page of the study before shows that, and is clicked, until the next one is there
        enter(page, served, f"#/runs/{run.id}/study")
        page.until(SHOWN, 30)
        push(page, "lesion_1")
        here = ",".join(str(place) for place in place_of(of))
        page.until(f"{CANVAS}.voxel === '{here}'")
        assert f"val {LESION}" in page.value("document.querySelector('.study-spot').innerText")
        press(page, "j")
        page.until(f"{CANVAS}.voxel === '1,2,3'")
        press(page, "k")
        page.until(f"{CANVAS}.voxel === '{here}'")
        # The cross goes by keys too: to the patient's right, which is on the left of the picture, then to the head.
        page.value("document.querySelector('.study-canvas').focus()")
        steps = np.linalg.inv(of.affine)[:3, :3]
        there = np.array(place_of(of), float)
        for key, way in (("ArrowLeft", steps[:, 0]), ("PageUp", steps[:, 2])):
            press(page, key)
            there += np.sign(np.round(way, 6))
            page.until(f"{CANVAS}.voxel === '{','.join(str(int(place)) for place in there)}'")
        push(page, "lesion_1")
        page.until(f"{CANVAS}.voxel === '{here}'")
    shoot("planes")
    seen = pixels(page, tmp_path).astype(int)
    reddish = (seen[..., 0] - seen[..., 2] > 40) & (seen[..., 0] > 120)
    assert reddish.sum() > 500  # the mask lies on it in its colour
    fill(page, ".study-bar .range input", "0")
    page.until("document.querySelector('.study-bar .range b').innerText === '0.00'")
    seen = pixels(page, tmp_path).astype(int)
    assert ((seen[..., 0] - seen[..., 2] > 40) & (seen[..., 0] > 120)).sum() < 50


def test_what_is_known_of_the_study_stands_beside_it(served: Served, page: Page, shoot: Shoot) -> None:
    of = phantom((40, 36, 32))
    picture = io.BytesIO()
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save(picture, "png")
    arrays = {"1-mask-01-seen.nii.gz": nifti(of, compressed=True), "1-mask-01-seen.png": picture.getvalue()}
    run = studied(served, of, arrays, axial=picture.getvalue())
    resize(page, 1440, 900)
    enter(page, served, f"#/runs/{run.id}/study")
    page.until(SHOWN, 30)
    assert "No graphics card" in page.value("document.querySelector('.study-below').innerText")
    told = page.value("document.querySelector('.study-side').innerText").replace("\u00a0", " ")
    for words in ("The gap at slice 4 is 2.1 mm.", "repaired", "slices 4, 5", "Localizer", "one slice each"):
        assert words in told, told
    for words in ("deepbrain@1", "40 × 36 × 32", "dice_score", "0.921", "touches the border", "310 MB", "3.10 s"):
        assert words in told, told
    assert "made at threshold 0.50" in page.value("document.querySelector('.study-bar').innerText")
    page.until("document.querySelector('[data-preview=axial]')?.naturalWidth === 8")
    # What lies between the steps, where the job was asked to keep it: a picture to enlarge, an array to save.
    kept = "[data-kept='debug/1-mask-01-seen']"
    assert page.value(f'document.querySelector("{kept}").innerText').split()[:2] == ["seen", "mask"]
    page.until(f'document.querySelector("{kept} img")?.naturalWidth === 8')
    page.value(f'document.querySelector("{kept} .study-shot").focus()')
    press(page, "Enter")
    page.until("document.querySelector('dialog[open] .study-large')?.naturalWidth === 8")
    press(page, "Escape")
    page.until("document.querySelector('dialog[open]') === null")
    assert page.value("document.activeElement.ariaLabel") == "Enlarge: mask · seen"
    # Windows of computed tomography, in HU: width / centre.
    fill(page, "[data-window]", "soft")
    page.until(f"{CANVAS}.greys === '-160,240'")
    fill(page, "[data-window]", "auto")
    page.until(f"{CANVAS}.greys !== '-160,240'")
    push(page, "3-D", ".study-bar")
    page.until("document.querySelector('.study-bar [aria-pressed=true]').innerText === '3-D'")
    shoot("solid")
    assert page.value(f"fetch('/api/v1/runs/{run.id}/files/mask').then(a => a.arrayBuffer()).then(b => b.byteLength)")


def test_the_mask_is_cut_anew_where_the_probability_is_known(served: Served, page: Page, shoot: Shoot) -> None:
    of = phantom((40, 36, 32))
    run = studied(served, of, probability=chances(of))
    voxel_mm3 = abs(np.linalg.det(of.affine[:3, :3]))
    notch = np.count_nonzero(of.mask_IJK.any(axis=(1, 2))) * np.count_nonzero(of.mask_IJK.any(axis=(0, 2)))
    slab_mm3 = notch * np.count_nonzero(of.mask_IJK.any(axis=(0, 1))) * voxel_mm3
    resize(page, 1440, 900)
    enter(page, served, f"#/runs/{run.id}/study")
    page.until(SHOWN, 30)
    within = "Number(document.querySelector('[data-within]').dataset.within)"
    assert page.value(within) == pytest.approx(of.volume_mm3)
    slider = ".study-bar label:nth-of-type(4) input"
    assert page.value(f"document.querySelector('{slider}').value") == "0.5"
    fill(page, slider, "0.3")
    page.until(f"Math.abs({within} - {slab_mm3}) < 1e-3")
    assert page.value(shows("The files of the job keep the mask made at 0.50."))
    fill(page, slider, "0.9")
    page.until(f"{within} === 0")
    push(page, "As made")
    page.until(f"Math.abs({within} - {of.volume_mm3}) < 1e-3")
    page.value("document.querySelector('.study-bar .sw').click()")
    shoot("before-threshold")


def test_a_volume_too_large_for_a_tab_is_asked_about_first(served: Served, page: Page, shoot: Shoot) -> None:
    of = phantom((40, 36, 32))
    data = bytearray(nifti(of))
    struct.pack_into("<8h", data, 40, 3, 1200, 1200, 800, 1, 1, 1, 1)  # 2.3 GB of 16 bits
    files = {"mask": nifti(of, mask=True), "json": json.dumps(result(of)).encode()}
    run = done(served, "uploads/large.nii.gz", gzip.compress(bytes(data), 1), files)
    enter(page, served, f"#/runs/{run.id}/study", lang="ru", theme="light")
    page.until(f"{PICTURE}.phase === 'large'", 30)
    said = page.value("document.querySelector('.study-pic').innerText").replace("\u00a0", " ")
    assert "3,5 ГБ" in said
    assert "1200 × 1200 × 800" in said
    assert not [address for address in page.asked if "/planes-" in address]  # nothing is loaded before somebody agrees
    shoot("large")
    page.value("document.querySelector('.over .btn').click()")
    page.until(f"{PICTURE}.phase !== 'large'")


@pytest.mark.parametrize(("theme", "lang"), [("dark", "en"), ("light", "ru")])
def test_it_can_be_used_on_a_phone(theme: str, lang: str, served: Served, page: Page, shoot: Shoot) -> None:
    run = studied(served, phantom((40, 36, 32)))
    resize(page, 390, 844)
    enter(page, served, f"#/runs/{run.id}/study", theme=theme, lang=lang)
    page.until(SHOWN, 30)
    assert page.value("document.documentElement.scrollWidth") <= 390
    shoot(f"phone-{theme}-{lang}")

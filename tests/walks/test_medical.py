"""A real head through the real server: whatever it is packed in, the same mask, and a report beside it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from tests.packs.medical import phantoms
from tests.packs.medical.test_dicomweb import send
from tests.pacs import orthanc
from tests.seaweed import make_bucket, seaweed
from tests.servers import serving

TEMPLATES = Path("/usr/share/mricron/templates")
pytestmark = [pytest.mark.service("mricron-data"), pytest.mark.timeout(300)]
SYNTAXES = ("raw", "rle", "jpeg-ls", "j2k")


@pytest.fixture(scope="module")
def head() -> phantoms.Phantom:
    """Colin27 as whole numbers, with the mask of its brain that BET made."""
    if not (TEMPLATES / "ch2bet.nii.gz").exists():
        pytest.skip("Colin27 is not there: apt-get install mricron-data")
    image: Any = nib.load(TEMPLATES / "ch2.nii.gz")
    brain: Any = nib.load(TEMPLATES / "ch2bet.nii.gz")
    mask = (np.asarray(brain.dataobj) > 0).astype(np.uint8)
    return phantoms.Phantom(np.asarray(image.dataobj).astype(np.int16), mask, np.asarray(image.affine, np.float64))


class Service:
    """The server as a backend sees it."""

    def __init__(self, url: str) -> None:
        self.http = httpx2.Client(base_url=url, timeout=120)

    def put(self, key: str, data: bytes) -> str:
        answer = self.http.put(f"/api/v1/objects/{key}", content=data)
        assert answer.status_code in (200, 201), answer.text
        return key

    def infer(self, object_: str, **wish: Any) -> dict[str, Any]:
        answer = self.http.post("/infer", json={"job_uuid": str(uuid4()), "input_object": object_, **wish})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def get(self, key: str) -> bytes:
        answer = self.http.get(f"/api/v1/objects/{key}")
        assert answer.status_code == 200, answer.text
        return bytes(answer.content)

    def mask(self, answer: dict[str, Any]) -> npt.NDArray[Any]:
        """Return the mask with its axes along right, anterior, superior."""
        return canonical(self.get(answer["output_object"]))


def canonical(file: bytes) -> npt.NDArray[Any]:
    image: Any = nib.Nifti1Image.from_bytes(gzip.decompress(file))
    return np.asarray(nib.as_closest_canonical(image).dataobj)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The server on a real bucket and a real archive."""
    folder = tmp_path_factory.mktemp("medical")
    for name in ("s3", "pacs", "data"):
        (folder / name).mkdir()
    with seaweed(folder / "s3") as s3, orthanc(folder / "pacs") as pacs:
        settings: dict[str, Any] = {
            "s3__endpoint": s3.endpoint,
            "s3__bucket": make_bucket(s3, "medical"),
            "s3__access_key": s3.access_key,
            "s3__secret_key": s3.secret_key,
            "medical__dicomweb__url": pacs.url,
            "medical__dicomweb__user": pacs.user,
            "medical__dicomweb__password": pacs.password,
            "jobs__workers": 2,
        }
        with serving(folder / "data", **settings) as running:
            service = Service(running.url)
            service.pacs = pacs  # type: ignore[attr-defined]
            with service.http:
                yield service


@pytest.fixture(scope="module")
def from_nifti(service: Service, head: phantoms.Phantom) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    service.put("uploads/truth.nii.gz", phantoms.nifti(head, compressed=True, mask=True))
    key = service.put("uploads/head.nii.gz", phantoms.nifti(head, compressed=True))
    answer = service.infer(key, reference_object="uploads/truth.nii.gz")
    return answer, service.mask(answer)


def test_a_head_as_nifti_becomes_a_mask_and_a_report(
    service: Service, head: phantoms.Phantom, from_nifti: tuple[dict[str, Any], npt.NDArray[Any]]
) -> None:
    answer, mask = from_nifti
    dice = 2 * np.logical_and(mask, head.mask_IJK).sum() / (np.count_nonzero(mask) + head.mask_IJK.sum())
    assert dice >= 0.915
    result = httpx2.Response(200, content=service.get(answer["json_object"])).json()
    told = {each["name"]: each["value"] for each in result["metrics"]}
    assert told["dice_score"] == pytest.approx(dice, abs=1e-4)
    [finding] = result["findings"]
    assert finding["type"] == "brain"
    assert finding["volume"] == pytest.approx(np.count_nonzero(mask), rel=1e-3)  # 1 mm voxels
    assert result["segmentation"]["dimensions"] == list(head.voxels_IJK.shape)
    assert service.get(answer["xlsx_object"])[:2] == b"PK"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_same_head_as_a_zipped_series_has_the_same_mask(
    service: Service, head: phantoms.Phantom, from_nifti: tuple[dict[str, Any], npt.NDArray[Any]], syntax: str
) -> None:
    datasets = phantoms.series(head, syntax=syntax, modality="MR")
    content = phantoms.zipped(phantoms.files(datasets))
    answer = service.infer(service.put(f"uploads/{syntax}.zip", content))
    assert np.array_equal(service.mask(answer), from_nifti[1])


@pytest.mark.service("s3")
def test_the_same_head_as_a_folder_in_the_bucket_has_the_same_mask(
    service: Service, head: phantoms.Phantom, from_nifti: tuple[dict[str, Any], npt.NDArray[Any]]
) -> None:
    for name, data in phantoms.files(phantoms.series(head, modality="MR")).items():
        service.put(f"uploads/series/{name}", data)
    answer = service.infer("uploads/series/")
    assert np.array_equal(service.mask(answer), from_nifti[1])


@pytest.mark.service("pacs")
def test_the_same_head_in_an_archive_has_the_same_mask(
    service: Service, head: phantoms.Phantom, from_nifti: tuple[dict[str, Any], npt.NDArray[Any]]
) -> None:
    datasets = phantoms.series(head, modality="MR")
    send(service.pacs, list(phantoms.files(datasets).values()))  # type: ignore[attr-defined]
    first = datasets[0]
    answer = service.infer(f"dicomweb:{first.StudyInstanceUID}/{first.SeriesInstanceUID}")
    assert np.array_equal(service.mask(answer), from_nifti[1])


def test_what_is_no_study_is_refused_with_its_reason(service: Service) -> None:
    service.put("uploads/letter.txt", b"Dear colleague,")
    wish = {"job_uuid": str(uuid4()), "input_object": "uploads/letter.txt"}
    answer = service.http.post("/infer", json=wish)
    assert answer.status_code == 422, answer.text
    assert answer.json()["kind"] == "validation"
    assert answer.json()["detail"]

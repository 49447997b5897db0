"""Which pictures count as the same: measured on the shipped clip and on photographs of different things."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sightline import CaseBuildContext, load_case
from sightline.packs.vision.hashing import distance, picture_hash
from sightline.settings import load_settings
from sightline.testing import make_context

PHOTOS = sorted((Path(__file__).parents[2] / "data" / "photos").glob("*.jpg"))


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> list[npt.NDArray[np.uint8]]:
    """One picture a second of the shipped clip."""
    loaded = load_settings(folder=tmp_path_factory.mktemp("data"), environ={})
    context = CaseBuildContext(loaded)
    url = str(load_case("street_people", context=context).sources["main"].url)  # type: ignore[attr-defined]
    source = context.plugin("sources", "video", url=url, fps=1)
    source.open(make_context())
    return [sample.payload.pixels_HWC for sample in source.read()]


def test_noise_light_and_compression_change_at_most_three_bits(
    street: list[npt.NDArray[np.uint8]],
) -> None:
    noise = np.random.default_rng(0)
    for picture in street:
        known = picture_hash(picture)
        noisy = np.clip(picture + noise.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        brighter = np.clip(picture * 1.1, 0, 255).astype(np.uint8)
        squeezed = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
        for other in (noisy, brighter, np.asarray(squeezed, np.uint8)):
            assert distance(known, picture_hash(other)) <= 3


def test_people_who_walk_change_more(street: list[npt.NDArray[np.uint8]]) -> None:
    hashes = [picture_hash(picture) for picture in street]
    assert sum(distance(one, other) > 3 for one, other in pairwise(hashes)) >= 0.9 * (len(hashes) - 1)


def test_other_things_differ_in_many_bits() -> None:
    hashes = [picture_hash(np.asarray(cv2.imread(str(path)), np.uint8)) for path in PHOTOS]
    assert min(distance(one, other) for one, other in combinations(hashes, 2)) >= 16


def test_noise_on_an_even_picture_is_no_scene() -> None:
    noise = np.random.default_rng(0)
    dark = [np.clip(noise.normal(20, 8, (240, 320, 3)), 0, 255).astype(np.uint8) for _ in range(20)]
    assert len({picture_hash(picture) for picture in dark}) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (31, 7), (2000, 33)])
def test_a_picture_of_any_size_has_a_hash(size: tuple[int, int]) -> None:
    assert 0 <= picture_hash(np.full((*size, 3), 90, np.uint8)) < 1 << 64

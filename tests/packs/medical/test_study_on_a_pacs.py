"""The same series from an archive and from a folder is the same volume, in every encoding."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from tests.packs.medical.phantoms import files, phantom, series
from tests.packs.medical.test_dicomweb import context_of, send
from tests.pacs import Pacs, orthanc

from sightline.core.errors import NotFound
from sightline.core.sample import Sample, Volume
from sightline.engine.isolation import run_isolated
from sightline.packs.medical.sources.study import StudySource

pytestmark = pytest.mark.service("pacs")
PHANTOM = phantom()
SYNTAXES = ("raw", "rle", "jpeg-ls", "j2k")


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture
def source(pacs: Pacs) -> Iterator[StudySource]:
    source = StudySource()
    source.open(replace(context_of(pacs), isolation=run_isolated))
    with closing(source):
        yield source


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_series_is_the_same_from_the_archive_as_from_a_folder(syntax: str, source: StudySource, pacs: Pacs) -> None:
    made = series(PHANTOM, syntax=syntax, uid=f"1.2.826.0.1.3680043.10.7.{SYNTAXES.index(syntax)}")
    content = files(made)
    send(pacs, list(content.values()))
    [near] = source.load_many(((name, io.BytesIO(data)) for name, data in content.items()), "folder/")

    address = f"dicomweb:{made[0].StudyInstanceUID}/{made[0].SeriesInstanceUID}"
    [far] = source.load_elsewhere(address)

    check(near, far)
    assert far.metadata["study"]["container"] == "dicomweb"
    np.testing.assert_array_equal(far.payload.voxels_IJK, PHANTOM.voxels_IJK)


def check(near: Sample[Volume], far: Sample[Volume]) -> None:
    np.testing.assert_array_equal(near.payload.voxels_IJK, far.payload.voxels_IJK)
    np.testing.assert_array_equal(near.payload.affine, far.payload.affine)
    ours, theirs = near.metadata["study"], far.metadata["study"]
    for name in ("digest", "orientation", "spacing", "dimensions", "problems", "rest"):
        assert ours[name] == theirs[name], name


def test_a_study_that_is_not_there_is_told(source: StudySource) -> None:
    with pytest.raises(NotFound, match="has nothing at"):
        list(source.load_elsewhere("dicomweb:1.2.3/4"))

"""Names that users of older systems import."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline import compat
from sightline.core.errors import Unavailable
from sightline.core.plugins import Source
from sightline.core.prediction import Labels

HERE = Path(__file__).parents[1]
SHEPHERD = HERE / "data/photos/german-shepherd.jpg"
STREET = HERE.parent / "src/sightline/cases/street_people/street.mp4"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_DATA_ROOT", str(tmp_path / "data"))


def test_every_name_is_there() -> None:
    assert compat.StreamHandler is Source
    assert all(getattr(compat, name) for name in compat.__all__)


def test_pictures_of_both_libraries_are_taken() -> None:
    with Image.open(SHEPHERD) as picture, compat.load_model("mobilenet_v3_small") as model:
        by_pil = compat.predict_pil(model, picture)
        by_array = compat.predict_bgr(model, np.ascontiguousarray(np.asarray(picture)[..., ::-1]))

    assert isinstance(by_pil, Labels)
    assert isinstance(by_array, Labels)
    assert by_pil.best == by_array.best == "German shepherd"


def test_a_reader_gives_frames_of_a_file_that_are_new() -> None:
    reader = compat.RTSPFrameReader(str(STREET), target_fps=10, width=384, height=288).start()
    try:
        first, second = reader.read(), reader.read()
    finally:
        reader.stop()

    assert first.shape == second.shape == (288, 384, 3)
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    reader.stop()


def test_a_reader_of_nothing_raises_the_cause() -> None:
    reader = compat.RTSPFrameReader("none.mp4").start()
    try:
        with pytest.raises(Exception, match=r"none\.mp4"):
            reader.read(5)
    finally:
        reader.stop()


def test_a_reader_that_was_not_started_waits_no_longer_than_it_may() -> None:
    reader = compat.RTSPFrameReader("none.mp4")

    with pytest.raises(Unavailable, match=r"No frame came within 0\.05 s"):
        reader.read(0.05)

    reader.stop()

"""Frames pulled from Python, without a case and without a run."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from threading import enumerate as threads

import pytest
from tests.packs.basic.receiver import until
from tests.packs.vision.sources.clips import make_clip

import sightline
from sightline.build.opened_source import OpenedSource, open_source
from sightline.core.errors import ConfigError, FileMissing, Unavailable
from sightline.core.plugins import SourceState

DEAD = "rtsp://viewer:secret@127.0.0.1:9/cam"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_DATA_ROOT", str(tmp_path / "data"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", num=100, fps=25)


def test_a_file_gives_every_wanted_frame_in_order(clip: Path) -> None:
    with open_source(str(clip), fps=5, width=48, height=32) as opened:
        time.sleep(0.3)  # it reads ahead, and nothing is lost by that
        samples = list(opened)
    assert [sample.seq for sample in samples] == list(range(20))
    assert samples[0].payload.pixels_HWC.shape == (32, 48, 3)
    assert opened.state is SourceState.STOPPED
    assert opened.num_superseded == 0


def test_without_size_and_rate_all_frames_come_as_they_are(clip: Path) -> None:
    with open_source(clip.as_posix(), fps=None, width=None, height=None) as opened:
        assert opened.read(5).payload.size == (96, 64)
        assert len(list(opened)) == 99


def test_a_live_source_gives_its_newest_frame(clip: Path) -> None:
    with open_source(str(clip), fps=25, realtime=True, loop=True) as opened:
        first = opened.read(5)
        until(lambda: opened.num_superseded >= 7)
        second = opened.read(5)
    assert second.seq - first.seq >= 8


def test_it_may_be_read_while_the_camera_is_away_and_says_why() -> None:
    with open_source(DEAD, timeout_s=1) as opened:
        with pytest.raises(Unavailable, match=r"within 0\.3 s \(.*(backoff|connecting)") as caught:
            opened.read(0.3)
        assert "secret" not in str(caught.value)


def test_what_ends_with_an_error_raises_it() -> None:
    with open_source("none.mp4") as opened, pytest.raises(FileMissing, match=r"none\.mp4"):
        next(opened)
    with open_source("none.mp4") as opened, pytest.raises(FileMissing, match=r"none\.mp4"):
        opened.read(5)


def test_after_the_end_read_says_so(clip: Path) -> None:
    with open_source(str(clip), fps=1) as opened:
        assert len(list(opened)) == 4
        with pytest.raises(Unavailable, match="has ended"):
            opened.read(1)


def test_a_folder_of_pictures_and_a_webcam_by_number_are_opened(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("1.png", "2.png"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    with open_source(str(tmp_path), width=4, height=3) as opened:
        assert [sample.payload.size for sample in opened] == [(4, 3), (4, 3)]
    with open_source(97) as opened, pytest.raises(Unavailable):
        opened.read(0.2)


def test_a_wrong_field_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="fsp"):
        open_source("clip.mp4", fsp=3)


def test_it_ends_soon_and_leaves_no_thread(clip: Path) -> None:
    before = set(threads())
    for _ in range(5):
        with open_source(str(clip), fps=None) as opened:  # more frames than wait for it
            assert len(list(islice(opened, 2))) == 2
        opened.close()
    assert set(threads()) <= before


def test_it_is_a_public_name() -> None:
    assert sightline.open_source is open_source
    assert OpenedSource.__doc__

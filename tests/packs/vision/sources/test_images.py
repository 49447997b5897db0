from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from structlog.testing import capture_logs

from sightline.core.errors import ConfigError, FileMissing, InvalidMedia
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.sources.images import ImageSource
from sightline.testing.fakes import Tally, make_context


def opened(url: Path | str, *, dropped: Tally | None = None, **config: Any) -> ImageSource:
    source = ImageSource(url=str(url), **config)
    source.open(make_context(dropped=Tally() if dropped is None else dropped))
    return source


def files(samples: list[Sample[Frame]]) -> list[str]:
    return [sample.metadata["file"] for sample in samples]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("10.jpg", "2.png", "1.JPG", "readme.txt", ".hidden.png", "below/3.bmp"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("no picture")
        else:
            Image.new("RGB", (16, 12), (200, 100, 50)).save(path)
    return tmp_path


def test_a_folder_is_read_in_natural_order(folder: Path) -> None:
    samples = list(opened(folder).read())
    assert files(samples) == ["1.JPG", "2.png", "10.jpg"]
    assert [sample.id for sample in samples] == ["camera/1/0", "camera/1/1", "camera/1/2"]
    assert [sample.clocks.pts_s for sample in samples] == [None, None, None]
    blue, green, red = samples[1].payload.pixels_HWC[0, 0]
    assert (blue, green, red) == (50, 100, 200)


def test_folders_below_are_read_when_asked_for(folder: Path) -> None:
    assert files(list(opened(folder, recursive=True).read()))[-1] == "below/3.bmp"


def test_a_pattern_chooses(folder: Path) -> None:
    assert files(list(opened(folder, pattern="*.png").read())) == ["2.png"]


def test_a_single_picture_is_read(folder: Path) -> None:
    [sample] = opened(folder / "2.png", size=(8, 6)).read()
    assert sample.metadata == {"file": "2.png"}
    assert sample.payload.size == (8, 6)


def test_a_bad_picture_is_counted_logged_and_left_out(folder: Path) -> None:
    (folder / "3.jpg").write_bytes((folder / "10.jpg").read_bytes()[:200])
    (folder / "4.jpg").write_bytes(b"")
    dropped = Tally()
    with capture_logs() as logs:
        samples = list(opened(folder, dropped=dropped).read())
    assert files(samples) == ["1.JPG", "2.png", "10.jpg"]
    assert [sample.seq for sample in samples] == [0, 1, 2]
    assert dropped == {"undecodable": 2}
    assert [entry["file"] for entry in logs] == ["3.jpg", "4.jpg"]


def test_a_rate_gives_media_time_and_paces(folder: Path) -> None:
    begun_s = time.monotonic()
    samples = list(opened(folder, fps=20).read())
    assert [sample.clocks.pts_s for sample in samples] == [0, 0.05, 0.1]
    assert time.monotonic() - begun_s >= 0.1


def test_what_is_missing_or_empty_is_told_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(FileMissing) as missing:
        list(opened(tmp_path / "absent").read())
    with pytest.raises(InvalidMedia) as empty:
        list(opened(tmp_path).read())
    with pytest.raises(FileMissing) as nothing:
        list(opened("").read())
    assert all(caught.value.cure for caught in (missing, empty, nothing))


def test_a_folder_of_bad_pictures_only_is_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no")
    with pytest.raises(InvalidMedia, match="None of the 2"):
        list(opened(tmp_path).read())
    with pytest.raises(InvalidMedia, match=r"a\.jpg"):
        list(opened(tmp_path / "a.jpg").read())


def test_a_picture_that_was_sent_is_one_sample(folder: Path) -> None:
    source = opened("")
    [sample] = source.load(io.BytesIO((folder / "2.png").read_bytes()), "cat.png", "image/png")
    assert sample.payload.size == (16, 12)
    assert sample.metadata == {"file": "cat.png"}


def test_a_body_is_read_up_to_its_limit_only() -> None:
    body = io.BytesIO(bytes(10_000))
    with pytest.raises(InvalidMedia, match="longer than 100 bytes"):
        list(opened("", max_bytes=100).load(body, "big.png", "image/png"))
    assert body.tell() <= 101


def test_probing_tells_number_and_size_without_decoding(folder: Path) -> None:
    facts = opened(folder).probe()
    assert (facts["num_files"], facts["width"], facts["height"], facts["codec"]) == (3, 16, 12, "jpeg")
    assert facts["advice"]


@pytest.mark.parametrize("config", [{"fps": -1}, {"size": (0, 1)}, {"max_bytes": 0}, {"pattern": "below/*.png"}])
def test_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ImageSource(url="pictures", **config)


def test_it_is_built_from_a_manifest() -> None:
    adapter = TypeAdapter(ImageSource)
    assert adapter.validate_python({"url": "pictures", "size": [4, 4]}).size == (4, 4)
    with pytest.raises(ValidationError):
        adapter.validate_python({"url": "pictures", "path": "x"})

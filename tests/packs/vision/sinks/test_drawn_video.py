from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from sightline.core.errors import ConfigError, Unavailable
from sightline.core.sample import Frame, Reading, Sample
from sightline.packs.vision.encoding import VideoFile
from sightline.packs.vision.sinks.drawn_video import DrawnVideo
from sightline.testing import make_context, make_frame


def noise(seed: int, size: tuple[int, int] = (160, 120)) -> np.ndarray:
    pixels: np.ndarray = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return pixels


def frame(seconds: float, size: tuple[int, int] = (160, 120), source: str = "door", epoch: int = 1) -> Sample[Frame]:
    return make_frame(noise(round(seconds * 100), size), seconds=seconds, source=source, epoch=epoch)


def filmed(outputs: Path, samples: list[Sample[Any]], **fields: Any) -> dict[str, Path]:
    sink = DrawnVideo(**fields)
    sink.open(make_context(outputs=outputs))
    for sample in samples:
        sink.write([sample])
    sink.close()
    return {word: Path(path) for word, path in sink.made.items()}


def times(path: Path) -> list[float]:
    """Return when each picture of the file is shown."""
    with av.open(str(path)) as container:
        return [round(float(each.time or 0), 3) for each in container.decode(video=0)]


@pytest.mark.parametrize(("codec", "name"), [("h264", "h264"), ("vp9", "vp9"), ("av1", "av1")])
def test_every_codec_gives_all_pictures_at_their_times(tmp_path: Path, codec: str, name: str) -> None:
    made = filmed(tmp_path, [frame(5 + n / 10) for n in range(12)], codec=codec)

    assert made == {"video": tmp_path / "drawn.mp4"}
    assert times(made["video"]) == [round(n / 10, 3) for n in range(12)]
    with av.open(str(made["video"])) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt) == (160, 120, "yuv420p")
        assert stream.codec_context.codec.canonical_name == name
        assert float((stream.duration or 0) * (stream.time_base or 0)) == pytest.approx(1.2, abs=0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="the encoder does so on Linux alone")
def test_an_encoder_makes_nothing_real_time(tmp_path: Path) -> None:
    file = VideoFile(tmp_path / "video.mp4", codec="av1", size=(160, 120))
    for number in range(3):
        file.write(np.full((120, 160, 3), number, np.uint8), number / 10)
    policies = {os.sched_getscheduler(int(each.name)) for each in Path("/proc/self/task").iterdir()}
    file.close()
    assert {*policies, os.sched_getscheduler(0)} == {
        os.SCHED_OTHER
    }  # as root the encoder would take SCHED_FIFO for all


def test_uneven_steps_stay_uneven(tmp_path: Path) -> None:
    seconds = [0.0, 0.04, 0.5, 0.54, 2.54]

    assert times(filmed(tmp_path, [frame(each) for each in seconds])["video"]) == seconds


def test_a_wanted_rate_takes_the_place_of_the_real_times(tmp_path: Path) -> None:
    assert times(filmed(tmp_path, [frame(60.0 * n) for n in range(4)], fps=10)["video"]) == [0, 0.1, 0.2, 0.3]


def test_a_closed_file_has_its_index_in_front_and_a_key_each_second(tmp_path: Path) -> None:
    # A calm picture: the encoder adds keys of its own where everything changes.
    path = filmed(tmp_path, [make_frame(90, size=(160, 120), seconds=n / 10) for n in range(31)], header=False)["video"]
    data = path.read_bytes()

    assert 0 < data.find(b"moov") < data.find(b"mdat")
    assert b"moof" not in data
    with av.open(str(path)) as container:
        keys = [(packet.pts or 0) / 90_000 for packet in container.demux(video=0) if packet.is_keyframe]
        assert keys == [0, 1, 2, 3]
        container.seek(2_500_000)
        assert next(container.decode(video=0)).time == pytest.approx(2.0)


def test_what_was_drawn_is_what_is_seen(tmp_path: Path) -> None:
    grey = make_frame(np.full((120, 160, 3), (40, 90, 200), np.uint8))
    path = filmed(tmp_path, [grey], header=False)["video"]

    with av.open(str(path)) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="bgr24")
    assert np.abs(pixels.astype(int) - (40, 90, 200)).max() < 12


def test_odd_sizes_lose_their_last_row_and_column(tmp_path: Path) -> None:
    path = filmed(tmp_path, [frame(n / 10, size=(161, 121)) for n in range(3)])["video"]

    with av.open(str(path)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (160, 120)


def test_every_source_has_its_own_file(tmp_path: Path) -> None:
    samples = [frame(n / 10, source=source) for n in range(5) for source in ("door", "yard/2")]

    made = filmed(tmp_path, samples)

    assert [path.name for path in made.values()] == ["drawn-door.mp4", "drawn-yard_2.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn-door.mp4", "drawn-yard_2.mp4"]
    assert [len(times(path)) for path in made.values()] == [5, 5]


def test_a_new_epoch_goes_on_in_the_same_file(tmp_path: Path) -> None:
    samples = [*(frame(n / 10) for n in range(3)), *(frame(n / 10, epoch=2) for n in range(3))]

    assert times(filmed(tmp_path, samples)["video"]) == [0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_clock_that_leaps_or_goes_back_makes_one_step(tmp_path: Path) -> None:
    samples = [frame(seconds) for seconds in (0.0, 0.1, 1e6, 1e6 + 0.1, 5.0, 5.1)]

    assert times(filmed(tmp_path, samples)["video"]) == [0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_another_size_begins_a_new_part(tmp_path: Path) -> None:
    samples = [frame(0.0), frame(0.1), frame(0.2, size=(80, 60)), frame(0.3, size=(80, 60))]

    made = filmed(tmp_path, samples)

    assert {word: path.name for word, path in made.items()} == {"video": "drawn.mp4", "video 2": "drawn-2.mp4"}
    assert [len(times(path)) for path in made.values()] == [2, 2]


def test_an_older_file_is_not_overwritten(tmp_path: Path) -> None:
    first = filmed(tmp_path, [frame(0.0)])["video"]
    before = first.read_bytes()

    second = filmed(tmp_path, [frame(0.0), frame(0.1)])["video"]

    assert second.name == "drawn-2.mp4"
    assert first.read_bytes() == before


def test_samples_without_a_picture_make_no_file(tmp_path: Path) -> None:
    reading: Sample[Reading] = make_frame(0).with_payload(Reading({"x": 1.0}))

    assert filmed(tmp_path, [reading]) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_copy_makes_its_own_files(tmp_path: Path) -> None:
    sink = DrawnVideo(path="film.mp4")
    for _ in range(2):
        copy = replace(sink)
        copy.open(make_context(outputs=tmp_path))
        copy.write([frame(0.0)])
        copy.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["film-2.mp4", "film.mp4"]


CHILD = """
import sys, resource
from pathlib import Path
import numpy as np
from sightline.core.errors import StorageFull
from sightline.packs.vision.encoding import VideoFile
from sightline.packs.vision.sinks.drawn_video import DrawnVideo
from sightline.testing import make_context, make_frame
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
sink = DrawnVideo()
sink.open(make_context(outputs=Path(sys.argv[1])))
for n in range(10000):
    pixels = np.random.default_rng(n).integers(0, 255, (120, 160, 3), np.uint8)
    try:
        sink.write([make_frame(pixels, seconds=n / 10)])
    except StorageFull as error:
        print(f"full {n} {error} | {error.cure}", flush=True)
        break
    print(n, flush=True)
sink.close()
"""


def test_after_kill_9_all_but_the_last_second_plays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while child.stdout.readline().strip() != "53":
            assert child.poll() is None
        child.kill()
    shown = times(tmp_path / "drawn.mp4")

    assert shown[-1] >= 5.3 - 1.0
    assert shown == [round(n / 10, 3) for n in range(len(shown))]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as Unix does")
def test_a_full_disk_is_told_and_what_was_written_plays(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), "200000"], capture_output=True, text=True, check=True, timeout=60
    )
    last = done.stdout.splitlines()[-1]
    word, number, message = last.split(" ", 2)

    assert word == "full"
    assert "no room for the video drawn.mp4" in message
    assert "Make room" in message
    shown = times(tmp_path / "drawn.mp4")
    assert len(shown) >= int(number) - 15
    assert int(number) > 15


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    sink = DrawnVideo(path="file/drawn.mp4")
    sink.open(make_context(outputs=tmp_path))

    with pytest.raises(Unavailable, match=r"drawn\.mp4"):
        sink.write([frame(0.0)])
    sink.close()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"drawn\.avi") as caught:
        DrawnVideo(path="drawn.avi")
    assert caught.value.cure
    with pytest.raises(ConfigError, match="fps"):
        DrawnVideo(fps=0)
    with pytest.raises(ConfigError, match="trail_s"):
        DrawnVideo(trail_s=-1)
    with pytest.raises(ValidationError):
        TypeAdapter(DrawnVideo).validate_python({"codec": "h263"})
    with pytest.raises(ValidationError):
        TypeAdapter(DrawnVideo).validate_python({"file": "a.mp4"})

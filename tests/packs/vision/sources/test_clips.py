"""Clips of a source: remuxed, not encoded again; bit for bit what the camera sent, in a form that browsers play."""

from __future__ import annotations

import errno
import io
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from tests.packs.vision.sources.clips import make_clip

from sightline.core.errors import InvalidInput, NotFound
from sightline.core.plugins import Clip
from sightline.packs.vision.sources.video import VideoSource
from sightline.testing.fakes import START, make_context


def read_through(path: Path, **config: Any) -> VideoSource:
    """Return a source that has read a file to its end."""
    source = VideoSource(url=str(path), **config)
    source.open(make_context())
    for _ in source.read():
        pass
    return source


def clip_of(source: VideoSource, begin_s: float, end_s: float) -> tuple[Clip, io.BytesIO]:
    file = io.BytesIO()
    clip = source.clip(START + timedelta(seconds=begin_s), START + timedelta(seconds=end_s), file)
    file.seek(0)
    return clip, file


def frames(file: Any) -> tuple[list[float], list[npt.NDArray[np.uint8]]]:
    """Return the times and the pixels of all frames."""
    times, pixels = [], []
    with av.open(file) as container:
        for frame in container.decode(video=0):
            times.append(round(frame.time, 3))
            pixels.append(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))
    return times, pixels


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
@pytest.mark.parametrize("bf", [0, 2])
def test_a_clip_holds_the_frames_that_came_bit_for_bit(tmp_path: Path, name: str, codec: str, bf: int) -> None:
    path = make_clip(tmp_path / name, num=100, gop=20, codec=codec, bf=bf)
    whole_times, whole = frames(str(path))
    clip, file = clip_of(read_through(path), 1.5, 3.0)
    times, pixels = frames(file)

    begin = (clip.start - START).total_seconds()
    first = min(range(len(whole)), key=lambda index: abs(whole_times[index] - whole_times[0] - begin))
    assert clip.media_type == "video/mp4"
    assert begin <= 1.5
    assert len(pixels) >= 37
    assert times == pytest.approx([number * 0.04 for number in range(len(times))], abs=0.002)
    # the last few packets may be needed for frames that were not asked for: they stand at the end
    for index, picture in enumerate(pixels[:37]):
        np.testing.assert_array_equal(picture, whole[first + index])
    assert (clip.end - clip.start).total_seconds() == pytest.approx(times[-1] + 0.04, abs=0.01)


@pytest.mark.parametrize(("codec", "tag"), [("libx264", "avc1"), ("libx265", "hvc1")])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])
def test_it_has_the_tag_and_the_order_that_browsers_want(tmp_path: Path, name: str, codec: str, tag: str) -> None:
    _, file = clip_of(read_through(make_clip(tmp_path / name, codec=codec)), 0, 1)
    data = file.getvalue()
    assert data[4:8] == b"ftyp"
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    assert tag.encode() in data
    with av.open(file, "r") as container:
        assert container.duration == pytest.approx(1.04e6, abs=1e5)
        assert container.streams.video[0].codec_context.width == 96


def test_no_frame_is_encoded_again(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", num=50)
    _, file = clip_of(read_through(path), 0, 1.9)
    with av.open(str(path), "r") as before, av.open(file, "r") as after:
        sent = [bytes(packet) for packet in before.demux(video=0) if packet.size]
        kept = [bytes(packet) for packet in after.demux(video=0) if packet.size]
    assert kept == sent[: len(kept)]
    assert len(kept) >= 48


def test_the_wall_clock_of_a_file_is_that_of_its_samples(tmp_path: Path) -> None:
    source = VideoSource(url=str(make_clip(tmp_path / "clip.mp4", num=75)))
    source.open(make_context())
    samples = list(source.read())
    clip, file = clip_of(source, 1.0, 2.0)
    assert clip.start == samples[25].clocks.wall
    np.testing.assert_array_equal(frames(file)[1][0], samples[25].payload.pixels_HWC)


def test_a_looped_file_gives_clips_over_its_seam(tmp_path: Path) -> None:
    source = VideoSource(url=str(make_clip(tmp_path / "clip.mp4", num=25, gop=25)), loop=True)
    source.open(make_context())
    reading = source.read()
    for _ in range(70):
        next(reading)
    clip, file = clip_of(source, 0.5, 2.2)
    times, pixels = frames(file)
    assert (clip.start - START).total_seconds() == pytest.approx(0)
    assert len(times) >= 55
    assert max(later - earlier for earlier, later in pairwise(times)) < 0.06
    np.testing.assert_array_equal(pixels[0], pixels[25])
    reading.close()  # type: ignore[attr-defined]


def test_a_file_that_is_played_as_a_camera_keeps_a_ring(tmp_path: Path) -> None:
    stopping, path = Event(), make_clip(tmp_path / "clip.mp4", num=50, gop=10)
    source = VideoSource(url=str(path), realtime=True, loop=True, fps=5, ring_s=1.6)
    context = make_context(stopping=stopping, clock=lambda: datetime.now(UTC))
    source.open(context)
    thread = Thread(target=lambda: list(source.read()))
    thread.start()
    begun = context.now()
    time.sleep(2.5)
    try:
        end_s = time.monotonic() + 20
        while True:
            file, now = io.BytesIO(), context.now()
            try:
                clip = source.clip(now - timedelta(seconds=1), now - timedelta(seconds=0.3), file)
            except NotFound:  # a busy machine is behind
                assert time.monotonic() < end_s
                time.sleep(0.1)
            else:
                break
        with pytest.raises(NotFound):
            source.clip(begun, begun + timedelta(seconds=0.1), io.BytesIO())
        with pytest.raises(NotFound, match="still to come"):
            source.clip(begun, begun + timedelta(seconds=60), io.BytesIO())
    finally:
        stopping.set()
        thread.join(20)
    file.seek(0)
    assert 15 <= len(frames(file)[0]) <= 35
    assert clip.start <= now - timedelta(seconds=1)


def test_clips_are_made_by_many_threads_while_it_is_read(tmp_path: Path) -> None:
    source = VideoSource(url=str(make_clip(tmp_path / "clip.mp4", num=100, gop=10)), loop=True, ring_s=3)
    stopping, errors, num = Event(), list[Exception](), list[int]()
    source.open(make_context(stopping=stopping))

    def read() -> None:
        for sample in source.read():
            newest[0] = sample.clocks.wall

    def ask() -> None:
        while not stopping.is_set():
            try:
                file, now = io.BytesIO(), newest[0]
                source.clip(now - timedelta(seconds=2), now - timedelta(seconds=1), file)
                file.seek(0)
                times = frames(file)[0]
                assert times == pytest.approx([number * 0.04 for number in range(len(times))], abs=0.002)
                num.append(len(times))
            except NotFound:  # the ring has gone on meanwhile
                continue
            except Exception as error:  # noqa: BLE001 - any is a failure
                errors.append(error)

    newest = [START + timedelta(seconds=3)]
    threads = [Thread(target=work) for work in (read, ask, ask, ask)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    for _ in range(200):
        time.sleep(0.1 if len(num) < 5 else 0)
    stopping.set()
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert len(num) >= 5
    assert 25 <= max(num) <= 40


class Pipe(io.RawIOBase):
    """A file that can only be written to, from its beginning to its end."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def test_a_file_that_cannot_go_back_gets_the_same(tmp_path: Path) -> None:
    source = read_through(make_clip(tmp_path / "clip.mp4"))
    pipe: Any = Pipe()
    source.clip(START, START + timedelta(seconds=1), pipe)
    assert bytes(pipe.data) == clip_of(source, 0, 1)[1].getvalue()
    behind = io.BytesIO()
    behind.write(b"head")
    source.clip(START, START + timedelta(seconds=1), behind)
    assert behind.getvalue() == b"head" + bytes(pipe.data)


def test_a_full_disk_is_told_and_the_next_clip_is_whole(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() + len(data) > 20_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    source = read_through(make_clip(tmp_path / "clip.mp4", num=100))
    with pytest.raises(OSError, match="No space left"):
        source.clip(START, START + timedelta(seconds=3), Full())
    assert len(frames(clip_of(source, 0, 3)[1])[0]) >= 75


def test_variable_frame_rates_keep_their_times(tmp_path: Path) -> None:
    stamps_s = [0, 0.1, 0.15, 1.0, 1.02, 1.5, 3.0]
    source = read_through(make_clip(tmp_path / "clip.mp4", num=7, stamps_s=stamps_s))
    assert frames(clip_of(source, 0, 3)[1])[0] == pytest.approx(stamps_s, abs=0.002)


def test_other_codecs_and_no_ring_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="mjpeg"):
        clip_of(read_through(make_clip(tmp_path / "clip.avi", codec="mjpeg")), 0, 1)
    with pytest.raises(InvalidInput, match="holds no packets") as caught:
        clip_of(read_through(make_clip(tmp_path / "clip.mp4"), ring_s=0), 0, 1)
    assert "ring_s" in caught.value.cure


def test_a_clip_of_a_stream_without_stamps_runs_at_its_rate(tmp_path: Path) -> None:
    source = read_through(make_clip(tmp_path / "clip.h264", num=50, fps=25))
    times, _ = frames(clip_of(source, 0, 1.5)[1])
    assert times[-1] == pytest.approx(1.5, abs=0.1)

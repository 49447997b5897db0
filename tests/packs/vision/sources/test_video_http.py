"""Streams over HTTP: HLS, MPEG-TS with the worst of stamps; and files of unusual rates."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.packs.vision.sources.clips import make_clip
from tests.packs.vision.sources.http_cameras import HttpCamera
from tests.packs.vision.sources.reading import reading

from sightline.core.plugins import SourceState
from sightline.packs.vision.sources.video import VideoSource
from sightline.testing.fakes import Tally, make_context


def second_of(path: Path, begin_s: float, first: int) -> Path:
    """Write a second of video, whose stamps begin at `begin_s`."""
    stamps_s = [begin_s + number / 25 for number in range(25)]
    return make_clip(path, num=25, gop=25, stamps_s=stamps_s, first=first)


@contextmanager
def hls(segments: list[Path]) -> Iterator[HttpCamera]:
    """Serve a live playlist: a window of six segments of 1 s that goes on with the clock, round and round."""
    begun_s = time.monotonic()

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path.endswith(".m3u8"):
            first = int(time.monotonic() - begun_s)
            lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
            for number in range(first, first + 6):
                lines += ["#EXTINF:1.0,", f"{number}.ts"]
            data, kind = "\n".join(lines).encode() + b"\n", "application/vnd.apple.mpegurl"
        else:
            number = int(request.path.strip("/").removesuffix(".ts"))
            data, kind = segments[number % len(segments)].read_bytes(), "video/mp2t"
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    with HttpCamera(answer) as camera:
        yield camera


def test_a_live_playlist_is_followed(tmp_path: Path) -> None:
    segments = [second_of(tmp_path / f"{number}.ts", number, number) for number in range(20)]
    with hls(segments) as camera, reading(camera.url("/live.m3u8"), fps=5) as reader:
        assert reader.source.is_live
        reader.wait_for_samples(25)
    times = [sample.clocks.pts_s or 0 for sample in reader.samples]
    assert all(later - earlier == pytest.approx(0.2, abs=0.1) for earlier, later in pairwise(times[:25]))


def joined(folder: Path, begins_s: list[float]) -> bytes:
    """Return transport streams of a second each, one behind the other, whose stamps begin where it is said."""
    return b"".join(
        second_of(folder / f"{index}.ts", begin_s, index).read_bytes() for index, begin_s in enumerate(begins_s)
    )


@pytest.mark.parametrize("fps", [None, 5])
def test_stamps_that_jump_repeat_and_go_back_never_stop_a_camera(tmp_path: Path, fps: float | None) -> None:
    data = joined(tmp_path, [10, 11, 11, 11, 70_000, 5, 6, 20, 21, 3])

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "video/mp2t")
        request.end_headers()
        for begin in range(0, len(data), 20_000):
            request.wfile.write(data[begin : begin + 20_000])
            time.sleep(0.02)

    with HttpCamera(answer) as camera, capture_logs() as logs, reading(camera.url("/stream"), fps=fps) as reader:
        reader.wait_for(lambda: reader.samples and reader.samples[-1].epoch == 2, 60)
    first = [sample for sample in reader.samples if sample.epoch == 1]
    times = [sample.clocks.pts_s or 0 for sample in reader.samples]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert len(first) >= (240 if fps is None else 15)
    assert times[-1] < 60
    assert [entry["event"] for entry in logs].count("time stamps are mended") <= 3
    assert SourceState.STALLED not in reader.states


@pytest.mark.parametrize(
    ("source_fps", "fps", "num"), [(1, None, 10), (1, 2, 10), (1, 0.5, 5), (120, None, 1200), (120, 2, 20)]
)
def test_slow_and_fast_files_are_sampled_by_media_time(
    tmp_path: Path, source_fps: int, fps: float | None, num: int
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num=10 * source_fps, fps=source_fps, gop=source_fps, size=(32, 32))
    source = VideoSource(url=str(clip), fps=fps)
    source.open(make_context())
    times = [sample.clocks.pts_s or 0 for sample in source.read()]
    assert len(times) == num
    step = 1 / min(fps or source_fps, source_fps)
    assert times == pytest.approx([number * step for number in range(num)], abs=0.01)


def test_a_file_that_changes_its_resolution_is_read_on(tmp_path: Path) -> None:
    small = make_clip(tmp_path / "small.ts", num=25).read_bytes()
    large = make_clip(tmp_path / "large.ts", num=25, size=(160, 120)).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(small + large)
    dropped = Tally()
    for size in (None, (48, 32)):
        source = VideoSource(url=str(path), size=size)
        source.open(make_context(dropped=dropped))
        sizes = [sample.payload.size for sample in source.read()]
        assert len(sizes) >= 48
        assert set(sizes) == ({(96, 64), (160, 120)} if size is None else {size})
    assert dropped == {}

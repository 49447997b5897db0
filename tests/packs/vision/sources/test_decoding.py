"""Lazy decoding must give what full decoding gives, bit by bit, whatever the stream says of itself."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Any

import av
import numpy as np
import pytest
from tests.packs.vision.sources.clips import make_clip

from sightline.core.sample import Frame, Sample
from sightline.packs.vision.sources.decoding import Decoder
from sightline.packs.vision.sources.nal_units import first_picture_nal
from sightline.packs.vision.sources.opening import open_video
from sightline.packs.vision.sources.sampling import Sampler, Timeline
from sightline.packs.vision.sources.video import VideoSource
from sightline.testing.fakes import Tally, make_context


def read(path: Path, **config: Any) -> list[Sample[Frame]]:
    source = VideoSource(url=str(path), **config)
    source.open(make_context())
    return list(source.read())


def assert_same_pixels_as_full_decoding(path: Path, fps: float, *, num: int, **config: Any) -> None:
    full = {round(sample.clocks.pts_s or 0, 4): sample.payload.pixels_HWC for sample in read(path, **config)}
    samples = read(path, fps=fps, **config)
    assert abs(len(samples) - num) <= 1
    for sample in samples:
        np.testing.assert_array_equal(sample.payload.pixels_HWC, full[round(sample.clocks.pts_s or 0, 4)])


def num_decoded(path: Path, fps: float) -> int:
    """Return how many frames come out of the decoder."""
    container, stream = open_video(str(path), transport="tcp", timeout_s=5)
    with container:
        decoder = Decoder(
            container,
            stream,
            timeline=Timeline(stream.time_base or Fraction(1), 0.04, live=False),
            sampler=Sampler(fps, 0.04),
            lazy=True,
            stopping=Event(),
            monotonic=time.monotonic,
            undecodable=lambda _: None,
        )
        list(decoder.frames())
    return decoder.num_decoded


@pytest.mark.parametrize("gop", [1, 7, 12, 25, 60, 1000])
@pytest.mark.parametrize("fps", [2, 5])
def test_lazy_pixels_are_those_of_full_decoding(tmp_path: Path, gop: int, fps: float) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num=100, fps=25, gop=gop)
    assert_same_pixels_as_full_decoding(clip, fps, num=round(4 * fps), size=(48, 32))


@pytest.mark.parametrize("gop", [5, 12, 25, 1000])
def test_so_are_those_of_h265(tmp_path: Path, gop: int) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num=100, fps=25, gop=gop, codec="libx265")
    assert num_decoded(clip, fps=2) < 100
    assert_same_pixels_as_full_decoding(clip, 2, num=8, size=(48, 32))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("b.mp4", {"bf": 2}),
        ("b.ts", {"bf": 2}),
        ("mpeg4.avi", {"codec": "mpeg4"}),
        ("mpeg4.mkv", {"codec": "mpeg4", "bf": 2}),
        ("mjpeg.avi", {"codec": "mjpeg"}),
        ("refresh.mp4", {"options": {"x264-params": "intra-refresh=1"}}),
        ("open.mp4", {"bf": 2, "options": {"x264-params": "open-gop=1"}}),
        ("transport.ts", {}),
        ("raw.h264", {}),
        ("h265.mp4", {"codec": "libx265"}),
        ("h265.ts", {"codec": "libx265"}),
        ("h265.mkv", {"codec": "libx265", "bf": 3}),
    ],
)
def test_so_are_those_of_other_codecs_and_orders(tmp_path: Path, name: str, config: dict[str, Any]) -> None:
    clip = make_clip(tmp_path / name, num=75, fps=25, gop=20, **config)
    assert_same_pixels_as_full_decoding(clip, 5, num=15)


def test_a_stream_whose_header_denies_its_b_frames_is_decoded_in_full(tmp_path: Path) -> None:
    without = make_clip(tmp_path / "without.ts", num=50, gop=25).read_bytes()
    with_b = make_clip(tmp_path / "with.ts", num=75, gop=25, bf=3).read_bytes()
    liar = tmp_path / "liar.ts"
    liar.write_bytes(without + with_b)
    container, stream = open_video(str(liar), transport="tcp", timeout_s=5)
    with container:
        assert not stream.codec_context.has_b_frames

    samples = read(liar, fps=5)

    times = [sample.clocks.pts_s or 0 for sample in samples]
    assert times == sorted(set(times))
    assert 23 <= len(samples) <= 26
    full = [sample.payload.pixels_HWC for sample in read(liar)]
    for sample in samples:
        assert any(np.array_equal(sample.payload.pixels_HWC, pixels_HWC) for pixels_HWC in full)


def test_what_is_not_wanted_is_not_decoded(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num=100, fps=25, gop=25)
    assert num_decoded(clip, fps=1) == 4
    assert num_decoded(clip, fps=2) == 4 * 14


@pytest.mark.parametrize(("gop", "fps"), [(5, 2), (5, 5), (10, 2), (12, 2)])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_key_frames_alone_are_decoded_where_they_come_often_enough(
    tmp_path: Path, gop: int, fps: float, codec: str
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num=250, fps=25, gop=gop, codec=codec)
    num = round(10 * fps)
    # the distance of key frames is known from the second one on
    assert num - 2 <= num_decoded(clip, fps) <= num + 2 * gop
    assert_same_pixels_as_full_decoding(clip, fps, num=num)


def test_with_b_frames_everything_is_decoded(tmp_path: Path) -> None:
    assert num_decoded(make_clip(tmp_path / "clip.mp4", num=100, bf=2), fps=1) == 100


def test_the_backlog_of_a_stream_with_few_key_frames_is_bounded(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num=600, fps=25, gop=1000, size=(32, 32))
    assert_same_pixels_as_full_decoding(clip, 0.05, num=2)


def test_damaged_packets_are_counted_and_the_rest_is_decoded(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.avi", num=50, codec="mjpeg")
    with av.open(str(clip)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.pos]
    data = bytearray(clip.read_bytes())
    for pos, size in places[10:13]:
        assert pos
        data[pos + 8 : pos + size] = bytes(size - 8)
    clip.write_bytes(data)
    source, dropped = VideoSource(url=str(clip)), Tally()
    source.open(make_context(dropped=dropped))

    samples = list(source.read())

    assert dropped == {"undecodable": 3}
    assert len(samples) == 47


def test_every_frame_has_a_buffer_of_its_own(tmp_path: Path) -> None:
    first, second, *_ = read(make_clip(tmp_path / "clip.mp4"))
    assert not np.shares_memory(first.payload.pixels_HWC, second.payload.pixels_HWC)
    assert not first.payload.pixels_HWC.flags.writeable
    assert first.payload.pixels_HWC.flags.c_contiguous


@pytest.mark.parametrize("size", [(48, 32), (50, 30), (416, 416), (33, 17)])
def test_frames_have_the_wanted_size(tmp_path: Path, size: tuple[int, int]) -> None:
    sample = read(make_clip(tmp_path / "clip.mp4", num=2), size=size)[0]
    assert sample.payload.size == size
    assert sample.payload.pixels_HWC.flags.c_contiguous


def test_the_picture_is_in_blue_green_red_and_upright(tmp_path: Path) -> None:
    sample = read(make_clip(tmp_path / "clip.mp4", num=1, size=(96, 64)))[0]
    blue, green, red = sample.payload.pixels_HWC[2:14, 2:14].mean(axis=(0, 1))
    assert blue > 200
    assert green < 80
    assert red < 60


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_a_video_of_a_turned_phone_stands_upright(tmp_path: Path, rotation: int, turns: int) -> None:
    plain = read(make_clip(tmp_path / "plain.mp4", num=1))[0].payload.pixels_HWC
    turned = read(make_clip(tmp_path / "turned.mp4", num=1, rotation=rotation))[0].payload.pixels_HWC
    np.testing.assert_array_equal(turned, np.rot90(plain, turns))
    small = read(make_clip(tmp_path / "small.mp4", num=1, rotation=rotation), size=(20, 30))[0]
    assert small.payload.size == (20, 30)


def test_leaving_out_the_loop_filter_changes_pixels_only_a_little(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", num=20, options={"x264-params": "deblock=2,2:qp=34:no-deblock=0"})
    exact = np.stack([sample.payload.pixels_HWC for sample in read(clip)]).astype(int)
    fast = np.stack([sample.payload.pixels_HWC for sample in read(clip, fast_decode=True)]).astype(int)
    assert 0 < np.abs(exact - fast).mean() < 10


def test_the_first_slice_is_found_in_both_forms_of_h264() -> None:
    idr = b"\x65\x88"
    assert first_picture_nal(b"\0\0\0\1\x67\x42\0\0\1\x68\xce\0\0\1" + idr, None, hevc=False) == 5
    assert first_picture_nal(b"\0\0\0\1\x06\x05\0\0\1\x41\x9a", None, hevc=False) == 1
    prefixed = b"\0\0\0\2\x67\x42" + b"\0\0\0\2" + idr
    assert first_picture_nal(prefixed, b"\x01\x64\x00\x1f\xff", hevc=False) == 5
    assert first_picture_nal(b"\0\0\0\1\x26\x01", None, hevc=True) == 19
    assert first_picture_nal(b"nothing here", None, hevc=False) is None

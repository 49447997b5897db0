"""Units of H.264 and H.265 in both forms of framing, and headers of both."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from tests.packs.vision.sources.clips import make_clip

from sightline.packs.vision.sources.nal_units import (
    first_picture_nal,
    joined,
    length_size,
    parameters,
    parameters_of_header,
    sequences,
    stands_alone,
    units,
    with_start_codes,
)

CODEC = {"libx264": "h264", "libx265": "hevc"}


def first_packet(path: Path) -> tuple[bytes, bytes | None]:
    """Return the data of the first packet and the header of the stream."""
    with av.open(str(path)) as container:
        packet = next(container.demux(video=0))
        return bytes(packet), container.streams.video[0].codec_context.extradata


def test_units_end_where_the_next_start_code_begins() -> None:
    data = b"\0\0\0\1\x67\x42\0\0\0\1\x68\xce\0\0\1\x65\x88\x80\0\0"
    assert [data[begin:end] for begin, end in units(data, 0)] == [b"\x67\x42", b"\x68\xce", b"\x65\x88\x80\0\0"]
    assert list(units(b"", 0)) == []
    assert list(units(b"\0\0\1", 0)) == []


def test_a_unit_that_is_longer_than_it_may_be_is_cut() -> None:
    data = b"\0\0\0\2\x67\x42\0\0\0\xff\x65\x88"
    assert [data[begin:end] for begin, end in units(data, 4)] == [b"\x67\x42", b"\x65\x88"]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_both_forms_of_a_stream_hold_the_same_units(tmp_path: Path, codec: str) -> None:
    name = CODEC[codec]
    prefixed, header = first_packet(make_clip(tmp_path / "clip.mp4", num=3, codec=codec))
    marked, marked_header = first_packet(make_clip(tmp_path / "clip.ts", num=3, codec=codec))
    size = length_size(name, header)
    assert size == 4
    assert length_size(name, marked_header) == 0
    assert parameters_of_header(name, header)
    assert parameters_of_header(name, header) == parameters_of_header(name, marked_header)
    assert parameters(name, marked, 0) == parameters_of_header(name, header)
    assert len(sequences(name, parameters(name, marked, 0))) == 1
    assert stands_alone(name, prefixed, header)
    assert stands_alone(name, marked, marked_header)
    hevc = name == "hevc"
    assert first_picture_nal(prefixed, header, hevc=hevc) == first_picture_nal(marked, None, hevc=hevc)
    whole = joined(parameters_of_header(name, header)) + with_start_codes(prefixed, size)
    slices = [marked[begin:end] for begin, end in units(marked, 0)][-1]
    assert whole.endswith(slices)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize(
    "header", [b"\1", b"\1\x64\0\x1f\xff\xe1", b"\1" * 23 + b"\xff\xff", b"\1" + b"\xff" * 40, b"x"]
)
def test_a_damaged_header_gives_what_can_be_read_and_no_error(codec: str, header: bytes) -> None:
    assert isinstance(parameters_of_header(codec, header), list)
    assert length_size(codec, header) <= 4


def test_a_picture_with_a_recovery_point_alone_does_not_stand_alone() -> None:
    assert not stands_alone("h264", b"\0\0\0\1\x06\x05\0\0\1\x41\x9a", None)
    assert stands_alone("mjpeg", b"\xff\xd8", None)

"""Packets as they came become an mp4 that browsers play; nothing is decoded and nothing is encoded.

The header of the mp4 is read from the clip's own first picture, so that it fits whatever the camera announced.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from fractions import Fraction
from typing import BinaryIO

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from sightline.core.errors import InvalidMedia
from sightline.packs.vision.sources.nal_units import joined, with_start_codes
from sightline.packs.vision.sources.packets import KeptPacket, Piece

MEDIA_TYPE = "video/mp4"
_TICKS = 90_000  # a second
_INDEX_HEAD, _INDEX_EACH = 8192, 48  # bytes of an mp4's index, and of it for each frame; more than it takes


def write_mp4(piece: Piece, into: BinaryIO) -> None:
    """Write an mp4 whose index stands in front, so that it plays before it is loaded whole; its time begins at 0.

    Raises:
        InvalidMedia: the packets cannot be understood.
        OSError: the file takes no more.
    """
    whole = io.BytesIO()  # FFmpeg comes back to the beginning when it knows the index, and hides why it cannot write
    _mux(piece, whole)
    whole.seek(0)
    shutil.copyfileobj(whole, into)


def _mux(piece: Piece, into: io.BytesIO) -> None:
    codec, packets = piece.stretch.codec, piece.packets
    options = {"moov_size": str(_INDEX_HEAD + _INDEX_EACH * len(packets))}
    try:
        with (
            av.open(io.BytesIO(_first_picture(piece)), "r", format=codec) as header,
            av.open(into, "w", format="mp4", options=options) as container,
        ):
            stream = _stream(container, header.streams.video[0])
            stamps = _stamps(packets)
            last = max(pts for pts, _ in stamps)
            for packet, (pts, dts) in zip(packets, stamps, strict=True):
                each = Packet(with_start_codes(packet.data, piece.stretch.length_size))
                each.stream, each.time_base = stream, Fraction(1, _TICKS)
                each.pts, each.dts, each.is_keyframe = pts, dts, packet.keyframe
                if pts == last:
                    each.duration = round(piece.stretch.frame_s * _TICKS)
                container.mux_one(each)
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise InvalidMedia(f"No clip can be made of these packets: {type(error).__name__}.") from None


def _first_picture(piece: Piece) -> bytes:
    """Return the first key frame as Annex B, with all that a decoder must know in front of it."""
    stretch = piece.stretch
    return joined(stretch.told_sets or stretch.sets) + with_start_codes(piece.packets[0].data, stretch.length_size)


def _stream(container: OutputContainer, template: VideoStream) -> VideoStream:
    stream = container.add_stream_from_template(template, opaque=True)  # opaque: no encoder need be installed
    stream.time_base = Fraction(1, _TICKS)
    if template.codec_context.name == "hevc":
        stream.codec_tag = "hvc1"  # browsers do not play FFmpeg's own choice, hev1
    return stream


def _stamps(packets: Sequence[KeptPacket]) -> list[tuple[int, int]]:
    """Return times of presentation and of decoding in ticks, presentation from 0; none of either comes twice.

    Frames are decoded in the order of the packets, and shown in that of their times. The times of decoding are those of
    presentation in rising order, earlier by as much as no frame is shown before it is decoded.
    """
    order = sorted(range(len(packets)), key=lambda index: packets[index].time_s)
    first_s, shown, previous = packets[order[0]].time_s, [0] * len(packets), -1
    for index in order:
        previous = shown[index] = max(previous + 1, round((packets[index].time_s - first_s) * _TICKS))
    rising = sorted(shown)
    delay = max(decoded - pts for decoded, pts in zip(rising, shown, strict=True))
    return [(pts, decoded - delay) for pts, decoded in zip(shown, rising, strict=True)]

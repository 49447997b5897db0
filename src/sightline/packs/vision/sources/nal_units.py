"""The units of which H.264 and H.265 pictures consist: which kind they are, and their two forms of framing.

Annex B marks units by start codes (RTSP, MPEG-TS); the length-prefixed form has their length in front (mp4, Matroska,
FLV). Source: ITU-T H.264 and H.265, 7.3.1 and annex B; ISO/IEC 14496-15 for the length-prefixed form.
"""

from __future__ import annotations

from collections.abc import Iterator

CODECS = frozenset({"h264", "hevc"})
_START = b"\x00\x00\x01"
_SETS = {"h264": frozenset({7, 8}), "hevc": frozenset({32, 33, 34})}  # sequence and picture parameters, H.265: video
_SEQUENCE = {"h264": 7, "hevc": 33}


def kind_of(codec: str, head: int) -> int:
    """Return the type of a unit by its first byte."""
    return head & 31 if codec == "h264" else (head >> 1) & 63


def is_slice(codec: str, kind: int) -> bool:
    """Return True for the units that hold a picture, or a part of one."""
    return 1 <= kind <= 5 if codec == "h264" else kind < 32


def length_size(codec: str, extradata: bytes | None) -> int:
    """Return how many bytes the length in front of each unit has; 0 for Annex B."""
    if not extradata or extradata[0] != 1:
        return 0
    field = 4 if codec == "h264" else 21
    return (extradata[field] & 3) + 1 if len(extradata) > field else 4


def units(data: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each unit in `data`; a unit that goes beyond the end is cut, damage ends it.

    Args:
        data: an access unit, or parameters.
        size: of the lengths; 0: Annex B.
    """
    if size:
        position = 0
        while position + size < len(data):
            begin = position + size
            position = begin + int.from_bytes(data[position:begin], "big")
            yield begin, min(position, len(data))
        return
    begin = data.find(_START) + 3
    while 3 <= begin < len(data):
        # the first byte is looked at by the caller before we look for the end, which may be far away
        following = data.find(_START, begin)
        end = len(data) if following < 0 else following
        while following >= 0 and end > begin and not data[end - 1]:
            end -= 1  # the first zero of a start code of four bytes, and zeros that pad
        yield begin, end
        begin = following + 3


def first_picture_nal(data: bytes, extradata: bytes | None, *, hevc: bool) -> int | None:
    """Return the type of the first slice in an access unit; None when there is none."""
    codec = "hevc" if hevc else "h264"
    for begin, _ in units(data, length_size(codec, extradata)):
        if begin < len(data) and is_slice(codec, kind := kind_of(codec, data[begin])):
            return kind
    return None


def stands_alone(codec: str, data: bytes, extradata: bytes | None) -> bool:
    """Return True when nothing behind this key frame needs what came before it.

    FFmpeg also calls H.264 pictures with a recovery point key frames; with gradual refresh such a picture needs those
    before it. Only an IDR picture (type 5; H.265: IRAP, 16 to 23) is proof.
    """
    if codec not in CODECS:
        return True
    kind = first_picture_nal(data, extradata, hevc=codec == "hevc")
    return kind == 5 if codec == "h264" else kind is not None and 16 <= kind <= 23


def parameters(codec: str, data: bytes, size: int) -> list[bytes]:
    """Return the parameter sets in front of the first slice of an access unit."""
    found = []
    for begin, end in units(data, size):
        kind = kind_of(codec, data[begin]) if begin < end else -1
        if kind >= 0 and is_slice(codec, kind):
            break
        if kind in _SETS[codec]:
            found.append(data[begin:end])
    return found


def sequences(codec: str, sets: list[bytes]) -> list[bytes]:
    """Return those of `sets` that say what the pictures are: size, profile, order."""
    return [each for each in sets if kind_of(codec, each[0]) == _SEQUENCE[codec]]


def parameters_of_header(codec: str, extradata: bytes | None) -> list[bytes]:
    """Return the parameter sets of a stream's header, whichever form it has; none where it is damaged."""
    if not extradata:
        return []
    if not length_size(codec, extradata):
        return parameters(codec, extradata, 0)
    found: list[bytes] = []
    position, num_lists = (5, 2) if codec == "h264" else (23, extradata[22] if len(extradata) > 22 else 0)
    for number in range(num_lists):
        head = 1 if codec == "h264" else 3  # avcC: a count of 5 or 8 bits; hvcC: a type, a count of 16 bits
        field = extradata[position : position + head]
        count = int.from_bytes(field[-1:] if codec == "h264" else field[1:], "big")
        position += head
        for _ in range(count & 31 if codec == "h264" and not number else count):
            length = int.from_bytes(extradata[position : position + 2], "big")
            unit = extradata[position + 2 : position + 2 + length]
            if not unit or len(unit) < length:
                return found
            if kind_of(codec, unit[0]) in _SETS[codec]:  # H.265: notes of the encoder may stand there too
                found.append(unit)
            position += 2 + length
    return found


def with_start_codes(data: bytes, size: int) -> bytes:
    """Return an access unit as Annex B."""
    if not size:
        return data
    return b"".join(b"\0" + _START + data[begin:end] for begin, end in units(data, size))


def joined(sets: list[bytes]) -> bytes:
    """Return units as Annex B."""
    return b"".join(b"\0" + _START + unit for unit in sets)

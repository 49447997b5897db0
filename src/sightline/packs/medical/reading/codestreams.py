"""Compressed pictures: what they are, by their own first bytes, and how they are decoded.

The label of a transfer syntax may be wrong, and the size in a header may differ from the one in the stream, which is
what a codec allocates: so both are read from the stream before a codec sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import error, unpack_from
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import InvalidMedia

_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xDA)))
_FRAMES = {0xC0: "jpeg", 0xC1: "jpeg", 0xC2: "jpeg", 0xC3: "jpeg-lossless", 0xF7: "jpeg-ls"}
_KINDS = {
    "1.2.840.10008.1.2.4.50": "jpeg",
    "1.2.840.10008.1.2.4.51": "jpeg",
    "1.2.840.10008.1.2.4.57": "jpeg-lossless",
    "1.2.840.10008.1.2.4.70": "jpeg-lossless",
    "1.2.840.10008.1.2.4.80": "jpeg-ls",
    "1.2.840.10008.1.2.4.81": "jpeg-ls",
    "1.2.840.10008.1.2.4.90": "j2k",
    "1.2.840.10008.1.2.4.91": "j2k",
    "1.2.840.10008.1.2.4.201": "j2k",
    "1.2.840.10008.1.2.4.202": "j2k",
    "1.2.840.10008.1.2.4.203": "j2k",
    "1.2.840.10008.1.2.5": "rle",
}


@dataclass(frozen=True, slots=True)
class Stream:
    """What a compressed picture says of itself.

    Attributes:
        kind: `jpeg`, `jpeg-lossless`, `jpeg-ls`, `j2k` or `rle`; RLE tells no size.
        bits: of a sample.
        signed: samples have a sign.
    """

    kind: str
    rows: int = 0
    columns: int = 0
    samples: int = 1
    bits: int = 0
    signed: bool = False


def kind_of(syntax: str) -> str:
    """Return what the label of a transfer syntax stands for; empty: not known here, or not compressed."""
    return _KINDS.get(syntax, "")


def stream_of(data: bytes) -> Stream | None:
    """Return what compressed data are; None: nothing that is known."""
    try:
        if data[:3] == b"\xff\xd8\xff":
            return _jpeg(data)
        if data[:4] == b"\xff\x4f\xff\x51":
            return _jpeg_2000(data, 0)
        if data[4:8] == b"jP  ":
            begin = data.find(b"\xff\x4f\xff\x51", 0, 1 << 16)
            return _jpeg_2000(data, begin) if begin >= 0 else None
        num, first = unpack_from("<LL", data)
        return Stream("rle") if 1 <= num <= 15 and first == 64 else None
    except (error, IndexError):
        return None


def decoded(data: bytes, stream: Stream, rows: int, columns: int, allocated: int) -> npt.NDArray[Any]:
    """Return a picture of [rows, columns] as the bits that were stored, in 8, 16 or 32 of them.

    Raises:
        InvalidMedia: it is damaged, has another size, or no codec here decodes it.
    """
    if stream.kind != "rle" and (stream.rows, stream.columns, stream.samples) != (rows, columns, 1):
        raise InvalidMedia(
            f"The compressed picture has {stream.rows} x {stream.columns} pixels of {stream.samples} samples, "
            f"its header says {rows} x {columns} of 1.",
            cure="Send the file anew.",
        )
    try:
        pixels = _CODECS[stream.kind](data, stream, rows * columns, allocated)
        return np.asarray(pixels).reshape(rows, columns)
    except InvalidMedia:
        raise
    except BaseException as problem:
        # A codec may raise anything when it is fed with anything; one in Rust panics, which is no Exception.
        if not isinstance(problem, Exception) and type(problem).__name__ != "PanicException":
            raise
        reason = (str(problem).splitlines() or [""])[0][:150]
        raise InvalidMedia(
            f"The {stream.kind} codec cannot decode it: {reason or type(problem).__name__}.", cure="Send the file anew."
        ) from None


def _jpeg(data: bytes) -> Stream | None:
    position = 2
    while True:
        while data[position + 1] == 0xFF:  # fill bytes
            position += 1
        marker, (length,) = data[position + 1], unpack_from(">H", data, position + 2)
        if data[position] != 0xFF or marker == 0xDA:
            return None
        if kind := _FRAMES.get(marker):
            bits, rows, columns, samples = unpack_from(">BHHB", data, position + 4)
            return Stream(kind, rows, columns, samples, bits)
        position += 2 if marker in _NO_LENGTH else 2 + length


def _has_widest_step(data: bytes) -> bool:
    """Return whether the code tables of a lossless JPEG hold the symbol for steps of 32,768."""
    position = 2
    while data[position + 1] != 0xDA:
        marker, (length,) = data[position + 1], unpack_from(">H", data, position + 2)
        if marker == 0xC4:
            at, end = position + 4, position + 2 + length
            while at < end:
                num = sum(data[at + 1 : at + 17])
                if 16 in data[at + 17 : at + 17 + num]:
                    return True
                at += 17 + num
        position += 2 if marker in _NO_LENGTH else 2 + length
    return False


def _jpeg_2000(data: bytes, begin: int) -> Stream:
    right, bottom, left, top = unpack_from(">LLLL", data, begin + 8)
    samples, depth, horizontal, vertical = unpack_from(">HBBB", data, begin + 40)
    if (horizontal, vertical) != (1, 1):
        samples = 0  # subsampled: no picture of one sample a pixel
    return Stream("j2k", bottom - top, right - left, samples, (depth & 0x7F) + 1, depth > 0x7F)


def _run_lengths(data: bytes, _: Stream, num_pixels: int, allocated: int) -> npt.NDArray[Any]:
    from rle.utils import decode_frame  # type: ignore[attr-defined]

    return np.frombuffer(decode_frame(data, num_pixels, allocated, "<"), f"<u{allocated // 8}")


def _jpeg_ls(data: bytes, stream: Stream, _: int, __: int) -> npt.NDArray[Any]:
    import jpeg_ls  # type: ignore[import-untyped]

    pixels, _info = jpeg_ls.decode_pixel_data(data)
    return np.frombuffer(pixels, np.uint8 if stream.bits <= 8 else np.uint16)


def _j2k(data: bytes, stream: Stream, _: int, __: int) -> npt.NDArray[Any]:
    from openjpeg import decode_pixel_data  # type: ignore[attr-defined]

    pixels = decode_pixel_data(data, version=2)  # the bytes of the pixels, without a look at any header
    num_bytes = 1 if stream.bits <= 8 else 2 if stream.bits <= 16 else 4
    return np.frombuffer(pixels, f"<{'i' if stream.signed else 'u'}{num_bytes}")


def _baseline(data: bytes, stream: Stream, _: int, __: int) -> npt.NDArray[Any]:
    from io import BytesIO

    from PIL import Image

    if stream.bits != 8:
        raise InvalidMedia(
            f"JPEG of {stream.bits} bits a sample is not decoded here.",
            cure="Convert it without loss first: gdcmconv --raw, or dcmdjpeg",
        )
    with Image.open(BytesIO(data), formats=["JPEG"]) as picture:
        return np.asarray(picture)


def _lossless(data: bytes, stream: Stream, _: int, __: int) -> npt.NDArray[Any]:
    if _has_widest_step(data):  # FFmpeg is wrong where two neighbours differ by 32,768
        raise InvalidMedia(
            f"Lossless JPEG of {stream.bits} bits a sample is not decoded here.",
            cure="Convert it first: gdcmconv --raw, or dcmdjpeg",
        )
    import av

    codec: Any = av.CodecContext.create("mjpeg", "r")
    codec.thread_count = 1
    frames = codec.decode(av.Packet(data)) or codec.decode(None)
    if not frames or frames[0].format.name not in ("gray", "gray16le", "gray12le", "gray10le"):
        raise InvalidMedia("The lossless JPEG codec gave no grey picture.", cure="Send the file anew.")
    pixels: npt.NDArray[Any] = frames[0].to_ndarray()
    return pixels


_CODECS = {
    "rle": _run_lengths,
    "jpeg-ls": _jpeg_ls,
    "j2k": _j2k,
    "jpeg": _baseline,
    "jpeg-lossless": _lossless,
}

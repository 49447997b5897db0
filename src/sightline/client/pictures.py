"""A picture in any form, as the bytes that are sent. Needs no decoder and no encoder."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from sightline.client.steps import Read, Steps
from sightline.core.errors import InvalidInput


@runtime_checkable
class PilPicture(Protocol):
    """What is needed of a `PIL.Image.Image`."""

    mode: str
    save: Callable[..., Any]


Picture: TypeAlias = bytes | str | Path | BinaryIO | npt.NDArray[np.uint8] | PilPicture
"""Encoded bytes, a path, an open file, uint8 [H, W, 3] blue first, or a PIL picture."""

_STARTS = ((b"\xff\xd8", "image/jpeg"), (b"\x89PNG", "image/png"), (b"BM", "image/bmp"))


def picture_bytes(picture: Picture) -> Steps[tuple[bytes, str]]:
    """Give the bytes of a picture and their media type.

    An array is sent as BMP and a PIL picture as PNG: nothing of them is lost. Where the network is the limit, send
    JPEG bytes.

    Raises:
        InvalidInput: it is no picture in a form that can be sent.
        FileMissing: there is no such file.
    """
    if isinstance(picture, str | Path):
        data: Any = yield Read(Path(picture))
    elif isinstance(picture, np.ndarray):
        return bmp(picture), "image/bmp"
    elif isinstance(picture, PilPicture):
        file = BytesIO()
        picture.save(file, "PNG", compress_level=1)
        return file.getvalue(), "image/png"
    else:
        data = picture.read() if hasattr(picture, "read") else picture
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidInput(
            f"{type(picture).__name__} is no picture that can be sent.",
            cure="Give bytes, a path, an open binary file, a PIL picture, or an array uint8 [height, width, 3].",
        )
    data = bytes(data)
    return data, media_type(data)


def media_type(data: bytes) -> str:
    """Return the media type that the first bytes show."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _STARTS if data.startswith(start)), "application/octet-stream")


def bmp(pixels_HWC: npt.NDArray[Any]) -> bytes:
    """Return a picture as BMP, whose pixels are blue first too: rows from the bottom, each filled up to 4 bytes.

    Raises:
        InvalidInput: it is no uint8 [H, W, 3].
    """
    if pixels_HWC.dtype != np.uint8 or pixels_HWC.ndim != 3 or pixels_HWC.shape[2] != 3 or not pixels_HWC.size:
        raise InvalidInput(f"A picture is uint8 [height, width, 3], not {pixels_HWC.dtype} {list(pixels_HWC.shape)}.")
    height, width, _ = pixels_HWC.shape
    rows = np.zeros((height, (3 * width + 3) & ~3), np.uint8)
    rows[:, : 3 * width] = pixels_HWC[::-1].reshape(height, 3 * width)
    size = 54 + rows.size
    numbers = (size, 0, 54, 40, width, height, 1 | 24 << 16, 0, rows.size, 2835, 2835, 0, 0)
    return b"".join((b"BM", *(number.to_bytes(4, "little") for number in numbers), rows.tobytes()))

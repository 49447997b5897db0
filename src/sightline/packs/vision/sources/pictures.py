"""One picture from bytes, upright, with its size checked before anything is allocated.

JPEG by simplejpeg (libjpeg-turbo, twice as fast), everything else by Pillow; both give the same orientation. Of an
animation the first picture is taken.

Shape letters: H rows, W columns, C colours (blue, green, red).
"""

from __future__ import annotations

import struct
from io import BytesIO

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from sightline.core.errors import InvalidMedia
from sightline.core.sample import Frame

MAX_PIXELS = 89_000_000  # below Pillow's own limit, so that it never warns before we refuse
_ORIENTATION = 0x0112  # EXIF 2.32, table 4
_JPEG = b"\xff\xd8\xff"
_MAY_BE_TURNED = (b"Exif\0\0", b"tiff:Orientation")  # where an orientation can stand: EXIF, or XMP
_PLAIN_COLOURS = ("YCbCr", "Gray")
_TURNS = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (1, True),
    6: (3, False),
    7: (3, True),
    8: (1, False),
}


def decode_frame(
    data: bytes,
    *,
    name: str = "the picture",
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    least_size: tuple[int, int] | None = None,
) -> Frame:
    """Return a picture as a frame; see `decode_picture`.

    Args:
        data: the file's bytes.
        name: for messages.
        size: width and height in pixels to scale to.
        max_pixels: larger pictures are refused.
        least_size: a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as its width and
            height have at least these pixels; the frame knows the full size. Other formats are decoded whole.

    Raises:
        InvalidMedia: it is empty, damaged, too large, or no picture.
    """
    pixels_HWC, full_size = _decoded(data, name, max_pixels, None if size else least_size)
    if full_size == (pixels_HWC.shape[1], pixels_HWC.shape[0]):
        return Frame(scaled(pixels_HWC, size))
    return Frame(pixels_HWC, full_size)


def decode_picture(
    data: bytes, *, name: str = "the picture", size: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS
) -> npt.NDArray[np.uint8]:
    """Return a picture as uint8 [H, W, 3], blue first, turned as its EXIF orientation says.

    Transparency is dropped, 16-bit grey is cut to its upper 8 bits, of several pages the first is taken.

    Args:
        data: the file's bytes: JPEG, PNG, WebP, BMP, TIFF or whatever else Pillow reads.
        name: for messages.
        size: width and height in pixels to scale to.
        max_pixels: larger pictures are refused by their header, before they are decoded.

    Raises:
        InvalidMedia: it is empty, damaged, too large, or no picture.
    """
    return scaled(_decoded(data, name, max_pixels, None)[0], size)


def _decoded(
    data: bytes, name: str, max_pixels: int, least_size: tuple[int, int] | None
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """Return the pixels of a picture, and its full width and height, upright."""
    if not data:
        raise InvalidMedia(f"{name} is empty (0 bytes).", cure="Send the picture's bytes.")
    try:
        if data.startswith(_JPEG) and not any(mark in data for mark in _MAY_BE_TURNED):
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            if colours in _PLAIN_COLOURS:  # nothing that Pillow would find out: it takes longer to look than we do
                _check_size(width, height, name, max_pixels)
                return _from_jpeg(data, (width, height), 1, least_size), (width, height)
        with Image.open(BytesIO(data)) as picture:
            width, height = picture.size
            _check_size(width, height, name, max_pixels)
            if picture.format == "JPEG" and picture.mode in {"L", "RGB"}:
                orientation = picture.getexif().get(_ORIENTATION, 1)
                pixels_HWC = _from_jpeg(data, (width, height), orientation, least_size)
                return pixels_HWC, (height, width) if _is_on_its_side(orientation) else (width, height)
            pixels_HWC = np.ascontiguousarray(_from_pillow(picture))
            return pixels_HWC, (pixels_HWC.shape[1], pixels_HWC.shape[0])
    except UnidentifiedImageError:
        raise InvalidMedia(f"{name} is not a picture of a known format.", cure="Send JPEG or PNG.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidMedia(f"{name} has far too many pixels.", cure="Scale it down.") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error) as error:
        # what Pillow's format readers raise for damaged files, and simplejpeg's ValueError
        raise InvalidMedia(f"{name} is damaged: {error}.", cure="Send it again.") from None


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise InvalidMedia(
            f"{name} is {width} x {height} pixels; the limit is {max_pixels} in all.", cure="Scale it down."
        )


def _from_jpeg(
    data: bytes, size: tuple[int, int], orientation: int, least_size: tuple[int, int] | None
) -> npt.NDArray[np.uint8]:
    """Return the upright pixels of a JPEG of `size` (as it lies in the file), perhaps smaller."""
    width, height = size
    divisor = _divisor((height, width) if _is_on_its_side(orientation) else size, least_size)
    pixels_HWC = simplejpeg.decode_jpeg(
        data, colorspace="BGR", min_height=-(-height // divisor), min_width=-(-width // divisor)
    )
    return np.ascontiguousarray(_upright(np.asarray(pixels_HWC), orientation))


def _is_on_its_side(orientation: int) -> bool:
    return _TURNS.get(orientation, (0, False))[0] % 2 == 1


def _divisor(size: tuple[int, int], least_size: tuple[int, int] | None) -> int:
    """Return by how much a JPEG of `size` may be divided while it is decoded.

    libjpeg-turbo knows eighths, but is fast at these three alone: 3/8 of 1080p takes as long as all of it.
    """
    if least_size is None:
        return 1
    return next(
        (divisor for divisor in (8, 4, 2) if size[0] >= divisor * least_size[0] and size[1] >= divisor * least_size[1]),
        1,
    )


def scaled(pixels_HWC: npt.NDArray[np.uint8], size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    """Return `pixels_HWC` at `size` (width, height): area averages when smaller, bilinear when larger."""
    height, width = pixels_HWC.shape[:2]
    if size is None or size == (width, height):
        return pixels_HWC
    smaller = size[0] * size[1] < width * height
    resized = cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _upright(pixels_HWC: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    turns, mirrored = _TURNS.get(orientation, (0, False))
    return np.rot90(pixels_HWC[:, ::-1] if mirrored else pixels_HWC, turns)


def _from_pillow(picture: Image.Image) -> npt.NDArray[np.uint8]:
    picture = ImageOps.exif_transpose(picture)  # after loading: Pillow turns TIFF by itself, nothing else
    if picture.mode.startswith("I;16"):
        # convert("RGB") would clip at 255 and give a white picture
        grey_HW = (np.asarray(picture, np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey_HW[:, :, None], 3, axis=2)
    return np.asarray(picture.convert("RGB"))[:, :, ::-1]

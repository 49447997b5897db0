"""One picture from bytes, upright, with its size checked before anything is allocated.

JPEG by simplejpeg (libjpeg-turbo, twice as fast), everything else by Pillow; both give the same orientation.

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

MAX_PIXELS = 89_000_000  # below Pillow's own limit, so that it never warns before we refuse
_ORIENTATION = 0x0112  # EXIF 2.32, table 4
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
    if not data:
        raise InvalidMedia(f"{name} is empty (0 bytes).", cure="Send the picture's bytes.")
    try:
        with Image.open(BytesIO(data)) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise InvalidMedia(
                    f"{name} is {width} x {height} pixels; the limit is {max_pixels} in all.", cure="Scale it down."
                )
            if picture.format == "JPEG" and picture.mode in {"L", "RGB"}:
                pixels_HWC = np.asarray(simplejpeg.decode_jpeg(data, colorspace="BGR"))
                pixels_HWC = _upright(pixels_HWC, picture.getexif().get(_ORIENTATION, 1))
            else:
                pixels_HWC = _from_pillow(picture)
    except UnidentifiedImageError:
        raise InvalidMedia(f"{name} is not a picture of a known format.", cure="Send JPEG or PNG.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidMedia(f"{name} has far too many pixels.", cure="Scale it down.") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error) as error:
        # what Pillow's format readers raise for damaged files, and simplejpeg's ValueError
        raise InvalidMedia(f"{name} is damaged: {error}.", cure="Send it again.") from None
    return scaled(np.ascontiguousarray(pixels_HWC), size)


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

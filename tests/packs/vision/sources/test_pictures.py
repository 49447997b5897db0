from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from sightline.core.errors import InvalidMedia
from sightline.packs.vision.sources.pictures import decode_picture


def example(width: int = 40, height: int = 24) -> Image.Image:
    """Return a picture without any symmetry: red at the left, brighter to the bottom."""
    pixels_HWC = np.zeros((height, width, 3), np.uint8)
    pixels_HWC[:, : width // 4, 0] = 220
    pixels_HWC[:, :, 1] = np.linspace(20, 200, height, dtype=np.uint8)[:, None]
    return Image.fromarray(pixels_HWC)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def bgr(picture: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(picture.convert("RGB"))[:, :, ::-1]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_lossless_formats_give_their_pixels_in_blue_green_red(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels_HWC = decode_picture(encoded(example(), kind, **options))
    np.testing.assert_array_equal(pixels_HWC, bgr(example()))
    assert pixels_HWC.flags.c_contiguous


def test_a_jpeg_gives_what_pillow_gives() -> None:
    data = encoded(example(), "JPEG", quality=95, subsampling=0)
    difference = np.abs(decode_picture(data).astype(int) - bgr(Image.open(io.BytesIO(data))))
    assert difference.max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright_whatever_their_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(example(), kind, exif=exif)
    expected = bgr(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    difference = np.abs(decode_picture(data).astype(int) - expected)
    assert difference.max() <= 8  # two JPEG decoders may smooth colours differently


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "RGBA", "LA", "YCbCr"])
def test_every_colour_mode_becomes_three_colours(mode: str) -> None:
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    picture = Image.fromarray(np.full((8, 8), 200, np.uint8)).convert("RGB").convert(mode)
    pixels_HWC = decode_picture(encoded(picture, kind))
    assert pixels_HWC.shape == (8, 8, 3)
    assert pixels_HWC.mean() > 150


def test_grey_jpegs_are_decoded() -> None:
    assert decode_picture(encoded(Image.new("L", (8, 8), 100), "JPEG")).mean() == pytest.approx(100, abs=2)


def test_sixteen_bit_grey_keeps_its_upper_bits() -> None:
    picture = Image.fromarray(np.full((4, 4), 0x8000, np.uint16))
    assert (decode_picture(encoded(picture, "PNG")) == 128).all()


def test_pictures_are_scaled() -> None:
    assert decode_picture(encoded(example(), "PNG"), size=(20, 10)).shape == (10, 20, 3)
    assert decode_picture(encoded(example(), "PNG"), size=(80, 48)).shape == (48, 80, 3)


def test_too_many_pixels_are_refused_by_the_header() -> None:
    data = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(data) < 100_000
    with pytest.raises(InvalidMedia, match="pixels"):
        decode_picture(data, name="bomb.png")
    with pytest.raises(InvalidMedia, match="40 x 24"):
        decode_picture(encoded(example(), "JPEG"), max_pixels=100)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_picture_is_refused(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encoded(noise, kind)
    with pytest.raises(InvalidMedia, match=r"door\.x"):
        decode_picture(data[: int(len(data) * share)], name="door.x")


@pytest.mark.parametrize("data", [b"", b"text", b"\xff\xd8\xff\xe0" + bytes(40), b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_picture_is_refused_with_a_cure(data: bytes) -> None:
    with pytest.raises(InvalidMedia) as caught:
        decode_picture(data)
    assert caught.value.cure

"""Every form of a picture arrives as the same pixels."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.client.conftest import PHOTOS

from sightline import Boxes, Client, Labels
from sightline.client.pictures import bmp, media_type
from sightline.core.errors import FileMissing, InvalidInput, InvalidMedia

PHOTO = PHOTOS / "german-shepherd.jpg"
MODEL = "efficientnet-lite0"


@given(st.integers(1, 9), st.integers(1, 9))
def test_an_array_as_bmp_has_the_same_pixels(height: int, width: int) -> None:
    pixels_HWC = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    with Image.open(BytesIO(bmp(pixels_HWC))) as read:
        np.testing.assert_array_equal(np.asarray(read.convert("RGB"))[..., ::-1], pixels_HWC)


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 4), (0, 3, 3), (1, 3, 3, 3)])
def test_an_array_that_is_no_picture_is_refused(client: Client, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="A picture is uint8"):
        client.predict(np.zeros(shape, np.uint8), model=MODEL)


def test_floats_are_no_picture(client: Client) -> None:
    with pytest.raises(InvalidInput, match="not float32"):
        client.predict(np.zeros((3, 3, 3), np.float32), model=MODEL)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "BMP"])
def test_the_first_bytes_tell_the_type(format_: str) -> None:
    file = BytesIO()
    Image.new("RGB", (2, 2)).save(file, format_)
    assert media_type(file.getvalue()) == f"image/{format_.lower()}"
    assert media_type(b"RIFF") == "application/octet-stream"


def test_every_form_gives_the_same_answer(client: Client) -> None:
    with Image.open(PHOTO) as picture, PHOTO.open("rb") as file:
        pixels_HWC = np.asarray(picture.convert("RGB"))[..., ::-1]
        forms: list[Any] = [PHOTO, str(PHOTO), PHOTO.read_bytes(), file, picture.convert("RGB"), pixels_HWC]
        answers = [client.predict(form, model=MODEL, top_k=1) for form in forms]
    for answer in answers:
        labels = answer.prediction("model", Labels)
        assert labels.class_name == ("German shepherd",)
        assert labels.confidence[0] == pytest.approx(answers[0].prediction("model", Labels).confidence[0], abs=0.02)


def test_boxes_are_those_of_the_process(client: Client) -> None:
    boxes = client.predict(PHOTO, model="nanodet-m", threshold=0.4).prediction("model", Boxes)
    assert "dog" in boxes.class_name
    assert boxes.xyxy.dtype == np.float32
    assert (boxes.confidence >= 0.4).all()


def test_a_drawn_picture_is_a_jpeg(client: Client) -> None:
    with Image.open(BytesIO(client.drawn(PHOTO, model="nanodet-m"))) as drawn, Image.open(PHOTO) as before:
        assert drawn.format == "JPEG"
        assert drawn.size == before.size


def test_what_is_no_picture_is_told_by_the_server(client: Client) -> None:
    with pytest.raises(InvalidMedia) as raised:
        client.predict(b"no picture", model=MODEL)
    assert raised.value.request_id


def test_a_file_that_is_not_there_is_named(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="nothing"):
        client.predict(tmp_path / "nothing.jpg")
    with pytest.raises(InvalidInput, match="cannot be read"):
        client.predict(tmp_path)


@pytest.mark.parametrize("wrong", [3, None, {"image": 1}])
def test_something_else_is_refused(client: Client, wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="no picture that can be sent"):
        client.predict(wrong)

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sightline.core.errors import InvalidInput, InvalidModel
from sightline.core.model import ModelCard, TensorSpec
from sightline.core.prediction import frozen
from sightline.packs.vision.preprocess import Preprocessor

PLAIN: dict[str, Any] = {
    "input": "images",
    "size": [4, 2],
    "resize": "stretch",
    "colour": "bgr",
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
}


def card(*, without: str = "", shape: tuple[int | str | None, ...] = ("n", 3, None, None), **fields: Any) -> ModelCard:
    preprocessing = {key: value for key, value in {**PLAIN, **fields}.items() if key != without}
    spec = TensorSpec(name="images", dtype="float32", shape=shape)
    return ModelCard(name="net", inputs=(spec,), preprocessing=preprocessing)


def noise(width: int, height: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_values_are_shifted_scaled_and_put_in_planes_of_the_wanted_colour() -> None:
    pixels = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)  # blue, green, red
    preprocessor = Preprocessor(card(size=[2, 1], colour="rgb", mean=[30, 20, 10], std=[2, 4, 5]))

    tensor, _ = preprocessor.prepare(pixels)

    assert tensor.dtype == np.float32
    wanted: Any = [[[[0, 15]], [[0, 7.5]], [[0, 6]]]]
    np.testing.assert_allclose(tensor, wanted, atol=1e-6)


def test_channels_may_come_last() -> None:
    pixels = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    last = card(size=[2, 1], layout="NHWC", colour="rgb", mean=[30, 20, 10], std=[2, 4, 5], shape=("n", 1, 2, 3))

    tensor, _ = Preprocessor(last).prepare(pixels)

    wanted: Any = [[[[0, 0, 0], [15, 7.5, 6]]]]
    np.testing.assert_allclose(tensor, wanted, atol=1e-6)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_bytes_go_in_as_they_are(layout: str) -> None:
    fields = {**PLAIN, "dtype": "uint8", "layout": layout, "colour": "rgb"}
    del fields["mean"], fields["std"]
    pixels = noise(4, 2)

    tensor, _ = Preprocessor(ModelCard(name="net", preprocessing=fields)).prepare(pixels)

    assert tensor.dtype == np.uint8
    rgb = pixels[None, :, :, ::-1]
    np.testing.assert_array_equal(tensor, rgb.transpose(0, 3, 1, 2) if layout == "NCHW" else rgb)


def test_half_precision() -> None:
    tensor, _ = Preprocessor(card(dtype="float16", std=[255, 255, 255])).prepare(noise(4, 2))

    assert tensor.dtype == np.float16
    assert tensor.max() <= 1


@pytest.mark.parametrize("interpolation", ["linear", "area"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_fused_pass_equals_the_plain_formula(interpolation: str, layout: str) -> None:
    mean, std = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]
    shape = ("n", 3, 48, 64) if layout == "NCHW" else ("n", 48, 64, 3)
    made = card(size=[64, 48], mean=mean, std=std, interpolation=interpolation, layout=layout, shape=shape)
    pixels = noise(200, 100)

    tensor, _ = Preprocessor(made).prepare(frozen(pixels))

    flag = cv2.INTER_LINEAR if interpolation == "linear" else cv2.INTER_AREA
    wanted = (cv2.resize(pixels, (64, 48), interpolation=flag).astype(np.float64) - mean) / std
    np.testing.assert_allclose(tensor[0], wanted.transpose(2, 0, 1) if layout == "NCHW" else wanted, atol=1e-6)


def test_a_letterbox_has_grey_bars_and_the_picture_in_the_middle() -> None:
    preprocessor = Preprocessor(card(size=[8, 8], resize="letterbox", pad=114))

    tensor, placement = preprocessor.prepare(np.full((4, 16, 3), 200, np.uint8))

    np.testing.assert_array_equal(tensor[0, :, :3], np.full((3, 3, 8), 114))
    np.testing.assert_array_equal(tensor[0, :, 3:5], np.full((3, 2, 8), 200))
    np.testing.assert_array_equal(tensor[0, :, 5:], np.full((3, 3, 8), 114))
    np.testing.assert_array_equal(placement.to_picture(np.array([[0, 3, 8, 5]])), [[0, 0, 16, 4]])


def test_the_shorter_side_is_scaled_and_the_centre_cut_out() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    preprocessor = Preprocessor(card(size=[10, 10], resize="shorter", shorter=10))

    tensor, placement = preprocessor.prepare(pixels)

    np.testing.assert_array_equal(tensor, np.full((1, 3, 10, 10), 255))
    np.testing.assert_array_equal(placement.to_picture(np.array([[0, 0, 10, 10]])), [[10, 0, 20, 10]])


def test_bytes_of_the_right_size_are_not_copied() -> None:
    pixels = noise(4, 2)

    tensor, _ = Preprocessor(card(dtype="uint8", layout="NHWC", shape=("n", 2, 4, 3))).prepare(frozen(pixels))

    assert np.shares_memory(tensor, pixels)
    np.testing.assert_array_equal(tensor[0], pixels)


def test_two_pictures_do_not_share_a_buffer() -> None:
    preprocessor = Preprocessor(card())

    first, _ = preprocessor.prepare(np.zeros((2, 4, 3), np.uint8))
    preprocessor.prepare(np.full((2, 4, 3), 255, np.uint8))

    assert first.max() == 0


def test_a_model_without_a_batch_axis_gets_none() -> None:
    tensor, _ = Preprocessor(card(shape=(3, "height", "width"))).prepare(noise(9, 9))

    assert tensor.shape == (3, 2, 4)


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "shorter"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1000, 3), (1000, 1, 3), (7, 5, 3), (7, 5), (7, 5, 1)])
def test_any_picture_becomes_an_input(resize: str, shape: tuple[int, ...]) -> None:
    extra: dict[str, Any] = {"shorter": 40} if resize == "shorter" else {}
    preprocessor = Preprocessor(card(size=[40, 24], resize=resize, **extra))

    tensor, _ = preprocessor.prepare(np.full(shape, 114, np.uint8))

    np.testing.assert_array_equal(tensor, np.full((1, 3, 24, 40), 114))


@pytest.mark.parametrize("cut", [np.s_[::2, ::3], np.s_[::-1, ::-1], np.s_[3:9, 2:7], np.s_[:, :, ::-1]])
def test_views_are_pictures_too(cut: Any) -> None:
    preprocessor = Preprocessor(card())
    view = frozen(noise(30, 20)[cut])

    tensor, _ = preprocessor.prepare(view)

    np.testing.assert_array_equal(tensor, preprocessor.prepare(np.ascontiguousarray(view))[0])


@given(
    picture=st.tuples(st.integers(40, 400), st.integers(40, 400)),
    model=st.tuples(st.integers(32, 160), st.integers(32, 160)),
    resize=st.sampled_from(["stretch", "letterbox", "shorter"]),
    data=st.data(),
)
def test_what_is_found_in_the_input_is_where_it_was_in_the_picture(
    picture: tuple[int, int], model: tuple[int, int], resize: str, data: st.DataObject
) -> None:
    width, height = picture
    # Near the middle, so that cutting out the centre leaves it; the background is darker than the bars.
    centre = min(picture) * min(model) / max(model) / 2.5
    x0, x1 = round(width / 2 - centre * data.draw(st.floats(0.3, 1))), round(width / 2 + centre * 0.9)
    y0, y1 = round(height / 2 - centre * data.draw(st.floats(0.3, 1))), round(height / 2 + centre * 0.9)
    pixels = np.full((height, width, 3), 10, np.uint8)
    pixels[y0:y1, x0:x1] = 250
    extra: dict[str, Any] = {"shorter": max(model)} if resize == "shorter" else {}

    tensor, placement = Preprocessor(card(size=list(model), resize=resize, **extra)).prepare(pixels)

    # Thinner than that, and a resize that looks at four pixels may miss it.
    assume((x1 - x0) * placement.scale_x >= 3 and (y1 - y0) * placement.scale_y >= 3)
    rows, columns = np.nonzero(tensor[0, 0] > 130)
    found = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    pixel = np.array([1 / placement.scale_x, 1 / placement.scale_y] * 2)  # one pixel of the input in the picture
    assert (np.abs(placement.to_picture(found)[0] - [x0, y0, x1, y1]) <= pixel + 0.51).all()


@pytest.mark.parametrize("key", ["size", "resize", "colour", "mean", "std"])
def test_a_missing_field_is_named_with_the_cure(key: str) -> None:
    with pytest.raises(InvalidModel, match=rf"net@1 has no preprocessing\.{key}; it must be") as caught:
        Preprocessor(card(without=key))

    assert "sightline models add FILE --preprocess" in caught.value.cure


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": [4]}, r"preprocessing\.size = \[4\]; it must be a list of 2 numbers"),
        ({"size": [4, 0]}, "whole numbers of at least 1"),
        ({"size": [4.5, 2]}, "whole numbers"),
        ({"size": [999999, 2]}, "at most 16384"),
        ({"resize": "squash"}, "one of stretch, letterbox, shorter"),
        ({"resize": "shorter"}, r"has no preprocessing\.shorter"),
        ({"resize": "shorter", "shorter": 3}, "at least 4, the longer side of size"),
        ({"interpolation": "cubic"}, "one of linear, area"),
        ({"colour": "grey"}, "one of rgb, bgr"),
        ({"mean": [0, 0]}, "a list of 3 numbers"),
        ({"mean": [0, 0, True]}, "a list of 3 numbers"),
        ({"mean": [0, 0, float("nan")]}, "a list of 3 numbers"),
        ({"std": [1, 1, 0]}, "three numbers above 0"),
        ({"std": "1, 1, 1"}, "a list of 3 numbers"),
        ({"layout": "CHW"}, "one of NCHW, NHWC"),
        ({"dtype": "int8"}, "one of float32, float16, uint8"),
        ({"dtype": "uint8", "std": [2, 2, 2]}, r"preprocessing\.std = \[2, 2, 2\]; it must be left out"),
        ({"pad": 300}, "a number of 0 to 255"),
        ({"pad": 1.5}, "a whole number"),
        ({"input": "picture"}, "one of the model's inputs: images"),
        ({"colur": "rgb"}, r"unknown field preprocessing\.colur\. Did you mean 'colour'\?"),
        ({"layout": "NHWC", "shape": ("n", 3, 2, 4)}, "the other one"),
        ({"shape": ("n", 3, 224, 224)}, r"preprocessing\.size = \[4, 2\]; it must be \[224, 224\]"),
        ({"shape": ("n", 224)}, "3 or 4 axes"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidModel, match=message):
        Preprocessor(card(**fields))


def test_the_only_input_needs_no_name_and_two_do() -> None:
    spec = TensorSpec(name="images", dtype="float32", shape=("n", 3, None, None))
    other = TensorSpec(name="scale", dtype="float32", shape=("n", 1))
    fields = {key: value for key, value in PLAIN.items() if key != "input"}

    assert Preprocessor(ModelCard(name="net", inputs=(spec,), preprocessing=fields)).input == "images"
    with pytest.raises(InvalidModel, match=r"no preprocessing\.input"):
        Preprocessor(ModelCard(name="net", inputs=(spec, other), preprocessing=fields))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros(4, np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(pixels: Any) -> None:
    with pytest.raises(InvalidInput, match=r"A picture is uint8 \[height, width, 3\]"):
        Preprocessor(card()).prepare(pixels)

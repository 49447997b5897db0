"""A model whose card says `decode: scaled` sees a smaller picture, and speaks of the whole one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from sightline.build import CaseBuildContext
from sightline.build.loaded_model import case_of_model
from sightline.build.request_sources import requests_of
from sightline.core.errors import InvalidModel
from sightline.core.prediction import Boxes, JsonObject, Labels
from sightline.core.sample import Frame
from sightline.engine.requests import Requests
from sightline.packs.vision.sources.pictures import decode_frame
from sightline.settings import load_settings

PHOTO = Path(__file__).parents[2] / "data/photos/german-shepherd.jpg"


def photo(width: int, height: int, orientation: int = 1) -> bytes:
    """Return the photograph of the dog as a JPEG of another size."""
    with Image.open(PHOTO) as picture:
        large = picture.resize((width, height), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    data = io.BytesIO()
    large.save(data, "JPEG", quality=92, exif=exif)
    return data.getvalue()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseBuildContext]:
    folder = tmp_path_factory.mktemp("models")
    with CaseBuildContext(load_settings(folder=folder, environ={"SIGHTLINE_DATA_ROOT": str(folder / "data")})) as made:
        yield made


def requests_to(context: CaseBuildContext, model: str, **changes: str) -> Requests:
    preprocessing: JsonObject = {**context.registry.locate(model).card.preprocessing, **changes}
    return requests_of(case_of_model(context, model, preprocessing=preprocessing), context)


@pytest.mark.parametrize(
    ("size", "least", "decoded"),
    [
        ((640, 480), (224, 224), (320, 240)),
        ((1920, 1080), (224, 224), (480, 270)),
        ((1921, 1083), (224, 224), (481, 271)),
        ((447, 447), (224, 224), (447, 447)),
        ((448, 448), (224, 224), (224, 224)),
        ((200, 2000), (224, 224), (200, 2000)),
    ],
)
def test_a_jpeg_is_decoded_no_smaller_than_the_model_needs(
    size: tuple[int, int], least: tuple[int, int], decoded: tuple[int, int]
) -> None:
    frame = decode_frame(photo(*size), least_size=least)

    assert frame.pixels_HWC.shape[1::-1] == decoded
    assert frame.size == size


def test_a_turned_jpeg_is_measured_upright() -> None:
    frame = decode_frame(photo(1600, 500, orientation=6), least_size=(250, 200))

    assert frame.size == (500, 1600)
    assert frame.pixels_HWC.shape[:2] == (800, 250)


def test_other_formats_are_decoded_whole() -> None:
    data = io.BytesIO()
    Image.new("RGB", (1000, 800)).save(data, "PNG")

    frame = decode_frame(data.getvalue(), least_size=(100, 100))

    assert (frame.pixels_HWC.shape[:2], frame.full_size) == ((800, 1000), None)


def test_the_classifier_agrees_with_itself(context: CaseBuildContext) -> None:
    data = photo(1920, 1440)
    whole, scaled = (
        requests_to(context, "efficientnet-lite0"),
        requests_to(context, "efficientnet-lite0", decode="scaled"),
    )
    samples = [requests.load(io.BytesIO(data)) for requests in (whole, scaled)]
    labels = [
        requests.analyse(sample).prediction("model", Labels)
        for requests, sample in zip((whole, scaled), samples, strict=True)
    ]

    assert samples[0].payload.pixels_HWC.shape[:2] == (1440, 1920)
    assert samples[1].payload.pixels_HWC.shape[:2] == (360, 480)
    assert [each.class_name[0] for each in labels] == ["German shepherd"] * 2
    assert abs(labels[0].confidence[0] - labels[1].confidence[0]) < 0.05


def test_boxes_are_in_pixels_of_the_whole_picture(context: CaseBuildContext) -> None:
    data = photo(1280, 960)
    whole, scaled = requests_to(context, "nanodet-m"), requests_to(context, "nanodet-m", decode="scaled")
    sample = scaled.load(io.BytesIO(data))
    found = scaled.analyse(sample).prediction("model", Boxes)
    expected = whole.analyse(whole.load(io.BytesIO(data))).prediction("model", Boxes)

    assert sample.payload.pixels_HWC.shape[:2] == (480, 640)
    assert found.class_name == expected.class_name == ("dog",)
    # The net's input is 416 wide: one of its pixels is three of the picture's.
    assert np.abs(found.xyxy - expected.xyxy).max() < 3
    assert found.xyxy[0, 2] > 1000


def test_feeds_are_those_of_the_prediction(context: CaseBuildContext) -> None:
    data = photo(640, 480)
    requests = requests_to(context, "efficientnet-lite0")
    sample = requests.load(io.BytesIO(data))
    [feed] = requests.feeds(sample).values()
    logits = context.open_model("efficientnet-lite0").run({"images": np.asarray(feed)})["logits"]

    assert feed.shape == (1, 3, 224, 224)
    assert logits.argmax() == requests.analyse(sample).prediction("model", Labels).class_id[0]


def test_a_second_predictor_or_a_drawing_gets_the_whole_picture(context: CaseBuildContext) -> None:
    data = photo(1920, 1440)
    scaled = requests_to(context, "nanodet-m", decode="scaled")
    preprocessing = {**context.registry.locate("nanodet-m").card.preprocessing, "decode": "scaled"}
    several = requests_of(case_of_model(context, "person_detector", preprocessing=preprocessing), context)

    assert several.load(io.BytesIO(data)).payload.full_size is None
    drawn = scaled.drawn(scaled.analyse(scaled.load(io.BytesIO(data), whole=True)))

    assert simplejpeg.decode_jpeg_header(drawn)[:2] == (1440, 1920)


def test_a_wrong_word_is_refused(context: CaseBuildContext) -> None:
    with pytest.raises(InvalidModel, match="decode"):
        requests_to(context, "nanodet-m", decode="half").warm()


def test_a_frame_knows_its_full_size() -> None:
    pixels = np.zeros((10, 20, 3), np.uint8)

    assert (Frame(pixels).size, Frame(pixels, (40, 20)).size) == ((20, 10), (40, 20))


def test_the_card_of_an_added_model_keeps_the_word(context: CaseBuildContext) -> None:
    located = context.registry.locate("efficientnet-lite0")
    card = replace(located.card, name="quick", preprocessing={**located.card.preprocessing, "decode": "scaled"})

    added = context.registry.add(located.path, card)
    requests = requests_of(case_of_model(context, "quick"), context)

    assert json.loads(added.card.to_props()["sightline.preprocessing"])["decode"] == "scaled"
    assert requests.load(io.BytesIO(photo(1920, 1440))).payload.full_size == (1920, 1440)
    assert cv2.getNumThreads() == 1

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.build.conftest import Load
from tests.build.onnx_files import write_classifier

from sightline.build import CaseBuildContext, LoadedModel, load_model
from sightline.core.errors import (
    ConfigError,
    Conflict,
    FileMissing,
    InvalidInput,
    InvalidMedia,
    InvalidModel,
    ModelNotFound,
)
from sightline.core.prediction import Boxes, Labels

PHOTOS = Path(__file__).parents[1] / "data/photos"
SHEPHERD = PHOTOS / "german-shepherd.jpg"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    with load_model("efficientnet-lite0", context=own_context(tmp_path_factory.mktemp("models"))) as model:
        yield model


def own_context(folder: Path) -> CaseBuildContext:
    from sightline.settings import load_settings

    return CaseBuildContext(load_settings(folder=folder, environ={"SIGHTLINE_DATA_ROOT": str(folder / "data")}))


def best(prediction: Any) -> str:
    assert isinstance(prediction, Labels)
    assert prediction.best is not None
    return prediction.best


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))[..., ::-1]


def test_a_picture_is_taken_in_every_form(classifier: LoadedModel) -> None:
    with Image.open(SHEPHERD) as picture:
        picture.load()
    data = SHEPHERD.read_bytes()

    forms: list[Any] = [pixels(SHEPHERD), picture, data, bytearray(data), memoryview(data), SHEPHERD, str(SHEPHERD)]
    answers = [best(classifier.predict(form)) for form in forms]

    assert answers == ["German shepherd"] * len(forms)


def test_a_grey_or_transparent_pil_picture_is_taken(classifier: LoadedModel) -> None:
    with Image.open(SHEPHERD) as picture:
        assert best(classifier.predict(picture.convert("L")))
        assert best(classifier.predict(picture.convert("RGBA"))) == "German shepherd"


@pytest.mark.parametrize("form", [None, 7, ["x"], {"picture": 1}, object()])
def test_what_is_no_picture_is_refused(classifier: LoadedModel, form: Any) -> None:
    with pytest.raises(InvalidInput, match="is no picture") as caught:
        classifier.predict(form)

    assert caught.value.cure


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
    ids=["float", "grey", "with alpha", "empty"],
)
def test_an_array_of_another_form_is_refused(classifier: LoadedModel, array: npt.NDArray[Any]) -> None:
    with pytest.raises(InvalidInput):
        classifier.predict(array)


def test_files_that_are_missing_folders_or_damaged_are_told_apart(classifier: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "cut.jpg").write_bytes(SHEPHERD.read_bytes()[:200])
    with pytest.raises(FileMissing):
        classifier.predict(tmp_path / "none.jpg")
    with pytest.raises(InvalidMedia):
        classifier.predict(tmp_path)
    for name in ("text.jpg", "cut.jpg"):
        with pytest.raises(InvalidMedia):
            classifier.predict(tmp_path / name)
    for data in (b"", b"x"):
        with pytest.raises(InvalidMedia):
            classifier.predict(data)
    with Image.open(io.BytesIO(SHEPHERD.read_bytes()[:9000])) as cut, pytest.raises(InvalidMedia):
        classifier.predict(cut)


def test_the_callers_own_array_stays_writable(classifier: LoadedModel) -> None:
    array = np.ascontiguousarray(pixels(SHEPHERD))

    classifier.predict(array)

    array[0, 0, 0] = 1


def test_four_threads_may_ask_at_once(classifier: LoadedModel) -> None:
    expected = json.loads((PHOTOS / "expected.json").read_text())
    names = [name for name, entry in expected.items() if entry["from"] == "file"] * 4

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda name: best(classifier.predict(PHOTOS / name)), names))

    right = [answer in expected[name]["labels"] for name, answer in zip(names, answers, strict=True)]
    assert sum(right) >= len(names) - 4
    assert answers[: len(answers) // 4] * 4 == answers


def test_fields_of_the_predictor_can_be_given(context: CaseBuildContext) -> None:
    with load_model("efficientnet-lite0", context=context, top_k=2) as model:
        answer = model.predict(SHEPHERD)

    assert isinstance(answer, Labels)
    assert len(answer.class_name) == 2
    with pytest.raises(ConfigError, match="has no field 'topk'") as caught:
        load_model("efficientnet-lite0", context=context, topk=2)
    assert "top_k" in caught.value.cure


def test_person_detector_says_whether_somebody_is_there(context: CaseBuildContext) -> None:
    from skimage import data

    photographs: Any = data
    with load_model("person_detector", context=context) as model:
        astronaut = model.predict(np.ascontiguousarray(photographs.astronaut()[..., ::-1]))
        shepherd = model.predict(SHEPHERD)

    assert best(astronaut) == "person"
    assert best(shepherd) == "no_person"


def test_the_detector_by_its_own_name_gives_boxes(context: CaseBuildContext) -> None:
    with load_model("nanodet-m", context=context, threshold=0.5) as model:
        answer = model.predict(SHEPHERD)

    assert isinstance(answer, Boxes)
    assert "dog" in answer.class_name


def test_an_old_name_opens_the_shipped_model_and_the_answer_tells_which_ran(context: CaseBuildContext) -> None:
    with load_model("mobilenet_v3_small", context=context) as model:
        answer = model.predict(SHEPHERD)

    assert answer.model == "efficientnet-lite0@1"
    assert answer.latency_ms is not None


def test_a_users_model_of_an_old_name_wins(context: CaseBuildContext, tmp_path: Path) -> None:
    file = write_classifier(tmp_path / "own.onnx")
    plugin = context.catalog.load("tasks", "image-classification")
    session = context.runtime.open(file, name="mobilenet_v3_small")
    card = replace(session.card, task="image-classification", labels=("a", "b", "c", "d", "e"))
    context.registry.add(file, plugin.completed(card))

    with load_model("mobilenet_v3_small", context=context) as model:
        answer = model.predict(SHEPHERD)

    assert best(answer) == "d"
    assert answer.model == "mobilenet_v3_small@1"


def test_a_path_that_tells_nothing_of_itself_is_refused_with_the_cure(
    context: CaseBuildContext, tmp_path: Path
) -> None:
    file = write_classifier(tmp_path / "own.onnx")

    with pytest.raises(ConfigError, match="does not say what its task is") as caught:
        load_model(file, context=context)

    assert caught.value.cure == "sightline models add own.onnx --task TASK ..."


def test_what_is_no_model_is_refused(context: CaseBuildContext, tmp_path: Path) -> None:
    (tmp_path / "pickle.onnx").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(InvalidModel, match="pickle"):
        load_model(tmp_path / "pickle.onnx", context=context)
    with pytest.raises(FileMissing):
        load_model("none.onnx", context=context)
    with pytest.raises(ModelNotFound):
        load_model("none", context=context)


def test_the_model_of_the_settings_is_taken_where_none_is_named(load: Load) -> None:
    with CaseBuildContext(load(SIGHTLINE_MODEL_NAME="nanodet-m")) as context:
        assert load_model(context=context).card.name == "nanodet-m"
    with CaseBuildContext(load()) as context, pytest.raises(ConfigError, match="No model was named"):
        load_model(context=context)


def test_a_closed_model_says_so_and_a_context_that_was_given_stays_open(context: CaseBuildContext) -> None:
    model = load_model("nanodet-m", context=context)
    model.close()
    model.close()

    with pytest.raises(Conflict, match="closed"):
        model.predict(SHEPHERD)
    with load_model("nanodet-m", context=context) as again:
        assert isinstance(again.predict(SHEPHERD), Boxes)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from tests.packs.vision.predictors.onnx_models import answering

from sightline.core.errors import ConfigError, InvalidModel
from sightline.core.ports import Session
from sightline.core.prediction import Labels
from sightline.packs.vision.predictors.classifier import Classifier
from sightline.testing.fakes import FakeSession, make_context, make_frame

PLAIN = {"size": [8, 8], "resize": "stretch", "colour": "rgb", "mean": [0, 0, 0], "std": [255, 255, 255]}
SOFTMAX = {"output": "logits", "activation": "softmax"}
NAMES = ("cat", "dog", "owl")


def net(folder: Path, *logits: float) -> Session:
    return answering(folder, {"logits": np.array([logits], np.float32)}, width=8, height=8)


def classifier(**fields: Any) -> Classifier:
    return Classifier(**{"preprocessing": PLAIN, "postprocessing": SOFTMAX, "labels": NAMES, **fields})


def labelled(predictor: Classifier, session: Session, *greys: int) -> list[Labels]:
    predictor.open(make_context(session=session))
    return list(predictor.predict([make_frame(grey) for grey in greys]))


def test_the_best_classes_come_first_with_their_share(tmp_path: Path) -> None:
    [labels] = labelled(classifier(), net(tmp_path, *np.log([0.2, 0.5, 0.3])), 0)

    assert labels.class_name == ("dog", "owl", "cat")
    assert labels.class_id.tolist() == [1, 2, 0]
    np.testing.assert_allclose(labels.confidence, [0.5, 0.3, 0.2], rtol=1e-5)


def test_top_k_and_threshold_cut_the_list(tmp_path: Path) -> None:
    session = net(tmp_path, *np.log([0.2, 0.5, 0.3]))

    assert labelled(classifier(top_k=1), session, 0)[0].class_name == ("dog",)
    assert labelled(classifier(threshold=0.25), session, 0)[0].class_name == ("dog", "owl")
    assert labelled(classifier(threshold=0.9), session, 0)[0].class_name == ()


@pytest.mark.parametrize(
    ("activation", "wanted"),
    [("softmax", [1 / 1.5, 0.5 / 1.5, 0]), ("sigmoid", [0.5, 1 / 3, 0]), ("none", [0, -0.6931472, -1000])],
)
def test_each_activation(tmp_path: Path, activation: str, wanted: list[float]) -> None:
    predictor = classifier(postprocessing={"output": "logits", "activation": activation}, threshold=0)
    predictor.open(make_context(session=net(tmp_path, 0, -0.6931472, -1000)))

    [labels] = predictor.predict([make_frame(0)])

    kept = [confidence for confidence in wanted if confidence >= 0]
    np.testing.assert_allclose(labels.confidence, kept, atol=1e-6)


def test_scores_far_from_zero_do_not_overflow(tmp_path: Path) -> None:
    for activation in ("softmax", "sigmoid"):
        predictor = classifier(postprocessing={"output": "logits", "activation": activation})
        [labels] = labelled(predictor, net(tmp_path, 1e4, -1e4, 9e3), 0)
        assert labels.confidence[0] == 1


def test_each_frame_gets_its_own_answer(tmp_path: Path) -> None:
    predictor = classifier(postprocessing={"activation": "none"}, labels=("grey",))

    found = labelled(predictor, net(tmp_path, 0), 51, 102, 255)

    np.testing.assert_allclose([labels.confidence[0] for labels in found], [0.2, 0.4, 1.0], atol=1e-6)


def test_labels_that_do_not_fit_are_refused_rather_than_shifted(tmp_path: Path) -> None:
    predictor = classifier(labels=("background", *NAMES))

    with pytest.raises(InvalidModel, match="net@1 gives 3 classes, its card names 4") as caught:
        labelled(predictor, net(tmp_path, 1, 2, 3), 0)
    assert "--labels" in caught.value.cure


def test_without_labels_the_number_is_the_name(tmp_path: Path) -> None:
    assert labelled(classifier(labels=None), net(tmp_path, 1, 3, 2), 0)[0].best == "1"


def test_a_card_for_the_task_is_all_that_is_needed(tmp_path: Path) -> None:
    session = net(tmp_path, 1, 3, 2)
    session.card = replace(
        session.card, task="image-classification", labels=NAMES, preprocessing=PLAIN, postprocessing=SOFTMAX
    )

    assert labelled(Classifier(), session, 0)[0].best == "dog"


@pytest.mark.parametrize(
    ("postprocessing", "message"),
    [
        ({}, r"no postprocessing\.activation"),
        ({"activation": "relu"}, "one of softmax, sigmoid, none"),
        ({"activation": "softmax", "output": "probs"}, r"postprocessing\.output = 'probs'; it must be one of logits"),
        ({"activation": "softmax", "layout": "yolo"}, r"unknown field postprocessing\.layout"),
    ],
)
def test_a_wrong_card_is_named_with_the_cure(tmp_path: Path, postprocessing: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidModel, match=message) as caught:
        classifier(postprocessing=postprocessing).open(make_context(session=net(tmp_path, 1, 2, 3)))

    assert "sightline models add FILE --postprocess" in caught.value.cure


def test_a_detector_is_refused(tmp_path: Path) -> None:
    session = net(tmp_path, 1, 2, 3)
    session.card = replace(session.card, task="object-detection", postprocessing={"layout": "yolo", "output": "logits"})

    with pytest.raises(InvalidModel, match="is for object-detection, not for image-classification"):
        Classifier(preprocessing=PLAIN).open(make_context(session=session))


def test_an_output_that_does_not_come_is_named() -> None:
    predictor = classifier(preprocessing={**PLAIN, "input": "images"})

    with pytest.raises(InvalidModel, match="gives no output 'logits', only probabilities"):
        labelled(predictor, FakeSession({"probabilities": np.zeros((1, 3), np.float32)}), 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"top_k": 0}, "top_k is 0"), ({"threshold": 2.0}, "threshold is 2"), ({"threshold": -0.1}, "threshold is -0.1")],
)
def test_impossible_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Classifier(**fields)


def test_a_case_file_can_describe_it() -> None:
    adapter = pydantic.TypeAdapter(Classifier)

    assert adapter.validate_python({"model": "mine", "top_k": 3}) == Classifier(model="mine", top_k=3)
    with pytest.raises(pydantic.ValidationError, match="topk"):
        adapter.validate_python({"topk": 3})

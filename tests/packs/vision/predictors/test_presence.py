from __future__ import annotations

from typing import Any

import numpy as np
import pydantic
import pytest

from sightline.core.errors import ConfigError
from sightline.core.prediction import Boxes, Labels
from sightline.packs.vision.predictors.presence import Presence
from sightline.testing.fakes import make_context, make_frame


def labelled(predictor: Presence, *found: tuple[str, float]) -> Labels:
    """Run the predictor on a frame in which these things were found."""
    boxes = Boxes(
        xyxy=np.zeros((len(found), 4), np.float32),
        confidence=np.array([confidence for _, confidence in found], np.float32),
        class_id=np.zeros(len(found), np.int64),
        class_name=tuple(name for name, _ in found),
    )
    predictor.open(make_context())
    [labels] = predictor.predict([make_frame().with_prediction(predictor.of, boxes)])
    return labels


def answer(labels: Labels) -> tuple[str, int, float]:
    [name], [class_id], [confidence] = labels.class_name, labels.class_id, labels.confidence
    return name, int(class_id), round(float(confidence), 4)


def test_a_person_is_there_as_surely_as_the_best_box_says() -> None:
    assert answer(labelled(Presence(), ("person", 0.4), ("car", 0.9), ("person", 0.7))) == ("person", 1, 0.7)


def test_nobody_is_there_when_nothing_of_the_kind_was_found() -> None:
    assert answer(labelled(Presence())) == ("no_person", 0, 1)
    assert answer(labelled(Presence(), ("car", 0.9))) == ("no_person", 0, 1)


def test_a_box_below_the_threshold_makes_absence_less_sure() -> None:
    assert answer(labelled(Presence(threshold=0.5), ("person", 0.4))) == ("no_person", 0, 0.6)
    assert answer(labelled(Presence(threshold=0.5), ("person", 0.5))) == ("person", 1, 0.5)


def test_of_a_minimum_the_last_one_needed_decides() -> None:
    three = [("person", 0.9), ("person", 0.6), ("person", 0.8)]
    queue = Presence(minimum=3, present="queue", absent="no_queue")

    assert answer(labelled(queue, *three)) == ("queue", 1, 0.6)
    assert answer(labelled(queue, *three[:2])) == ("no_queue", 0, 1)


def test_other_things_and_other_words() -> None:
    traffic = Presence(of="things", wanted=("car", "bus"), present="traffic", absent="empty")

    assert answer(labelled(traffic, ("bus", 0.8), ("person", 0.9))) == ("traffic", 1, 0.8)
    assert answer(labelled(Presence(wanted=()), ("dog", 0.8))) == ("person", 1, 0.8)


def test_without_boxes_before_it_the_case_is_wrong() -> None:
    with pytest.raises(ConfigError, match="A prediction 'people' of kind Boxes is needed, there is nothing"):
        Presence().predict([make_frame()])


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"minimum": 0}, "minimum is 0"), ({"threshold": 2.0}, "threshold is 2"), ({"absent": "person"}, "both 'person'")],
)
def test_impossible_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Presence(**fields)


def test_a_case_file_can_describe_it() -> None:
    adapter = pydantic.TypeAdapter(Presence)

    assert adapter.validate_python({"of": "things", "wanted": ["car"]}) == Presence(of="things", wanted=("car",))
    with pytest.raises(pydantic.ValidationError, match="want"):
        adapter.validate_python({"want": ["car"]})

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.strategies import json_objects, texts

from sightline.core.errors import InvalidInput, InvalidModel
from sightline.core.model import ModelCard, TensorSpec, card_from_props, checked_model_name, named_version, split_ref

words = texts.filter(bool)
cards = st.builds(
    ModelCard,
    name=words,
    version=words,
    task=texts,
    title=texts,
    description=texts,
    labels=st.lists(st.none() | texts, max_size=4).map(tuple),
    preprocessing=json_objects,
    postprocessing=json_objects,
    metrics=json_objects,
    licence=texts,
    source=texts,
    digest=texts,
    batchable=st.booleans(),
)


@given(cards)
def test_a_card_survives_its_metadata(card: ModelCard) -> None:
    props = card.to_props()
    assert all(key.startswith("sightline.") and isinstance(value, str) for key, value in props.items())
    assert card_from_props(props, name="other") == card


def test_a_file_that_says_nothing_has_a_card_with_its_name_and_tensors() -> None:
    images = TensorSpec(name="images", dtype="float32", shape=("n", 3, 8, 8))
    card = card_from_props({"author": "somebody"}, name="net", inputs=[images])
    assert card == ModelCard(name="net", inputs=(images,))
    assert card.ref == "net@1"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", "{"),
        ("labels", "{}"),
        ("labels", "[1, 2]"),
        ("labels", '"person"'),
        ("preprocessing", "[]"),
        ("preprocessing", "[" * 100_000),
        ("metrics", "1" * 5000),
        ("postprocessing", "null"),
        ("batchable", "1"),
        ("batchable", "yes"),
    ],
)
def test_damaged_metadata_is_refused_by_name(key: str, value: str) -> None:
    with pytest.raises(InvalidModel, match=f"sightline.{key}"):
        card_from_props({f"sightline.{key}": value}, name="net")


@given(st.dictionaries(st.sampled_from([f"sightline.{key}" for key in vars(ModelCard(name="x"))]), texts))
def test_no_metadata_raises_anything_else(props: dict[str, str]) -> None:
    try:
        card_from_props(props, name="net")
    except InvalidModel:
        return


def test_a_class_without_a_name_is_called_by_its_number() -> None:
    card = ModelCard(name="net", labels=("person", None, ""))
    assert [card.label(class_id) for class_id in (0, 1, 2, 3, -1)] == ["person", "1", "2", "3", "-1"]


@pytest.mark.parametrize(
    ("ref", "parts"),
    [
        ("nanodet-m", ("nanodet-m", None)),
        ("nanodet-m@3", ("nanodet-m", "3")),
        ("person_detector@production", ("person_detector", "production")),
    ],
)
def test_a_reference_is_a_name_and_perhaps_a_version(ref: str, parts: tuple[str, str | None]) -> None:
    assert split_ref(ref) == parts


@pytest.mark.parametrize("ref", ["", "@1", "net@", "net@1@2", "../net", "a b", "-net", "net@../1", "x" * 129, "net\n"])
def test_what_is_no_reference_is_refused(ref: str) -> None:
    with pytest.raises(InvalidInput, match="no model name"):
        split_ref(ref)


def test_a_name_is_given_back_as_it_is() -> None:
    name: Any = "Ünet"
    assert checked_model_name("UNet.v2_a-1") == "UNet.v2_a-1"
    with pytest.raises(InvalidInput):
        checked_model_name(name)


def test_a_model_is_called_by_its_name_or_with_its_version() -> None:
    assert named_version("dogs") == ("dogs", None)
    assert named_version("dogs", "2") == ("dogs", "2")
    assert named_version("dogs@2") == named_version("dogs@2", "2") == ("dogs", "2")
    for name, version in (("dogs@", None), ("@2", None), ("dogs@2", "3")):
        with pytest.raises(InvalidInput):
            named_version(name, version)

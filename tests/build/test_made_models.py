"""A model from a JSON description: what is taken, what is refused, and what is left behind."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.build.context import CaseBuildContext
from sightline.build.folders import SHIPPED
from sightline.build.made_models import make_model
from sightline.core.errors import Forbidden, InvalidInput, InvalidModel, SightlineError, TooLarge
from sightline.settings import load_settings

FILE = SHIPPED.parent / "zoo/nanodet-m.onnx"
COPY = {"file": {"model": "nanodet-m"}}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[CaseBuildContext]:
    loaded = load_settings(folder=tmp_path, environ={"SIGHTLINE_DATA_ROOT": str(tmp_path / "data")})
    with CaseBuildContext(loaded) as context:
        yield context


@pytest.mark.parametrize("form", ["bytes", "stream", "artifact", "path", "model"])
def test_the_file_may_come_in_many_ways(context: CaseBuildContext, form: str) -> None:
    config: dict[str, Any] = {"name": "mine", "title": "Ours"}
    data: Any = None
    if form == "bytes":
        data = FILE.read_bytes()
    elif form == "stream":
        data = io.BytesIO(FILE.read_bytes())
    elif form == "artifact":
        context.artifacts.put("incoming/model.onnx", FILE.read_bytes())
        config["file"] = {"artifact": "incoming/model.onnx"}
    else:
        config["file"] = {form: "nanodet-m" if form == "model" else str(FILE)}
    model = make_model(context, config, data, may_read_paths=True)
    assert (model.ref, model.card.title, model.card.task) == ("mine@1", "Ours", "object-detection")
    located = context.registry.locate("mine")
    assert located.card.title == "Ours"
    assert len(located.card.labels) == 80


def test_what_the_description_leaves_out_is_that_of_the_file(context: CaseBuildContext) -> None:
    model = make_model(context, {"task": None, "labels": "efficientnet-lite0", "description": ""}, FILE.read_bytes())
    assert model.name == "nanodet-m"
    assert model.card.task == "object-detection"
    assert len(model.card.labels) == 1000
    assert model.card.description == ""


def test_aliases_point_at_the_new_version(context: CaseBuildContext) -> None:
    make_model(context, {"name": "mine", **COPY, "aliases": ["production"]})
    newer = make_model(context, {"name": "mine", **COPY, "title": "Newer", "aliases": ["production", "best"]})
    assert set(newer.aliases) == {"production", "best"}
    assert context.registry.locate("mine@best").card.title == "Newer"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ([], "JSON object"),
        ({"nam": "x"}, "'nam'"),
        ({"name": 7}, "`name`"),
        ({"name": "../x", **COPY}, "'../x'"),
        ({}, "one file"),
        ({"file": {}}, "one of"),
        ({"file": {"path": "a", "model": "b"}}, "one of"),
        ({"file": {"base64": 7}}, "base64"),
        ({"file": {"artifact": "../x"}}, "store key"),
        ({"labels": [1], **COPY}, "`labels`"),
        ({"labels": {"a": 1}, **COPY}, "`labels`"),
        ({"title": "x" * 10_001, **COPY}, "`title`"),
        ({"title": "\0", **COPY}, "`title`"),
        ({"title": "\ud800", **COPY}, "Unicode"),
        ({"preprocessing": [], **COPY}, "`preprocessing`"),
        ({"postprocessing": "x", **COPY}, "`postprocessing`"),
        ({"task": "object-detektion", **COPY}, "object-detektion"),
        ({"aliases": "production", **COPY}, "`aliases`"),
        ({"aliases": ["1"], **COPY}, "numbers are versions"),
        ({"aliases": ["a b"], **COPY}, "'a b'"),
    ],
)
def test_a_wrong_description_is_refused_and_leaves_nothing(context: CaseBuildContext, config: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        make_model(context, config)
    assert list(context.store.models.list()) == []
    assert list(context.artifacts.list()) == []


def test_processing_without_an_end_is_refused(context: CaseBuildContext) -> None:
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"deeper": [deep]}
    with pytest.raises(InvalidInput, match="too deeply"):
        make_model(context, {"name": "mine", **COPY, "preprocessing": deep})


def test_an_unknown_preset_names_the_known(context: CaseBuildContext) -> None:
    bare = make_model(context, {"name": "bare", **COPY, "preprocessing": {}, "preset": "plain"})
    assert bare.card.preprocessing["resize"] == "stretch"
    with pytest.raises(InvalidInput, match="torchvision"):
        make_model(context, {"name": "bare", **COPY, "preprocessing": {}, "preset": "nonsense"})


def test_files_of_the_machine_are_not_for_everybody(context: CaseBuildContext) -> None:
    with pytest.raises(Forbidden, match="admins"):
        make_model(context, {"file": {"path": str(FILE)}})


def test_too_many_bytes_are_not_taken(context: CaseBuildContext) -> None:
    for data in (FILE.read_bytes(), io.BytesIO(FILE.read_bytes())):
        with pytest.raises(TooLarge):
            make_model(context, {}, data, most_bytes=1 << 20)


def test_a_damaged_file_does_not_say_where_a_copy_lay(context: CaseBuildContext) -> None:
    with pytest.raises(InvalidModel) as caught:
        make_model(context, {"name": "mine"}, b"nonsense" * 100)
    assert "tmp" not in str(caught.value)
    assert isinstance(caught.value, SightlineError)

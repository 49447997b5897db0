from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.build.conftest import Load, WriteCase
from tests.build.onnx_files import write_classifier

from sightline.build import CaseBuildContext
from sightline.build.served_cases import ServedCases
from sightline.build.served_models import ServedModels
from sightline.core.errors import (
    BrokenPlugin,
    CaseNotFound,
    ConfigError,
    Conflict,
    InvalidInput,
    ModelNotFound,
    Unavailable,
)
from sightline.core.prediction import Labels, Scalar

SHEPHERD = Path(__file__).parents[1] / "data/photos/german-shepherd.jpg"
BRIGHT = "stages: {analytics: {light: {use: brightness}}}\n"
BLUEPRINT = """
import time
from sightline.core.case import Case, PredictionStage

def make_blueprint(context):
    title = context.manifest["title"]
    time.sleep(0.05)
    assert context.manifest["title"] == title, "another case is built meanwhile"
    light = context.plugin("predictors", "brightness")
    return Case(name=title, title=title, stages={PredictionStage.ANALYTICS: {"light": light}})
"""


@pytest.fixture
def cases(context: CaseBuildContext) -> Iterator[ServedCases]:
    served = ServedCases(context)
    yield served
    served.close()


def test_where_nothing_is_named_every_case_may_be_asked(cases: ServedCases, write_case: WriteCase) -> None:
    write_case("mine", BRIGHT)

    assert "mine" in cases.names()
    assert "street_people" in cases.names()
    requests = cases.get("mine")
    answer = requests.analyse(requests.load(io.BytesIO(SHEPHERD.read_bytes())))

    assert answer.prediction("light", Scalar).value > 50
    assert cases.get("mine") is requests


def test_where_cases_are_named_only_they_are_served(cases: ServedCases, write_case: WriteCase) -> None:
    write_case("mine", BRIGHT)
    write_case("other", BRIGHT)
    cases.serve("mine")

    assert cases.names() == ["mine"]
    assert cases.get() is cases.get("mine")
    with pytest.raises(CaseNotFound, match=r"'other' is served\. Served: mine"):
        cases.get("other")


def test_of_several_cases_one_must_be_named(cases: ServedCases, write_case: WriteCase) -> None:
    for name in ("one", "two"):
        write_case(name, BRIGHT)
        cases.serve(name)

    with pytest.raises(InvalidInput, match="Several cases are served: one, two") as caught:
        cases.get()

    assert "?case=NAME" in caught.value.cure


@pytest.mark.parametrize("name", ["", "..", "cases/mine", "./cases/mine", "/etc", "case.yaml", "x" * 5000, "\0"])
def test_a_path_is_no_name_for_whoever_asks_from_outside(
    cases: ServedCases, write_case: WriteCase, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(write_case("mine", BRIGHT).parents[1])

    with pytest.raises(CaseNotFound):
        cases.get(name)


def test_a_broken_case_is_told_when_it_is_named(cases: ServedCases, write_case: WriteCase) -> None:
    write_case("mine", "stages: {analytics: {light: {use: brightnes}}}\n")

    assert cases.serve("mine") == "mine"

    assert cases.names() == ["mine"]
    [problem] = cases.problems()["mine"]
    assert "case.yaml:1" in problem.location
    for name in ("mine", None):
        with pytest.raises(ConfigError, match="brightnes"):
            cases.get(name)
    cases.warm()


def test_a_broken_case_is_served_once_its_file_is_mended(cases: ServedCases, write_case: WriteCase) -> None:
    folder = write_case("mine", "stages: {analytics: {light: {use: brightnes}}}\n")
    cases.serve(str(folder))
    with pytest.raises(ConfigError):
        cases.get("mine")

    write_case("mine", BRIGHT)

    assert cases.get("mine").case.name == "mine"
    assert cases.problems() == {}


def test_a_case_that_was_changed_answers_as_it_is_now_and_who_asks_already_is_answered(
    cases: ServedCases, write_case: WriteCase
) -> None:
    write_case("mine", BRIGHT)
    before = cases.get("mine")
    sample = before.load(io.BytesIO(SHEPHERD.read_bytes()))
    write_case("mine", BRIGHT.replace("light", "shine"))

    cases.renew(cases.place("mine"))

    assert cases.get("mine").analyse(sample).predictions.keys() == {"shine"}
    assert before.analyse(sample).predictions.keys() == {"light"}
    cases.close()
    with pytest.raises(Conflict):
        before.analyse(sample)


def test_what_a_change_broke_is_told_and_the_next_request_gets_it(cases: ServedCases, write_case: WriteCase) -> None:
    write_case("mine", BRIGHT)
    cases.serve("mine")
    write_case("mine", BRIGHT, blueprint="1 / 0\n")

    with pytest.raises(BrokenPlugin):
        cases.renew(cases.place("mine"))
    with pytest.raises(BrokenPlugin):
        cases.get("mine")
    assert cases.problems().keys() == {"mine"}


def test_blueprints_are_built_one_at_a_time(cases: ServedCases, write_case: WriteCase) -> None:
    names = [f"case{number}" for number in range(6)]
    for name in names:
        write_case(name, f"title: {name}\n", blueprint=BLUEPRINT)

    with ThreadPoolExecutor(6) as threads:
        built = list(threads.map(cases.get, names + names))

    assert [requests.case.title for requests in built] == names + names
    assert built[:6] == built[6:]


def test_the_shipped_classifier_answers_where_nothing_is_named_at_all(cases: ServedCases) -> None:
    requests = cases.get()
    answer = requests.analyse(requests.load(io.BytesIO(SHEPHERD.read_bytes())), {"top_k": 1})

    assert answer.prediction("model", Labels).class_name == ("German shepherd",)
    assert requests is cases.for_model("efficientnet-lite0")


def test_the_settings_name_the_model_that_answers(load: Load) -> None:
    with CaseBuildContext(load(SIGHTLINE_MODEL_NAME="nanodet-m")) as context:
        served = ServedCases(context)

        assert served.default_model() == ("nanodet-m", None)
        assert served.get().case.name == "nanodet-m"
        assert served.on_demand
        served.close()


def test_a_file_given_at_the_start_answers_by_its_name(context: CaseBuildContext, tmp_path: Path) -> None:
    models = ServedModels(context)
    served = ServedCases(context, models)
    name = models.serve_file(write_classifier(tmp_path / "mine.onnx"))

    assert served.default_model() == (name, None)
    assert served.names() == []
    models.serve_file(write_classifier(tmp_path / "other.onnx"))
    with pytest.raises(InvalidInput, match="Several models are served: mine, other"):
        served.default_model()
    served.close()


def test_a_model_named_at_the_start_answers_where_nothing_else_is_named(context: CaseBuildContext) -> None:
    models = ServedModels(context)
    served = ServedCases(context, models)
    models.serve("nanodet-m@1")

    assert served.default_model() == ("nanodet-m", "1")
    assert served.names() == []
    served.warm()
    models.warm()
    with pytest.raises(ModelNotFound):
        models.serve("nanodet-x")
    served.close()


def test_a_name_that_is_nearly_right_is_told(cases: ServedCases) -> None:
    with pytest.raises(CaseNotFound) as caught:
        cases.get("street_peple")
    assert caught.value.cure == "Did you mean 'street_people'?"


def test_an_alias_brings_the_predictors_that_come_with_it(cases: ServedCases) -> None:
    assert list(cases.for_model("person_detector").case.stages["analytics"]) == ["model", "presence"]


def test_a_model_is_asked_by_name_alone(context: CaseBuildContext, tmp_path: Path) -> None:
    models = ServedModels(context)
    served = ServedCases(context, models)
    path = write_classifier(tmp_path / "secret.onnx")

    for name in (str(path), "secret.onnx", "../secret.onnx", "no-such-model", "", "nanodet-m@", "nanodet-m@9"):
        with pytest.raises((InvalidInput, ModelNotFound)):
            served.for_model(name)
    with pytest.raises(ModelNotFound):
        served.for_model("nanodet-m", "77")
    assert served.for_model("nanodet-m@1") is served.for_model("nanodet-m", "1")
    with pytest.raises(InvalidInput, match="version"):
        served.for_model("nanodet-m@1", "2")
    with pytest.raises(InvalidInput, match="all its versions"):
        models.unload("nanodet-m@1")
    models.unload("nanodet-m")
    with pytest.raises(Unavailable, match="unloaded"):
        served.for_model("nanodet-m")
    served.close()

"""Every problem of a text that somebody writes, with its place; nothing of it is run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.build.conftest import Load, WriteCase

from sightline.build import CaseBuildContext
from sightline.build.folders import SHIPPED, CasePlace, find_case
from sightline.build.manifest_text import ManifestChecker, Problem

GOOD = """\
source: {use: synthetic, fps: 10}
stages:
  analytics:
    light: {use: brightness}
"""


@pytest.fixture
def place(tmp_path: Path) -> CasePlace:
    return CasePlace(name="door", origin="new", folder=tmp_path / "cases/door")


def checked(context: CaseBuildContext, text: str, place: CasePlace) -> list[Problem]:
    return ManifestChecker(context).check(text, place)


def test_a_good_text_has_no_problem(context: CaseBuildContext, place: CasePlace) -> None:
    assert checked(context, GOOD, place) == []


def test_every_problem_has_its_line_column_keys_and_cure(context: CaseBuildContext, place: CasePlace) -> None:
    text = """\
source: {use: synthetic, fsp: 3}
stages:
  analytics:
    light: {use: brightnes}
    alert:
      use: threshold-alert
      of: ligt
      below: many
sink: []
"""
    found = checked(context, text, place)

    assert [(each.line, each.column, each.loc) for each in found] == [
        (1, 26, "source.fsp"),
        (4, 13, "stages.analytics.light.use"),
        (8, 7, "stages.analytics.alert.below"),
        (9, 1, "sink"),
    ]
    assert all(each.message and each.cure and each.severity == "error" for each in found)
    assert "'fps'" in found[0].cure
    assert "'brightness'" in found[1].cure


def test_what_is_no_yaml_is_told_where_it_was_opened(context: CaseBuildContext, place: CasePlace) -> None:
    [found] = checked(context, "title: x\nsource: [1\n", place)

    assert (found.line, found.column, found.loc) == (2, 9, "")


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b\n", "a: 1\na: 2\n", "a: !!python/name:os.system\n", "\0"])
def test_what_is_no_manifest_is_one_problem(context: CaseBuildContext, place: CasePlace, text: str) -> None:
    [found] = checked(context, text, place)

    assert found.severity == "error"
    assert found.line >= 1


def test_a_model_that_nobody_knows_is_a_warning(context: CaseBuildContext, place: CasePlace) -> None:
    text = GOOD + "    people: {use: detector, model: nobody@3}\n    cars: {use: detector, model: gone/car.onnx}\n"
    found = checked(context, text, place)

    assert [(each.loc, each.severity, each.code) for each in found] == [
        ("stages.analytics.people.model", "warning", "model_not_found"),
        ("stages.analytics.cars.model", "warning", "model_not_found"),
    ]
    assert "nanodet-m" in found[0].cure


def test_every_variable_that_is_not_set_is_told_and_nothing_else_of_its_field(
    context: CaseBuildContext, place: CasePlace
) -> None:
    text = GOOD.replace("10", '"${FPS_OF_DOOR}"') + 'metadata: {site: "${SITE_OF_DOOR}"}\n'
    found = checked(context, text, place)

    assert [each.loc for each in found] == ["source.fps", "metadata.site"]
    assert "FPS_OF_DOOR" in found[0].message


def test_what_a_variable_holds_is_not_told(load: Load, place: CasePlace) -> None:
    secret = "correct horse \\ battery staple " * 3
    with CaseBuildContext(load(PASSWORD=secret, PIN="47")) as context:
        text = """\
source: {use: synthetic, fps: "${PASSWORD}", size: "${PIN}"}
stages:
  analytics:
    light: {use: "${PASSWORD}"}
    dark: {use: "x${PIN}"}
"""
        found = checked(context, text, place)

    told = "\n".join(f"{each.message} {each.cure}" for each in found)
    assert len(found) == 4
    assert "battery" not in told
    assert "correct horse" not in told
    assert "'47'" not in told
    assert "${PASSWORD}" in told


def test_a_blueprint_is_not_run(context: CaseBuildContext, write_case: WriteCase, tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    write_case("door", GOOD, blueprint=f"open({str(mark)!r}, 'w')\n")

    assert checked(context, "anything: {goes: here}\n", find_case(context.loaded, "door")) == []
    assert not mark.exists()


def test_the_cases_own_plugins_are_known_and_loaded_once(context: CaseBuildContext, write_case: WriteCase) -> None:
    code = "from sightline import Predictor\nfrom dataclasses import dataclass\n"
    code += "with open(__file__ + '.log', 'a') as log:\n    log.write('x')\n"
    code += "@dataclass(kw_only=True)\nclass Own(Predictor):\n    lead: int = 1\n"
    code += "    def predict(self, samples): return []\n"
    folder = write_case("door", GOOD, plugins=code)
    place, checker = find_case(context.loaded, "door"), ManifestChecker(context)

    for _ in range(3):
        [found] = checker.check(GOOD + "    own: {use: own, lead: much}\n", place)
        assert found.loc == "stages.analytics.own.lead"
    assert (folder / "plugins.py.log").read_text() == "x"


def test_broken_plugins_of_the_case_are_told_with_their_own_line(
    context: CaseBuildContext, write_case: WriteCase
) -> None:
    write_case("door", GOOD, plugins="x = 1\nx.y\n")
    [found] = checked(context, GOOD, find_case(context.loaded, "door"))

    assert "plugins.py:2" in found.message


def test_the_shipped_cases_are_checked_while_one_types(context: CaseBuildContext) -> None:
    checker = ManifestChecker(context)
    for folder in sorted(SHIPPED.iterdir()):
        if not (folder / "case.yaml").is_file():
            continue
        text, place = (folder / "case.yaml").read_text("utf-8"), find_case(context.loaded, folder.name)
        assert checker.check(text, place) == []
        seconds = []
        for _ in range(5):
            begin_s = time.thread_time()
            checker.check(text, place)
            seconds.append(time.thread_time() - begin_s)
        assert min(seconds) < 0.1

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.build import CaseBuildContext
from sightline.build.job_cases import JobCases, with_parameters
from sightline.build.job_workers import known_cases, named_cases
from sightline.build.manifest import check_case
from sightline.core.case import JobRules
from sightline.core.errors import CaseNotFound, ConfigError, InvalidInput
from sightline.core.jobs import Limit
from sightline.settings import load_settings

PLAIN = """
stages:
  analytics:
    people: {use: detector, model: nanodet-m, threshold: 0.4}
    other: {use: detector, model: nanodet-m, threshold: 0.6}
sinks: [jsonl]
"""


@pytest.fixture
def context(tmp_path: Path) -> Iterator[CaseBuildContext]:
    write(tmp_path, "plain", PLAIN)
    loaded = load_settings(
        environ={"SIGHTLINE_CASES_ROOT": str(tmp_path / "cases"), "SIGHTLINE_DATA_ROOT": str(tmp_path / "data")}
    )
    with CaseBuildContext(loaded) as context:
        yield context


def write(folder: Path, name: str, manifest: str) -> Path:
    path = folder / "cases" / name / "case.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(manifest)
    return path


def test_a_manifest_says_how_jobs_are_worked_on(context: CaseBuildContext, tmp_path: Path) -> None:
    write(tmp_path, "limited", PLAIN + "job: {concurrency: 2, rate_per_minute: 30, attempts: 5, deadline_s: 60.5}\n")
    cases = JobCases(context)
    rules = cases.case("limited").job
    assert rules == JobRules(concurrency=2, rate_per_minute=30, attempts=5, deadline_s=60.5)
    assert cases.case("plain").job == JobRules()
    assert cases.limits() == {"limited": Limit(concurrency=2, rate_per_minute=30)}
    assert {"limited", "plain"} <= set(cases.names())


@pytest.mark.parametrize(
    ("rules", "told"),
    [("{often: 1}", "'often'"), ("{attempts: 0}", "above 0"), ("{concurrency: many}", "'many'"), ("[1]", "mapping")],
)
def test_wrong_rules_are_told(context: CaseBuildContext, tmp_path: Path, rules: str, told: str) -> None:
    write(tmp_path, "wrong", f"{PLAIN}job: {rules}\n")
    with pytest.raises(ConfigError, match=told) as caught:
        JobCases(context).case("wrong")
    assert "case.yaml:" in caught.value.location
    assert "wrong" not in JobCases(context).limits()


def test_parameters_go_to_every_plug_in_that_has_such_a_field(context: CaseBuildContext) -> None:
    case = JobCases(context).case("plain", {"threshold": 0.9, "path": "a.jsonl"})
    assert [predictor.threshold for predictor in case.stages["analytics"].values()] == [0.9, 0.9]  # type: ignore[attr-defined]
    assert case.sinks[0].path == "a.jsonl"  # type: ignore[attr-defined]
    assert [p.threshold for p in JobCases(context).case("plain").stages["analytics"].values()] == [0.4, 0.6]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("parameters", "told"),
    [({"sharpness": 1}, "sharpness"), ({"threshold": "high"}, "threshold"), ({"threshold": 2.0}, "threshold")],
)
def test_parameters_that_cannot_be_are_bad_input(
    context: CaseBuildContext, parameters: dict[str, object], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        with_parameters(JobCases(context).case("plain"), parameters)


def test_a_case_is_as_its_files_say_now(context: CaseBuildContext, tmp_path: Path) -> None:
    cases = JobCases(context)
    before = cases.case("plain")
    assert cases.case("plain") is before
    path = write(tmp_path, "plain", PLAIN.replace("0.4", "0.7"))
    os.utime(path, (1, 1))
    assert next(iter(cases.case("plain").stages["analytics"].values())).threshold == 0.7  # type: ignore[attr-defined]


def test_a_case_that_nobody_knows_is_told(context: CaseBuildContext) -> None:
    with pytest.raises(CaseNotFound, match="nobody"):
        JobCases(context).case("nobody")


def test_a_new_case_is_found_at_once(context: CaseBuildContext, tmp_path: Path) -> None:
    cases = JobCases(context)
    assert "late" not in cases.names()
    write(tmp_path, "late", PLAIN)
    assert cases.case("late").name == "late"


def test_a_worker_may_be_given_cases_by_name_or_path(context: CaseBuildContext, tmp_path: Path) -> None:
    folder = write(tmp_path / "elsewhere", "mine", PLAIN).parent
    cases = named_cases(context, ["plain", str(folder)])
    assert set(cases.names()) == {"plain", "mine"}
    assert cases.case("mine").name == "mine"
    with pytest.raises(CaseNotFound):
        named_cases(context, ["nobody"])


def test_who_submits_may_name_a_case_by_its_path(context: CaseBuildContext, tmp_path: Path) -> None:
    folder = write(tmp_path / "elsewhere", "mine", PLAIN).parent
    cases, name = known_cases(context, str(folder))
    assert (name, cases.case(name).name) == ("mine", "mine")
    assert known_cases(context, "plain")[1] == "plain"


def test_the_shipped_cases_have_right_rules(context: CaseBuildContext) -> None:
    cases = JobCases(context)
    places = [place for place in cases._places().values() if place.origin == "shipped"]
    assert places
    told = [problem for place in places for problem in check_case(place, context)]
    assert [problem for problem in told if "job" in str(problem)] == []

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tests.build.conftest import Load, WriteCase
from tests.build.test_catalog import catalog, point

from sightline.build import CaseBuildContext
from sightline.build.catalog import Catalog
from sightline.build.checking import check_all


def test_what_ships_with_sightline_has_no_problem(context: CaseBuildContext) -> None:
    assert check_all(context) == []


def test_each_broken_thing_is_told_and_stops_no_other(write_case: WriteCase, context: CaseBuildContext) -> None:
    write_case("a", "source: {use: synthetic, fsp: 1}\nsinks: [nothing]\n")
    write_case("b", "source: synthetic\n", plugins="def f(:\n")
    write_case("c", blueprint="raise RuntimeError('x')\n")
    write_case("d", "source: synthetic\n")
    write_case("street_people", "source: synthetic\n")

    found = check_all(context)

    assert [problem["what"] for problem in found] == ["case a", "case a", "case b", "case c"]
    assert "case.yaml:1" in found[0]["message"]
    assert "case.yaml:2" in found[1]["message"]
    assert "plugins.py:1" in found[2]["message"]
    assert "blueprint.py:1" in found[3]["message"]
    assert {problem["code"] for problem in found} == {"config", "unknown_plugin", "broken_plugin"}


def test_broken_plugins_adapters_and_tasks_are_told(load: Load) -> None:
    points = [
        point("bad", "no_such_module_a:X", kind="sinks"),
        point("rare", "no_such_module_b:X [medical]"),
        point("away", "no_such_module_c:Bus", kind="event_buses"),
        point("some-task", "no_such_module_d:Task", kind="tasks"),
    ]
    broken = catalog(*points)
    installed = Catalog()
    both = Catalog(lambda group: [*vars(broken)["_found"](group), *vars(installed)["_found"](group)])

    with CaseBuildContext(load(), catalog=both) as context:
        found = check_all(context)

    # A module of the plug-in's own that is missing is a fault even where an extra is named.
    assert [problem["what"] for problem in found] == [
        "predictors rare",
        "sinks bad",
        "event_buses away",
        "tasks some-task",
    ]


def test_a_folder_of_cases_that_is_not_there_is_a_problem(load: Load) -> None:
    with CaseBuildContext(load(SIGHTLINE_CASES_ROOT="nowhere")) as context:
        [problem] = check_all(context)

    assert "environment SIGHTLINE_CASES_ROOT" in problem["message"]
    assert "nowhere" in problem["message"]


def test_a_shipped_case_whose_extra_is_not_installed_is_no_fault_but_ones_own_is(
    load: Load, write_case: WriteCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rare_report.py").write_text("import a_library_that_nobody_has")
    monkeypatch.syspath_prepend(tmp_path)
    write_case("mine", "source: synthetic\nsinks: [medical-report]\n")
    rare = catalog(point("medical-report", "rare_report:Report [medical]", kind="sinks"))
    installed = Catalog()

    def found_in(group: str) -> list[EntryPoint]:
        others = [each for each in vars(installed)["_found"](group) if each.name != "medical-report"]
        return [*vars(rare)["_found"](group), *others]

    with CaseBuildContext(load(), catalog=Catalog(found_in)) as context:
        [problem] = check_all(context)

    assert (problem["what"], problem["code"]) == ("case mine", "missing_extra")
    assert problem["cure"].startswith("pip install")

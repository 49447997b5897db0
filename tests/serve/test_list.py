from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.programs import Finished, sightline
from tests.serve.conftest import Cli, write_case


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("list")
    write_case(folder, "fine", "source: synthetic\n")
    write_case(folder, "wrong", "source: {use: synthetic, fsp: 3}\nsinks: [nothing]\n")
    write_case(folder, "python", "source: synthetic\n", plugins="x = 1\ndef f(:\n")
    write_case(folder, "dummy_offline", "source: synthetic\n")
    return folder


@pytest.fixture(scope="module")
def checked(folder: Path) -> Finished:
    return sightline(folder, "list", "--check")


def test_everything_is_listed_and_nothing_is_imported(folder: Path) -> None:
    finished = sightline(folder, "list")

    assert finished.code == 0
    assert finished.err == ""
    for name in ("fine", "wrong", "python", "street_people", "video", "tumbling", "detector", "drawn-video"):
        assert f"  {name} " in finished.out
    assert "(hidden by cases/dummy_offline)" in finished.out


def test_the_columns_stand_below_one_another(cli: Cli) -> None:
    plugins = [line for line in cli("list").out.splitlines() if "sightline.packs" in line]

    assert len({line.index("sightline.packs") for line in plugins}) == 1


def test_check_lists_all_and_tells_what_is_broken_with_file_and_line(checked: Finished) -> None:
    assert checked.code == 1
    assert "  fine " in checked.out
    assert "  wrong " in checked.out
    assert checked.out.endswith("problems: 3\n")
    broken = [line for line in checked.err.splitlines() if line.startswith("broken: ")]
    assert len(broken) == 3
    assert "plugins.py:2: " in broken[0]
    assert "SyntaxError" in broken[0]
    assert "cases/wrong/case.yaml:1: 'synthetic' has no field 'fsp'" in broken[1]
    assert "cases/wrong/case.yaml:2: " in broken[2]
    assert checked.err.count("  cure: ") == 3
    assert "Traceback" not in checked.err


def test_check_without_problems_says_so(cli: Cli) -> None:
    finished = cli("list", "--check")

    assert finished.code == 0
    assert finished.out.endswith("all can be loaded\n")


def test_the_list_as_json(folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    seen = json.loads(cli("list", "--json").out)
    checked = cli("list", "--check", "--json")

    assert {place["name"] for place in seen["cases"]} >= {"fine", "wrong", "street_people"}
    hidden = {place["name"]: place["hidden_by"] for place in seen["cases"] if place["hidden_by"]}
    assert hidden == {"dummy_offline": "cases/dummy_offline"}
    assert {"kind", "name", "target", "package", "extra"} == set(seen["plugins"][0])
    assert "problems" not in seen
    assert checked.code == 1
    assert {problem["what"] for problem in json.loads(checked.out)["problems"]} == {"case wrong", "case python"}


def test_a_setting_that_is_wrong_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_text("devise: cpu\n")

    finished = cli("list")

    assert finished.code == 4
    assert finished.err.startswith("error: sightline.yaml:1: ")

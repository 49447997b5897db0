from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sightline.core.errors import ConfigError, InvalidInput
from sightline.packs.medical.profiles import load_profile, profile_files
from sightline.packs.medical.sources.study import StudySource
from sightline.testing.fakes import make_context

LOOKED_AT = ("mask", "json", "xlsx", "probability", "volume")


def test_the_shipped_profiles_go_from_quick_to_careful() -> None:
    assert sorted(profile_files()) == ["fast_debug", "production", "research"]
    fast, production, research = (load_profile(name) for name in ("fast_debug", "production", "research"))
    assert (fast.threshold, fast.members, fast.flips, fast.outputs) == (0.55, (), (), LOOKED_AT)
    assert production.geometry == "refuse"
    assert {each.threshold for each in (fast, production, research)} == {0.55}  # of a request that names none
    assert research.members == ("deepbrain", "deepbet")
    assert "uncertainty" in research.outputs
    assert fast.overlap < production.overlap < research.overlap


def test_the_deadline_of_a_profile_is_that_of_the_work(tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text("deadline_s: 2.5\n")
    (tmp_path / "endless.yaml").write_text("deadline_s: null\n")
    told: list[float] = []
    context = replace(make_context(), within=told.append)
    for name in ("quick", "endless", "fast_debug"):
        StudySource(profile=name, profiles=str(tmp_path)).open(context)
    assert told == [2.5, 300.0]


def test_a_profile_of_the_user_is_found_by_its_files_name_and_hides_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("spacing_mm: 1.5\ntile: [96, 96, 64]\nflips: [x, xy]\nthreshold: 0.4\n")
    (tmp_path / "production.yaml").write_text("connectivity: 6\n")
    mine = load_profile("mine", [tmp_path])
    assert (mine.name, mine.spacing_mm, mine.tile) == ("mine", (1.5, 1.5, 1.5), (96, 96, 64))
    assert (mine.flips, mine.threshold, mine.overlap) == (("x", "xy"), 0.4, 0.25)
    assert load_profile("production", [tmp_path]).connectivity == 6
    assert load_profile("production", [tmp_path / "absent"]).connectivity == 26


def test_an_unknown_profile_names_those_that_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"'producton'\. Known: fast_debug, production, research") as caught:
        load_profile("producton")
    assert caught.value.cure == "Did you mean 'production'?"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("overlap: 0.5\ntreshold: 0.5\n", 2, "no field 'treshold'"),
        ("\n\nthreshold: 1.5\n", 3, "threshold is 1.5; it must be a number of 0 to 1"),
        ("threshold: yes\n", 1, "threshold is True"),
        ("connectivity: 8\n", 1, "connectivity is 8; it must be 6, 18 or 26"),
        ("flips: [xx]\n", 1, "flips is"),
        ("flips: x\n", 1, "a list of axes"),
        ("tile: [96, 96]\n", 1, "tile is"),
        ("outputs: [mask, pdf]\n", 1, "words among mask, json"),
        ("members: [deepbrain, deepbrain]\n", 1, "members is"),
        ("name: mine\n", 1, "no field 'name'"),
        ("overlap: 0.1\noverlap: 0.2\n", 2, "given twice"),
        ("- a\n", 1, "name: value"),
        ("overlap: [\n", 2, "Not valid YAML"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_profile("mine", [tmp_path])
    assert caught.value.location == f"{path}:{line}"


def test_an_empty_file_is_a_profile_of_defaults_and_it_tells_itself_as_json(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text("")
    told = load_profile("plain", [tmp_path]).to_json()
    assert told["name"] == "plain"
    assert told["outputs"] == ["mask", "json", "xlsx"]

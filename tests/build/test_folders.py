from __future__ import annotations

from pathlib import Path

import pytest
from tests.build.conftest import Load, WriteCase

from sightline.build.folders import find_case, list_cases
from sightline.core.errors import CaseNotFound

MANIFEST = "source: synthetic\n"


def test_the_roots_are_looked_at_in_their_order(load: Load, write_case: WriteCase) -> None:
    write_case("own", MANIFEST, root="mine")
    write_case("beside", MANIFEST)
    write_case("sample", MANIFEST, root="samples")

    places = list_cases(load(SIGHTLINE_CASES_ROOT="mine", SIGHTLINE_BLUEPRINT_MODULES="company.door"))

    origins = list(dict.fromkeys(place.origin for place in places))
    assert origins == ["cases_root", "./cases", "./samples", "shipped", "blueprint_modules"]
    assert [place.name for place in places][:3] == ["own", "beside", "sample"]
    assert places[-1].name == "door"
    assert places[-1].shown == "company.door"


def test_the_first_of_a_name_counts_and_the_others_are_marked(load: Load, write_case: WriteCase) -> None:
    mine = write_case("street_people", MANIFEST, root="mine")
    write_case("street_people", MANIFEST)
    loaded = load(SIGHTLINE_CASES_ROOT="mine")

    found = [place for place in list_cases(loaded) if place.name == "street_people"]

    assert [place.origin for place in found] == ["cases_root", "./cases", "shipped"]
    assert [place.hidden_by for place in found] == ["", str(mine), str(mine)]
    assert find_case(loaded, "street_people").folder == mine


def test_a_folder_without_manifest_or_blueprint_is_no_case(load: Load, write_case: WriteCase) -> None:
    write_case("nothing", helper="x = 1\n")
    write_case("python", blueprint="raise RuntimeError('never imported here')\n")

    names = {place.name: place for place in list_cases(load())}

    assert "nothing" not in names
    assert names["python"].manifest is None


def test_the_name_of_the_manifest_is_a_setting(load: Load, write_case: WriteCase) -> None:
    folder = write_case("door")
    (folder / "blueprint.yml").write_text(MANIFEST)

    place = find_case(load(SIGHTLINE_MANIFEST_NAME="blueprint.yml"), "door")

    assert place.manifest == folder / "blueprint.yml"
    with pytest.raises(CaseNotFound):
        find_case(load(), "door")


@pytest.mark.parametrize("path", ["", "case.yaml"])
def test_a_case_can_be_given_by_the_path_of_its_folder_or_manifest(
    load: Load, write_case: WriteCase, path: str
) -> None:
    folder = write_case("door", MANIFEST, root="elsewhere")

    place = find_case(load(), str(folder / path))

    assert (place.name, place.manifest) == ("door", folder / "case.yaml")


def test_the_working_folder_can_be_the_case(load: Load, write_case: WriteCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_case("door", MANIFEST, root="elsewhere"))

    assert find_case(load(), ".").name == "door"


def test_a_link_to_a_case_has_the_name_of_the_link(load: Load, tmp_path: Path, write_case: WriteCase) -> None:
    folder = write_case("door", MANIFEST, root="elsewhere")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "gate").symlink_to(folder)

    assert find_case(load(), "gate").name == "gate"


def test_an_unknown_name_is_told_with_the_nearest(load: Load) -> None:
    with pytest.raises(CaseNotFound, match=r"Known: .*street_people") as caught:
        find_case(load(), "street_peple")

    assert caught.value.cure == "Did you mean 'street_people'?"


def test_a_folder_that_holds_no_case_is_told_as_such(load: Load, tmp_path: Path) -> None:
    with pytest.raises(CaseNotFound, match="holds no case"):
        find_case(load(), str(tmp_path))


@pytest.mark.parametrize("name", ["~nobody_of_this_name/x", "a\0b", "x" * 5000, "", "../..", "*"])
def test_whatever_is_given_as_a_name_is_found_or_not_found(load: Load, name: str) -> None:
    with pytest.raises(CaseNotFound):
        find_case(load(), name)

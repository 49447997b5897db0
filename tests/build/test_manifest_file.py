"""Manifests on the disk: whole or as they were, and the shipped ones never."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.build.conftest import Load, WriteCase

from sightline.build.folders import SHIPPED, find_case
from sightline.build.manifest_file import create_case, read_manifest, write_manifest
from sightline.core.errors import Conflict, InvalidInput, NotFound, StorageFull, Unavailable

TEXT = b"title: A door.\nstages: {analytics: {light: {use: brightness}}}\n"


def test_a_manifest_is_read_as_it_is(load: Load, write_case: WriteCase) -> None:
    folder = write_case("door")
    (folder / "case.yaml").write_bytes(b"\xef\xbb\xbftitle: x\r\n# ${NAME}\r\n")

    found = read_manifest(find_case(load(), "door"))

    assert found.data == b"\xef\xbb\xbftitle: x\r\n# ${NAME}\r\n"
    assert found.writable == "yes"


def test_what_is_written_is_there_with_the_mode_that_it_had(load: Load, write_case: WriteCase) -> None:
    folder = write_case("door", "title: old\n")
    (folder / "case.yaml").chmod(0o640)
    loaded = load()
    before = read_manifest(find_case(loaded, "door"))

    place = write_manifest(find_case(loaded, "door"), TEXT, loaded)

    assert place.manifest is not None
    assert place.manifest.read_bytes() == TEXT
    assert place.manifest.stat().st_mode & 0o777 == 0o640
    assert read_manifest(place).digest != before.digest
    assert [path.name for path in folder.iterdir()] == ["case.yaml"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other links")
def test_a_link_goes_on_to_point_at_its_file(load: Load, write_case: WriteCase, tmp_path: Path) -> None:
    folder = write_case("door")
    (tmp_path / "kept.yaml").write_text("title: old\n")
    (folder / "case.yaml").symlink_to(tmp_path / "kept.yaml")
    loaded = load()

    write_manifest(find_case(loaded, "door"), TEXT, loaded)

    assert (folder / "case.yaml").is_symlink()
    assert (tmp_path / "kept.yaml").read_bytes() == TEXT


def test_a_shipped_case_is_copied_whole_and_the_copy_goes_first(load: Load, tmp_path: Path) -> None:
    loaded = load()
    shipped = find_case(loaded, "street_people")
    assert read_manifest(shipped).writable == "copy"
    before = (SHIPPED / "street_people/case.yaml").read_bytes()

    place = write_manifest(shipped, TEXT, loaded)

    assert place.folder == tmp_path / "cases/street_people"
    assert (tmp_path / "cases/street_people/street.mp4").stat().st_size > 100_000
    assert find_case(loaded, "street_people").folder == place.folder
    assert read_manifest(place).writable == "yes"
    assert (SHIPPED / "street_people/case.yaml").read_bytes() == before
    assert [path.name for path in (tmp_path / "cases").iterdir()] == ["street_people"]


def test_the_copy_lies_in_cases_root_where_there_is_one(load: Load, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    loaded = load(SIGHTLINE_CASES_ROOT=str(tmp_path / "kept"))

    write_manifest(find_case(loaded, "dummy_offline"), TEXT, loaded)

    assert (tmp_path / "kept/dummy_offline/case.yaml").read_bytes() == TEXT


def test_a_folder_in_the_way_of_the_copy_is_left_alone(load: Load, write_case: WriteCase) -> None:
    folder = write_case("dummy_offline")
    (folder / "notes.txt").write_text("mine")
    loaded = load()

    with pytest.raises(Conflict, match="no case"):
        write_manifest(find_case(loaded, "dummy_offline"), TEXT, loaded)

    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_case_is_made(load: Load, tmp_path: Path) -> None:
    loaded = load()

    place = create_case("new_door", TEXT, loaded)

    assert place.manifest == tmp_path / "cases/new_door/case.yaml"
    assert find_case(loaded, "new_door") == place
    with pytest.raises(Conflict, match="new_door"):
        create_case("new_door", TEXT, loaded)
    with pytest.raises(Conflict, match="shipped"):
        create_case("street_people", TEXT, loaded)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", ".door", "-x", "a b", "CON", "x" * 65, "é", "a\0"]
)
def test_a_name_that_is_none_is_refused(load: Load, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="name of a case"):
        create_case(name, TEXT, load())
    assert not (tmp_path / "cases").exists()


def test_a_case_of_python_alone_has_no_manifest(load: Load, write_case: WriteCase) -> None:
    write_case("door", blueprint="")
    loaded = load()
    place = find_case(loaded, "door")

    with pytest.raises(NotFound, match="Python alone"):
        read_manifest(place)
    with pytest.raises(NotFound, match="Python alone"):
        write_manifest(place, TEXT, loaded)


def test_a_full_disk_leaves_the_old_text(load: Load, write_case: WriteCase, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_case("door", "title: old\n")
    loaded = load()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="not written"):
        write_manifest(find_case(loaded, "door"), TEXT, loaded)

    assert (folder / "case.yaml").read_text() == "title: old\n"
    assert [path.name for path in folder.iterdir()] == ["case.yaml"]


def test_a_root_that_is_a_file_is_told(load: Load, tmp_path: Path) -> None:
    (tmp_path / "cases").write_text("in the way")

    with pytest.raises(Unavailable, match="not written"):
        create_case("door", TEXT, load())

from __future__ import annotations

from pathlib import Path

from sightline.build.context import CaseBuildContext
from sightline.core.plugins import Remote
from sightline.settings import load_settings


def test_plugins_are_told_of_the_picture_archive_and_its_password_is_not_shown(tmp_path: Path) -> None:
    given = {
        "SIGHTLINE_DATA_ROOT": str(tmp_path),
        "SIGHTLINE_MEDICAL__DICOMWEB__URL": "http://pacs:8042/dicom-web",
        "SIGHTLINE_MEDICAL__DICOMWEB__USER": "sightline",
        "SIGHTLINE_MEDICAL__DICOMWEB__PASSWORD": "hush",
    }
    with CaseBuildContext(load_settings(folder=tmp_path, environ=given)) as build:
        world = build.world()
    remote = Remote(url="http://pacs:8042/dicom-web", user="sightline", password="hush")
    assert dict(world.remotes) == {"dicomweb": remote}
    assert "hush" not in repr(world)


def test_without_settings_there_is_no_archive(tmp_path: Path) -> None:
    with CaseBuildContext(load_settings(folder=tmp_path, environ={"SIGHTLINE_DATA_ROOT": str(tmp_path)})) as build:
        assert build.world().remotes["dicomweb"] == Remote()

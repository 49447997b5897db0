"""What counts, where it came from, what relative paths mean, and what is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sightline.core.errors import ConfigError
from sightline.settings import AppSettings, load_settings


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    loaded = load_settings(folder=tmp_path, environ={})
    settings = loaded.settings
    assert settings.data_root.is_absolute()
    assert settings.data_root.name == "sightline"
    assert settings.models_root == settings.data_root / "models"
    assert settings.artifacts_root == settings.data_root / "artifacts"
    assert settings.database.path == settings.data_root / "sightline.db"
    assert settings.runs_root == tmp_path / "runs"
    assert settings.adapters.artifacts == "object-store"
    assert {row.origin for row in loaded.rows()} == {"default"}
    assert loaded.file is None


def test_each_place_wins_over_the_weaker_ones(tmp_path: Path) -> None:
    def device(**places: Any) -> tuple[str, str]:
        loaded = load_settings(folder=tmp_path, **{"environ": {}, **places})
        return loaded.settings.device, loaded.origin("device")

    assert device() == ("auto", "default")
    (tmp_path / "sightline.yaml").write_text("\n\ndevice: yaml\n")
    assert device() == ("yaml", "sightline.yaml:3")
    (tmp_path / ".env").write_text("OTHER=1\nSIGHTLINE_DEVICE=env-file\n")
    assert device() == ("env-file", ".env:2")
    environ = {"SIGHTLINE_DEVICE": "environment"}
    assert device(environ=environ) == ("environment", "environment SIGHTLINE_DEVICE")
    assert device(environ=environ, overrides={"device": "typed"}) == ("typed", "command line")


def test_what_the_command_line_leaves_out_counts_as_not_given(tmp_path: Path) -> None:
    loaded = load_settings(folder=tmp_path, environ={"SIGHTLINE_DEVICE": "cpu"}, overrides={"device": None})
    assert loaded.settings.device == "cpu"


def test_sections_merge_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_text("camera:\n  url: 0\n  width: 640\n")
    camera = load_settings(folder=tmp_path, environ={"SIGHTLINE_CAMERA__WIDTH": "320"}).settings.camera
    assert (camera.url, camera.width) == ("0", 320)


def test_empty_values_count_as_unset(tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_text("device: yaml\ncamera:\ns3: {bucket: }\n")
    (tmp_path / ".env").write_text("SIGHTLINE_DEVICE=\nAPP_DEVICE=''\n")
    environ = {"SIGHTLINE_DEVICE": "", "APP_DEVICE": "  ", "SIGHTLINE_NO_SUCH_THING": ""}
    loaded = load_settings(folder=tmp_path, environ=environ)
    assert (loaded.settings.device, loaded.settings.s3.bucket) == ("yaml", None)


def test_environment_names_may_be_written_small(tmp_path: Path) -> None:
    loaded = load_settings(folder=tmp_path, environ={"sightline_device": "cpu"})
    assert (loaded.settings.device, loaded.origin("device")) == ("cpu", "environment sightline_device")


def test_relative_paths_count_from_where_they_were_given(tmp_path: Path) -> None:
    work, conf = tmp_path / "work", tmp_path / "conf"
    work.mkdir()
    conf.mkdir()
    (conf / "my.yaml").write_text("cases_root: cases\nmodels_root: /srv/models\n")
    (work / ".env").write_text("SIGHTLINE_DATA_ROOT=../data\n")
    loaded = load_settings(
        folder=work,
        file=Path("../conf/my.yaml"),
        environ={"SIGHTLINE_ARTIFACTS_ROOT": "artifacts"},
        overrides={"runs_root": Path("out")},
    )
    settings = loaded.settings
    assert settings.cases_root is not None
    assert settings.cases_root.resolve() == conf / "cases"
    assert settings.models_root == Path("/srv/models")
    assert settings.data_root.resolve() == tmp_path / "data"
    assert settings.database.path == settings.data_root / "sightline.db"
    assert settings.artifacts_root == work / "artifacts"
    assert settings.runs_root == work / "out"
    assert loaded.origin("cases_root") == "../conf/my.yaml:1"
    assert loaded.folder == work


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path) -> None:
    settings = load_settings(folder=tmp_path, environ={"SIGHTLINE_DATA_ROOT": "~/sight"}).settings
    assert settings.data_root == Path.home() / "sight"


def test_a_database_address_keeps_the_path_below_data_root(tmp_path: Path) -> None:
    environ = {"SIGHTLINE_DATA_ROOT": "d", "SIGHTLINE_DATABASE__URL": "postgresql://u@h/d"}
    assert load_settings(folder=tmp_path, environ=environ).settings.database.path == tmp_path / "d" / "sightline.db"


@pytest.mark.parametrize("place", ["argument", "environment", ".env"])
def test_another_settings_file_can_be_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "sightline.yaml").write_text("device: wrong\n")
    (tmp_path / "other.yaml").write_text("device: right\n")
    if place == ".env":
        (tmp_path / ".env").write_text("SIGHTLINE_CONFIG=other.yaml\n")
    loaded = load_settings(
        folder=tmp_path,
        file=Path("other.yaml") if place == "argument" else None,
        environ={"SIGHTLINE_CONFIG": "other.yaml"} if place == "environment" else {},
    )
    assert (loaded.settings.device, loaded.origin("device")) == ("right", "other.yaml:1")
    assert loaded.file == tmp_path / "other.yaml"


@pytest.mark.parametrize("text", ["shop.door,shop.yard", '["shop.door", "shop.yard"]'])
def test_a_list_is_written_with_commas_or_as_json(tmp_path: Path, text: str) -> None:
    settings = load_settings(folder=tmp_path, environ={"BLUEPRINT_MODULES": text}).settings
    assert settings.blueprint_modules == ("shop.door", "shop.yard")


def test_a_list_of_yaml_is_a_list(tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_text("blueprint_modules:\n  - shop.door\n  - shop.yard\n")
    assert load_settings(folder=tmp_path, environ={}).settings.blueprint_modules == ("shop.door", "shop.yard")


def test_variables_are_expanded_in_yaml_and_in_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HOST=camera.local\nSIGHTLINE_CAMERA__URL=rtsp://${HOST}/1\nTHEIRS=${UNKNOWN}\n")
    (tmp_path / "sightline.yaml").write_text("s3: {bucket: '${BUCKET}', endpoint: '${HOST}:9000'}\n")
    loaded = load_settings(folder=tmp_path, environ={"BUCKET": "b"})
    assert loaded.settings.camera.url == "rtsp://camera.local/1"
    assert (loaded.settings.s3.bucket, loaded.settings.s3.endpoint) == ("b", "http://camera.local:9000")
    assert loaded.environ["HOST"] == "camera.local"


def test_the_view_of_the_environment_is_that_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\nC=file\n")
    environ = load_settings(folder=tmp_path, environ={"B": "real", "C": ""}).environ
    assert (environ["A"], environ["B"], environ["C"]) == ("file", "real", "file")


def test_yaml_anchors_and_merges_are_understood(tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_text("backend: &one {url: http://one}\ncamera: {<<: *one, width: 5}\n")
    loaded = load_settings(folder=tmp_path, environ={})
    assert (loaded.settings.camera.url, loaded.origin("camera.url")) == ("http://one", "sightline.yaml:1")
    assert loaded.settings.camera.width == 5


def test_a_number_in_yaml_may_be_a_text_or_a_secret(tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_text("device: 0\nminio_bucket: 2026\nminio_secret_key: 12345\n")
    settings = load_settings(folder=tmp_path, environ={}).settings
    assert (settings.device, settings.s3.bucket) == ("0", "2026")
    assert settings.s3.secret_key is not None
    assert settings.s3.secret_key.get_secret_value() == "12345"


SECRETS = {
    "SIGHTLINE_S3__ACCESS_KEY": "hush-access",
    "SIGHTLINE_S3__SECRET_KEY": "hush-secret",
    "SIGHTLINE_AUTH__SERVICE_TOKEN": "hush-token",
    "SIGHTLINE_DATABASE__URL": "postgresql://me:hush-database@host/db",
    "SIGHTLINE_CAMERA__URL": "rtsp://me:hush-camera@host/1",
    "SIGHTLINE_BACKEND__URL": "http://me:hush-backend@host",
    "SIGHTLINE_S3__ENDPOINT": "http://me:hush-endpoint@host",
}


def test_secrets_are_hidden_from_rows_and_repr(tmp_path: Path) -> None:
    loaded = load_settings(folder=tmp_path, environ=SECRETS)
    shown = f"{loaded.rows()} {loaded!r} {loaded} {loaded.settings!r} {loaded.settings} {loaded.settings.camera!r}"
    assert "hush" not in shown
    rows = {row.path: row.value for row in loaded.rows()}
    assert rows["s3.secret_key"] == "***"
    assert rows["camera.url"] == "rtsp://***@host/1"
    assert loaded.settings.camera.url == SECRETS["SIGHTLINE_CAMERA__URL"]


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_is_read_from_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text(f"{SECRETS[name]}\r\n")
    direct = load_settings(folder=tmp_path, environ={name: SECRETS[name]})
    by_file = load_settings(folder=tmp_path, environ={f"{name}_FILE": str(tmp_path / "secret")})
    assert by_file.settings == direct.settings


def test_a_secret_file_counts_from_the_folder_of_the_yaml_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "key").write_text("hush")
    (tmp_path / "conf" / "my.yaml").write_text("s3:\n  secret_key_file: key\n")
    loaded = load_settings(folder=tmp_path, file=Path("conf/my.yaml"), environ={})
    assert loaded.settings.s3.secret_key is not None
    assert loaded.settings.s3.secret_key.get_secret_value() == "hush"
    assert loaded.origin("s3.secret_key") == "conf/my.yaml:2"


def test_rows_are_json_in_the_order_of_the_tree(tmp_path: Path) -> None:
    loaded = load_settings(
        folder=tmp_path, environ={"SIGHTLINE_BLUEPRINT_MODULES": "a.b", "SIGHTLINE_LOG__JSON": "yes"}
    )
    rows = loaded.rows()
    assert [row.path for row in rows][:2] == ["data_root", "cases_root"]
    values = {row.path: row.value for row in rows}
    assert (values["blueprint_modules"], values["log.json"], values["runs_root"]) == (
        ["a.b"],
        True,
        str(tmp_path / "runs"),
    )
    assert all(isinstance(row.value, str | int | float | bool | list | None) for row in rows)


def test_the_origin_of_an_unknown_setting_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"camera\.ulr") as caught:
        load_settings(folder=tmp_path, environ={}).origin("camera.ulr")
    assert caught.value.cure == "Did you mean camera.url?"


def test_settings_are_frozen_and_refuse_unknown_names() -> None:
    settings = AppSettings(data_root=Path("/d"))
    assert settings.database.path == Path("/d/sightline.db")
    with pytest.raises(ValidationError):
        settings.device = "cpu"
    with pytest.raises(ValidationError):
        AppSettings.model_validate({"devise": "cpu"})


def test_without_arguments_the_process_itself_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_DEVICE", "cuda:7")
    loaded = load_settings()
    assert (loaded.settings.device, loaded.folder) == ("cuda:7", tmp_path)


def test_a_section_in_a_section_is_read(tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_text(
        "medical:\n  dicomweb:\n    url: http://pacs:8042/dicom-web\n    user: me\n"
    )
    loaded = load_settings(folder=tmp_path, environ={"SIGHTLINE_MEDICAL__DICOMWEB__USER": "you"})
    pacs = loaded.settings.medical.dicomweb
    assert (pacs.url, pacs.user, pacs.password) == ("http://pacs:8042/dicom-web", "you", None)
    assert loaded.origin("medical.dicomweb.url") == "sightline.yaml:3"
    (tmp_path / "sightline.yaml").write_text("medical:\n  dicomweb: http://pacs\n")
    with pytest.raises(ConfigError, match=r"medical\.dicomweb must hold names"):
        load_settings(folder=tmp_path, environ={})
    (tmp_path / "sightline.yaml").write_text("medical:\n  dicomweb:\n    urls: http://pacs\n")
    with pytest.raises(ConfigError, match=r"no setting 'medical\.dicomweb\.urls'") as caught:
        load_settings(folder=tmp_path, environ={})
    assert "medical.dicomweb.url" in caught.value.cure

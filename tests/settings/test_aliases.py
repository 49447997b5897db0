"""Every name of older systems, one by one, in each place where it may stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sightline.core.errors import ConfigError
from sightline.settings import ALIASES, AppSettings, load_settings

# name, setting, text as written, value that it must give (paths: below the folder)
OLDER_NAMES: list[tuple[str, str, str, Any]] = [
    ("SIGHTLINE_DATABASE_URL", "database.url", "sqlite:///other.db", "sqlite:///other.db"),
    ("SIGHTLINE_AUTH", "auth.mode", "off", "off"),
    ("MMLA_CASES_ROOT", "cases_root", "old/cases", Path("old/cases")),
    ("MMLA_MODELS_ROOT", "models_root", "old/models", Path("old/models")),
    ("MMLA_ARTIFACTS_ROOT", "artifacts_root", "old/artifacts", Path("old/artifacts")),
    ("MMLA_DATA_ROOT", "data_root", "old/data", Path("old/data")),
    ("MMLA_DATABASE_PATH", "database.path", "old/mmla.db", Path("old/mmla.db")),
    ("MMLA_MANIFEST_NAME", "manifest_name", "manifest.yaml", "manifest.yaml"),
    ("BLUEPRINT_MODULES", "blueprint_modules", "shop.door, shop.yard", ("shop.door", "shop.yard")),
    ("APP_RTSP_URL", "camera.url", "rtsp://camera/1", "rtsp://camera/1"),
    ("APP_MODEL_NAME", "camera.model", "person_detector", "person_detector"),
    ("APP_DEVICE", "device", "cuda:1", "cuda:1"),
    ("APP_FRAME_WIDTH", "camera.width", "640", 640),
    ("APP_FRAME_HEIGHT", "camera.height", "360", 360),
    ("APP_FRAME_SAMPLE_FPS", "camera.fps", "2.5", 2.5),
    ("MINIO_ENDPOINT", "s3.endpoint", "minio:9000", "http://minio:9000"),
    ("MINIO_ACCESS_KEY", "s3.access_key", "minioadmin", SecretStr("minioadmin")),
    ("MINIO_SECRET_KEY", "s3.secret_key", "hush", SecretStr("hush")),
    ("MINIO_BUCKET", "s3.bucket", "pictures", "pictures"),
    ("BACKEND_URL", "backend.url", "http://backend:8080", "http://backend:8080"),
    ("ML_SERVICE_TOKEN", "auth.service_token", "t0ken", SecretStr("t0ken")),
    ("ML_DEFAULT_PROFILE", "medical.default_profile", "lung", "lung"),
    ("ML_DECISION_THRESHOLD", "medical.decision_threshold", "0.3", 0.3),
    ("MODEL_PATH", "model_path", "old/model.onnx", Path("old/model.onnx")),
    ("MODEL_NAME", "model_name", "resnet50", "resnet50"),
]
each_name = pytest.mark.parametrize(
    ("name", "path", "text", "expected"), OLDER_NAMES, ids=[row[0] for row in OLDER_NAMES]
)
SECRETS = ["MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "ML_SERVICE_TOKEN"]
WEAK = {"BACKEND_URL", "ML_DEFAULT_PROFILE", "ML_DECISION_THRESHOLD", "MODEL_PATH", "MODEL_NAME"}


def value_of(settings: AppSettings, path: str) -> Any:
    value: Any = settings
    for key in path.split("."):
        value = getattr(value, key)
    return value


def below(folder: Path, expected: Any) -> Any:
    return folder / expected if isinstance(expected, Path) else expected


def test_the_table_is_the_one_that_is_tested() -> None:
    assert {(alias.name, alias.path) for alias in ALIASES} == {(name, path) for name, path, _, _ in OLDER_NAMES}
    assert {alias.name for alias in ALIASES if alias.weak} == WEAK


@each_name
def test_an_older_name_is_taken_from_the_environment(
    tmp_path: Path, name: str, path: str, text: str, expected: Any
) -> None:
    loaded = load_settings(folder=tmp_path, environ={name: text})
    assert value_of(loaded.settings, path) == below(tmp_path, expected)
    assert loaded.origin(path) == f"environment {name}"


@each_name
def test_an_older_name_is_taken_from_the_env_file(
    tmp_path: Path, name: str, path: str, text: str, expected: Any
) -> None:
    (tmp_path / ".env").write_text(f"# older system\n\n{name}={text}\n")
    loaded = load_settings(folder=tmp_path, environ={})
    assert value_of(loaded.settings, path) == below(tmp_path, expected)
    assert loaded.origin(path) == ".env:3"


@pytest.mark.parametrize("spell", [str.upper, str.lower])
@each_name
def test_an_older_name_is_taken_as_a_yaml_key(
    tmp_path: Path, *, spell: Any, name: str, path: str, text: str, expected: Any
) -> None:
    (tmp_path / "sightline.yaml").write_text(f"# older system\n{spell(name)}: {text}\n")
    loaded = load_settings(folder=tmp_path, environ={})
    assert value_of(loaded.settings, path) == below(tmp_path, expected)
    assert loaded.origin(path) == "sightline.yaml:2"


APP_NAMES = [row for row in OLDER_NAMES if row[0].startswith("APP_")]


@pytest.mark.parametrize("spell", [str.upper, str.lower])
@pytest.mark.parametrize(("name", "path", "text", "expected"), APP_NAMES, ids=[row[0] for row in APP_NAMES])
def test_an_app_name_stands_below_app_in_yaml(
    tmp_path: Path, *, spell: Any, name: str, path: str, text: str, expected: Any
) -> None:
    (tmp_path / "sightline.yaml").write_text(f"app:\n  {spell(name.removeprefix('APP_'))}: {text}\n")
    loaded = load_settings(folder=tmp_path, environ={})
    assert value_of(loaded.settings, path) == expected
    assert loaded.origin(path) == "sightline.yaml:2"


@pytest.mark.parametrize(("name", "path", "text", "expected"), APP_NAMES, ids=[row[0] for row in APP_NAMES])
def test_an_app_name_stands_alone_in_yaml(tmp_path: Path, name: str, path: str, text: str, expected: Any) -> None:
    (tmp_path / "sightline.yaml").write_text(f"{name.removeprefix('APP_').lower()}: {text}\n")
    assert value_of(load_settings(folder=tmp_path, environ={}).settings, path) == expected


def test_model_name_in_yaml_is_the_cameras_model_only_where_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_text("model_name: resnet50\n")
    settings = load_settings(folder=tmp_path, environ={}).settings
    assert (settings.model_name, settings.camera.model) == ("resnet50", "resnet50")

    (tmp_path / "sightline.yaml").write_text("model_name: resnet50\ncamera: {model: person_detector}\n")
    settings = load_settings(folder=tmp_path, environ={}).settings
    assert (settings.model_name, settings.camera.model) == ("resnet50", "person_detector")


@pytest.mark.parametrize("name", SECRETS)
def test_an_older_secret_is_read_from_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    path = next(alias.path for alias in ALIASES if alias.name == name)
    loaded = load_settings(folder=tmp_path, environ={f"{name}_FILE": "secret"})
    assert value_of(loaded.settings, path).get_secret_value() == "from the file"
    assert loaded.origin(path) == f"environment {name}_FILE"


@pytest.mark.parametrize("name", sorted(WEAK))
def test_a_weak_name_gives_way_to_everything_but_the_default(tmp_path: Path, name: str) -> None:
    _, path, text, _ = next(row for row in OLDER_NAMES if row[0] == name)
    real = {"medical.decision_threshold": "0.9", "model_path": "real.onnx"}.get(path, "http://real")
    section, _, key = path.rpartition(".")
    (tmp_path / "sightline.yaml").write_text(f"{section}: {{{key}: {real!r}}}\n" if section else f"{path}: {real}\n")
    loaded = load_settings(folder=tmp_path, environ={name: text})
    assert loaded.origin(path) == "sightline.yaml:1"


@pytest.mark.parametrize("place", ["environment", ".env", "sightline.yaml"])
def test_two_names_that_disagree_are_an_error_that_names_both(tmp_path: Path, place: str) -> None:
    pairs = {"APP_RTSP_URL": "rtsp://user:hush@one", "SIGHTLINE_CAMERA__URL": "rtsp://user:hush@two"}
    if place == ".env":
        (tmp_path / ".env").write_text("\n".join(f"{name}={value}" for name, value in pairs.items()))
    elif place == "sightline.yaml":
        (tmp_path / "sightline.yaml").write_text("app_rtsp_url: rtsp://user:hush@one\ncamera: {url: rtsp://two}\n")
    with pytest.raises(ConfigError, match=r"(?i)app_rtsp_url.*camera.*both set camera\.url") as caught:
        load_settings(folder=tmp_path, environ=pairs if place == "environment" else {})
    assert "hush" not in str(caught.value)
    assert caught.value.cure
    assert caught.value.location


def test_two_older_names_that_disagree_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_text("app:\n  frame_width: 640\nframe_width: 320\n")
    with pytest.raises(ConfigError, match=r"app\.frame_width and frame_width \(sightline\.yaml:3\)") as caught:
        load_settings(folder=tmp_path, environ={})
    assert caught.value.location == "sightline.yaml:2"


def test_two_names_that_agree_are_fine(tmp_path: Path) -> None:
    environ = {"APP_FRAME_SAMPLE_FPS": "5", "SIGHTLINE_CAMERA__FPS": "5.0"}
    assert load_settings(folder=tmp_path, environ=environ).settings.camera.fps == 5.0


def test_names_of_different_places_do_not_clash(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("APP_DEVICE=cpu\n")
    loaded = load_settings(folder=tmp_path, environ={"SIGHTLINE_DEVICE": "cuda"})
    assert (loaded.settings.device, loaded.origin("device")) == ("cuda", "environment SIGHTLINE_DEVICE")


def test_a_secret_and_its_file_that_disagree_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("one")
    environ = {"MINIO_SECRET_KEY": "two", "MINIO_SECRET_KEY_FILE": "key"}
    with pytest.raises(ConfigError, match="MINIO_SECRET_KEY and MINIO_SECRET_KEY_FILE"):
        load_settings(folder=tmp_path, environ=environ)

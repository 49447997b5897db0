"""Each mistake: where it stands, what is wrong, what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.core.errors import ConfigError
from sightline.settings import load_settings


def error(folder: Path, *, yaml: str = "", env: str = "", **environ: str) -> ConfigError:
    (folder / "sightline.yaml").write_text(yaml)
    (folder / ".env").write_text(env)
    with pytest.raises(ConfigError) as caught:
        load_settings(folder=folder, environ=environ)
    assert "\n" not in f"{caught.value}{caught.value.cure}"
    return caught.value


@pytest.mark.parametrize(
    ("yaml", "location", "named", "near"),
    [
        ("\ndevise: cpu\n", "sightline.yaml:2", "'devise'", "device"),
        ("camera:\n  width: 5\n  ulr: rtsp://x\n", "sightline.yaml:3", "'camera.ulr'", "camera.url"),
        ("app:\n  rstp_url: rtsp://x\n", "sightline.yaml:2", "'app.rstp_url'", "app.rtsp_url"),
        ("DEVICE: cpu\n", "sightline.yaml:1", "'DEVICE'", "device"),
        ("mmla_case_root: x\n", "sightline.yaml:1", "'mmla_case_root'", "mmla_cases_root"),
        ("SIGHTLINE_CAMERA__URL: x\n", "sightline.yaml:1", "'SIGHTLINE_CAMERA__URL'", "camera.url"),
        ("bucket: x\n", "sightline.yaml:1", "'bucket'", "s3.bucket"),
    ],
)
def test_an_unknown_yaml_key_tells_its_line_and_the_nearest(
    tmp_path: Path, yaml: str, location: str, named: str, near: str
) -> None:
    wrong = error(tmp_path, yaml=yaml)
    assert (wrong.location, wrong.cure) == (location, f"Did you mean {near}?")
    assert named in wrong.message


def test_a_key_that_is_like_no_other_tells_where_all_are(tmp_path: Path) -> None:
    assert "config show" in error(tmp_path, yaml="zzzzzz: 1\n").cure


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("SIGHTLINE_DEVISE", "SIGHTLINE_DEVICE"),
        ("SIGHTLINE_CAMERA_URL", "SIGHTLINE_CAMERA__URL"),
        ("SIGHTLINE_S3__BUCKET_FILE", "SIGHTLINE_S3__BUCKET"),
    ],
)
def test_an_unknown_variable_tells_its_place_and_the_nearest(tmp_path: Path, name: str, near: str) -> None:
    wrong = error(tmp_path, **{name: "x"})
    assert (wrong.location, wrong.cure) == (f"environment {name}", f"Did you mean {near}?")
    wrong = error(tmp_path, env=f"\n\n{name}=x\n")
    assert (wrong.location, wrong.cure) == (".env:3", f"Did you mean {near}?")


def test_an_unknown_name_on_the_command_line_tells_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"camera\.widht") as caught:
        load_settings(folder=tmp_path, environ={}, overrides={"camera.widht": 5})
    assert (caught.value.location, caught.value.cure) == ("command line", "Did you mean camera.width?")


def test_variables_of_other_programs_are_let_be(tmp_path: Path) -> None:
    environ = {
        "APP_COLOUR": "red",
        "MMLA_UNKNOWN": "x",
        "SIGHTLINE_URL": "http://server",
        "SIGHTLINE_API_KEY": "key",
        "SIGHTLINE_SERVICE_HOST": "10.0.0.1",  # Kubernetes, beside a service called sightline
        "SIGHTLINE_SERVICE_PORT": "8000",
        "SIGHTLINE_SERVICE_PORT_HTTP": "8000",
        "SIGHTLINE_PORT": "tcp://10.0.0.1:8000",
        "SIGHTLINE_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "SIGHTLINE_WORKER_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    assert {row.origin for row in load_settings(folder=tmp_path, environ=environ).rows()} == {"default"}


def test_a_port_that_kubernetes_did_not_write_is_unknown(tmp_path: Path) -> None:
    assert error(tmp_path, SIGHTLINE_PORT="8000").location == "environment SIGHTLINE_PORT"


@pytest.mark.parametrize(
    ("yaml", "location", "cause"),
    [
        ("camera:\n  width: wide\n", "sightline.yaml:2", "camera.width is 'wide': Input should be a valid integer"),
        ("camera: {fps: -1}\n", "sightline.yaml:1", "camera.fps is '-1': Input should be greater than 0"),
        ("log:\n  json: maybe\n", "sightline.yaml:2", "log.json is 'maybe': Input should be a valid boolean"),
        ("log: {level: loud}\n", "sightline.yaml:1", "log.level is 'loud': Input should be 'debug', 'info'"),
        ("manifest_name: a/b.yaml\n", "sightline.yaml:1", "manifest_name is 'a/b.yaml': it must be a file name"),
        ("blueprint_modules: [a.b, {c: d}]\n", "sightline.yaml:1", "blueprint_modules is"),
        ("blueprint_modules: '[a.b'\n", "sightline.yaml:1", "it starts as a JSON list and is none"),
        ("cases_root: [a]\n", "sightline.yaml:1", "cases_root is \"['a']\": Input is not a valid path"),
        ("device: {a: b}\n", "sightline.yaml:1", "device is"),
        ("APP_FRAME_WIDTH: wide\n", "sightline.yaml:1", "camera.width (from APP_FRAME_WIDTH) is 'wide'"),
    ],
)
def test_a_wrong_value_tells_where_what_and_what_instead(tmp_path: Path, yaml: str, location: str, cause: str) -> None:
    wrong = error(tmp_path, yaml=yaml)
    assert wrong.location == location
    assert cause in wrong.message
    assert wrong.cure


def test_a_wrong_value_of_the_environment_names_the_variable(tmp_path: Path) -> None:
    wrong = error(tmp_path, APP_FRAME_WIDTH="wide")
    assert str(wrong).startswith("environment APP_FRAME_WIDTH: camera.width (from APP_FRAME_WIDTH) is 'wide': ")
    assert wrong.cure == "camera.width is: Width of the frames in pixels; None keeps the camera's."
    assert error(tmp_path, env="# x\nAPP_FRAME_WIDTH=wide\n").location == ".env:2"


def test_a_wrong_secret_is_not_shown(tmp_path: Path) -> None:
    wrong = error(tmp_path, yaml="auth: {service_token: [hush]}\n")
    assert wrong.location == "sightline.yaml:1"
    assert "hush" not in str(wrong)
    assert "hush" not in str(error(tmp_path, yaml="auth: hush\n"))
    assert "hush" not in str(error(tmp_path, env="ML_SERVICE_TOKEN=a${hush!}b\n"))
    assert "hush" not in str(error(tmp_path, SIGHTLINE_DATABASE__URL="hush", SIGHTLINE_CAMERA__WIDTH="x"))


@pytest.mark.parametrize(
    ("yaml", "location"),
    [
        ("device: cpu\ncamera: {url: x\n", "sightline.yaml:3"),
        ("device: cpu\n\tcamera: x\n", "sightline.yaml:2"),
        ("device: 'cpu\n", "sightline.yaml:2"),
        ("device: a\n---\ndevice: b\n", "sightline.yaml:2"),
        ("device: cpu\ns3:\n  bucket: \x01\n", "sightline.yaml:3"),
        ("device: !!python/name:os.system\n", "sightline.yaml:1"),
        ("device: *nowhere\n", "sightline.yaml:1"),
        ("\ndevice: 2026-99-99\n", "sightline.yaml:2"),
        ("- device\n", "sightline.yaml:1"),
        ("just words\n", "sightline.yaml:1"),
        ("\ncamera: 5\n", "sightline.yaml:2"),
        ("camera:\n  - url\n", "sightline.yaml:2"),
        ("device: a\n\ndevice: b\n", "sightline.yaml:3"),
        ("camera:\n  url: a\n  url: b\n", "sightline.yaml:3"),
        ("s3:\n  bucket: ${NO_SUCH}\n", "sightline.yaml:2"),
    ],
)
def test_malformed_yaml_tells_file_and_line(tmp_path: Path, yaml: str, location: str) -> None:
    wrong = error(tmp_path, yaml=yaml)
    assert wrong.location == location
    assert wrong.cure


def test_a_settings_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_bytes(b"device: \xff\xfe\n")
    with pytest.raises(ConfigError, match=r"sightline\.yaml is no UTF-8"):
        load_settings(folder=tmp_path, environ={})


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / "sightline.yaml").write_text("\ufeffdevice: cpu\n", encoding="utf-8")
    (tmp_path / ".env").write_text("\ufeffMINIO_BUCKET=b\n", encoding="utf-8")
    settings = load_settings(folder=tmp_path, environ={}).settings
    assert (settings.device, settings.s3.bucket) == ("cpu", "b")


def test_a_malformed_line_of_the_env_file_tells_its_number(tmp_path: Path) -> None:
    assert error(tmp_path, env="A=1\n\n# note\nthese are words\n").location == ".env:4"
    assert error(tmp_path, env="A=1\nSIGHTLINE_DEVICE='cpu\n").location == ".env:2"


def test_a_setting_of_the_env_file_with_an_unknown_variable_is_an_error(tmp_path: Path) -> None:
    wrong = error(tmp_path, env="SIGHTLINE_DEVICE=${NO_SUCH}\n")
    assert (wrong.location, "NO_SUCH" in wrong.message) == (".env:1", True)


@pytest.mark.parametrize("place", ["command line", "environment SIGHTLINE_CONFIG"])
def test_a_settings_file_that_is_not_there_is_an_error(tmp_path: Path, place: str) -> None:
    named = place == "command line"
    with pytest.raises(ConfigError, match=r"no settings file gone\.yaml") as caught:
        load_settings(
            folder=tmp_path,
            file=Path("gone.yaml") if named else None,
            environ={} if named else {"SIGHTLINE_CONFIG": "gone.yaml"},
        )
    assert caught.value.location == place


def test_a_secret_file_that_is_missing_or_empty_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for name, cause in (("gone", "does not exist"), ("empty", "is empty")):
        wrong = error(tmp_path, ML_SERVICE_TOKEN_FILE=name)
        assert cause in wrong.message
        assert wrong.location == "environment ML_SERVICE_TOKEN_FILE"


def test_a_home_that_nobody_has_is_an_error(tmp_path: Path) -> None:
    assert error(tmp_path, SIGHTLINE_DATA_ROOT="~nobody-of-this-name/x").location == "environment SIGHTLINE_DATA_ROOT"

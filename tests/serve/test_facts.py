"""`probe`, `config` and `doctor`: what there is, what holds, and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.programs import sightline
from tests.serve.conftest import PHOTOS, STREET, Cli, only_cause, write_case


def test_a_video_is_probed(cli: Cli) -> None:
    shown = cli("probe", STREET)
    facts = json.loads(cli("probe", STREET, "--fps", "1", "--json").out)

    assert shown.code == 0
    assert "codec                    h264" in shown.out
    assert "b_frames                 no" in shown.out
    assert "{" not in shown.out
    assert (facts["width"], facts["height"], facts["fps"], facts["gop_s"]) == (768, 576, 10, 1)
    assert facts["decode"]["wanted_fps"] == 1


def test_a_folder_of_pictures_is_probed(cli: Cli) -> None:
    facts = json.loads(cli("probe", PHOTOS, "--json").out)

    assert (facts["kind"], facts["num_files"]) == ("images", 8)
    assert "Advice\n- " in cli("probe", PHOTOS).out


def test_the_settings_are_shown_with_their_origins_and_without_secrets(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sightline.yaml").write_text("device: cpu\ncamera:\n  url: rtsp://u:hunter2@camera/1\n")
    (tmp_path / ".env").write_text("SIGHTLINE_S3__SECRET_KEY=hunter2\n")
    monkeypatch.setenv("SIGHTLINE_LOG__LEVEL", "error")

    rows = json.loads(cli("config", "show", "--json").out)
    changed = cli("config", "show", "--changed")

    by_path = {row["path"]: (row["value"], row["origin"]) for row in rows}
    assert by_path["device"] == ("cpu", "sightline.yaml:1")
    assert by_path["camera.url"] == ("rtsp://***@camera/1", "sightline.yaml:3")
    assert by_path["s3.secret_key"] == ("***", ".env:1")
    assert by_path["log.level"] == ("error", "environment SIGHTLINE_LOG__LEVEL")
    assert by_path["models.queue_rows"] == (256, "default")
    assert len(changed.out.splitlines()) == 5
    assert "hunter2" not in changed.out
    assert len({line.rindex("  ") for line in changed.out.splitlines() if "sightline.yaml" in line}) == 1


def test_settings_and_cases_are_checked(cli: Cli, tmp_path: Path) -> None:
    fine = cli("config", "check")
    assert fine.code == 0
    assert fine.out == "no settings file: 1 setting differs from the defaults; problems: none\n"

    write_case(tmp_path, "wrong", "source: {use: synthetic, fsp: 3}\n")
    wrong = cli("config", "check")
    as_json = cli("config", "check", "--json")

    assert wrong.code == as_json.code == 4
    assert "broken: case wrong: cases/wrong/case.yaml:1: 'synthetic' has no field 'fsp'" in wrong.err
    assert [problem["what"] for problem in json.loads(as_json.out)["problems"]] == ["case wrong"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("absent.json", "absent.json cannot be read"),
        ("empty.json", "no key set"),
        ("http://elsewhere.example/keys", "neither a file nor an https address"),
    ],
)
def test_public_keys_that_cannot_be_used_are_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, said: str
) -> None:
    (tmp_path / "empty.json").write_text("{}")
    monkeypatch.setenv("SIGHTLINE_AUTH__JWKS", place)

    wrong = cli("config", "check")

    assert wrong.code == 4
    assert said in wrong.err
    assert "setting auth.jwks" in wrong.err


def test_another_settings_file_can_be_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("device: cpu\n")

    assert "other.yaml:1" in cli("--config", "other.yaml", "config", "show", "--changed").out
    missing = cli("--config", "none.yaml", "config", "show")
    assert missing.code == 4
    assert "no settings file none.yaml" in only_cause(missing)


def test_a_healthy_machine_is_called_so(tmp_path: Path) -> None:
    finished = sightline(tmp_path, "doctor")

    assert finished.code == 0, finished.out
    assert finished.out.endswith("all is well\n")
    for what in ("settings", "python", "disk", "artifacts", "database", "event bus", "devices", "model nanodet-m"):
        assert f"ok      {what} " in finished.out
    assert "\x1b" not in finished.out


def test_what_is_wrong_is_told_one_by_one(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "not-a-database").write_text("these are words, and no database at all" * 100)
    monkeypatch.setenv("SIGHTLINE_DATABASE__PATH", str(tmp_path / "not-a-database"))
    monkeypatch.setenv("SIGHTLINE_DEVICE", "cuda:77")
    write_case(tmp_path, "wrong", "source: {use: synthetic, fsp: 3}\n")

    finished = cli("doctor")
    results = json.loads(cli("doctor", "--json").out)

    assert finished.code == 1
    failed = {result["what"]: result for result in results if result["state"] == "failed"}
    assert {"database", "case wrong"} <= set(failed)
    assert "not-a-database" in failed["database"]["detail"]
    assert all(result["cure"] for result in failed.values())
    assert "ok      artifacts " in finished.out
    assert "cure: " in finished.out
    assert finished.out.endswith(f"{len(failed)} failed\n")
    assert "Traceback" not in finished.out + finished.err


def test_a_database_in_a_folder_that_cannot_be_made_is_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SIGHTLINE_DATABASE__PATH", str(tmp_path / "file" / "sightline.db"))

    doctor = cli("doctor")
    run = cli("run", "dummy_offline", "--duration", "0")

    assert doctor.code == 1
    assert "failed  database " in doctor.out
    assert run.code in (1, 4)
    assert "file" in only_cause(run)

"""The generated files are those of the code, and what they show works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sightline.settings import ALIASES, load_settings
from sightline.settings.aliases import SETTINGS
from sightline.settings.render import generated, kind

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", sorted(generated()))
def test_a_generated_file_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generated()[name], "run: python tools/generate_settings.py"


@pytest.mark.parametrize("path", SETTINGS)
def test_every_setting_is_described_and_shown_everywhere(path: str) -> None:
    setting = SETTINGS[path]
    assert (setting.field.description or "").endswith(".")
    assert setting.field.examples
    assert kind(setting)
    assert f"# {setting.env_name}=" in generated()[".env.example"]
    assert f"| `{path}` | `{setting.env_name}` |" in generated()["docs/reference/settings.md"]


def test_every_section_has_a_title() -> None:
    assert all(setting.section for path, setting in SETTINGS.items() if "." in path)


def test_the_page_names_every_older_name() -> None:
    assert all(f"| `{alias.name}` |" in generated()["docs/reference/settings.md"] for alias in ALIASES)


def test_the_examples_as_they_are_change_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(generated()[".env.example"])
    (tmp_path / "sightline.yaml").write_text(generated()["sightline.example.yaml"])
    assert {row.origin for row in load_settings(folder=tmp_path, environ={}).rows()} == {"default"}


def test_every_line_of_the_env_example_works_when_uncommented(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^# (SIGHTLINE_(?!CONFIG)\w+=)", r"\1", generated()[".env.example"])
    (tmp_path / ".env").write_text(text)
    assert all(row.origin.startswith(".env:") for row in load_settings(folder=tmp_path, environ={}).rows())


def test_every_line_of_the_yaml_example_works_when_uncommented(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^( *)# (\w+: \S+)$", r"\1\2", generated()["sightline.example.yaml"])
    (tmp_path / "sightline.yaml").write_text(text)
    assert all(row.origin.startswith("sightline.yaml:") for row in load_settings(folder=tmp_path, environ={}).rows())


def test_both_examples_mean_the_same(tmp_path: Path) -> None:
    env = re.sub(r"(?m)^# (SIGHTLINE_(?!CONFIG)\w+=)", r"\1", generated()[".env.example"])
    yaml = re.sub(r"(?m)^( *)# (\w+: \S+)$", r"\1\2", generated()["sightline.example.yaml"])
    (tmp_path / ".env").write_text(env)
    by_env = load_settings(folder=tmp_path, environ={}).settings
    (tmp_path / ".env").unlink()
    (tmp_path / "sightline.yaml").write_text(yaml)
    assert load_settings(folder=tmp_path, environ={}).settings == by_env

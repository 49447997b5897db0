"""Secrets of published examples are taken on one machine, and nowhere else."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.programs import sightline

from sightline.build.context import CaseBuildContext
from sightline.core.errors import ConfigError
from sightline.serve.auth.examples import EXAMPLE_SECRET, EXAMPLE_TOKEN
from sightline.serve.platform import Platform
from sightline.settings import load_settings

PUBLIC = "0.0.0.0"  # noqa: S104 - what is refused, or wanted
MINIO = {"s3.bucket": "scans", "s3.endpoint": "minio:9000", "s3.access_key": "minioadmin"}
SECRETS: list[tuple[str, dict[str, Any]]] = [
    ("auth.service_token", {"auth.service_token": EXAMPLE_TOKEN}),
    ("auth.service_token", {"auth.service_token": EXAMPLE_TOKEN, "auth.mode": "off"}),
    ("s3.secret_key", {**MINIO, "s3.secret_key": EXAMPLE_SECRET}),
]


def platform(folder: Path, **settings: Any) -> Platform:
    overrides = {name.replace("__", "."): value for name, value in settings.items()}
    loaded = load_settings(folder=folder, environ={"SIGHTLINE_DATA_ROOT": str(folder)}, overrides=overrides)
    return Platform(CaseBuildContext(loaded))


@pytest.mark.parametrize(("name", "settings"), SECRETS)
def test_a_secret_of_the_examples_ends_the_start_on_a_public_address(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=rf"{name}.*everybody knows") as refused:
        platform(tmp_path, server__host=PUBLIC, **settings)
    assert "--insecure" in refused.value.cure


@pytest.mark.parametrize(("name", "settings"), SECRETS)
def test_it_is_taken_on_loopback_and_where_the_operator_wants_it(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    for others in ({"server__host": "127.0.0.1"}, {"server__host": PUBLIC, "auth__insecure": True}):
        with closing(platform(tmp_path, **settings, **others)):
            assert name


def test_the_command_says_what_to_do_before_it_listens(tmp_path: Path) -> None:
    done = sightline(
        tmp_path,
        "serve",
        "--host",
        PUBLIC,
        "--port",
        "0",
        env={"ML_SERVICE_TOKEN": EXAMPLE_TOKEN},
    )
    assert done.code == 4
    assert "ML_SERVICE_TOKEN" in done.err
    assert "--insecure" in done.err
    assert EXAMPLE_TOKEN not in done.err

from __future__ import annotations

import pytest

from sightline.core.errors import (
    BrokenPlugin,
    Cancelled,
    CaseNotFound,
    ConfigError,
    FileMissing,
    InvalidMedia,
    ModelNotFound,
    SightlineError,
    SourceUnreachable,
    StorageFull,
    error_types,
)
from sightline.serve.errors import cure, exit_code, remote_cure


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (SightlineError, 1),
        (InvalidMedia, 1),
        (StorageFull, 1),
        (CaseNotFound, 3),
        (ModelNotFound, 3),
        (FileMissing, 3),
        (ConfigError, 4),
        (BrokenPlugin, 4),
        (SourceUnreachable, 5),
        (Cancelled, 130),
    ],
)
def test_each_branch_has_its_exit_code(kind: type[SightlineError], code: int) -> None:
    assert exit_code(kind("x")) == code


def test_every_error_has_a_code_and_a_cure_of_one_line() -> None:
    for kind in error_types():
        error = kind("x")
        assert exit_code(error) in (1, 3, 4, 5, 130)
        assert cure(error)
        assert "\n" not in cure(error)
        assert cure(kind("x", cure="Do it.")) == "Do it."


@pytest.mark.parametrize(
    ("told", "over_http"),
    [
        ("Add yours: sightline models add FILE.onnx", "Add yours: POST /api/v1/models"),
        ("sightline models add net.onnx --task TASK ...", "POST /api/v1/models"),
        ("It knows 80 classes: sightline models show nanodet-m", "It knows 80 classes: GET /api/v1/models/nanodet-m"),
        ("Name one: --source door=URL", "Name one: source: door=URL"),
        ("Run with --debug for the traceback.", "Report the request id."),
        ("Mend the file; sightline list --check shows all.", "Mend the file; GET /api/v1/cases shows all."),
        ("Did you mean 'door'?", "Did you mean 'door'?"),
    ],
)
def test_who_asks_by_http_is_told_no_command_line(told: str, over_http: str) -> None:
    assert remote_cure(SightlineError("x", cure=told)) == over_http


def test_no_branch_tells_a_remote_caller_of_the_command_line() -> None:
    for kind in error_types():
        told = remote_cure(kind("x"))
        assert told
        assert "--" not in told
        assert "sightline " not in told

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
from sightline.serve.errors import cure, exit_code


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

from __future__ import annotations

import re

import pytest

from sightline.core import errors
from sightline.core.errors import ConfigError, InvalidModel, SightlineError, error_types


def test_each_error_stands_in_the_drawn_tree_where_python_has_it() -> None:
    assert errors.__doc__
    drawn: list[tuple[int, str]] = [
        (len(indent) // 4, name)
        for indent, name in re.findall(r"^( *)([A-Z]\w+)(?:  .*)?$", errors.__doc__, re.MULTILINE)
        if hasattr(errors, name)
    ]
    depth = {kind.__name__: len(kind.__mro__) - len(SightlineError.__mro__) for kind in error_types()}
    assert drawn == [(depth[kind.__name__], kind.__name__) for kind in error_types()]


def test_codes_are_unique_and_never_change_by_accident() -> None:
    codes = [kind.code for kind in error_types()]
    assert len(set(codes)) == len(codes)
    assert codes == [
        "error",
        "config",
        "unknown_plugin",
        "missing_extra",
        "broken_plugin",
        "store_refused",
        "invalid_input",
        "invalid_media",
        "invalid_model",
        "out_of_sequence",
        "too_large",
        "head_too_large",
        "wrong_media_type",
        "upgrade_required",
        "wrong_range",
        "not_processed",
        "rejected",
        "not_found",
        "case_not_found",
        "model_not_found",
        "file_missing",
        "method_not_allowed",
        "conflict",
        "stale",
        "unseen",
        "overloaded",
        "rate_limited",
        "deadline_exceeded",
        "request_timeout",
        "cancelled",
        "job_failed",
        "unauthenticated",
        "forbidden",
        "unavailable",
        "source_unreachable",
        "storage_full",
    ]


def test_an_error_says_where_what_and_what_to_do() -> None:
    error = ConfigError("Key fps is unknown.", cure="Write max_fps.", location="case.yaml:3")
    assert str(error) == "case.yaml:3: Key fps is unknown."
    assert (error.message, error.cure, error.location) == ("Key fps is unknown.", "Write max_fps.", "case.yaml:3")
    assert str(ConfigError("Key fps is unknown.")) == "Key fps is unknown."


def test_a_door_that_catches_a_branch_catches_its_leaves() -> None:
    with pytest.raises(errors.InvalidInput):
        raise InvalidModel("It is cut off.")

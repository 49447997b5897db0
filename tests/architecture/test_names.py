"""Words that say nothing are in no name of a module, a class or a function."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from tests.architecture.checkout import PACKAGE, parsed, python_files, shown

EMPTY_WORDS = {"manager", "handler", "service", "helper", "util", "base", "common"}
ARGUED = {
    "StreamHandler": "compat: the name that users of older systems import",
    "get_route_handler": "FastAPI: the method that a route overrides",
    "timeout_keep_alive_handler": "uvicorn: the method that its protocol calls",
    "_take_service_token": "the setting auth.service_token, which older systems call ML_SERVICE_TOKEN",
    "from_base64": "the name of the encoding",
    "ModelService": "gRPC: the name of the service on the wire",
}


def words(name: str) -> set[str]:
    """Return the words of a snake_case or CamelCase name, in lower case and in the singular."""
    found = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return {word.lower() for word in found} | {word.lower().removesuffix("s") for word in found}


def names() -> Iterator[tuple[str, str]]:
    """Yield each name of ours with its place."""
    for path in python_files("src"):
        for part in path.relative_to(PACKAGE).with_suffix("").parts:
            yield part, shown(path)
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, f"{shown(path)}:{node.lineno}"


def test_no_name_says_nothing() -> None:
    wrong = sorted({f"{place}: {name}" for name, place in names() if name not in ARGUED and words(name) & EMPTY_WORDS})
    assert not wrong


@pytest.mark.parametrize("name", ["RunManager", "HTTPHandler", "io_utils", "BaseSource", "common", "helpers"])
def test_such_names_are_seen(name: str) -> None:
    assert words(name) & EMPTY_WORDS


@pytest.mark.parametrize("name", ["database", "Database", "baseball", "DatabaseSink", "serve"])
def test_other_names_are_left_alone(name: str) -> None:
    assert not words(name) & EMPTY_WORDS

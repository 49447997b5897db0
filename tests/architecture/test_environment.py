"""Only the settings read the environment, so that `config show` can tell where each value comes from."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tests.architecture.checkout import PACKAGE, parsed, python_files, shown

READERS = ("settings/", "client/clients.py", "train/strategy.py", "__init__.py")
"""Settings; `Client.from_env`; torchrun's variables; the package, which says no for a library that reports home."""

WORDS = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}


def reads_environment(tree: ast.Module) -> list[int]:
    """Return the lines that use a name by which `os` gives the environment, however it was imported."""
    return sorted(
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in WORDS and ast.unparse(node.value) in {"os", "posix"})
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and WORDS & {alias.name for alias in node.names})
    )


def is_reader(path: Path) -> bool:
    return path.relative_to(PACKAGE).as_posix().startswith(READERS)


def test_only_the_settings_read_the_environment() -> None:
    files = python_files("src")
    wrong = [
        f"{shown(path)}:{line}" for path in files if not is_reader(path) for line in reads_environment(parsed(path))
    ]
    assert not wrong
    assert any(reads_environment(parsed(path)) for path in files if is_reader(path)), "this test sees nothing"


@pytest.mark.parametrize(
    "code", ["import os\nos.environ['A']", "import os\nos.getenv('A')", "from os import environ as e\ne['A']"]
)
def test_every_way_to_read_it_is_seen(code: str) -> None:
    assert reads_environment(ast.parse(code))

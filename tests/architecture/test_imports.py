"""Imports go one way; what the contracts of pyproject.toml cannot say is read from the syntax trees."""

from __future__ import annotations

import subprocess
import sys

from tests.architecture.checkout import PACKAGE, ROOT, imports, python_files, shown

import sightline

NAMES_ADAPTERS = {
    "build": "the composition root",
    "adapters": "themselves",
    "testing": "the fakes are the shipped adapters, in memory; it stands on top of everything",
}


def test_the_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert " 0 broken" in answer.stdout


def test_only_build_names_adapters() -> None:
    wrong = [
        f"{shown(path)}:{line}: {module}"
        for path in python_files("src")
        if path.relative_to(PACKAGE).parts[0] not in NAMES_ADAPTERS
        for line, module, _ in imports(path)
        if module.startswith("sightline.adapters")
    ]
    assert not wrong


def test_cases_import_public_names_core_and_numpy() -> None:
    def allowed(module: str, name: str) -> bool:
        top = module.partition(".")[0]
        if module == "sightline":
            return name in sightline.__all__
        return top in sys.stdlib_module_names or top == "numpy" or module.startswith("sightline.core.")

    files = python_files("src/sightline/cases")
    assert files, "no case has Python of its own: this test sees nothing"
    wrong = [
        f"{shown(path)}:{line}: {module} {name}"
        for path in files
        for line, module, name in imports(path)
        if not allowed(module, name)
    ]
    assert not wrong


def test_nothing_is_mocked() -> None:
    wrong = [
        f"{shown(path)}:{line}: {module}"
        for path in python_files()
        for line, module, name in imports(path)
        if module.split(".")[0] == "mock" or f"{module}.{name}".startswith("unittest.mock")
    ]
    assert not wrong

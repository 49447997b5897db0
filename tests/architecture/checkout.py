"""The files of this checkout, as the architecture tests read them."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "sightline"
CODE = ("src", "tests", "tools", "benchmarks", "examples")
"""Folders that hold Python of ours."""


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return every file that git tracks or would track; in a copy without git, every file of the known places."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        found = [ROOT / name for name in listing.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        folders = [ROOT / name for name in (*CODE, "docs", ".ci", ".github", "ui", "deploy")]
        found = [*ROOT.iterdir(), *(path for folder in folders for path in folder.rglob("*"))]
    return tuple(sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts))


def python_files(*folders: str) -> list[Path]:
    """Return the Python files below these folders of the checkout, by default all of ours."""
    roots = [ROOT / folder for folder in folders or CODE]
    return [path for path in tracked_files() if path.suffix == ".py" and any(root in path.parents for root in roots)]


def shown(path: Path) -> str:
    """Return the path as an error message names it."""
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, module and name of every import, also of those inside functions; an empty name: the module itself."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, "." * node.level + (node.module or ""), alias.name

"""`python cli.py ...` is `sightline ...`.

It also works in a checkout of which only the requirements are installed (`pip install -r requirements.txt`): the
plug-ins are then found in pyproject.toml, where an install would find them.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent


class Checkout(Distribution):
    """This folder, as `importlib.metadata` would show it after `pip install -e .`."""

    def __init__(self) -> None:
        self._project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    def read_text(self, filename: str) -> str | None:
        """Return one of the two files of an installed package that anybody reads."""
        if filename == "METADATA":
            return f"Metadata-Version: 2.4\nName: {self._project['name']}\nVersion: {self._project['version']}\n"
        if filename == "entry_points.txt":
            groups = {"console_scripts": self._project["scripts"], **self._project["entry-points"]}
            sections = (["", f"[{group}]", *map(" = ".join, points.items())] for group, points in groups.items())
            return "\n".join(line for section in sections for line in section)
        return None

    def locate_file(self, path: Any) -> Any:
        """Return where a file of the package is."""
        return ROOT / path

    def find_distributions(self, context: Any) -> Iterator[Distribution]:
        """Yield this distribution, when it is asked for; what `importlib.metadata` calls on `sys.meta_path`."""
        if context.name in (None, self._project["name"]):
            yield self

    def find_spec(self, *_: Any) -> None:
        """Find no module: those come from the path."""


try:
    distribution("sightline")
except PackageNotFoundError:
    sys.path.insert(0, str(ROOT / "src"))
    sys.meta_path.append(Checkout())

if __name__ == "__main__":
    from sightline.serve.cli import main

    main()

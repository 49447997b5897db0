"""Runs the command line as a user does: in a process of its own, in a folder of its own, with data of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finished:
    """A program that has ended."""

    code: int
    out: str
    err: str

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment whose data is below `folder`, without settings of the user who runs the tests."""
    ours = ("SIGHTLINE_", "MMLA_", "APP_", "MINIO_", "ML_", "MODEL_", "BACKEND_", "BLUEPRINT_")
    plain = ("PYTHONUNBUFFERED",)  # a user's output is buffered
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours) and name not in plain}
    return {**kept, "SIGHTLINE_DATA_ROOT": str(folder / "data"), "NO_COLOR": "1", **(extra or {})}


def command(*arguments: str | Path) -> list[str]:
    """Return the command line of `sightline` with the Python that runs the tests."""
    return [sys.executable, "-m", "sightline", *(str(argument) for argument in arguments)]


def sightline(
    folder: Path, *arguments: str | Path, env: Mapping[str, str] | None = None, timeout: float = 100
) -> Finished:
    """Run `sightline` in `folder` to its end."""
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(folder, env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def outputs(folder: Path, case: str) -> Path:
    """Return the folder that the newest run of a case in `folder` has filled."""
    return max((folder / "runs" / case).iterdir(), key=lambda path: path.stat().st_mtime)

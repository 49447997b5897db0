"""What the stores take of the disk: walked now and then, for a store may hold a million files."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from threading import Event as Flag
from threading import Lock, Thread
from typing import Any

from sightline.settings import AppSettings

_FRESH_S = 30.0
_LONGEST_S = 5.0  # of one walk; what was found until then is told, and that it is not all


class DiskUse:
    """Knows how large the stores are, as of a moment ago; nobody waits for a walk but the first who asks, for a moment.

    Args:
        settings: where they are.
    """

    def __init__(self, settings: AppSettings) -> None:
        self._places = _places(settings)
        self._told: list[dict[str, Any]] = []
        self._walked_s = float("-inf")
        self._is_walking = False
        self._done = Flag()
        self._closed = Flag()
        self._lock = Lock()

    def read(self) -> list[dict[str, Any]]:
        """Return `name kind place bytes files is_whole free_bytes` of each store; null for what is not on this disk."""
        with self._lock:
            if not self._is_walking and time.monotonic() - self._walked_s > _FRESH_S:
                self._is_walking = True
                Thread(target=self._walk, name="disk-use", daemon=True).start()
        self._done.wait(0.5)
        return self._told

    def close(self) -> None:
        """Walk no further."""
        self._closed.set()

    def _walk(self) -> None:
        try:
            self._told = [self._measured(*place) for place in self._places]
        finally:
            self._walked_s = time.monotonic()
            self._is_walking = False
            self._done.set()

    def _measured(self, name: str, kind: str, shown: str, path: Path | None) -> dict[str, Any]:
        facts: dict[str, Any] = {"name": name, "kind": kind, "place": shown}
        if path is None:
            return {**facts, "bytes": None, "files": None, "is_whole": False, "free_bytes": None}
        size = files = 0
        end_s, is_whole = time.monotonic() + _LONGEST_S, True
        for each in _files(path):
            with suppress(OSError):
                size, files = size + each.stat().st_size, files + 1
            if self._closed.is_set() or time.monotonic() > end_s:
                is_whole = False
                break
        return {**facts, "bytes": size, "files": files, "is_whole": is_whole, "free_bytes": free_bytes(path)}


def free_bytes(path: Path) -> int | None:
    """Return the room on the disk on which a path lies or will; None where nobody knows."""
    for folder in (path, *path.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(folder).free
    return None


def _places(settings: AppSettings) -> list[tuple[str, str, str, Path | None]]:
    s3, database = settings.s3, settings.database
    stored = ("S3", s3.bucket, None) if s3.bucket else ("folder", str(settings.artifacts_root), settings.artifacts_root)
    kept = ("server", "", None) if database.url else ("SQLite", str(database.path), database.path)
    return [
        ("artifacts", *stored),
        ("database", *kept),
        ("runs", "folder", str(settings.runs_root), settings.runs_root),
        ("models", "folder", str(settings.models_root), settings.models_root),
    ]


def _files(path: Path) -> Any:
    """Yield the files below a folder; of a database the ones beside it too."""
    if path.is_file() or path.suffix == ".db":
        yield from path.parent.glob(f"{path.name}*")
        return
    waiting = [path]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            else:
                yield Path(entry.path)

"""A file of JSON lines that holds whole lines only, whatever becomes of the process or the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from sightline.core.codec import to_json
from sightline.core.errors import ConfigError, SightlineError, StorageFull, Unavailable

_FULL_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TAIL_BYTES = 1 << 16


class LineFile:
    """Appends rows, a line each; what a full disk or a killed process left of a line is cut away.

    Args:
        path: the file; it and its folder are made where they are not there.

    Raises:
        ConfigError: it cannot be written.
        StorageFull: there is no room.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._descriptor = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
            _cut_unfinished_line(self._descriptor)
        except OSError as error:
            self.close()
            if error.errno in _FULL_ERRNO:
                raise self._failed(error) from None
            raise ConfigError(
                f"{path} cannot be written: {error.strerror}.", cure="Choose another path, or its permissions."
            ) from None

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows, all or none; they are in the hands of the system when this returns.

        Raises:
            StorageFull: there is no room.
            Unavailable: the disk fails.
        """
        left = memoryview(b"".join(to_json(row) + b"\n" for row in rows))
        with self._lock:
            size = os.fstat(self._descriptor).st_size
            try:
                while left:
                    left = left[os.write(self._descriptor, left) :]
            except OSError as error:
                os.ftruncate(self._descriptor, size)
                raise self._failed(error) from None

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _failed(self, error: OSError) -> SightlineError:
        if error.errno in _FULL_ERRNO:
            return StorageFull(
                f"There is no room for more lines in {self.path}.",
                cure="Free some space, or give the sink a path on another disk.",
            )
        return Unavailable(f"{self.path} cannot be written: {error.strerror}.", cure="Check the disk.")


def _cut_unfinished_line(descriptor: int) -> None:
    """Cut away what stands behind the last line end."""
    size = end = os.fstat(descriptor).st_size
    while end:
        begin = max(0, end - _TAIL_BYTES)
        os.lseek(descriptor, begin, os.SEEK_SET)
        found = os.read(descriptor, end - begin).rfind(b"\n")
        if found >= 0:
            end = begin + found + 1
            break
        end = begin
    if end < size:
        os.ftruncate(descriptor, end)

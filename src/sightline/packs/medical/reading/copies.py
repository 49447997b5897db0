"""What was sent, as files on this machine, for a process that gets paths and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sightline.core.errors import TooLarge

MOST_FILES = 20_000
MOST_BYTES = 16 << 30
_CHUNK = 1 << 20


def copied(files: Iterator[tuple[str, BinaryIO]], folder: Path) -> list[list[str]]:
    """Copy files into a folder under names of our own; return the name and path of each.

    Raises:
        TooLarge: they are too many, or too long.
    """
    copied: list[list[str]] = []
    left = MOST_BYTES
    for name, file in files:
        if len(copied) == MOST_FILES:
            raise TooLarge(f"There are more than {MOST_FILES} files.", cure="Send one study at a time.")
        path = folder / f"{len(copied):05}"
        with path.open("wb") as out:
            shutil.copyfileobj(file, out, _CHUNK)
            left -= out.tell()
        if left < 0:
            raise TooLarge(f"It is longer than {MOST_BYTES >> 30} GB.", cure="Send one series at a time.")
        copied.append([name, str(path)])
    return copied

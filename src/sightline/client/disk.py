"""Wishes that concern files of this machine, met in the thread that calls."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sightline.client.steps import Append, Local, Look, Read, Rename
from sightline.core.errors import FileMissing, InvalidInput, SightlineError

_PIECE = 1 << 20


def on_disk(wish: Read | Look | Append | Rename) -> Any:
    """Do what is wanted.

    Raises:
        SightlineError: a file is not there, or cannot be read or written.
    """
    try:
        match wish:
            case Read(path):
                return path.read_bytes()
            case Look(path):
                return _seen(path)
            case Append(path, data, anew):
                with path.open("wb" if anew else "ab") as file:
                    file.write(data)
            case Rename(path, to):
                path.replace(to)
    except OSError as error:
        raise of_file(error, wish.path) from None
    return None


def of_file(error: OSError, path: Path) -> SightlineError:
    """Return our error for one of a file."""
    if isinstance(error, FileNotFoundError):
        return FileMissing(f"There is no file {str(path)!r}.")
    return InvalidInput(f"{str(path)!r} cannot be read or written: {error.strerror or error}.")


def _seen(path: Path) -> Local:
    """Return the files at a path, with one digest of all: the same as `sightline submit` makes."""
    path = path.expanduser()
    is_folder = path.is_dir()
    found = sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith("."))
    if is_folder and not found:
        raise InvalidInput(f"The folder {str(path)!r} holds no file.")
    files = found if is_folder else [path]
    digest = hashlib.sha256()
    named: list[tuple[str, Path, int]] = []
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE):
                digest.update(piece)
        parts = file.relative_to(path).parts if is_folder else (file.resolve().name,)
        named.append(("/".join(map(_part, parts)), file, size))
    return Local(digest.hexdigest(), tuple(named), is_folder)


def _part(name: str) -> str:
    """Return a part of a key."""
    return name.strip().lstrip(".").replace("\\", "_") or "file"

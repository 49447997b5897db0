"""Manifests on the disk: read as they are, written whole or not at all, copied where the original is not ours.

A case that ships with Sightline is never written: a change of it is kept as a copy of its folder in the user's own
cases, which go before the shipped ones.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from stat import S_IMODE
from typing import Literal
from uuid import uuid4

from sightline.build.folders import SHIPPED, CasePlace, list_cases
from sightline.core.errors import ConfigError, Conflict, InvalidInput, NotFound, StorageFull, Unavailable
from sightline.settings import LoadedSettings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RESERVED = frozenset(
    {
        "check",
        "schema",
        "con",
        "prn",
        "aux",
        "nul",
        *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)),
    }
)
_FULL = frozenset({"ENOSPC", "EDQUOT", "EFBIG"})

Writable = Literal["yes", "copy", "no"]


@dataclass(frozen=True, kw_only=True)
class ManifestFile:
    """A manifest as it lies on the disk.

    Attributes:
        data: its bytes.
        digest: of the bytes; another text has another one.
        writable: `yes`; `copy`: a change is kept as a copy in the user's cases; `no`: it cannot be written.
    """

    path: Path
    data: bytes
    digest: str
    writable: Writable


def read_manifest(place: CasePlace) -> ManifestFile:
    """Return the manifest of a case.

    Raises:
        NotFound: the case is Python alone.
        ConfigError: it cannot be read.
    """
    if place.manifest is None:
        raise NotFound(f"The case {place.name!r} has no manifest: it is Python alone.", cure="Edit its blueprint.")
    try:
        data = place.manifest.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The manifest cannot be read: {error.strerror}.",
            cure="Check its permissions.",
            location=str(place.manifest),
        ) from None
    return ManifestFile(
        path=place.manifest, data=data, digest=sha256(data).hexdigest()[:32], writable=_writable(place, place.manifest)
    )


def write_manifest(place: CasePlace, data: bytes, loaded: LoadedSettings) -> CasePlace:
    """Write the manifest of a case, atomically and with the mode that it had; return where the case is now.

    Raises:
        NotFound: the case is Python alone.
        Conflict: it may not be written, or a folder of its name is in the way of the copy.
        StorageFull: there is no room.
        Unavailable: the disk refuses.
    """
    if place.manifest is None or place.folder is None:
        raise NotFound(f"The case {place.name!r} has no manifest: it is Python alone.", cure="Edit its blueprint.")
    writable = _writable(place, place.manifest)
    if writable == "no":
        raise Conflict(
            f"{place.manifest} may not be written by this process.", cure="Give it the permission, or edit the file."
        )
    if writable == "yes":
        _on_disk(lambda: _replaced(place.manifest, data))
        return place
    source = place.folder
    return _made(place.name, loaded, lambda folder: _copied(source, folder), data)


def create_case(name: str, data: bytes, loaded: LoadedSettings) -> CasePlace:
    """Make the folder of a new case with this manifest.

    Raises:
        InvalidInput: the name cannot be that of a folder.
        Conflict: there is a case or a folder of this name.
        StorageFull: there is no room.
        Unavailable: the disk refuses.
    """
    checked_case_name(name)
    if known := next((place for place in list_cases(loaded) if place.name == name), None):
        raise Conflict(f"There is a case {name!r}, {known.origin}.", cure="Change it, or take another name.")
    return _made(name, loaded, lambda folder: folder.mkdir(), data)


def checked_case_name(name: str) -> str:
    """Return `name`, which stands in paths and addresses.

    Raises:
        InvalidInput: it cannot be the name of a new case.
    """
    if not _NAME.fullmatch(name) or name.lower() in _RESERVED:
        raise InvalidInput(
            f"{name[:80]!r} cannot be the name of a case.", cure="Use up to 64 letters, digits, '_' and '-'."
        )
    return name


def own_cases(loaded: LoadedSettings) -> Path:
    """Return the folder of the user's cases, in which new ones are made: `cases_root`, else `./cases`."""
    return loaded.settings.cases_root or loaded.folder / "cases"


def _writable(place: CasePlace, manifest: Path) -> Writable:
    if place.folder is not None and place.folder.resolve().parent == SHIPPED.resolve():
        return "copy"
    path = manifest.resolve()
    return "yes" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "no"


def _made(name: str, loaded: LoadedSettings, fill: Callable[[Path], object], data: bytes) -> CasePlace:
    """Make the folder of a case beside its place, and move it there when it is whole."""
    root = own_cases(loaded)
    folder, part = root / name, root / f".{name}.{uuid4().hex}"
    manifest_name = loaded.settings.manifest_name

    def make() -> None:
        root.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            raise Conflict(f"{folder} is there, and no case.", cure="Take it away, or take another name.")
        try:
            fill(part)
            (part / manifest_name).write_bytes(data)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    _on_disk(make)
    origin = "cases_root" if loaded.settings.cases_root else "./cases"
    return CasePlace(name=name, origin=origin, folder=folder, manifest=folder / manifest_name)


def _copied(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for path in (folder, *folder.rglob("*")):  # an installed package may be read-only
        path.chmod(S_IMODE(path.stat().st_mode) | 0o200)


def _replaced(manifest: Path | None, data: bytes) -> None:
    """Write a file beside the manifest and move it there; a link goes on to point where it does."""
    assert manifest is not None  # noqa: S101 - the caller looked
    path = manifest.resolve()
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(S_IMODE(path.stat().st_mode))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _on_disk(change: Callable[[], None]) -> None:
    try:
        change()
    except OSError as error:
        full = errno.errorcode.get(error.errno or 0, "") in _FULL
        kind = StorageFull if full else Unavailable
        raise kind(
            f"The manifest was not written: {error.strerror or error}.",
            cure="Free some space." if full else "Check the permissions of the folder.",
        ) from None

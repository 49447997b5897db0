"""ZIP files of studies: looked at before they are unpacked, and counted while they are.

A ZIP that could do harm is refused as a whole; each way to do harm has its own sentence.
"""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from itertools import pairwise
from pathlib import Path, PurePosixPath
from struct import unpack

from sightline.core.errors import InvalidMedia, TooLarge

MOST_ENTRIES = 20_000
MOST_BYTES = 8 << 30
MOST_RATIO = 200  # of what is inflated to what is stored; slices of a scanner shrink to a third
_FREE_BYTES = 64 << 20  # below this no ratio is suspicious: an empty volume shrinks a thousandfold
_CHUNK = 1 << 20
_LOCAL_HEADER = 30
_ENCRYPTED = 1
_DRIVE = re.compile(r"^[A-Za-z]:")
_NESTED = {
    b"PK\x03\x04": "ZIP",
    b"PK\x05\x06": "ZIP",
    b"\x1f\x8b": "gzip",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "RAR",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
_IGNORED = ("__MACOSX", ".DS_Store", "Thumbs.db", "DICOMDIR")
_CURE = "Make the ZIP anew, of the files of one study and nothing else."


def is_zip(data: bytes) -> bool:
    """Return whether data begin as a ZIP does."""
    return data[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def unpacked(path: Path, into: Path, *, most_bytes: int = MOST_BYTES) -> list[tuple[str, Path]]:
    """Unpack a ZIP into a folder under names of our own; return the names in it, and where each file lies.

    Raises:
        InvalidMedia: it is damaged, or made to do harm.
        TooLarge: it has too many entries, or inflates to too much.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.filename or not entry.is_dir()]
            _check(archive, path, entries, most_bytes)
            left = most_bytes
            files = []
            for number, entry in enumerate(each for each in entries if not _is_ignored(each.filename)):
                file = into / f"{number:05}"
                left -= _extract(archive, entry, file, left)
                files.append((entry.filename, file))
            return files
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InvalidMedia(f"The ZIP is damaged: {error}.", cure=_CURE) from None


def _check(archive: zipfile.ZipFile, path: Path, entries: list[zipfile.ZipInfo], most_bytes: int) -> None:
    """Look at every entry before any is unpacked."""
    if len(entries) > MOST_ENTRIES:
        raise TooLarge(
            f"The ZIP has {len(entries)} entries; {MOST_ENTRIES} are taken.", cure="Send one study at a time."
        )
    seen: set[str] = set()
    for entry in entries:
        _check_entry(entry)
        name = str(PurePosixPath(entry.filename)).casefold()
        if name in seen:
            raise InvalidMedia(f"The ZIP has two entries called {entry.filename!r}.", cure=_CURE)
        seen.add(name)
    total = sum(entry.file_size for entry in entries)
    if total > most_bytes:
        raise TooLarge(
            f"The ZIP inflates to {total >> 20} MB; {most_bytes >> 20} are taken.", cure="Send one series at a time."
        )
    stored = sum(entry.compress_size for entry in entries)
    if total > _FREE_BYTES and total > MOST_RATIO * max(stored, 1):
        raise InvalidMedia(
            f"The ZIP inflates to {total // max(stored, 1)} times what it stores; {MOST_RATIO} times are taken.",
            cure=_CURE,
        )
    _check_places(archive, path, entries)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename
    if "\0" in name or "\\" in name or name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/"):
        raise InvalidMedia(f"The ZIP has an entry that leads out of it: {name[:100]!r}.", cure=_CURE)
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        kind = "a link" if stat.S_ISLNK(mode) else "no file"
        raise InvalidMedia(f"An entry of the ZIP is {kind}: {name[:100]!r}.", cure=_CURE)
    if not name or entry.header_offset < 0:
        raise InvalidMedia("The ZIP is damaged: an entry has no name, or no place.", cure=_CURE)
    if entry.flag_bits & _ENCRYPTED:
        raise InvalidMedia(f"The ZIP is encrypted: {name[:100]!r}.", cure="Send it without a password.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InvalidMedia(
            f"The ZIP is compressed in a way that is not taken: {name[:100]!r}.", cure="Use stored or deflated entries."
        )


def _check_places(archive: zipfile.ZipFile, path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse entries that share bytes: a few of them, quoted many times, make the densest bombs."""
    end = archive.start_dir
    spans = []
    with path.open("rb") as file:
        for entry in entries:
            file.seek(entry.header_offset)
            head = file.read(_LOCAL_HEADER)
            if len(head) < _LOCAL_HEADER or head[:4] != b"PK\x03\x04":
                raise InvalidMedia(f"The ZIP is damaged: {entry.filename!r} is not where it should be.", cure=_CURE)
            name_length, extra_length = unpack("<2H", head[26:30])
            begin = entry.header_offset + _LOCAL_HEADER + name_length + extra_length
            spans.append((entry.header_offset, begin + entry.compress_size, entry.filename))
    for before, after in pairwise([*sorted(spans), (end, end, "the directory")]):
        if before[1] > after[0]:
            raise InvalidMedia(f"Entries of the ZIP overlap: {before[2]!r} and {after[2]!r}.", cure=_CURE)


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, into: Path, most_bytes: int) -> int:
    """Unpack one entry; return how many bytes it had."""
    num = 0
    with archive.open(entry) as file, into.open("wb") as out:
        while data := file.read(_CHUNK):
            if not num and (kind := _nested(data)):
                raise InvalidMedia(f"The ZIP holds another archive ({kind}): {entry.filename!r}.", cure=_CURE)
            num += len(data)
            if num > min(entry.file_size, most_bytes):
                raise InvalidMedia(f"An entry of the ZIP is longer than it says: {entry.filename!r}.", cure=_CURE)
            out.write(data)
    return num


def _nested(data: bytes) -> str:
    found = next((kind for begin, kind in _NESTED.items() if data.startswith(begin)), "")
    return found or ("tar" if data[257:262] == b"ustar" else "")


def _is_ignored(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == _IGNORED[0] or parts[-1] in _IGNORED[1:]

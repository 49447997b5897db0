"""Damaged studies for `benchmarks.fuzz`: real files and phantoms, changed by chance; one number is always one study."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import nibabel
import pydicom
from tests.packs.medical.phantoms import SYNTAXES, enhanced, files, nifti, phantom, series, written, zipped

Study = Mapping[str, bytes]
"""Name -> content: one file, or those of a folder."""

_LARGEST = 64 << 10  # of a file that is taken as it is: what is wrong with a header needs no large one
_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_REALS = (0.0, -1.0, 1e-45, 1e38, 3e38, float("nan"), float("inf"), -float("inf"))
_TEXTS = (
    b"nan",
    b"inf",
    b"-1e308",
    b"1e-320",
    b"0",
    b"\\\\",
    b"-0.0",
    b"1e4000",
    b"\0",
    b" ",
    b"1\\0\\0\\0\\0\\0",
    b"x",
)
_TAGS = (
    0x00020000, 0x00020010, 0x00080005, 0x00080016, 0x00080018, 0x00080060, 0x00180050, 0x00180088, 0x0020000E,
    0x00200011, 0x00200013, 0x00200032, 0x00200037, 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011,
    0x00280030, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00281052, 0x00281053, 0x52009229, 0x52009230,
    0x7FE00010, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD,
)  # fmt: skip
_UIDS = (*(uid.encode() for uid in SYNTAXES.values()), b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99", b"1.2")
_NIFTI = ((0, "i"), (40, "8h"), (70, "h"), (72, "h"), (76, "8f"), (108, "3f"), (123, "b"), (252, "2h"), (256, "18f"))
_NIFTI_2 = ((0, "i"), (12, "2h"), (16, "8q"), (104, "8d"), (168, "q"), (176, "2d"), (344, "2i"), (352, "18d"))
_GZIP, _ZIP, _DICOM = b"\x1f\x8b", b"PK\3\4", b"DICM"


@cache
def seeds() -> dict[str, list[Study]]:
    """Return what is damaged, by kind: each is a study that is read, or refused, as it should be."""
    body = phantom()
    second: bytes = nibabel.Nifti2Image(body.voxels_IJK, body.affine).to_bytes()  # type: ignore[no-untyped-call]
    folders = {syntax: files(series(body, syntax=syntax)) for syntax in SYNTAXES}
    real = [path for path in _real_files() if path.stat().st_size <= _LARGEST]
    return {
        "NIfTI": [{"a.nii": nifti(body)}, {"a.nii": second}, {"a.nii.gz": nifti(body, compressed=True)}],
        "DICOM series": list(folders.values()),
        "DICOM multi-frame": [{"a.dcm": written(enhanced(body, syntax=syntax))} for syntax in SYNTAXES],
        "ZIP": [{"a.zip": zipped(folder)} for folder in folders.values()],
        "pydicom's test files": [{path.name: path.read_bytes()} for path in real],
    }


def study(seed: int, number: int, kind: str = "") -> tuple[str, Study]:
    """Return the study of a number: what it was made of, and its files."""
    chance = random.Random(f"{seed}:{number}")  # noqa: S311 - it must come again
    kind = kind or chance.choice(list(seeds()))
    files = dict(chance.choice(seeds()[kind]))
    if len(files) > 1 and chance.random() < 0.3:
        files = _shuffled(files, chance)
    for name in chance.sample(sorted(files), min(len(files), chance.choice((1, 1, 2, 4)))):
        files[name] = damaged(files[name], chance)
    if len(files) > 1 and chance.random() < 0.15:
        return kind, {"a.zip": damaged(zipped(files), chance) if chance.random() < 0.5 else zipped(files)}
    return kind, files


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return data with one to five changes, some of them where it hurts."""
    if data[:2] == _GZIP and chance.random() < 0.7:  # the header lies behind the compression
        return gzip.compress(damaged(gzip.decompress(data), chance), 1, mtime=0)
    if data[:4] == _ZIP and chance.random() < 0.4:
        return _zip_of_damaged(data, chance)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
        if changed:
            chance.choice(_CHANGES if chance.random() < 0.5 else (_field,))(changed, chance)
    return bytes(changed)


def _shuffled(files: Study, chance: random.Random) -> dict[str, bytes]:
    """Return a folder in which files are missing, there twice, or not of it."""
    changed = dict(files)
    name = chance.choice(sorted(changed))
    action = chance.choice(("missing", "twice", "foreign"))
    if action == "missing":
        del changed[name]
    elif action == "twice":
        changed["again.dcm"] = changed[name]
    else:
        other = chance.choice(seeds()[chance.choice(list(seeds()))])
        changed["foreign"] = next(iter(other.values()))
    return changed


def _field(data: bytearray, chance: random.Random) -> None:
    """Change a field of a header of the format that the data have."""
    if data[:4] == _ZIP:
        _zip_field(data, chance)
    elif data[344:348] == b"n+1\0":
        _struct_field(data, chance, _NIFTI)
    elif data[4:8] == b"n+2\0":
        _struct_field(data, chance, _NIFTI_2)
    else:
        _element(data, chance)


def _struct_field(data: bytearray, chance: random.Random, layout: tuple[tuple[int, str], ...]) -> None:
    offset, form = chance.choice(layout)
    step, kind = struct.calcsize(form[-1]), form[-1]
    at = offset + step * chance.randrange(int(form[:-1] or 1))
    if kind in "fd":
        value: float = chance.choice((*_REALS, chance.uniform(-1000, 1000)))
        data[at : at + step] = struct.pack("<" + kind, value)
    else:
        value = chance.choice((*_EXTREMES, chance.randrange(70)))
        data[at : at + step] = (value & ((1 << 8 * step) - 1)).to_bytes(step, "little")


def _element(data: bytearray, chance: random.Random) -> None:
    """Change type, length or value of a DICOM element."""
    tag = chance.choice(_TAGS)
    at = data.find(struct.pack("<HH", tag >> 16, tag & 0xFFFF))
    if at < 0 or at + 16 > len(data):
        return
    value, what = at + 8, chance.random()
    if what < 0.2:
        data[at + 4 : at + 6] = chance.choice((b"OB", b"SQ", b"UN", b"US", b"\0\0", b"DS", b"OW"))
    elif what < 0.4:
        width = chance.choice((2, 4))
        place = at + chance.choice((4, 6, 8))
        data[place : place + width] = (chance.choice(_EXTREMES) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    elif what < 0.7:
        text = chance.choice(_UIDS if tag == 0x00020010 else _TEXTS)
        length = int.from_bytes(data[at + 6 : at + 8], "little")
        data[value : value + min(length, 128)] = text.ljust(length)[: min(length, 128)]
    else:
        data[value : value + 2] = (chance.choice(_EXTREMES) & 0xFFFF).to_bytes(2, "little")


def _zip_field(data: bytearray, chance: random.Random) -> None:
    """Change a field of a local header, of the directory, or of its end."""
    mark = chance.choice((b"PK\3\4", b"PK\1\2", b"PK\1\2", b"PK\5\6"))
    places = [at for at in range(len(data) - 30) if data[at : at + 4] == mark]
    if not places:
        return
    width = chance.choice((2, 4))
    place = chance.choice(places) + chance.randrange(4, 46)
    data[place : place + width] = (chance.choice(_EXTREMES) & ((1 << 8 * width) - 1)).to_bytes(width, "little")


def _zip_of_damaged(data: bytes, chance: random.Random) -> bytes:
    """Return a ZIP that is well, of files that are not, some of them under odd names."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(sorted(files))
    files[name] = damaged(files[name], chance)
    if chance.random() < 0.3:
        odd = chance.choice(("../a", "/a", "a\\b", "C:a", "DICOMDIR", "b/", "\u202e", "a" * 300, name.upper()))
        files[odd] = files.pop(name)
    return zipped(files)


def _flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random) -> None:
    at, width = chance.randrange(len(data)), chance.choice((1, 2, 4, 8))
    data[at : at + width] = chance.choice(((0).to_bytes(width, "little"), b"\xff" * width, chance.randbytes(width)))


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _remove(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 2, 16, 1000))]


def _repeat(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.choice((1, 8, 512))] * chance.choice((1, 2, 50))


def _head(data: bytearray, chance: random.Random) -> None:
    """Change a byte where headers are."""
    data[chance.randrange(min(len(data), 1024))] = chance.choice(_EXTREMES) & 0xFF


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip, _overwrite, _overwrite, _cut, _remove, _repeat, _head,
)  # fmt: skip


def _real_files() -> list[Path]:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in ("", ".dcm"))

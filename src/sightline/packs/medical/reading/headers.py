"""The header of a DICOM file: the elements that count, by name, as what they should be."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import error

from sightline.packs.medical.reading.elements import Encoding, PixelElement, Short, Walker, encoding_of
from sightline.packs.medical.reading.slices import Unfit

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
_HEAD = 64 << 10
_MOST_HEADER = 128 << 20  # of an enhanced file with many frames: its functional groups
_MOST_INFLATED = 1 << 30
_TAGS: Mapping[str, int] = {
    "charset": 0x00080005,
    "image_type": 0x00080008,
    "sop_class": 0x00080016,
    "sop_uid": 0x00080018,
    "modality": 0x00080060,
    "description": 0x0008103E,
    "thickness": 0x00180050,
    "between": 0x00180088,
    "echo": 0x00180086,
    "at_detector": 0x00181164,
    "series_uid": 0x0020000E,
    "series_number": 0x00200011,
    "acquisition": 0x00200012,
    "instance": 0x00200013,
    "position": 0x00200032,
    "orientation": 0x00200037,
    "temporal": 0x00200100,
    "samples": 0x00280002,
    "photometric": 0x00280004,
    "num_frames": 0x00280008,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "spacing": 0x00280030,
    "allocated": 0x00280100,
    "stored": 0x00280101,
    "high": 0x00280102,
    "signed": 0x00280103,
    "intercept": 0x00281052,
    "slope": 0x00281053,
    "lookup": 0x00283000,
    "offsets": 0x3004000C,
    "scaling": 0x3004000E,
}
_WANTED = frozenset(_TAGS.values())
_CHARSETS = {
    b"ISO_IR 100": "latin-1",
    b"ISO_IR 101": "iso8859-2",
    b"ISO_IR 144": "iso8859-5",
    b"ISO_IR 192": "utf-8",
    b"GB18030": "gb18030",
}


class Fields:
    """The wanted elements of one header, read as what they should be."""

    def __init__(self, raw: Mapping[int, bytes], *, big: bool) -> None:
        self._raw = raw
        self._order = "big" if big else "little"

    def text(self, name: str) -> str:
        """Return a text without padding; empty where there is none."""
        raw = self._raw.get(_TAGS[name], b"").strip(b" \0")
        charset = _CHARSETS.get(self._raw.get(_TAGS["charset"], b"").split(b"\\")[-1].strip(), "utf-8")
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            return raw.decode("latin-1")

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """Return numbers that are written as text; None where there are none, or one that is not finite."""
        raw = self._raw.get(_TAGS[name], b"").strip(b" \0")
        try:
            found = tuple(float(part) for part in raw.split(b"\\")) if raw else ()
        except ValueError:
            return None
        return found if found and all(map(math.isfinite, found)) else None

    def number(self, name: str) -> float | None:
        """Return the first of `numbers`."""
        found = self.numbers(name)
        return found[0] if found else None

    def integer(self, name: str) -> int | None:
        """Return a binary integer of 16 bits."""
        raw = self._raw.get(_TAGS[name], b"")
        return int.from_bytes(raw[:2], self._order) if len(raw) >= 2 else None  # type: ignore[arg-type]

    def has(self, name: str) -> bool:
        """Return whether the element is there, and not empty."""
        return bool(self._raw.get(_TAGS[name], b"").strip(b" \0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header of one file.

    Attributes:
        path: of the file that holds the pixels; another one where the data set was stored deflated.
        name: as the file was sent.
        num_bytes: length of the file.
        syntax: UID of the transfer syntax, as the label says; that of plain elements where there is no label.
        element: where the pixels are; None: there are none.
        mislabelled: the elements are written in another way than the label says.
    """

    path: Path
    name: str
    num_bytes: int
    fields: Fields
    element: PixelElement | None
    syntax: str
    big: bool
    mislabelled: bool


def header_of(path: Path, name: str, work: Path) -> Header | Unfit:
    """Return the header of a file, or why there is none.

    Args:
        path: of the file.
        name: as it was sent.
        work: folder for a data set that is stored deflated.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(_HEAD)
        begin, syntax = _begin(data)
        if begin < 0:
            return Unfit(file=name, reason="no DICOM")
        if syntax == DEFLATED:
            inflated = _inflated(path, begin, work)
            if inflated is None:
                return Unfit(file=name, reason="its deflated data set is damaged or too large", broken=True)
            return header_of(inflated, name, work)
        encoding = encoding_of(data, begin)
        if encoding is None:
            return Unfit(file=name, reason="its data set does not begin as one", broken=True)
        walked = _walk(data, begin, encoding)
        if walked is None and size > len(data):
            data += file.read(min(size, _MOST_HEADER) - len(data))
            walked = _walk(data, begin, encoding)
    if walked is None:
        return Unfit(file=name, reason="its header is damaged or cut off", broken=True)
    return Header(
        path=path,
        name=name,
        num_bytes=size,
        fields=Fields(walked[0], big=encoding.big),
        element=walked[1],
        syntax=syntax or EXPLICIT,
        big=encoding.big,
        mislabelled=bool(syntax) and Encoding(explicit=syntax != IMPLICIT, big=syntax == BIG) != encoding,
    )


def _begin(data: bytes) -> tuple[int, str]:
    """Return where the data set begins, -1 where this is no DICOM; and the label of its transfer syntax, if any."""
    begin = 132 if data[128:132] == b"DICM" else 0
    syntax = ""
    if data[begin : begin + 2] == b"\2\0":
        walker = Walker(data, Encoding(explicit=True))
        while data[begin : begin + 2] == b"\2\0":
            try:
                tag, _, value, length = walker.element(begin)
            except (Short, error):
                return -1, ""
            if tag == 0x00020010:
                syntax = data[value : value + length].strip(b" \0").decode("ascii", "replace")
            begin = value + length
        return begin, syntax
    if begin:
        return begin, ""
    return (0, "") if encoding_of(data, 0) and data[:2] in (b"\x08\0", b"\0\x08") else (-1, "")


def _walk(data: bytes, begin: int, encoding: Encoding) -> tuple[dict[int, bytes], PixelElement | None] | None:
    try:
        return Walker(data, encoding).walk(begin, _WANTED)
    except Short:
        return None


def _inflated(path: Path, begin: int, work: Path) -> Path | None:
    """Write a deflated data set as a plain file; None: it is damaged, or grows without measure."""
    into = work / f"{path.name}.inflated"
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    num = 0
    with path.open("rb") as file, into.open("wb") as out:
        file.seek(begin)
        try:
            while not inflate.eof:
                data = inflate.unconsumed_tail or file.read(1 << 16)
                if not data:
                    return None
                piece = inflate.decompress(data, 1 << 20)
                num += len(piece)
                if num > _MOST_INFLATED:
                    return None
                out.write(piece)
        except zlib.error:
            return None
    return into

"""The elements of a DICOM data set, as far as they are wanted, without a library.

pydicom takes a millisecond and a half for the header of a slice, which is longer than its pixels take; this takes a
tenth of it. It finds elements and skips sequences, also where the label of the transfer syntax is wrong; it reads no
values of its own accord.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from struct import Struct, error

PIXEL_DATA = 0x7FE00010
UNDEFINED = 0xFFFFFFFF
_LONG = frozenset(b"OB OW OF OD OL OV SQ UN UC UR UT SV UV".split())
_VRS = _LONG | frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEEPEST = 32
_PIXELS = frozenset((PIXEL_DATA, 0x7FE00008, 0x7FE00009))


class Short(Exception):
    """The data end before the pixels begin, or are no elements."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are written: with a type (`explicit`) or without, and in which byte order."""

    explicit: bool
    big: bool = False


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixels of a file are.

    Attributes:
        vr: `OB` or `OW`; empty in an implicit syntax.
        offset: of the value, in bytes from the begin of the file.
        length: in bytes; None: they are encapsulated.
    """

    tag: int
    vr: str
    offset: int
    length: int | None


class Walker:
    """Walks over the elements in a piece of data that is written in one way."""

    def __init__(self, data: bytes, encoding: Encoding) -> None:
        self._data = data
        self._explicit = encoding.explicit
        order = ">" if encoding.big else "<"
        self._head = Struct(order + "HH2sH")
        self._plain = Struct(order + "HHL")
        self._long = Struct(order + "L")

    def walk(
        self, begin: int, wanted: Collection[int], end: int | None = None
    ) -> tuple[dict[int, bytes], PixelElement | None]:
        """Return the values of the wanted elements by tag, as they are written, and where the pixels are.

        Args:
            begin: where the first element stands.
            wanted: tags.
            end: where to stop; None: at the pixels.

        Raises:
            Short: the data end before, or are no elements.
        """
        data, position, size = self._data, begin, len(self._data)
        stop = size if end is None else end
        found: dict[int, bytes] = {}
        try:
            while position < stop:
                tag, vr, value, length = self.element(position)
                if tag in _PIXELS:
                    return found, PixelElement(
                        tag, vr.decode("ascii", "replace"), value, None if length == UNDEFINED else length
                    )
                if length == UNDEFINED:
                    position = self._after(value, 0)
                    continue
                position = value + length
                if tag in wanted:
                    if position > size:
                        raise Short
                    found[tag] = data[value:position]
        except error:
            raise Short from None
        if end is None and position > size:
            raise Short
        return found, None

    def element(self, position: int) -> tuple[int, bytes, int, int]:
        """Return tag, type, position of the value and length of the element at `position`."""
        if not self._explicit:
            group, element, length = self._plain.unpack_from(self._data, position)
            return group << 16 | element, b"", position + 8, length
        group, element, vr, length = self._head.unpack_from(self._data, position)
        if vr in _LONG:
            return group << 16 | element, vr, position + 12, self._long.unpack_from(self._data, position + 8)[0]
        if vr not in _VRS and group != 0xFFFE:
            raise Short
        return group << 16 | element, vr, position + 8, length

    def _after(self, position: int, depth: int) -> int:
        """Return where a sequence of unknown length ends."""
        if depth > _DEEPEST:
            raise Short
        while True:
            group, element, length = self._plain.unpack_from(self._data, position)
            tag, position = group << 16 | element, position + 8
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM:
                raise Short
            position = self._after_item(position, depth) if length == UNDEFINED else position + length

    def _after_item(self, position: int, depth: int) -> int:
        while True:
            group, element, length = self._plain.unpack_from(self._data, position)
            if group << 16 | element == _ITEM_END:
                return position + 8
            _, _, value, length = self.element(position)
            position = self._after(value, depth + 1) if length == UNDEFINED else value + length


def encoding_of(data: bytes, position: int) -> Encoding | None:
    """Return how the elements from `position` on are written, by what stands there; None: they are no elements."""
    if len(data) < position + 8:
        return None
    tag, vr = data[position : position + 4], data[position + 4 : position + 6]
    explicit = vr in _VRS
    if tag[1] == 0 and tag[0] in (2, 4, 8, 0x10):
        return Encoding(explicit)
    if tag[0] == 0 and tag[1] in (2, 4, 8, 0x10):
        return Encoding(explicit, big=True)
    return None

"""The stored integers of a slice: read, decoded, freed of what is not theirs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from struct import error, unpack_from
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from sightline.core.errors import InvalidMedia
from sightline.packs.medical.reading.codestreams import decoded, kind_of, stream_of
from sightline.packs.medical.reading.headers import BIG, DEFLATED, EXPLICIT, IMPLICIT
from sightline.packs.medical.reading.slices import Pixels, Slice

_ITEM, _END = 0xE000FFFE, 0xE0DDFFFE
_PLAIN = frozenset((IMPLICIT, EXPLICIT, BIG, DEFLATED, ""))


class StoredPixels:
    """Gives the stored integers of slices; asked for the frames of a file in their order, it reads each byte once.

    Attributes:
        mislabelled: files whose pixels are not encoded as the label says.
        overlaid: files that hold other data in the bits above their pixels.
    """

    def __init__(self) -> None:
        self.mislabelled: list[str] = []
        self.overlaid: list[str] = []
        self._path = ""
        self._file: IO[bytes] | None = None
        self._frames: Iterator[bytes] = iter(())
        self._next = 0
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def of(self, each: Slice, into: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Return integers of [rows, columns]: of 8, 16 or 32 bits, signed or not, as the header says.

        They may be gone when the next slice is asked for.

        Args:
            each: what to read.
            into: room of [rows, columns] that pixels of its width may be read into, where they are not compressed.

        Raises:
            InvalidMedia: they are cut off or damaged, or no codec here decodes them.
        """
        pixels = each.pixels
        try:
            file = self._opened(each.path)
            is_plain = pixels.element.length is not None and (
                pixels.syntax in _PLAIN or pixels.element.length >= pixels.frame_bytes * pixels.num_frames
            )
            stored = self._plain(file, each, into) if is_plain else self._compressed(file, each)
        except InvalidMedia as problem:
            raise InvalidMedia(f"{each.file}: {problem.message}", cure=problem.cure) from None
        if is_plain and pixels.syntax not in _PLAIN:
            self.mislabelled.append(each.file)
        return self._cleaned(stored, each)

    def _opened(self, path: str) -> IO[bytes]:
        if path != self._path or self._file is None:
            if self._file is not None:
                self._file.close()
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115, PTH123 - closed when the next is opened
            self._path, self._next = path, 0
        return self._file

    def _plain(self, file: IO[bytes], each: Slice, into: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
        pixels = each.pixels
        size = pixels.frame_bytes
        file.seek(pixels.element.offset + each.frame * size)
        data: Any
        if into is not None and into.nbytes == size:
            data = into.view(np.uint8).reshape(-1)
        else:
            if len(self._buffer) != size:
                self._buffer = bytearray(size)  # one for all slices: new pages cost more than reading does
            data = self._buffer
        if file.readinto(data) != size:  # type: ignore[attr-defined]
            raise InvalidMedia("Its pixel data are cut off.", cure="Send the file anew.")
        num_bytes = pixels.allocated // 8
        if pixels.big and num_bytes == 1 and pixels.element.vr == "OW":
            # Bytes in words.
            return np.frombuffer(data, np.uint16).byteswap().view(np.uint8).reshape(pixels.rows, pixels.columns)
        stored = np.frombuffer(data, f"{'>' if pixels.big else '<'}u{num_bytes}")
        return stored.reshape(pixels.rows, pixels.columns)

    def _compressed(self, file: IO[bytes], each: Slice) -> npt.NDArray[Any]:
        pixels = each.pixels
        data = self._frame(file, each)
        stream = stream_of(data)
        if stream is None:
            raise InvalidMedia(
                f"Its pixels are compressed in no way that is known here ({pixels.syntax}).",
                cure="Convert the series to an uncompressed transfer syntax.",
            )
        if stream.kind != kind_of(pixels.syntax):
            self.mislabelled.append(each.file)
        return decoded(data, stream, pixels.rows, pixels.columns, pixels.allocated)

    def _frame(self, file: IO[bytes], each: Slice) -> bytes:
        """Return the compressed data of one frame; frames that come before it are passed over."""
        pixels = each.pixels
        if each.frame < self._next or self._next == 0:
            file.seek(pixels.element.offset)
            data = file.read(os.fstat(file.fileno()).st_size - pixels.element.offset)
            self._frames, self._next = encapsulated(data, pixels.num_frames), 0
        frame: bytes | None = None
        try:
            while self._next <= each.frame:
                frame = next(self._frames)
                self._next += 1
        except (StopIteration, ValueError, EOFError, error):
            frame = None
        if not frame:
            raise InvalidMedia("Its compressed pixel data are cut off.", cure="Send the file anew.")
        return frame

    def _cleaned(self, stored: npt.NDArray[Any], each: Slice) -> npt.NDArray[Any]:
        """Return the bits that count, with their sign; bits above and below them are of overlays."""
        pixels = each.pixels
        bits = max(pixels.allocated, stored.dtype.itemsize * 8)
        stored = stored.astype(f"u{bits // 8}", copy=False)
        kind = np.dtype(f"{'i' if pixels.signed else 'u'}{bits // 8}")
        if pixels.stored == bits:
            return stored.view(kind)
        low = pixels.high + 1 - pixels.stored
        mask = stored.dtype.type((1 << pixels.stored) - 1)
        if pixels.element.length is not None and not pixels.signed and stored.max() >> low > mask:
            self.overlaid.append(each.file)
        if not pixels.signed:
            kept: npt.NDArray[Any] = stored >> low if low else stored
            cut: npt.NDArray[Any] = np.bitwise_and(kept, mask, out=kept if kept.flags.writeable else None)
            return cut
        up = bits - pixels.high - 1
        signed: npt.NDArray[Any] = (stored << up).view(kind) >> (bits - pixels.stored)
        return signed


def encapsulated(data: bytes, num_frames: int) -> Iterator[bytes]:
    """Yield the compressed frames in a value that consists of items.

    Raises:
        ValueError: the value is damaged; struct.error, EOFError: it is cut off.
    """
    items: list[bytes] = []
    position = 0
    while True:
        tag, length = unpack_from("<LL", data, position)
        if tag == _END:
            break
        if tag != _ITEM or position + 8 + length > len(data):
            raise ValueError("no item")
        items.append(data[position + 8 : position + 8 + length])
        position += 8 + length
    fragments = items[1:]  # the first tells where frames begin, or is empty
    if num_frames == 1:
        yield b"".join(fragments)
    elif len(fragments) == num_frames:
        yield from fragments
    else:
        from pydicom.encaps import generate_frames  # here, for most files need no library

        yield from generate_frames(data, number_of_frames=num_frames)


def inverted(stored: npt.NDArray[Any], pixels: Pixels) -> npt.NDArray[Any]:
    """Return integers of which large is bright, where large was dark."""
    if pixels.signed:
        return ~stored
    turned: npt.NDArray[Any] = stored.dtype.type((1 << pixels.stored) - 1) - stored
    return turned

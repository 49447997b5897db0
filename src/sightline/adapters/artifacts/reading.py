"""An object as a file, fetched range by range. Knows no store: two functions fetch and check."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

FIRST_BYTES = 1 << 20
"""Of the first request, and of the first one after a seek."""


class Ranges(io.RawIOBase):
    """The bytes of an object, read ahead: the more the longer they are read in order.

    What was read from the first byte to the last without a gap is checked before the last bytes are given.

    Args:
        fetch: returns the bytes from one position to before another.
        size: of the object, bytes.
        most: bytes of one request at most.
        check: takes the SHA-256 of the whole object, hexadecimal, and raises where it is another one.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int, most: int, check: Callable[[str], None]) -> None:
        super().__init__()
        self._fetch, self._size, self._most, self._check = fetch, size, most, check
        self._position = 0
        self._held, self._held_from = b"", 0
        self._ahead = FIRST_BYTES
        self._hash = hashlib.sha256()
        self._num_hashed = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing is fetched before the next read."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as one request goes."""
        view = memoryview(buffer).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """Return the rest."""
        pieces = []
        while piece := self._next(self._most):
            pieces.append(piece)
        return b"".join(pieces)

    def _next(self, num_bytes: int) -> bytes | memoryview:
        num_bytes = min(num_bytes, self._size - self._position)
        if num_bytes <= 0:
            return b""
        at = self._position - self._held_from
        if not 0 <= at < len(self._held):
            self._fill(num_bytes)
            at = 0
        data = memoryview(self._held)[at : at + num_bytes]
        self._position += len(data)
        return data

    def _fill(self, num_bytes: int) -> None:
        """Hold the bytes from the position on: `num_bytes`, and some ahead."""
        start = self._position
        in_order = start == self._held_from + len(self._held)
        self._ahead = min(2 * self._ahead, self._most) if in_order and start else FIRST_BYTES
        end = min(start + min(max(num_bytes, self._ahead), self._most), self._size)
        self._held = b""  # let go before the next piece comes
        held = self._fetch(start, end)
        if start == self._num_hashed:
            self._hash.update(held)
            self._num_hashed = end
            if end == self._size:
                self._check(self._hash.hexdigest())
        self._held, self._held_from = held, start

"""What is put, cut into pieces on its way. Knows no store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

PIECE_BYTES = 8 << 20
"""S3 takes parts of at least 5 MiB and at most 10,000 of them: up to 80 GB an object."""


class Sent:
    """Pieces on their way: how many bytes they were, and their checksum.

    Attributes:
        is_whole: True when the last one has gone.
    """

    def __init__(self, pieces: Iterator[bytes], *, hashed: bool) -> None:
        self._pieces = pieces
        self._hash = hashlib.sha256() if hashed else None
        self.num_bytes = 0
        self.is_whole = False

    @property
    def digest(self) -> str:
        """SHA-256 of what has gone, hexadecimal; empty where nobody wants it."""
        return self._hash.hexdigest() if self._hash else ""

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.num_bytes += len(piece)
            if self._hash:
                self._hash.update(piece)
            yield piece
        self.is_whole = True


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield pieces of PIECE_BYTES, the last one shorter; a stream may give less than was asked for."""
    piece = bytearray()
    while data := file.read(PIECE_BYTES - len(piece)):
        piece += data
        if len(piece) == PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)

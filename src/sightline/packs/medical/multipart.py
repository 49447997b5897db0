"""`multipart/related` as DICOMweb sends it, read piece by piece. Knows no HTTP and nothing of what the parts are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from sightline.core.errors import InvalidInput, TooLarge, Unavailable

_HEAD_BYTES = 16 << 10
_BOUNDARY = re.compile(r"""(?:^|;)\s*boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;",]{1,70}))""", re.IGNORECASE)


def boundary_of(content_type: str) -> bytes:
    """Return the line that stands between the parts, without its dashes.

    Raises:
        InvalidInput: the type is not `multipart/related`, or names no boundary.
    """
    match = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/related") or match is None:
        raise InvalidInput(f"It answers with {content_type[:80]!r}, not with multipart/related.")
    return (match[1] or match[2]).encode("latin-1")


class Parts:
    """The parts of a body that comes in pieces.

    Args:
        pieces: the body; an error that breaks it off is raised by them.
        boundary: see `boundary_of`.
        most_bytes: of all parts together.
        most_parts: that are taken.

    Attributes:
        num_bytes: of the parts until now.
    """

    def __init__(self, pieces: Iterable[bytes], boundary: bytes, *, most_bytes: int, most_parts: int) -> None:
        self._pieces = iter(pieces)
        self._line = b"\r\n--" + boundary
        self._most_bytes, self._most_parts = most_bytes, most_parts
        self._held = bytearray(b"\r\n")  # the first line has no line break before it
        self.num_bytes = 0

    def write_each(self, files: Iterable[BinaryIO]) -> Iterator[BinaryIO]:
        """Write each part into the next of `files`, and yield that.

        Raises:
            TooLarge: more bytes or parts come than are taken.
            Unavailable: the body ends before its last line.
            InvalidInput: it has no such form.
        """
        self._skip_to_line()
        for number, file in enumerate(files, 1):
            if self._is_last():
                return
            if number > self._most_parts:
                raise TooLarge(f"More than {self._most_parts} files come.", cure="Ask for a series, not for a study.")
            self._skip_head()
            self._write(file)
            yield file

    def _skip_to_line(self) -> None:
        while self._line not in self._held:
            if len(self._held) > _HEAD_BYTES:
                raise InvalidInput("The answer has no part at its beginning.")
            self._more()
        del self._held[: self._held.index(self._line) + len(self._line)]

    def _is_last(self) -> bool:
        """Return whether the line that was just read is the one behind the last part."""
        while len(self._held) < 2:
            self._more()
        return self._held[:2] == b"--"

    def _skip_head(self) -> None:
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > _HEAD_BYTES:
                raise InvalidInput("A part of the answer has a head without an end.")
            self._more()
        del self._held[: end + 4]

    def _write(self, file: BinaryIO) -> None:
        """Write the bytes up to the next line, and go behind that line."""
        kept = len(self._line) - 1  # may be the beginning of the line
        while (end := self._held.find(self._line)) < 0:
            if (num := len(self._held) - kept) > 0:
                self._take(file, num)
            self._more()
        self._take(file, end)
        del self._held[: len(self._line)]

    def _take(self, file: BinaryIO, num: int) -> None:
        self.num_bytes += num
        if self.num_bytes > self._most_bytes:
            raise TooLarge(
                f"More than {self._most_bytes >> 20} MiB come.", cure="Ask for one series, or for a smaller one."
            )
        file.write(memoryview(self._held)[:num])
        del self._held[:num]

    def _more(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise Unavailable("The answer broke off.", cure="Try again.")
        self._held += piece

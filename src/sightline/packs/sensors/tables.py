"""Rows of CSV and JSON Lines, read as a stream, and what their cells mean.

A line is never held that is longer than `MAX_LINE_BYTES`; a broken line spoils itself only. Cells do not reach over
line ends, so that a quote which is never closed cannot swallow the rest of the file.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO, TypeAlias

from sightline.core.codec import decode_time, from_json
from sightline.core.errors import InvalidInput, InvalidMedia

MAX_LINE_BYTES = 1 << 20
_BOM = "\ufeff"
_CURE = "Send a CSV file with a header line, or one JSON object a line."

Row: TypeAlias = Mapping[str, Any]
"""Cells by column."""


class Table:
    """The rows of one file; iterate once. Each comes as the number of its line and either a row or an error.

    `columns` are those of the header; None for JSON Lines, where each row has its own.

    Raises:
        InvalidMedia: the file begins like no table.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._lines = _lines(file)
        self._first: list[tuple[int, bytes | None]] = []
        self.columns: tuple[str, ...] | None = None
        number, line = next(self._lines, (0, b""))
        if not number:
            raise InvalidMedia(f"{name} is empty.", cure=_CURE)
        try:
            head = _text(line).removeprefix(_BOM)
        except InvalidInput as error:
            raise InvalidMedia(f"{name}, line {number}: {error.message}.", cure=_CURE) from None
        if head.startswith("["):
            raise InvalidMedia(f"{name}, line {number}: a JSON array.", cure=_CURE)
        if head.startswith("{"):
            self._first = [(number, head.encode())]
            self._parse: Callable[[str], Row] = _json_row
            return
        self.header_line = number
        self._delimiter = max(",;\t", key=head.count)
        try:
            self.columns = tuple(cell.strip() for cell in self._cells(head))
        except InvalidInput as error:
            raise InvalidMedia(f"{name}, line {number}: {error.message}.", cure=_CURE) from None
        self._parse = self._csv_row

    def __iter__(self) -> Iterator[tuple[int, Row | InvalidInput]]:
        for lines in (self._first, self._lines):
            for number, line in lines:
                try:
                    yield number, self._parse(_text(line))
                except InvalidInput as error:
                    yield number, error

    def _csv_row(self, line: str) -> Row:
        cells = self._cells(line)
        columns = self.columns or ()
        if len(cells) != len(columns):
            raise InvalidInput(f"{len(cells)} cells under {len(columns)} columns")
        if self._delimiter == ";":  # then the comma is the decimal point
            cells = [cell.replace(",", ".") for cell in cells]
        return dict(zip(columns, cells, strict=True))

    def _cells(self, line: str) -> list[str]:
        try:
            [cells] = csv.reader([line], delimiter=self._delimiter, strict=True, skipinitialspace=True)
        except (csv.Error, ValueError) as error:
            raise InvalidInput(f"no CSV: {error}") from None
        return cells


def time_of(cell: Any) -> datetime:
    """Return the time in a cell: seconds since 1970, or RFC 3339, in UTC where it names no zone.

    Raises:
        InvalidInput: it is no time.
    """
    if isinstance(cell, str):
        try:
            cell = float(cell)
        except ValueError:
            try:
                return decode_time(cell.strip())
            except OverflowError:
                raise InvalidInput(f"Not a time: {cell!r}") from None
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise InvalidInput(f"Not a time: {cell!r}")
    try:
        return datetime.fromtimestamp(cell, UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(f"Not a time: {cell!r}") from None


def number_of(cell: Any) -> float | None:
    """Return the number in a cell; None where it is empty, or no finite number.

    Raises:
        InvalidInput: it is something else, for instance a word.
    """
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    if not isinstance(cell, str | int | float) or (isinstance(cell, str) and "_" in cell):
        raise InvalidInput(f"{cell!r} is no number")
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{cell!r} is no number") from None
    return number if math.isfinite(number) else None


def _json_row(line: str) -> Row:
    row = from_json(line)
    if not isinstance(row, dict):
        raise InvalidInput("no JSON object")
    return row


def _text(line: bytes | None) -> str:
    if line is None:
        raise InvalidInput(f"a line of more than {MAX_LINE_BYTES} bytes")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise InvalidInput("no UTF-8 text") from None


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield the number and the bytes of each line that is not empty; None for one that is too long."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            yield number, None
        elif line.strip():
            yield number, line.strip(b"\r\n")

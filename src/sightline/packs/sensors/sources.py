"""Readings from a file: CSV with a header line, or JSON Lines with an object a line.

Knows how a row becomes a sample; how rows are read stands in `tables`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

import structlog

from sightline.core.errors import ConfigError, FileMissing, InvalidInput, InvalidMedia
from sightline.core.plugins import Context, Source
from sightline.core.sample import Clocks, Reading, Sample
from sightline.core.urls import redacted
from sightline.packs.sensors.tables import Row, Table, number_of, time_of

_MAX_BAD_ROWS = 100  # from the begin without a good one: then the file is something else

_log = structlog.get_logger()


@dataclass(kw_only=True)
class ReadingSource(Source):
    """Reads a table line by line: CSV (comma, semicolon or tab) or JSON Lines, known by its first character.

    The time of a row is RFC 3339, UTC where it names no zone, or seconds since 1970; it becomes the sender's clock.
    A cell that is empty or NaN is a channel that the reading does not have. A row without a time or without any
    number is dropped with the reason `bad_row`; a file without any good row is an error.

    Attributes:
        url: path of the file, or its `file://` address.
        time_column: name of the column that holds the time.
        columns: columns that are read as channels, where a word makes a row bad; none named: every column with a
            number.
        realtime: give the rows at the pace of their times; else as fast as they are taken.
    """

    url: str
    time_column: str = "time"
    columns: tuple[str, ...] = ()
    realtime: bool = False

    def open(self, context: Context) -> None:
        """Check the address.

        Raises:
            ConfigError: it is not that of a file.
        """
        super().open(context)
        parts = urlsplit(self.url)
        if "://" in self.url and parts.scheme != "file":
            raise ConfigError(
                f"Readings cannot be read from {redacted(self.url)}.", cure="Name a CSV or JSON Lines file."
            )
        self._path = Path(url2pathname(parts.path) if "://" in self.url else self.url)

    def read(self) -> Iterator[Sample[Reading]]:
        """Yield a sample a row.

        Raises:
            FileMissing: there is no such file.
            InvalidMedia: it is no table.
            InvalidInput: a column that is needed is missing.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            raise FileMissing(f"There is no file {self._path}.", cure="Check the path.") from None
        except OSError as error:
            raise InvalidMedia(f"{self._path} cannot be read: {error.strerror}.") from None
        with file:
            for sample in self._samples(file, str(self._path)):
                wait_s = (sample.clocks.wall - self.context.now()).total_seconds() if self.realtime else 0.0
                if self.context.stopping.wait(max(0.0, wait_s)):
                    return
                yield sample

    def load(self, file: BinaryIO, name: str, media_type: str) -> Iterator[Sample[Reading]]:  # noqa: ARG002  the first character tells
        """Yield a sample a row of a request body or a stored object.

        Raises:
            InvalidMedia: it is no table.
            InvalidInput: a column that is needed is missing.
        """
        return self._samples(file, name)

    def _samples(self, file: BinaryIO, name: str) -> Iterator[Sample[Reading]]:
        table = Table(file, name)
        self._check_columns(table, name)
        opened = self.context.now()
        first: datetime | None = None
        num_bad = 0
        problem = ""
        for seq, (number, row) in enumerate(table):
            try:
                time, reading = self._reading(row)
            except InvalidInput as error:
                num_bad += 1
                self.context.dropped("bad_row", 1)
                if num_bad == 1:
                    problem = f"line {number}: {error.message}"
                    _log.warning("bad row", file=name, line=number, reason=error.message)
                if first is None and num_bad == _MAX_BAD_ROWS:
                    break
                continue
            first = first or time
            yield Sample(
                payload=reading,
                source=self.context.source,
                seq=seq,
                epoch=self.context.epoch,
                # The wall clock is that of a sensor which began to send when the file was opened.
                clocks=Clocks(pts_s=None, monotonic_s=monotonic(), wall=opened + (time - first), sender=time),
            )
        if first is None and num_bad:
            raise InvalidMedia(
                f"{name} holds no reading; {problem}.", cure=f"Each row needs {self.time_column!r} and a number."
            )

    def _check_columns(self, table: Table, name: str) -> None:
        if table.columns is None:
            return
        for column in (self.time_column, *self.columns):
            if column not in table.columns:
                raise InvalidInput(
                    f"{name}, line {table.header_line}: no column {column!r}. There are: {', '.join(table.columns)}.",
                    cure="Name the columns by `time_column` and `columns`.",
                )

    def _reading(self, row: Row | InvalidInput) -> tuple[datetime, Reading]:
        """Return time and reading of a row.

        Raises:
            InvalidInput: it has no time, no number, or a word where a number is needed.
        """
        if isinstance(row, InvalidInput):
            raise row
        if self.time_column not in row:
            raise InvalidInput(f"no {self.time_column!r}")
        time = time_of(row[self.time_column])
        values: dict[str, float] = {}
        for column in self.columns or row:
            if column == self.time_column or not column:
                continue
            try:
                number = number_of(row.get(column))
            except InvalidInput:
                if self.columns:
                    raise
                continue  # a column of words beside the numbers
            if number is not None:
                values[column] = number
        if not values:
            raise InvalidInput("no number")
        return time, Reading(values)

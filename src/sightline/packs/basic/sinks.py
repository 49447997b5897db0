"""Where finished samples of every kind go: the bus, a file of JSON lines, the database."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sightline.core.codec import encode_event, encode_sample, to_json
from sightline.core.errors import StorageFull, Unavailable
from sightline.core.events import events_of, make_event, source_uri
from sightline.core.plugins import Context, Sink
from sightline.core.sample import Sample


@dataclass(kw_only=True)
class BusSink(Sink):
    """Publishes each sample on the event bus, for live pages and other programs.

    Rejected samples are published as `sample.rejected` where `rejected` is set.
    """

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Publish a `prediction` or `sample.rejected` event for each sample."""
        case, bus = self.context.case, self.context.ports.bus
        for sample in samples:
            bus.publish(
                make_event(
                    "prediction" if sample.rejected is None else "sample.rejected",
                    source=source_uri(case, sample.source),
                    subject=sample.id,
                    time=sample.time,
                    data=encode_sample(sample, case),
                )
            )


@dataclass(kw_only=True)
class JsonlSink(Sink):
    """Writes samples as JSON lines; a line is written whole or not at all, and survives a kill of the process.

    Attributes:
        path: file of the samples; a relative path counts from the run's folder, an existing file is continued.
        events: file of the events among the findings, as CloudEvents; empty for none.
    """

    path: str = "predictions.jsonl"
    events: str = ""

    def open(self, context: Context) -> None:
        """Open the files for appending."""
        super().open(context)
        self._predictions = LineFile(context.outputs / self.path)
        try:
            self._events = LineFile(context.outputs / self.events) if self.events else None
        except BaseException:
            self._predictions.close()
            raise

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Append the samples, and the events of each.

        Raises:
            StorageFull: the disk is full; the lines before stay whole.
        """
        case, run = self.context.case, self.context.run
        self._predictions.append([encode_sample(sample, case) for sample in samples])
        if self._events is not None:
            found = [event for sample in samples for event in events_of(sample, case=case, run=run)]
            self._events.append([encode_event(event) for event in found])

    def close(self) -> None:
        """Close the files."""
        self._predictions.close()
        if self._events is not None:
            self._events.close()

    @property
    def made(self) -> Mapping[str, str]:
        """The files."""
        files = {"predictions": str(self._predictions.path)}
        return files if self._events is None else files | {"events": str(self._events.path)}


class LineFile:
    """A file of JSON lines that is only ever whole lines.

    Raises:
        Unavailable: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("ab", buffering=0)
        except OSError as error:
            raise _ours(error, path) from None

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a line for each row; the operating system has them when this returns.

        Raises:
            StorageFull: the disk is full; what was written of these rows is taken back.
        """
        if not rows:
            return
        data = b"".join(to_json(row) + b"\n" for row in rows)
        start = os.fstat(self._file.fileno()).st_size
        try:
            written = 0
            while written < len(data):  # an unbuffered file may take a part
                written += self._file.write(data[written:])
        except OSError as error:
            self._file.truncate(start)
            raise _ours(error, self.path) from None

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()


@dataclass(kw_only=True)
class DatabaseSink(Sink):
    """Records the predictions of each sample in the database, without its picture."""

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Record the samples, all or none."""
        context = self.context
        context.ports.store.predictions.record(context.run, context.case, samples)


def _ours(error: OSError, path: Path) -> StorageFull | Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageFull(f"No room to write {path}.", cure="Make room, or set runs_root to another disk.")
    return Unavailable(f"{path} cannot be written: {error.strerror}.", cure="Check the folder and its permissions.")

"""Sinks for what every case makes: its predictions, and the events among them.

Knows the wire form of samples only through `codec`; pictures and volumes do not pass here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.core.codec import encode_event, encode_sample
from sightline.core.events import events_of, make_event, source_uri
from sightline.core.plugins import Context, Sink
from sightline.core.sample import Sample
from sightline.packs.basic.lines import LineFile


@dataclass(kw_only=True)
class BusSink(Sink):
    """Tells the event bus of each sample: `prediction`, or `sample.rejected` where `validation` refused it."""

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Publish the samples in their wire form."""
        case = self.context.case
        for sample in samples:
            self.context.tell(
                make_event(
                    "prediction" if sample.rejected is None else "sample.rejected",
                    source=source_uri(case, sample.source),
                    time=sample.time,
                    data=encode_sample(sample, case),
                    subject=sample.id,
                )
            )


@dataclass(kw_only=True)
class JsonlSink(Sink):
    """Appends each sample in its wire form to a file, a line of JSON a sample.

    The files hold whole lines only: what a full disk or a killed process left of a line is cut away.

    Attributes:
        path: the file; a relative path counts from the folder of the run.
        events: file of the events among the findings, as CloudEvents; empty for none.
    """

    path: str = "predictions.jsonl"
    events: str = ""

    def open(self, context: Context) -> None:
        """Open the files, and make them where they are not there.

        Raises:
            ConfigError: one cannot be written.
        """
        super().open(context)
        self._events: LineFile | None = None
        self._samples = LineFile((context.outputs / self.path).absolute())
        if self.events:
            try:
                self._events = LineFile((context.outputs / self.events).absolute())
            except BaseException:
                self._samples.close()
                raise

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Append the samples, all or none, then their events; the system has them when this returns.

        Raises:
            StorageFull: there is no room.
            Unavailable: the disk fails.
        """
        self._samples.append([encode_sample(sample, self.context.case) for sample in samples])
        self._append_events(samples, cut_off=False)

    def cut_off(self, sample: Sample[Any]) -> None:
        """Append the ends of what went on."""
        self._append_events([sample], cut_off=True)

    def _append_events(self, samples: Sequence[Sample[Any]], *, cut_off: bool) -> None:
        if self._events is not None:
            case, run = self.context.case, self.context.run
            found = [each for sample in samples for each in events_of(sample, case=case, run=run, cut_off=cut_off)]
            self._events.append([encode_event(event) for event in found])

    def close(self) -> None:
        """Close the files."""
        self._samples.close()
        if self._events is not None:
            self._events.close()

    @property
    def made(self) -> Mapping[str, str]:
        """The files."""
        files = {"predictions": str(self._samples.path)}
        return files if self._events is None else files | {"events": str(self._events.path)}


@dataclass(kw_only=True)
class DatabaseSink(Sink):
    """Records each sample and its predictions in the metadata store, all samples of a call or none."""

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Record the samples."""
        self.context.ports.store.predictions.record(self.context.run, self.context.case, samples)

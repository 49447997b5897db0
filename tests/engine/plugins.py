"""Small real plug-ins. Fields that are lists are shared by all copies, so that a test sees what the copies did."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any, ClassVar, Literal

from sightline.core.plugins import Collector, Context, Predictor, Sink, Source, SourceState
from sightline.core.prediction import Finding, Findings, Prediction, Rejected, Scalar
from sightline.core.sample import Sample, Window
from sightline.testing.fakes import make_reading


@dataclass(kw_only=True)
class Numbers(Source):
    """Gives readings 0, 1, 2, ... as a file does; `per_epoch` begins a new epoch after so many; fails at `fail_at`."""

    num: int = 10
    per_epoch: int = 0
    fail_at: int | None = None
    fail_close: bool = False
    closed: list[str] = field(default_factory=list)

    def read(self) -> Iterator[Sample[Any]]:
        for number in range(self.num):
            if number == self.fail_at:
                raise ValueError(f"sample {number} is broken")
            epoch, seq = divmod(number, self.per_epoch) if self.per_epoch else (0, number)
            yield make_reading(number, seconds=number, seq=seq, epoch=1 + epoch, source=self.context.source)

    def close(self) -> None:
        self.closed.append(self.context.source)
        if self.fail_close:
            raise RuntimeError("the device is stuck")


@dataclass(kw_only=True)
class Camera(Source):
    """Gives readings until the run stops, or `num`, whether anybody is ready or not."""

    num: int = 1_000_000
    every_s: float = 0.001
    start: int = 0

    @property
    def is_live(self) -> bool:
        return True

    def read(self) -> Iterator[Sample[Any]]:
        self.context.state(SourceState.LIVE, "")
        for seq in range(self.num):
            if self.context.stopping.wait(self.every_s):
                return
            yield make_reading(seq, seconds=seq, seq=seq, source=self.context.source)


@dataclass(kw_only=True)
class Waits(Numbers):
    """Gives its readings, then nothing more until the run stops."""

    def read(self) -> Iterator[Sample[Any]]:
        yield from super().read()
        self.context.stopping.wait()


@dataclass(kw_only=True)
class Stuck(Source):
    """Gives three readings and then stays in foreign code, whatever anybody wants, until `release` is set."""

    release: Event

    def read(self) -> Iterator[Sample[Any]]:
        for seq in range(3):
            yield make_reading(seq, seq=seq, source=self.context.source)
        while not self.release.is_set():
            time.sleep(0.01)


@dataclass(kw_only=True)
class Tally(Predictor):
    """Counts the samples that this copy has seen, as a tracker would."""

    stateful: ClassVar[bool] = True
    opened: list[tuple[str, int]] = field(default_factory=list)
    closed: list[tuple[str, int]] = field(default_factory=list)

    def open(self, context: Context) -> None:
        super().open(context)
        self._num = 0
        self.opened.append((context.source, context.epoch))

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        self._num += len(samples)
        return [Scalar(name="seen", value=self._num)]

    def close(self) -> None:
        self.closed.append((self.context.source, self.context.epoch))


@dataclass(kw_only=True)
class Picky(Predictor):
    """Answers with the reading; raises for some, rejects some, and takes its time."""

    bad: tuple[int, ...] = ()
    rejects: tuple[int, ...] = ()
    takes_s: float = 0.0
    gate: Event | None = None
    seen: list[int] = field(default_factory=list)

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        if self.gate is not None:
            self.gate.wait(30)
        time.sleep(self.takes_s)
        values = [int(sample.payload.values["value"]) for sample in samples]
        for value in values:
            if value in self.bad:
                raise ValueError(f"cannot look at {value}")
        self.seen += values
        return [
            Rejected(reason="not wanted", kind="odd") if value in self.rejects else Scalar(name="value", value=value)
            for value in values
        ]


@dataclass(kw_only=True)
class Alarm(Predictor):
    """Finds something at every `every`th reading."""

    every: int = 2
    data: Any = None

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        def found(value: int) -> Findings:
            happens = value % self.every == 0
            return Findings(
                items=(
                    Finding(name="level", value=value, event="threshold.alert" if happens else None, data=self.data),
                )
            )

        return [found(int(sample.payload.values["value"])) for sample in samples]


@dataclass(kw_only=True)
class Keep(Sink):
    """Keeps what it gets; raises for samples whose number is in `bad`, or at the end."""

    kept: list[Sample[Any]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    name: str = "keep"
    bad: tuple[int, ...] = ()
    fail_open: bool = False
    fail_close: bool = False
    gate: Event | None = None
    on_error: Literal["stop", "continue"] = "stop"

    def open(self, context: Context) -> None:
        super().open(context)
        if self.fail_open:
            raise RuntimeError("the folder is gone")

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        if self.gate is not None:
            self.gate.wait(30)
        if any(sample.seq in self.bad for sample in samples):
            raise OSError(28, "No space left on device")
        self.kept += samples

    def close(self) -> None:
        self.closed.append(self.name)
        if self.fail_close:
            raise RuntimeError("cannot be finished")


@dataclass(kw_only=True)
class Pairs(Collector):
    """Makes a window of every two samples, whatever their sources; `flush` gives the odd one."""

    closed: list[str] = field(default_factory=list)
    bad: tuple[int, ...] = ()

    def open(self, context: Context) -> None:
        super().open(context)
        self._held: list[Sample[Any]] = []

    def collect(self, samples: Sequence[Sample[Any]]) -> Iterable[Sample[Any]]:
        for sample in samples:
            if sample.seq in self.bad:
                raise ValueError("cannot be collected")
            self._held.append(sample)
            if len(self._held) == 2:
                yield self._window()

    def flush(self) -> Iterable[Sample[Any]]:
        if self._held:
            yield self._window()

    def close(self) -> None:
        self.closed.append(self.context.source)

    def _window(self) -> Sample[Any]:
        held, self._held = tuple(self._held), []
        newest = held[-1]
        return Sample(
            payload=Window(samples=held, start=held[0].time, end=newest.time),
            source=self.context.source,
            seq=newest.seq,
            epoch=newest.epoch,
            clocks=newest.clocks,
        )

"""Live sources that fall silent, threads that do not come back, and what any thread may ask of a source."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any, BinaryIO

import pytest
from tests.engine.conftest import World
from tests.engine.plugins import Keep
from tests.engine.test_streams_change import case_of, of, standing, until

from sightline.core.errors import InvalidInput, NotFound
from sightline.core.plugins import Clip, Source, SourceState
from sightline.core.sample import Sample
from sightline.engine.streams import StreamRun
from sightline.testing.fakes import make_reading

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(kw_only=True)
class Moody(Source):
    """A live source that gives a sample every hundredth of a second, unless it `pauses`."""

    pauses: Event
    stalls_s: float | None = 0.1

    @property
    def is_live(self) -> bool:
        return True

    @property
    def stalls_after_s(self) -> float | None:
        return self.stalls_s

    def read(self) -> Iterator[Sample[Any]]:
        self.context.state(SourceState.LIVE, "")
        seq = 0
        while not self.context.stopping.wait(0.01):
            if not self.pauses.is_set():
                yield make_reading(seq, seq=seq, source=self.context.source, epoch=self.context.epoch)
                seq += 1

    def push(self, data: bytes, media_type: str, time: datetime | None) -> None:
        self.pushed = (data, media_type, time)

    def clip(self, start: datetime, end: datetime, into: BinaryIO) -> Clip:
        into.write(b"packets")
        return Clip(start=start, end=end, media_type="video/mp4")


@dataclass(kw_only=True)
class Lost(Source):
    """Gives three samples; the first time it is opened it then stays in foreign code until `release` is set."""

    release: Event
    epochs: list[int] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        return True

    @property
    def stuck_after_s(self) -> float | None:
        return 1.0

    def read(self) -> Iterator[Sample[Any]]:
        self.epochs.append(self.context.epoch)
        is_first = len(self.epochs) == 1
        self.context.state(SourceState.LIVE, "")
        for seq in range(3):
            yield make_reading(seq, seq=seq, source=self.context.source, epoch=self.context.epoch)
            time.sleep(0.02)
        while is_first and not self.release.is_set():
            time.sleep(0.01)
        if is_first:
            self.context.state(SourceState.LIVE, "back from the dead")
            yield make_reading(99, seq=99, source=self.context.source, epoch=self.context.epoch)
        while not self.context.stopping.wait(0.02):
            yield make_reading(5, seq=5, source=self.context.source, epoch=self.context.epoch)


def state(stream: StreamRun, source: str = "door") -> str:
    return str(stream.status()["sources"][source]["state"])


def test_a_silent_source_is_stalled_and_live_again_when_it_gives_something(world: World) -> None:
    pauses, keep = Event(), Keep()
    stream = world.stream(case_of({"door": Moody(pauses=pauses)}, keep), stands=True)
    with standing(stream):
        until(lambda: of(keep, "door"))
        pauses.set()
        until(lambda: state(stream) == "stalled")
        assert stream.status()["sources"]["door"]["reason"] == "no frame for 0.1 s"
        pauses.clear()
        until(lambda: state(stream) == "live")


def test_a_source_that_may_be_silent_is_not_stalled(world: World) -> None:
    pauses, keep = Event(), Keep()
    stream = world.stream(case_of({"door": Moody(pauses=pauses, stalls_s=None)}, keep), stands=True)
    with standing(stream):
        until(lambda: of(keep, "door"))
        pauses.set()
        time.sleep(0.4)
        assert state(stream) == "live"


def test_a_thread_that_does_not_come_back_is_left_behind_and_counted_and_another_reads(world: World) -> None:
    release, keep = Event(), Keep()
    lost, other = Lost(release=release), Moody(pauses=Event())
    stream = world.stream(case_of({"door": lost, "yard": other}, keep), stands=True)
    with standing(stream):
        until(lambda: len(lost.epochs) == 2)
        num_before = len(of(keep, "yard"))
        until(lambda: len(of(keep, "door")) > 6)
        assert lost.epochs == [1, 2]
        assert stream.status()["sources"]["door"]["stuck"] == 1
        release.set()
        time.sleep(0.2)
        assert state(stream) == "live"
        assert stream.status()["sources"]["door"]["reason"] == ""  # what the lost thread says is not heard
        assert not [sample for sample in of(keep, "door") if sample.seq == 99]
        assert len(of(keep, "yard")) > num_before
        assert {sample.epoch for sample in of(keep, "yard")} == {1}


def test_what_is_pushed_and_asked_for_reaches_the_copy_that_is_read(world: World) -> None:
    moody = Moody(pauses=Event())
    stream = world.stream(case_of({"door": moody}, Keep()), stands=True)
    with standing(stream):
        until(lambda: state(stream) == "live")
        source = stream.source("door")
        assert isinstance(source, Moody)
        assert source is not moody
        source.push(b"jpeg", "image/jpeg", NOON)
        assert source.pushed == (b"jpeg", "image/jpeg", NOON)
        with pytest.raises(NotFound, match="gate"):
            stream.source("gate")


def test_a_sink_may_ask_for_a_clip(world: World) -> None:
    file = io.BytesIO()
    made: list[Clip] = []

    class Clips(Keep):
        def write(self, samples: Any) -> None:
            if not made:
                made.append(self.context.clip("door", NOON, NOON + timedelta(seconds=2), file))

    stream = world.stream(case_of({"door": Moody(pauses=Event())}, Clips()), stands=True)
    with standing(stream):
        until(lambda: made)
    assert made == [Clip(start=NOON, end=NOON + timedelta(seconds=2), media_type="video/mp4")]
    assert file.getvalue() == b"packets"


def test_sources_that_take_nothing_and_hold_nothing_say_so() -> None:
    with pytest.raises(InvalidInput, match="pushed"):
        Lost(release=Event()).push(b"", "", None)
    with pytest.raises(InvalidInput, match="clip"):
        Lost(release=Event()).clip(NOON, NOON, io.BytesIO())

"""Frames that are pushed: what is taken, what is refused and why, and that the newest wins."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.packs.basic.receiver import until

from sightline.core.errors import (
    ConfigError,
    Conflict,
    InvalidInput,
    InvalidMedia,
    Overloaded,
    TooLarge,
    WrongMediaType,
)
from sightline.core.plugins import SourceState
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.sources.push import PushSource
from sightline.testing.fakes import START, FakeClock, Tally, make_context

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def picture(kind: str = "PNG", grey: int = 100, size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(buffer, kind)
    return buffer.getvalue()


def array(grey: int = 100) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((48, 64, 3), grey, np.uint8)


class Pushed:
    """An open source that is read only when a test says so."""

    def __init__(self, **config: Any) -> None:
        self.stopping = Event()
        self.dropped = Tally()
        self.states: list[tuple[SourceState, str]] = []
        self.clock = FakeClock()
        self.source = PushSource(**config)
        self.source.open(
            make_context(
                stopping=self.stopping,
                dropped=self.dropped,
                clock=self.clock,
                state=lambda state, reason: self.states.append((state, reason)),
            )
        )
        self.source.monotonic = self.clock.monotonic
        self._reading = self.source.read()

    def next(self) -> Sample[Frame]:
        return next(self._reading)

    def end(self) -> None:
        self.stopping.set()
        assert list(self._reading) == []


@contextmanager
def read_in_a_thread(source: PushSource, stopping: Event) -> Iterator[list[Sample[Frame]]]:
    samples: list[Sample[Frame]] = []
    thread = Thread(target=lambda: samples.extend(source.read()))
    thread.start()
    try:
        yield samples
    finally:
        stopping.set()
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_picture_that_is_pushed_is_read(kind: str) -> None:
    pushed = Pushed(size=(32, 24))
    pushed.source.push(picture(kind), f"image/{kind.lower()}", None)
    sample = pushed.next()
    assert sample.payload.size == (32, 24)
    assert abs(int(sample.payload.pixels_HWC.mean()) - 100) <= 1
    assert sample.time == START
    assert pushed.states == [(SourceState.CONNECTING, "no frame was pushed yet"), (SourceState.LIVE, "")]


def test_an_array_that_is_pushed_is_copied() -> None:
    pushed, pixels_HWC = Pushed(), array(7)
    pushed.source.push_frame(pixels_HWC)
    pixels_HWC[:] = 9
    sample = pushed.next()
    assert (sample.payload.pixels_HWC == 7).all()
    assert not sample.payload.pixels_HWC.flags.writeable


def test_the_callers_time_is_the_time_of_the_event() -> None:
    pushed = Pushed()
    here = NOON.astimezone(timezone(timedelta(hours=2)))
    pushed.source.push(picture(), "image/png", here)
    first = pushed.next()
    pushed.source.push(picture(), "image/png", NOON + timedelta(seconds=2.5))
    second = pushed.next()
    assert (first.time, second.time) == (NOON, NOON + timedelta(seconds=2.5))
    assert first.time.tzinfo is UTC
    assert second.clocks.wall == START
    assert second.clocks.pts_s == pytest.approx(2.5)


def test_times_that_repeat_jump_back_or_are_absent_still_rise() -> None:
    pushed = Pushed()
    seconds: list[float | None] = [0, 1, 1, 0.9, -3600, -3599, None, 100_000, 100_001, 0, 1]
    pts_s = []
    for each in seconds:
        pushed.source.push_frame(array(), None if each is None else NOON + timedelta(seconds=each))
        pts_s.append(pushed.next().clocks.pts_s or 0.0)
        pushed.clock.advance(0.5)
    assert all(later > earlier for earlier, later in pairwise(pts_s))
    assert pts_s[1] == pytest.approx(1)
    assert pts_s[5] - pts_s[4] == pytest.approx(1)
    assert pts_s[8] - pts_s[7] == pytest.approx(1)
    assert pts_s[10] - pts_s[9] == pytest.approx(1)


def test_the_newest_takes_the_place_of_one_that_waits() -> None:
    pushed = Pushed()
    for grey in (1, 2, 3):
        pushed.source.push_frame(array(grey))
    sample = pushed.next()
    assert (sample.payload.pixels_HWC == 3).all()
    assert sample.seq == 2
    assert pushed.dropped == {"overtaken": 2}
    assert pushed.source.is_live


def test_with_keep_all_none_is_lost_and_too_many_are_refused() -> None:
    pushed = Pushed(keep_all=True, num_waiting=3)
    for grey in (1, 2, 3):
        pushed.source.push_frame(array(grey))
    with pytest.raises(Overloaded, match="3 frames"):
        pushed.source.push_frame(array(4))
    assert [int(pushed.next().payload.pixels_HWC[0, 0, 0]) for _ in range(3)] == [1, 2, 3]
    pushed.source.push_frame(array(5))
    assert pushed.next().seq == 3
    assert not pushed.source.is_live
    assert pushed.dropped == {}


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", WrongMediaType, "JPEG, PNG"),
        (b"GIF89a" + bytes(50), WrongMediaType, "JPEG, PNG"),
        (b"hello", WrongMediaType, "JPEG, PNG"),
        (picture()[:-30], InvalidMedia, "Send"),
        (picture("JPEG")[:100], InvalidMedia, "Send"),
        (b"BM" + bytes(100), InvalidMedia, ""),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), InvalidMedia, ""),
        (b"RIFF\0\0\0\0WEBP" + bytes(100), InvalidMedia, ""),
        (bytes(2_000_000), TooLarge, "smaller"),
    ],
)
def test_what_is_no_picture_is_refused_at_once(data: bytes, error: type[InvalidInput], words: str) -> None:
    pushed = Pushed(max_bytes=1_000_000)
    with pytest.raises(error) as caught:
        pushed.source.push(data, "image/png", None)
    assert words in caught.value.cure
    pushed.source.push(picture(), "", None)
    assert pushed.next().seq == 0


def test_a_huge_picture_is_refused_before_it_is_decoded() -> None:
    bomb = bytearray(picture("BMP", size=(4, 4)))
    bomb[18:26] = (60_000).to_bytes(4, "little") * 2
    for data in (bytes(bomb), picture("PNG", size=(3000, 2000))):
        with pytest.raises(InvalidMedia, match=r"pixels|damaged"):
            Pushed(max_pixels=1_000_000).source.push(data, "", None)


@pytest.mark.parametrize(
    "pixels_HWC", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), [[1]]]
)
def test_an_array_of_another_form_is_refused(pixels_HWC: Any) -> None:
    with pytest.raises(InvalidInput, match=r"uint8 \[height"):
        Pushed().source.push_frame(pixels_HWC)


def test_a_time_without_a_zone_is_refused() -> None:
    for when in (datetime(2026, 1, 1), datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))):  # noqa: DTZ001
        with pytest.raises(InvalidInput, match="time zone"):
            Pushed().source.push_frame(array(), when)


def test_nothing_is_taken_before_and_after_it_is_read() -> None:
    with pytest.raises(Conflict, match="not being read"):
        PushSource().push(picture(), "", None)
    pushed = Pushed(keep_all=True)
    pushed.source.push_frame(array())
    pushed.next()
    pushed.source.push_frame(array())
    pushed.end()
    with pytest.raises(Conflict, match="not being read"):
        pushed.source.push_frame(array())
    assert pushed.dropped == {"overtaken": 1}
    assert pushed.states[-1] == (SourceState.STOPPED, "stopped")


def test_many_threads_may_push_and_every_frame_is_read_or_counted() -> None:
    pushed = Pushed()
    with read_in_a_thread(pushed.source, pushed.stopping) as samples:

        def work() -> None:
            for _ in range(50):
                pushed.source.push_frame(array())

        threads = [Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: len(samples) + pushed.dropped["overtaken"] == 200)
    assert len(samples) + pushed.dropped["overtaken"] == 200
    seqs = [sample.seq for sample in samples]
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == 199


def test_it_stops_while_it_waits() -> None:
    pushed = Pushed()
    with read_in_a_thread(pushed.source, pushed.stopping) as samples:
        time.sleep(0.05)
    assert samples == []


@pytest.mark.parametrize("config", [{"size": (0, 1)}, {"num_waiting": 0}, {"max_bytes": 0}, {"silent_after_s": 0}])
def test_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        PushSource(**config)


def test_it_may_be_silent_unless_told_otherwise() -> None:
    assert PushSource().stalls_after_s is None
    assert PushSource(silent_after_s=5).stalls_after_s == 5
    assert PushSource().probe() == {"kind": "push", "live": True, "advice": []}

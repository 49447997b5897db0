"""A video source that is read in a thread of its own, as the engine does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

from sightline.core.plugins import SourceState
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.sources.video import VideoSource
from sightline.testing.fakes import Tally, make_context


class Reading:
    """What a source has given so far."""

    def __init__(self, url: str, **config: Any) -> None:
        self.samples: list[Sample[Frame]] = []
        self.told: list[tuple[SourceState, str]] = []
        self.dropped = Tally()
        self.stopping = Event()
        self.source = VideoSource(url=url, **{"timeout_s": 3, "retry_max_s": 0.5, **config})
        self.source.open(
            make_context(
                state=lambda state, reason: self.told.append((state, reason)),
                dropped=self.dropped,
                stopping=self.stopping,
                clock=lambda: datetime.now(UTC),
            )
        )
        self.thread = Thread(target=self._read)

    @property
    def states(self) -> list[SourceState]:
        """The states it told, each once in a row."""
        states = [state for state, _ in self.told]
        return [state for index, state in enumerate(states) if not index or state is not states[index - 1]]

    def reason_of(self, state: SourceState) -> str:
        """Return why it was in a state for the last time."""
        return next(reason for kind, reason in reversed(self.told) if kind is state)

    def _read(self) -> None:
        for sample in self.source.read():
            self.samples.append(sample)

    def wait_for(self, what: Callable[[], Any], seconds: float = 30) -> None:
        end_s = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end_s, f"nothing within {seconds} s: {self.told}, {len(self.samples)} samples"
            assert self.thread.is_alive()
            time.sleep(0.01)

    def wait_for_samples(self, num: int, seconds: float = 30) -> None:
        """Wait for as many more."""
        before = len(self.samples)
        self.wait_for(lambda: len(self.samples) >= before + num, seconds)


@contextmanager
def reading(url: str, **config: Any) -> Iterator[Reading]:
    """Read `url` in a thread until the block ends; then it must stop soon."""
    reader = Reading(url, **config)
    reader.thread.start()
    try:
        yield reader
    finally:
        reader.stopping.set()
        reader.thread.join(20)
        assert not reader.thread.is_alive()
        assert reader.states[-1] is SourceState.STOPPED

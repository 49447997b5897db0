"""Keeps a picture and a clip of what happens, from a little before it to a little after."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Condition, Thread
from typing import Any

import structlog

from sightline.core.errors import ConfigError, Unavailable
from sightline.core.events import Event, checked_pattern, events_of, fits, source_uri
from sightline.core.plugins import Context, Sink, SourceState
from sightline.core.ports import Gap, Subscription
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.event_media import Roll, Wanted, key_of, picture_of, span_of, wanted
from sightline.packs.vision.forsaken import forsaken
from sightline.packs.vision.keeping import Keeper

log = structlog.get_logger()
ALARMS = (
    *("line.*", "zone.*", "count.*", "object.*", "threshold.*"),
    *("source.stalled", "source.frozen", "source.backoff"),
)
"""The events of which media are kept where nobody says otherwise."""

_STOPPED = f"source.{SourceState.STOPPED.value}"
_MOST_WAITING = 256  # events whose media are not made yet: some 4 MB of thumbnails
_POLL_S = 0.1
_LEASE = timedelta(seconds=30)  # of a run whose process was killed a moment ago, and as much again
_LAST_S = 10.0  # for what waits at the end of a run


@dataclass(kw_only=True)
class EventRecorder(Sink):
    """A thumbnail and a clip of each event, in the artifact store.

    The thumbnail is the picture of the event with what it is about framed. The clip is made of the packets that the
    source holds, without coding them again, from `pre_s` before the event to `post_s` after its end; while the event
    goes on, up to `longest_s`. Keys are `events/<year>/<month>/<day>/<id of the event>.jpg` and `.mp4`. When they are
    stored the durable event `capture.stored` says so (subject: id of the event; data: `thumbnail` and `clip`, their
    keys or null, `start` and `end` of the clip, `bytes`, and `lost`, what is missing and why, or null). Every event has
    a clip of its own.

    A source holds packets for a while only (`ring_s` of `video`): of a longer event there is what the source still has,
    never less than the time around its beginning. What a killed process did not make, the next run of the case tells as
    lost, where it has a thumbnail. Where the storage is full the oldest media of events make room; where that is not
    enough the event stays and its media are lost. All work is done in a thread of its own.

    Attributes:
        types: short types of events, `line.*` for all that begin with `line.`.
        sources: ids of the sources; none means all.
        pre_s: seconds before an event.
        post_s: seconds after its end.
        longest_s: longest clip.
        clip: make clips; else only thumbnails.
        thumbnail_px: width of the thumbnail; 0 makes none.
    """

    types: tuple[str, ...] = ALARMS
    sources: tuple[str, ...] = ()
    pre_s: float = 5.0
    post_s: float = 5.0
    longest_s: float = 60.0
    clip: bool = True
    thumbnail_px: int = 320

    def __post_init__(self) -> None:
        for pattern in self.types:
            checked_pattern(pattern)
        if min(self.pre_s, self.post_s) < 0 or not self.pre_s + self.post_s <= self.longest_s <= 3600:
            raise ConfigError(
                f"pre_s is {self.pre_s:g}, post_s {self.post_s:g} and longest_s {self.longest_s:g}.",
                cure="None is negative, and longest_s is at least the sum of the others and at most 3600.",
            )
        if not 0 <= self.thumbnail_px <= 4096:
            raise ConfigError(f"thumbnail_px is {self.thumbnail_px}.", cure="Choose 0 to 4096 pixels.")
        if not self.types or not (self.clip or self.thumbnail_px):
            raise ConfigError("The event recorder would keep nothing.", cure="Give types, and a clip or thumbnail_px.")

    def open(self, context: Context) -> None:
        """Begin to listen."""
        super().open(context)
        pre, post, longest = (timedelta(seconds=each) for each in (self.pre_s, self.post_s, self.longest_s))
        self._roll = Roll(pre=pre, post=post, longest=longest)
        self._keeper = Keeper(context, self._roll, clips=self.clip)
        self._last: dict[str, Sample[Frame]] = {}
        self._waiting: list[Wanted] = []
        self._changed = Condition()
        self._closing = self._given_up = False
        self._looks: list[datetime] = []  # for what an earlier process left: now, and when its lease is surely over
        if context.run:
            with suppress(Unavailable):
                self._newest = context.ports.store.events.position() or 0
                self._looks = [context.now(), context.now() + _LEASE]
        self._states = self._listening(context)
        self._thread = Thread(target=self._work, name="record-events", daemon=True)
        self._thread.start()

    def write(self, samples: Sequence[Sample[Any]]) -> None:
        """Note what happened on the samples; the media are made meanwhile."""
        for sample in samples:
            self._note(sample)
            if (picture := picture_of(sample)) is not None:
                self._last[picture.source] = picture
                self._keeper.seen[picture.source] = picture.clocks.wall, self.context.now()

    def cut_off(self, sample: Sample[Any]) -> None:
        """Note what ended because nothing follows: its clips end with the last picture."""
        self._note(sample, cut_off=True)

    def _note(self, sample: Sample[Any], *, cut_off: bool = False) -> None:
        context, picture = self.context, picture_of(sample)
        for event in events_of(sample, case=context.case, run=context.run, cut_off=cut_off):
            if (key := key_of(event)) and (ended := span_of(event)[1]) is not None:
                with self._changed:
                    for each in self._waiting:
                        if each.key == key and each.ended is None:
                            each.ended = ended + (sample.clocks.wall - sample.time)
                            each.may_be_cut |= cut_off
            if picture is not None and self._takes(event, picture.source):
                self._add(event, picture, may_be_cut=cut_off)

    def close(self) -> None:
        """Make what is still waiting of what there is, for some seconds at most; the rest is told as lost."""
        if not hasattr(self, "_thread"):
            return
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_LAST_S)
        if self._states is not None:
            self._states.close()
        with self._changed:
            self._given_up = True
            left, self._waiting = self._waiting, []
        for each in left:
            self._keeper.lose(each, "the run ended before it was made")

    def _takes(self, event: Event, source: str) -> bool:
        """Return whether media of an event are wanted; of an alarm's two events the first has them."""
        is_named = not self.sources or source in self.sources
        return is_named and fits(event.short_type, self.types) and event.data.get("state") != "end"

    def _look_back(self) -> None:
        """Tell that the media are lost which an earlier process began, when it is time."""
        if not self._looks or self.context.now() < self._looks[0]:
            return
        del self._looks[0]
        for event, *sizes in forsaken(
            self.context,
            self.types,
            lambda event: self._takes(event, event.source.rpartition("/")[2]),
            self._newest + 1,
        ):
            self._keeper.bury(event, *sizes)

    def _listening(self, context: Context) -> Subscription | None:
        """Return a subscription to the states of the sources, which no sample tells of; None where none is wanted."""
        types = [name for name in (f"source.{state.value}" for state in SourceState) if fits(name, self.types)]
        if not types:
            return None
        place = f"{source_uri(context.case)}/sources/"
        return context.ports.bus.subscribe(types=list({*types, _STOPPED}), source=place)

    def _hear(self) -> None:
        """Take what the bus tells of sources that have shown something already."""
        while self._states is not None and (event := self._states.get(0)) is not None:
            if isinstance(event, Gap):
                self._keeper.count("clip", "lost", event.num_lost or 1)
                continue
            source = event.source.rpartition("/")[2]
            picture = self._last.get(source)
            if event.data.get("run") != self.context.run:
                continue
            if picture is not None and self._takes(event, source):
                self._add(event, picture)
            if event.short_type == _STOPPED:
                self._last.pop(source, None)  # a picture takes memory

    def _add(self, event: Event, picture: Sample[Frame], *, may_be_cut: bool = False) -> None:
        try:
            each = wanted(event, picture, self.context.now(), self._roll, self.thumbnail_px)
            each.may_be_cut |= may_be_cut
        except Exception as error:  # noqa: BLE001 - data of a plug-in that cannot be drawn must not end the run
            log.error("media of an event are lost", event_id=event.id, error=str(error))
            self._keeper.count("thumbnail", "lost")
            return
        with self._changed:
            is_full = len(self._waiting) >= _MOST_WAITING
            if not is_full:
                self._waiting.append(each)
                self._changed.notify_all()
        if is_full:
            self._keeper.lose(each, "too many events at once")

    def _work(self) -> None:
        """Thread: make what is due, until the end."""
        while True:
            with self._changed:
                if not self._closing:
                    self._changed.wait(_POLL_S)
                is_last = self._closing
            for do, trouble in (
                (self._hear, "events of sources are not heard"),
                (self._look_back, "what an earlier process left is not looked for"),
            ):
                try:
                    do()
                except Exception as error:  # noqa: BLE001 - what was heard before is made all the same
                    log.error(trouble, error=str(error))
            for each in tuple(self._waiting):
                try:
                    is_done = self._keeper.advance(each, is_last=is_last)
                except Exception as error:  # noqa: BLE001 - one event must not take the media of the others
                    log.error("media of an event are lost", event_id=each.event.id, error=str(error))
                    self._keeper.lose(each, f"it could not be made: {type(error).__name__}")
                    is_done = True
                with self._changed:
                    if self._given_up:
                        return
                    if is_done:
                        with suppress(ValueError):
                            self._waiting.remove(each)
            if is_last:
                return

"""Stores the media of events when their time has come, and says what became of them; called by one thread."""

from __future__ import annotations

from datetime import datetime, timedelta
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

import structlog

from sightline.core.codec import encode_time
from sightline.core.errors import NotFound, SightlineError, StorageFull
from sightline.core.events import Event, make_event, media_key, source_uri
from sightline.core.media import removal_events, remove_media
from sightline.core.plugins import Clip, Context
from sightline.packs.vision.event_media import Made, Roll, Wanted

log = structlog.get_logger()
_IN_MEMORY = 8 << 20  # bytes of a clip that is being made; what is longer goes to a file
_PATIENCE = timedelta(seconds=1)  # for a picture that shows that the time of a clip has passed
_SILENCE = timedelta(seconds=10)  # without any picture, after which none is waited for


class Keeper:
    """Makes and stores the media of one event after the other.

    Args:
        context: the world of the sink.
        roll: what clips show.
        clips: make clips.

    Attributes:
        seen: wall clock of the newest picture by source, and when it came here; written by the writer's thread.
    """

    def __init__(self, context: Context, roll: Roll, *, clips: bool) -> None:
        self.seen: dict[str, tuple[datetime, datetime]] = {}
        self._context = context
        self._roll = roll
        self._clips = clips

    def advance(self, each: Wanted, *, is_last: bool) -> bool:
        """Do what can be done now; return True when nothing is left to do.

        Args:
            each: whose media.
            is_last: nothing more will come: do it with what there is.
        """
        if not each.has_begun:
            each.has_begun = True
            if each.thumbnail is not None:
                each.thumbnail_bytes = self._put(each, ".jpg", each.thumbnail)
                self.count("thumbnail", "stored" if each.thumbnail_bytes else "lost")
        if not self._clips:
            self._tell(each, None, 0)
            return True
        around = each.end(self._roll, first=True)
        if each.ended is None and each.first is None and self._is_past(each, around):
            # The source may have forgotten the beginning when the end has come.
            each.first = self._clip(each, around)
        if is_last or self._is_past(each, each.end(self._roll)):
            self._finish(each, is_last=is_last)
            return True
        return False

    def lose(self, each: Wanted, reason: str) -> None:
        """Say that what is not made yet will not be made."""
        if isinstance(each.first, Made):
            each.first.file.close()
        self._miss(each, reason)

    def bury(self, event: Event, thumbnail_bytes: int, clip_bytes: int) -> None:
        """Say what there is of the media that an earlier process began; what it did not make is lost."""
        moment, source = event.time, event.source.rpartition("/")[2]
        each = Wanted(
            event=event,
            source=source,
            thumbnail=None,
            begin=moment,
            happened=moment,
            ended=moment,
            lag=timedelta(0),
            thumbnail_bytes=thumbnail_bytes,
        )
        if clip_bytes or not self._clips:
            self._tell(each, None, clip_bytes)
        else:
            self._miss(each, "the process ended before it was made")

    def count(self, kind: str, outcome: str, num: int = 1) -> None:
        """Count media: `thumbnail` or `clip`, and whether it was `stored`, `short`, `lost` or `removed`."""
        self._context.ports.meter.count("event_media", num, case=self._context.case, kind=kind, outcome=outcome)

    def _is_past(self, each: Wanted, end: datetime) -> bool:
        """Return whether all up to `end` must have come: a later picture did, or none comes any more."""
        seen, came = self.seen.get(each.source, (None, None))
        if seen is not None and seen > end:
            return True
        now = self._context.now()
        # A file that is analysed slowly goes on giving pictures of the time before.
        return now >= end + each.lag + _PATIENCE and (came is None or now >= came + _SILENCE)

    def _finish(self, each: Wanted, *, is_last: bool) -> None:
        """Store the better of the clips: the whole one, unless it has lost the beginning that the first one has."""
        wish = end = each.end(self._roll)
        if is_last:
            end = min(end, max(self._context.now(), self.seen.get(each.source, (end, end))[0]))
            wish = end if each.ended is None else wish  # that the run ends before the event does is no loss
        made = self._clip(each, end) if end > each.begin else "the run ended"
        first, each.first = each.first, None
        if isinstance(first, Made):
            if isinstance(made, str) or made.clip.start > max(first.clip.start, each.begin):
                made, first = first, made
            if isinstance(first, Made):
                first.file.close()
        if isinstance(made, str):
            self._miss(each, made)
            return
        with made.file:
            num_bytes = self._put(each, ".mp4", made.file)
        lacks = each.missing(made.clip, wish) if num_bytes else []
        each.lost += lacks
        self.count("clip", "lost" if not num_bytes else "short" if lacks else "stored")
        self._tell(each, made.clip if num_bytes else None, num_bytes)

    def _miss(self, each: Wanted, reason: str) -> None:
        self.count("clip", "lost")
        each.lost.append(reason)
        log.warning("clip of an event is lost", source=each.source, event_id=each.event.id, cause=reason)
        self._tell(each, None, 0)

    def _clip(self, each: Wanted, end: datetime) -> Made | str:
        """Return a clip, its file at its beginning; or why there is none."""
        file = cast("BinaryIO", SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115 - closed by who has it
        try:
            clip = self._context.clip(each.source, each.begin, end, file)
            file.seek(0)
        except (SightlineError, OSError) as error:
            file.close()
            return _why(error)
        except BaseException:
            file.close()
            raise
        return Made(clip, file)

    def _put(self, each: Wanted, suffix: str, data: bytes | BinaryIO) -> int:
        """Store data and return its bytes, or 0 and why not; the oldest media make room for it."""
        artifacts = self._context.ports.artifacts
        key = media_key(each.event.time, each.event.id, suffix)
        try:
            try:
                return artifacts.put(key, data)
            except StorageFull:
                self._make_room(each, len(data) if isinstance(data, bytes) else data.seek(0, 2))
                if not isinstance(data, bytes):
                    data.seek(0)
                return artifacts.put(key, data)
        except (SightlineError, OSError) as error:
            each.lost.append(_why(error))
            log.warning("media of an event are lost", source=each.source, key=key, cause=_why(error))
            return 0

    def _make_room(self, each: Wanted, num_bytes: int) -> None:
        context = self._context
        gone = remove_media(context.ports.artifacts, room_bytes=num_bytes, spare=each.event.id)
        for entry in gone:
            self.count("clip" if entry.key.endswith(".mp4") else "thumbnail", "removed")
        for event in removal_events(gone, context.now(), "room for newer ones"):
            context.tell(event)
        log.warning("old media of events made room", files=len(gone), bytes=sum(entry.num_bytes for entry in gone))

    def _tell(self, each: Wanted, clip: Clip | None, num_bytes: int) -> None:
        context, event = self._context, each.event
        context.tell(
            make_event(
                "capture.stored",
                source=source_uri(context.case, each.source),
                time=context.now(),
                subject=event.id,
                data={
                    "run": context.run,
                    "event": event.id,
                    "thumbnail": media_key(event.time, event.id, ".jpg") if each.thumbnail_bytes else None,
                    "clip": media_key(event.time, event.id, ".mp4") if num_bytes else None,
                    "start": None if clip is None else encode_time(clip.start),
                    "end": None if clip is None else encode_time(clip.end),
                    "bytes": each.thumbnail_bytes + num_bytes,
                    "lost": "; ".join(dict.fromkeys(each.lost)) or None,
                },
            )
        )


def _why(error: Exception) -> str:
    """Return why something is lost, in words for people."""
    if isinstance(error, StorageFull):
        return "the storage is full"
    if isinstance(error, NotFound):
        return "the source holds nothing of that time"
    if isinstance(error, SightlineError):
        return error.message
    return getattr(error, "strerror", None) or type(error).__name__

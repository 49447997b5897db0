"""What is old goes: rows of requests, events, predictions and ended runs, a few at a time; media of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import structlog

from sightline.core.media import removal_events, remove_media
from sightline.core.ports import ArtifactStore
from sightline.core.stores import Kept, MetadataStore
from sightline.engine.publishing import remove_orphans

log = structlog.get_logger()
PIECE = 1000
"""Rows that go in one transaction: a writer waits for such a piece, not for a year of rows."""
FIRST_S = 60.0
EVERY_S = 3600.0
_PAUSE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class MediaLimits:
    """How much is kept of pictures and clips of events.

    Attributes:
        artifacts: gives the store in which they are.
        days: what was stored longer ago goes.
        most_bytes: beyond that the oldest go; None: no limit.
    """

    artifacts: Callable[[], ArtifactStore]
    days: int
    most_bytes: int | None = None


class Retention:
    """Forgets what is older than its days: a minute after the start, then every hour.

    Several processes may do so at once; each takes what the others have left.

    Args:
        store: gives the database when it is needed.
        days: how long each kind is kept; what is absent or 0 is left alone.
        media: how much is kept of the media of events; None: they are left alone.
        artifacts: gives the store in which jobs put things aside, which go with their runs; None: they stay.
        first_s, every_s: that minute and that hour, in seconds.
        piece: rows in one transaction.
        now: the moment from which days are counted back.
    """

    def __init__(
        self,
        store: Callable[[], MetadataStore],
        days: Mapping[Kept, int],
        *,
        media: MediaLimits | None = None,
        artifacts: Callable[[], ArtifactStore] | None = None,
        first_s: float = FIRST_S,
        every_s: float = EVERY_S,
        piece: int = PIECE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._days = days
        self._media = media
        self._artifacts = artifacts
        self._first_s = first_s
        self._every_s = every_s
        self._piece = piece
        self._now = now
        self._stopping = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin; a second call does nothing."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="retention", daemon=True)
            self._thread.start()

    def sweep(self) -> dict[str, int]:
        """Forget now what is old enough; return how many rows of each kind went, and how many files."""
        gone: dict[str, int] = {}
        if self._media is not None:  # first: where a disk is full, rows cannot be deleted before there is room
            gone["media"] = self._sweep_media(self._media)
        for what, days in self._days.items():
            if days <= 0:
                continue
            before = self._now() - timedelta(days=days)
            gone[what] = num = self._store().forget(what, before, most=self._piece)
            while num >= self._piece and not self._stopping.wait(_PAUSE_S):
                num = self._store().forget(what, before, most=self._piece)
                gone[what] += num
        if gone.get("runs") and self._artifacts is not None:
            gone["job files"] = remove_orphans(self._artifacts(), self._store().runs)
        return gone

    def _sweep_media(self, media: MediaLimits) -> int:
        """Delete what is old, then what is too much, and record which events have lost their media."""
        now, artifacts = self._now(), media.artifacts()
        reasons = {
            f"older than {media.days} days": remove_media(artifacts, before=now - timedelta(days=media.days)),
            f"more than {media.most_bytes} bytes": remove_media(artifacts, most_bytes=media.most_bytes),
        }
        for reason, entries in reasons.items():
            events = removal_events(entries, now, reason)
            for begin in range(0, len(events), self._piece):
                self._store().events.append(events[begin : begin + self._piece])
        return sum(map(len, reasons.values()))

    def close(self) -> None:
        """End after the piece that is under way; a second call does nothing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _run(self) -> None:
        wait_s = self._first_s
        while not self._stopping.wait(wait_s):
            wait_s = self._every_s
            try:
                gone = {what: num for what, num in self.sweep().items() if num}
            except Exception as error:  # noqa: BLE001 - the database may be away; the next hour tries again
                log.warning("old rows were not forgotten", error=str(error))
                continue
            if gone:
                log.info("old rows forgotten", **gone)

"""Pictures and clips of events in the artifact store: which of them go when they are old, or when room is needed.

Knows keys and sizes; how media are made is the business of who makes them. Everything at other keys is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from sightline.core.events import MEDIA_FOLDER, Event, make_event
from sightline.core.ports import ArtifactStore, Stored

_KEY = re.compile(re.escape(MEDIA_FOLDER) + r"(\d{4})/(\d\d)/(\d\d)/([^/]+)\.(?:jpg|mp4)")


def remove_media(
    artifacts: ArtifactStore,
    *,
    before: datetime | None = None,
    most_bytes: int | None = None,
    room_bytes: int = 0,
    spare: str = "",
) -> list[Stored]:
    """Delete media of events, the oldest first, and return what went; picture and clip of an event go together.

    Args:
        artifacts: where they are.
        before: what was stored before goes.
        most_bytes: what is left takes no more than this.
        room_bytes: go on until so much is free again.
        spare: id of an event whose media stay.
    """
    groups: dict[str, list[Stored]] = {}
    for entry in artifacts.entries(MEDIA_FOLDER):
        if _KEY.fullmatch(entry.key):
            groups.setdefault(event_id_of(entry.key), []).append(entry)
    left = sum(entry.num_bytes for group in groups.values() for entry in group)
    gone: list[Stored] = []
    free = 0
    for event_id, group in sorted(groups.items(), key=lambda each: max(map(_time, each[1]))):
        is_old = before is not None and max(map(_time, group)) < before
        is_too_much = most_bytes is not None and left > most_bytes
        if not (is_old or is_too_much or free < room_bytes):
            break
        if event_id == spare:
            continue
        for entry in group:
            artifacts.delete(entry.key)
            left -= entry.num_bytes
            free += entry.num_bytes
        gone += group
    return gone


def event_id_of(key: str) -> str:
    """Return the id of the event to which the media at `key` belong."""
    return key.rpartition("/")[2].rpartition(".")[0]


def removal_events(gone: Iterable[Stored], now: datetime, reason: str) -> Sequence[Event]:
    """Return the durable events that tell of media that were deleted, one for each event that had some."""
    num_bytes: dict[str, int] = {}
    for entry in gone:
        event_id = event_id_of(entry.key)
        num_bytes[event_id] = num_bytes.get(event_id, 0) + entry.num_bytes
    return [
        make_event(
            "capture.removed",
            source=f"/events/{event_id}",
            time=now,
            subject=event_id,
            data={"event": event_id, "bytes": num, "reason": reason},
        )
        for event_id, num in num_bytes.items()
    ]


def _time(entry: Stored) -> datetime:
    """Return when something was stored; where the store does not know, the day of the event."""
    if entry.modified is not None:
        return entry.modified
    found = _KEY.fullmatch(entry.key)
    try:
        return datetime(*(int(part) for part in found.groups()[:3]), tzinfo=UTC)  # type: ignore[union-attr, arg-type, misc]
    except ValueError:  # no day of any calendar: nobody knows how old it is
        return datetime.max.replace(tzinfo=UTC)

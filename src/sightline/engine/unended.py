"""Visits and alarms that a killed process left without an end: ended by the one that takes its run up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sightline.core.codec import decode_time, encode_time
from sightline.core.events import Event, lasting_id, make_event, source_uri
from sightline.core.run import Run
from sightline.core.stores import EventStore

_PAGE, _NUM_PAGES = 1000, 5
_ENDS = {"zone.entered": "zone.left", "zone.dwell": "zone.left", "object.left": "object.removed"}


def ends_of(store: EventStore, run: Run) -> list[Event]:
    """Return the ends of what a run told to have begun, among its newest 5,000 events.

    An end is when its source was last told of: what was seen afterwards nobody knows.

    Raises:
        Unavailable: the database is away.
    """
    ended: set[str] = set()
    begun: dict[str, Event] = {}
    last: dict[str, datetime] = {}
    before = 0
    for _ in range(_NUM_PAGES):
        rows = store.list(source=f"{source_uri(run.case)}/sources/", before=before, limit=_PAGE)
        for _, event in rows:  # the newest first, so that of a stay that was told twice the beginning stays
            data = event.data
            if data.get("run") != run.id or "sample" not in data:
                continue
            last.setdefault(event.source, event.time)
            if key := str(data.get("visit") or data.get("alarm") or ""):
                if data.get("end") is not None:
                    ended.add(key)
                elif key not in ended:
                    begun[key] = event
        if len(rows) < _PAGE:
            break
        before = rows[-1][0]
    told = [event for event in begun.values() if event.short_type in _ENDS or event.data.get("state") == "start"]
    return [_end(event, last[event.source]) for event in told]


def _end(begun: Event, last: datetime) -> Event:
    data: dict[str, Any] = {name: value for name, value in begun.data.items() if name != "sample"}
    end = max(_start(data, begun.time), last)
    data |= {"end": encode_time(end), "reason": "the process was killed"}
    data |= {"state": "end"} if "state" in data else {}
    short_type = _ENDS.get(begun.short_type, begun.short_type)
    event = make_event(short_type, source=begun.source, time=end, data=data, subject=begun.subject)
    return replace(event, id=lasting_id(begun.id, "end"))


def _start(data: Mapping[str, Any], otherwise: datetime) -> datetime:
    start = data.get("start")
    return decode_time(start) if isinstance(start, str) else otherwise

"""Events whose media were begun by a process that has died since: found in the records, told by whoever comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

from sightline.core.errors import NotFound
from sightline.core.events import Event, media_key, source_uri
from sightline.core.plugins import Context

_PAGE = 200


def forsaken(
    context: Context, types: Sequence[str], takes: Callable[[Event], bool], before: int
) -> Iterator[tuple[Event, int, int]]:
    """Yield the events of a case whose media nobody makes any more, with the bytes of their thumbnail and their clip.

    What was begun has a thumbnail, as that is stored at once; what was made or given up has a `capture.stored`. The
    search begins with the newest event, and ends with a page on which none is forsaken.

    Args:
        context: of the recorder, whose own run was begun by another process where it has such events.
        types: short types or families that are recorded.
        takes: whether the media of an event are wanted.
        before: position of the first event that may be of this process.

    Raises:
        Unavailable: the database or the store is away.
    """
    ports = context.ports

    @cache
    def is_dead(run_id: str) -> bool:
        try:
            run = ports.store.runs.get(run_id)
        except NotFound:
            return True
        return run_id == context.run or run.state.is_final or (run.lease_until or context.now()) <= context.now()

    def num_bytes(event: Event, suffix: str) -> int:
        try:
            return ports.artifacts.size(media_key(event.time, event.id, suffix))
        except NotFound:
            return 0

    place, has_more = f"{source_uri(context.case)}/", True
    while has_more:
        rows = ports.store.events.list(types=types, source=place, before=before, limit=_PAGE)
        events = {each.id: each for _, each in rows if takes(each) and is_dead(str(each.data.get("run")))}
        told = ports.store.events.list(types=["capture.*"], subject=list(events), limit=4 * _PAGE) if events else ()
        silent = events.keys() - {record.subject for _, record in told}
        found = [
            (events[each], size, num_bytes(events[each], ".mp4"))
            for each in silent
            if (size := num_bytes(events[each], ".jpg"))
        ]
        yield from found
        has_more = bool(found) and len(rows) == _PAGE
        before = rows[-1][0] if rows else before

"""`/api/v1/events`: what happened, as far as it is kept, with its pictures and clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, Query, Request, Response

from sightline.core.codec import encode_event
from sightline.core.errors import InvalidInput, NotFound
from sightline.core.events import Event, checked_pattern, fits, media_key, source_uri
from sightline.serve.api.asked import PREFIX, After, Limit, Name, Route, cursor, number_of, position_of
from sightline.serve.api.event_shapes import EventDetail, EventPage
from sightline.serve.api.sending import IfNoneMatch, IfRange, Range, send_file, told_file
from sightline.serve.platform import Platform

_TYPES = 50
_WITHOUT_MEDIA = ("run.*", "model.*", "capture.*", "prediction", "sample.rejected")
_SOON = timedelta(minutes=10)  # after which a picture of which nothing was told is none
_BACK = "b"  # what cursors begin with that lead back
_RECORDS_EACH = 4  # of what was told of the media of one event: stored, and removed
Types = Annotated[
    list[Annotated[str, Query(max_length=128)]] | None,
    Query(
        description="Short types such as `line.crossed`, `line.*` for a family; may be repeated, or joined by commas.",
        max_length=_TYPES,
    ),
]
Text = Annotated[str | None, Query(max_length=512)]
Rows = list[tuple[int, Event]]


class EventDoors:
    """Answers `/events`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = APIRouter(prefix=PREFIX, tags=["events"], route_class=Route)
        add = self.router.add_api_route
        add("/events", self.list_all, response_model=EventPage, name="list_events")
        add("/events/{event}", self.get, response_model=EventDetail, name="get_event")
        for word, media_type in (("thumbnail", "image/jpeg"), ("clip", "video/mp4")):
            add(
                f"/events/{{event}}/{word}",
                getattr(self, word),
                response_class=Response,
                responses=told_file(media_type, f"The {word}."),
                name=f"event_{word}",
            )

    def list_all(
        self,
        *,
        type: Types = None,
        case: Annotated[str | None, Query(max_length=128)] = None,
        source: Annotated[str | None, Query(max_length=128, description="Id of a source; needs `case`.")] = None,
        subject: Text = None,
        since: Annotated[datetime | None, Query(description="Inclusive.")] = None,
        until: Annotated[datetime | None, Query(description="Exclusive.")] = None,
        order: Literal["desc", "asc"] = "desc",
        limit: Limit = 50,
        after: After = None,
    ) -> Any:
        """List events, the newest first, or with `order=asc` the oldest."""
        if source is not None and case is None:
            raise InvalidInput("?source= needs ?case=.", cure="Say of which case the source is.")
        wanted: dict[str, Any] = {
            "types": [checked_pattern(name) for each in type or () for name in each.split(",") if name],
            "subject": subject,
            "since": _aware(since),
            "until": _aware(until),
        }
        position, is_back = _place(after)
        falls = (order == "desc") != is_back
        rows = self._rows("" if case is None else source_uri(case, source), position, limit + 1, wanted, falls=falls)
        shown, has_more = rows[:limit], len(rows) > limit
        if is_back:
            shown.reverse()
        ends_here = not is_back and not has_more
        return {
            "items": self._shown([event for _, event in shown]),
            "next": cursor(shown[-1][0]) if shown and not ends_here else None,
            "previous": cursor(f"{_BACK}{shown[0][0]}") if shown else after if is_back else None,
        }

    def get(self, event: Name) -> Any:
        """Return an event, and where its picture and clip are."""
        [shown] = self._shown([self._event(event)])
        return shown

    def thumbnail(
        self,
        event: Name,
        request: Request,
        range: Range = None,
        if_range: IfRange = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Send the picture of an event, with what it is about framed."""
        file = self._opened(event, ".jpg")
        return _sent(request, file, event, ".jpg", (range, if_range, if_none_match))

    def clip(
        self,
        event: Name,
        request: Request,
        range: Range = None,
        if_range: IfRange = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Send the clip of an event, or a part of it."""
        file = self._opened(event, ".mp4")
        return _sent(request, file, event, ".mp4", (range, if_range, if_none_match))

    def _rows(self, place: str, position: int, num: int, wanted: Mapping[str, Any], *, falls: bool) -> Rows:
        """Return up to `num` events of a place from a position on, upwards or downwards."""
        found: Rows = []
        while len(found) < num:  # the store's filter is a prefix: /cases/door also begins /cases/doors
            turn: dict[str, Any] = {"before": position} if falls else {"after": position}
            rows = self._platform.context.store.events.list(source=place, limit=num, **turn, **wanted)
            found += [row for row in rows if not place or f"{row[1].source}/".startswith(f"{place}/")]
            if len(rows) < num:
                break
            position = rows[-1][0]
        return found[:num]

    def _event(self, event_id: str) -> Event:
        events = self._platform.context.store.events
        position = events.position(event_id)
        found = () if position is None else events.list(after=position - 1, limit=1)
        for _, event in found:
            if event.id == event_id:
                return event
        raise NotFound(f"There is no event {event_id!r}.", cure="Events are kept for records.event_days.")

    def _opened(self, event_id: str, suffix: str) -> BinaryIO:
        event = self._event(event_id)
        try:
            return self._platform.context.artifacts.open(media_key(event.time, event_id, suffix))
        except NotFound:
            pass
        [shown] = self._shown([event])
        media = shown["media"] or {}
        word = "clip" if suffix == ".mp4" else "thumbnail"
        why = media.get("removed") or media.get("lost") or "none was stored, or it is still being made"
        raise NotFound(
            f"The event {event_id!r} has no {word}: {why}.", cure="A sink `event-recorder` makes them."
        ) from None

    def _shown(self, events: Sequence[Event]) -> list[dict[str, Any]]:
        """Return events as they are shown, with what is known of their media."""
        context = self._platform.context
        ids = [event.id for event in events if not fits(event.short_type, _WITHOUT_MEDIA)]
        told: dict[str, dict[str, Any]] = {}
        if ids:
            kinds, most = ["capture.stored", "capture.removed"], _RECORDS_EACH * len(ids)
            for _, record in context.store.events.list(types=kinds, subject=ids, before=0, limit=most):
                media = told.setdefault(str(record.subject), {})
                if record.short_type == "capture.removed" and not media:
                    media["removed"] = str(record.data.get("reason"))
                elif record.short_type == "capture.stored":
                    told[str(record.subject)] = {**record.data, **media}
        shown = []
        for event in events:
            media = told.get(event.id, {})
            if not media and event.id in ids and self._has_picture(event):
                media = {"thumbnail": "stored a moment ago"}
            shown.append({**encode_event(event), "media": _media(event.id, media) if media else None})
        return shown

    def _has_picture(self, event: Event) -> bool:
        """Return whether a young event has a picture already of which nothing is told before the clip is there."""
        if abs(datetime.now(UTC) - event.time) > _SOON:
            return False
        try:
            return self._platform.context.artifacts.size(media_key(event.time, event.id, ".jpg")) > 0
        except NotFound:
            return False


def _media(event_id: str, told: Mapping[str, Any]) -> dict[str, Any]:
    removed = told.get("removed")
    here = {word: f"{PREFIX}/events/{event_id}/{word}" for word in ("thumbnail", "clip")}
    return {
        **{word: path if told.get(word) and removed is None else None for word, path in here.items()},
        "start": told.get("start"),
        "end": told.get("end"),
        "bytes": told.get("bytes") or 0,
        "lost": told.get("lost"),
        "removed": removed,
    }


def _sent(
    request: Request, file: BinaryIO, event_id: str, suffix: str, asked: tuple[str | None, str | None, str | None]
) -> Response:
    num_bytes = file.seek(0, 2)
    part, if_range, if_none_match = asked
    return send_file(
        request,
        file,
        name=f"{event_id}{suffix}",
        media_type="video/mp4" if suffix == ".mp4" else "image/jpeg",
        etag=f'"{event_id}-{num_bytes}"',
        part=part,
        if_range=if_range,
        if_none_match=if_none_match,
    )


def _place(after: str | None) -> tuple[int, bool]:
    """Return the position in a cursor, and whether it leads back."""
    text = "" if after is None else position_of(after)
    if text.startswith(_BACK):
        return number_of(cursor(text.removeprefix(_BACK))), True
    return number_of(after), False


def _aware(time: datetime | None) -> datetime | None:
    """Return a time with a zone; without one it is meant as UTC."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time

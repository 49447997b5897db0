"""Operations that listen: events and predictions as they happen, by Server-Sent Events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import httpx2

from sightline.client.asking import known
from sightline.client.lists import pages
from sightline.client.steps import Item, Items, Next, Now, Pause, Request
from sightline.core.codec import decode_event, decode_sample, decode_time, encode_time, from_json
from sightline.core.errors import InvalidInput, Overloaded, SightlineError, Unavailable
from sightline.core.events import Event, make_event, source_uri
from sightline.core.json_fields import DAMAGE
from sightline.core.ports import Gap
from sightline.core.sample import Sample

T = TypeVar("T")

_MOST_BYTES = 16 << 20  # of one event
_RETRY_S = 2.0  # until the server says otherwise
_LONGEST_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class Told:
    """One event of a stream as it came.

    Attributes:
        id: of the last event that had one.
        retry_s: how long to wait before coming back, where the server said so.
    """

    type: str
    data: str
    id: str
    retry_s: float | None = None


def events(
    *,
    case: str | Sequence[str] | None = None,
    source: str | Sequence[str] | None = None,
    run: str | Sequence[str] | None = None,
    types: Sequence[str] = (),
    last_event_id: str | None = None,
    patience_s: float | None = 60.0,
) -> Items[Event | Gap]:
    """Yield what happens, for ever; when the connection breaks off, go on behind the last event.

    Args:
        case: names of cases; None: all.
        source: ids of sources; None: all.
        run: ids of runs; None: all. A prediction does not say of which run it is.
        types: short types such as `line.crossed`, or `line.*`; none: all.
        last_event_id: begin behind this event; None: with what happens from now on.
        patience_s: for so long it is tried to come back; None: for ever. The first connection has the tries of any
            call.

    Yields:
        Events, and a `Gap` where some were lost. The data of a `prediction` is the wire form of its sample
        (`sightline.core.codec.decode_sample`); `predictions` gives samples.

    Raises:
        Unavailable: the server cannot be reached, or did not come back in time.
        SightlineError: the server refuses.
    """
    yield from _listened(told_event, _query(case, source, types, run), last_event_id, patience_s)


def predictions(
    *,
    case: str | Sequence[str] | None = None,
    source: str | Sequence[str] | None = None,
    last_event_id: str | None = None,
    patience_s: float | None = 60.0,
) -> Items[Sample[None] | Gap]:
    """Yield the samples that running cases analysed, with their predictions; arguments and errors as of `events`."""
    yield from _listened(told_sample, _query(case, source, ("prediction",)), last_event_id, patience_s)


def recorded_events(
    *,
    case: str | None = None,
    source: str | None = None,
    types: Sequence[str] = (),
    subject: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    oldest_first: bool = False,
) -> Items[Event]:
    """Yield what happened, as far as it is kept, the newest first; predictions are not kept.

    Args:
        case: name of a case; None: all.
        source: id of a source; needs `case`.
        types: short types such as `line.crossed`; none: all.
        subject: for instance `track/7`.
        since: inclusive begin; without a zone it is UTC.
        until: exclusive end.
        oldest_first: the other way round.
    """
    times = {name: encode_time(_aware(time)) for name, time in (("since", since), ("until", until)) if time is not None}
    query = known(case=case, source=source, type=tuple(types), subject=subject, order="asc" if oldest_first else None)
    yield from pages("/events", decode_event, query | times)


def _listened(
    make: Callable[[Told], T], query: Mapping[str, str], last_event_id: str | None, patience_s: float | None
) -> Items[T | Gap]:
    """Hand out what `make` makes of each event that has data."""
    last_id, retry_s = last_event_id or "", _RETRY_S
    alive_s: float | None = None
    while True:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        reader = SseReader()
        try:
            yield Request(method="GET", path="/stream", query=query, headers=headers, listening=True)
            if alive_s is not None and not last_id:
                yield Item(Gap(None))  # nothing to go on behind: what happened meanwhile nobody knows
            while (part := (yield Next())) is not None:
                alive_s = yield Now()
                for told in reader.read(part):
                    last_id = told.id or last_id
                    retry_s = retry_s if told.retry_s is None else min(told.retry_s, _LONGEST_RETRY_S)
                    if told.data:
                        yield Item(make(told))
        except (httpx2.HTTPError, Unavailable, Overloaded) as error:
            now_s: float = yield Now()
            if alive_s is None:
                raise
            if patience_s is not None and now_s - alive_s > patience_s:
                if isinstance(error, SightlineError):
                    raise
                raise Unavailable(f"The stream of events broke off: {error}.") from None
        yield Pause(retry_s)


class SseReader:
    """Takes a stream of Server-Sent Events apart, in whatever parts it comes."""

    def __init__(self) -> None:
        self._rest = b""
        self._size = 0
        self._lines: list[str] = []
        self._type = ""
        self._id = ""
        self._retry_s: float | None = None

    def read(self, part: bytes) -> Iterator[Told]:
        """Yield the events that end in this part.

        Raises:
            Unavailable: an event is larger than any that a Sightline sends.
        """
        lines = (self._rest + part).splitlines(keepends=True)
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        self._size += len(part)
        if self._size > _MOST_BYTES:
            raise Unavailable(f"An event of the stream is longer than {_MOST_BYTES >> 20} MiB.")
        for line in lines:
            text = line.rstrip(b"\r\n").decode("utf-8", "replace")
            if text:
                self._take(text)
            else:
                self._size = len(self._rest)
                if self._lines or self._retry_s is not None:
                    yield Told(self._type or "message", "\n".join(self._lines), self._id, self._retry_s)
                self._lines, self._type, self._retry_s = [], "", None

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._lines.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdecimal() and len(value) < 10:
            self._retry_s = int(value) / 1000


def told_event(told: Told) -> Event | Gap:
    """Return the event that was told, or the gap.

    Raises:
        InvalidInput: it is neither.
    """
    data = from_json(told.data)
    try:
        if told.type == "gap":
            return Gap(data["num_lost"])
        if told.type != "prediction":
            return decode_event(data)
        place, time = source_uri(data["case"], data["source"]), decode_time(data["time"])
    except DAMAGE as error:
        raise InvalidInput(f"The stream has an event {told.type!r} that cannot be read: {error!r}.") from None
    return replace(make_event("prediction", source=place, time=time, data=data), id=told.id)


def told_sample(told: Told) -> Sample[None] | Gap:
    """Return the sample that was told, or the gap.

    Raises:
        InvalidInput: it is neither.
    """
    told_of = told_event(told)
    return told_of if isinstance(told_of, Gap) else decode_sample(told_of.data)


def _query(
    case: str | Sequence[str] | None,
    source: str | Sequence[str] | None,
    types: Sequence[str],
    run: str | Sequence[str] | None = None,
) -> dict[str, str]:
    return known(case=_names(case), source=_names(source), run=_names(run), type=tuple(types))


def _aware(time: datetime) -> datetime:
    """Return a time with a zone; without one it is meant as UTC."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _names(given: str | Sequence[str] | None) -> str | tuple[str, ...] | None:
    return given if given is None or isinstance(given, str) else tuple(given)

"""`GET /stream`: what happens, as Server-Sent Events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sightline.core.errors import InvalidInput
from sightline.core.events import Event
from sightline.core.ports import Gap
from sightline.serve.exchange import Exchange
from sightline.serve.live.bells import Bell, Bells
from sightline.serve.live.hub import Hub, Listener, Telling
from sightline.serve.live.replay import missed, pages
from sightline.serve.live.wanted import Wanted

if TYPE_CHECKING:
    from sightline.serve.platform import Platform

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx must not collect events before it passes them on
)
_RETRY = b"retry: 2000\n\n"
_HEARTBEAT = b": still here\n\n"
_HEARTBEAT_S = 15.0
_REMEMBERED_S = 60.0  # how long events that were replayed may come once more, by the relay
_LONGEST_ID = 256


class EventDoor:
    """Answers `/stream`.

    Args:
        platform: what all doors share.
        hub: tells what happens.
        bells: of all open connections.
        heartbeat_s: a comment is sent when nothing else was for so long.
    """

    def __init__(self, platform: Platform, hub: Hub, bells: Bells, *, heartbeat_s: float = _HEARTBEAT_S) -> None:
        self._platform = platform
        self._hub = hub
        self._bells = bells
        self._heartbeat_s = heartbeat_s

    async def __call__(self, exchange: Exchange) -> None:
        """Tell what happens until the caller leaves or the server ends.

        Raises:
            InvalidInput: a filter or the id of the last event is none, or a parameter is unknown.
        """
        Wanted.check_known(exchange.query, "run", "type", "last_event_id")
        wanted = Wanted.of_query(exchange.query)
        after = exchange.text_header(b"last-event-id") or exchange.query.get("last_event_id", "")
        if len(after) > _LONGEST_ID:
            raise InvalidInput("The Last-Event-ID is no id of an event.", cure="Send the `id:` of the last event.")
        if exchange.method == "HEAD":
            await exchange.begin(200, HEADERS)
            await exchange.send_part(b"", more=False)
            return
        async with self._bells.of(exchange) as bell:
            listener = Listener(wanted, bell)
            await self._hub.join(listener)
            try:
                await exchange.begin(200, HEADERS)
                await exchange.send_part(_RETRY)
                seen = await self._replay(exchange, wanted, after) if after else frozenset[str]()
                await self._tell(exchange, listener, bell, seen)
            finally:
                self._hub.leave(listener)

    async def _tell(self, exchange: Exchange, listener: Listener, bell: Bell, seen: frozenset[str]) -> None:
        """Send what waits for the listener, again and again."""
        forget_s = time.monotonic() + _REMEMBERED_S
        while not bell.is_over:
            told = listener.take()
            if told:
                if seen:
                    told = [each for each in told if isinstance(each, Gap) or each.event.id not in seen]
                    if time.monotonic() > forget_s:
                        seen = frozenset()
                if told:
                    await exchange.send_part(b"".join(map(_encoded, told)))
            elif not await bell.wait(self._heartbeat_s):
                await exchange.send_part(_HEARTBEAT)
        await exchange.send_part(b"", more=False)

    async def _replay(self, exchange: Exchange, wanted: Wanted, after: str) -> frozenset[str]:
        """Send what came since the event `after`; return the ids of what may come once more."""
        ports = self._platform.context
        outbox = ports.store.events
        lost = await asyncio.to_thread(missed, ports.bus, outbox, after, self._hub.before(after))
        ids = {event.id for event in lost.ring}
        if lost.gap is not None and (lost.position is None or wanted.has_transient):
            await exchange.send_part(_encoded(Gap(lost.gap.num_lost if wanted.is_all else None)))
        if lost.position is not None:
            recorded = pages(outbox, lost.position, frozenset(ids))
            while (page := await asyncio.to_thread(next, recorded, None)) is not None:
                ids.update(event.id for event in page)
                await self._send(exchange, wanted, page)
        await self._send(exchange, wanted, lost.ring)
        return frozenset(ids)

    async def _send(self, exchange: Exchange, wanted: Wanted, events: Sequence[Event]) -> None:
        tellings: Iterable[Telling] = map(Telling, events)
        parts = [
            each.sse for each in tellings if wanted.takes(each.short_type, each.case, each.source, each.event.data)
        ]
        if parts:
            await exchange.send_part(b"".join(parts))


def _encoded(told: Telling | Gap) -> bytes:
    """Return the bytes of one event; a gap has no id, so that who comes back asks for what he truly had."""
    if isinstance(told, Telling):
        return told.sse
    return b'event: gap\ndata: {"num_lost":%s}\n\n' % (b"null" if told.num_lost is None else b"%d" % told.num_lost)

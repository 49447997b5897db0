"""From the bus to all who listen: one subscription for the whole process, each event encoded once for everybody.

Runs on the loop; the bus only wakes it. A listener who is slow loses his oldest events and is told how many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sightline.core.codec import encode_event, to_json
from sightline.core.errors import SightlineError
from sightline.core.events import Event
from sightline.core.ports import Gap, Ports, Subscription
from sightline.serve.live.bells import Bell
from sightline.serve.live.wanted import Wanted

BACKLOG = 512
"""Events that wait for one listener; the oldest are lost beyond that."""

_BUS_BACKLOG = 8192
_PARCEL = 256  # events that are handed round before the loop does something else
_FORMER = 16_384  # transient events whose place among the durable ones is remembered
_LINE_ENDS = str.maketrans("", "", "\r\n\0")


class Telling:
    """An event on its way out, in the forms in which it is sent; each is made once, when somebody needs it."""

    __slots__ = ("_json", "_sse", "case", "event", "short_type", "source")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.short_type = event.short_type
        self.case, self.source = place_of(event.source)
        self._json: str | None = None
        self._sse: bytes | None = None

    @property
    def json(self) -> str:
        """CloudEvents JSON: a text message of a WebSocket."""
        if self._json is None:
            self._json = to_json(encode_event(self.event)).decode()
        return self._json

    @property
    def sse(self) -> bytes:
        """The event as Server-Sent Event; a prediction's data is the wire form of its sample."""
        if self._sse is None:
            event = self.event
            data: Any = event.data if self.short_type == "prediction" else encode_event(event)
            head = f"id: {event.id.translate(_LINE_ENDS)}\nevent: {self.short_type.translate(_LINE_ENDS)}\ndata: "
            self._sse = b"".join((head.encode(), to_json(data), b"\n\n"))
        return self._sse


def place_of(uri: str) -> tuple[str, str]:
    """Return case and source of the URI path that an event carries, empty where it names none."""
    parts = uri.split("/", 4)
    if len(parts) < 3 or parts[1] != "cases":
        return "", ""
    return parts[2], parts[4] if len(parts) == 5 and parts[3] == "sources" else ""


class Listener:
    """One who listens: a filter, and what waits for him.

    Args:
        wanted: what he wants to hear.
        bell: rung when something waits.
        capacity: most events that wait.
    """

    def __init__(self, wanted: Wanted, bell: Bell, capacity: int = BACKLOG) -> None:
        self.wanted = wanted
        self._bell = bell
        self._waiting: deque[Telling] = deque(maxlen=capacity)
        self._num_lost: int | None = 0

    def offer(self, telling: Telling) -> None:
        """Take an event if it is wanted."""
        wanted = self.wanted
        if not wanted.takes(telling.short_type, telling.case, telling.source, telling.event.data):
            return
        if len(self._waiting) == self._waiting.maxlen and self._num_lost is not None:
            self._num_lost += 1
        self._waiting.append(telling)
        self._bell.ring()

    def lose(self, num: int | None) -> None:
        """Note that events were lost on the way to here; how many of them were wanted is known without a filter."""
        if num is None or self._num_lost is None or not self.wanted.is_all:
            self._num_lost = None
        else:
            self._num_lost += num
        self._bell.ring()

    def take(self) -> Sequence[Telling | Gap]:
        """Return all that waits, a Gap before what followed lost events."""
        told: list[Telling | Gap] = list(self._waiting)
        self._waiting.clear()
        if self._num_lost != 0:
            told.insert(0, Gap(self._num_lost))
            self._num_lost = 0
        return told

    def forget(self) -> None:
        """Throw away what waits."""
        self._waiting.clear()
        self._num_lost = 0


class Hub:
    """Hands round what the bus tells.

    Args:
        ports: returns the ports: the bus, and the outbox to know where it stands.
    """

    def __init__(self, ports: Callable[[], Ports]) -> None:
        self._ports = ports
        self._listeners: set[Listener] = set()
        self._subscription: Subscription | None = None
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = False
        self._before: str | int | None = None  # the last durable event, by id, or by position where none came yet
        self._former: dict[str, str | int | None] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    @property
    def is_open(self) -> bool:
        """True while it is subscribed."""
        return self._subscription is not None

    async def join(self, listener: Listener) -> None:
        """Begin to tell a listener what happens from now on."""
        self._listeners.add(listener)
        try:
            async with self._opening:
                if self._subscription is None:
                    self._loop = asyncio.get_running_loop()
                    self._subscription, self._before = await asyncio.to_thread(self._subscribed)
        except BaseException:
            self.leave(listener)
            raise
        self._wake()

    def leave(self, listener: Listener) -> None:
        """Tell him nothing more; with the last listener the subscription ends."""
        self._listeners.discard(listener)
        if not self._listeners and self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            subscription.close()

    def before(self, event_id: str) -> str | int | None:
        """Return the durable event that came last before one that lives on the bus alone: its id or position.

        None where that is not known, or not any more.
        """
        return self._former.get(event_id)

    def _subscribed(self) -> tuple[Subscription, int | None]:
        ports = self._ports()
        subscription = ports.bus.subscribe(capacity=_BUS_BACKLOG, wake=self._wake)
        try:
            return subscription, ports.store.events.position()
        except SightlineError:  # the database is away: live events need it not
            return subscription, None

    def _wake(self) -> None:
        """Have `_hand_round` called soon; called by any thread."""
        if self._told or self._loop is None:
            return
        self._told = True
        self._loop.call_soon_threadsafe(self._hand_round)

    def _hand_round(self) -> None:
        self._told = False
        subscription = self._subscription
        if subscription is None:
            return
        for _ in range(_PARCEL):
            told = subscription.get(0)
            if told is None:
                return
            if isinstance(told, Gap):
                for listener in self._listeners:
                    listener.lose(told.num_lost)
                continue
            self._note(told)
            telling = Telling(told)
            for listener in self._listeners:
                listener.offer(telling)
        self._wake()

    def _note(self, event: Event) -> None:
        if not event.is_transient:
            self._before = event.id
            return
        self._former[event.id] = self._before
        if len(self._former) > _FORMER:
            del self._former[next(iter(self._former))]

"""The event bus of one process: a ring of the newest events, and a bounded queue for each subscriber.

Knows nothing of other processes; the relay brings what they recorded, NATS does more.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Lock

import structlog

from sightline.core.errors import InvalidInput
from sightline.core.events import Event
from sightline.core.ports import EventBus, Gap, Subscription

log = structlog.get_logger()
_MAX_FORMER = 16_384  # ids of durable events that are known longer than the events: the relay may be minutes behind


class MemoryBus(EventBus):
    """Gives each event to the queues of those who want it; publishing waits for nobody.

    Args:
        capacity: newest events that are kept for those who come back.
        keep_s: for how many seconds they are kept at most.
        now: a clock in seconds.
    """

    def __init__(
        self, *, capacity: int = 2048, keep_s: float = 300.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = capacity
        self._keep_s = keep_s
        self._now = now
        self._subscriptions: tuple[_MemorySubscription, ...] = ()
        self._ring: deque[tuple[float, Event]] = deque()
        self._num_published = 0
        self._numbers: dict[str, int] = {}  # number of each event that is known, by id; the ring holds the last ones
        self._former: deque[str] = deque()
        self._lock = Lock()
        self._closed = False

    def publish(self, event: Event) -> None:
        """Give the event to all who want it."""
        with self._lock:
            if self._closed or event.id in self._numbers:
                return
            now = self._now()
            self._num_published += 1
            self._numbers[event.id] = self._num_published
            self._ring.append((now, event))
            self._forget(now)
            subscriptions = self._subscriptions
            # Under the lock: all subscribers see one order, and one that begins now misses nothing.
            wanted = [each for each in subscriptions if each.offer(event)] if subscriptions else ()
        for subscription in wanted:
            subscription.wake()

    def subscribe(
        self,
        *,
        types: Sequence[str] = (),
        source: str = "",
        capacity: int = 256,
        after: str | None = None,
        wake: Callable[[], None] | None = None,
    ) -> Subscription:
        """Return a queue for the events that are wanted; a closed one when the bus is closed."""
        if capacity < 1:
            raise InvalidInput(f"A subscription needs a capacity of at least 1, not {capacity}.")
        subscription = _MemorySubscription(frozenset(types), source, capacity, self._leave, wake)
        with self._lock:
            has_news = after is not None and self._replay(subscription, after, is_all=not (types or source))
            if not self._closed:
                self._subscriptions = (*self._subscriptions, subscription)
            closed = self._closed
        if closed:
            subscription.close()
        elif has_news:
            subscription.wake()
        return subscription

    def close(self) -> None:
        """Close all queues; what waits in them can still be read."""
        with self._lock:
            self._closed = True
            subscriptions, self._subscriptions = self._subscriptions, ()
        for subscription in subscriptions:
            subscription.close()

    def _replay(self, subscription: _MemorySubscription, after: str, *, is_all: bool) -> bool:
        """Give what came since the event of the id `after`; return whether there is anything to read.

        Args:
            subscription: of the one who comes back.
            after: the last event that he had.
            is_all: he wants every event, so that those he lost can be counted.
        """
        self._forget(self._now())
        number = self._numbers.get(after)
        num_gone = self._num_published - len(self._ring)  # the ring holds the events behind this number
        has_gap = number is None or number < num_gone
        if has_gap:
            subscription.lose(num_gone - number if is_all and number is not None else None)
        skip = max(0, (number or 0) - num_gone)
        offered = [subscription.offer(event) for _, event in list(self._ring)[skip:]]
        return has_gap or any(offered)

    def _forget(self, now: float) -> None:
        """Drop the events that are too many or too old."""
        ring = self._ring
        while ring and (len(ring) > self._capacity or ring[0][0] < now - self._keep_s):
            _, event = ring.popleft()
            if event.is_transient:
                del self._numbers[event.id]
                continue
            self._former.append(event.id)
            if len(self._former) > _MAX_FORMER:
                del self._numbers[self._former.popleft()]

    def _leave(self, subscription: _MemorySubscription) -> None:
        with self._lock:
            self._subscriptions = tuple(each for each in self._subscriptions if each is not subscription)


class _MemorySubscription(Subscription):
    """A queue that forgets its oldest events when it is full, and says how many."""

    def __init__(
        self,
        types: frozenset[str],
        source: str,
        capacity: int,
        leave: Callable[[_MemorySubscription], None],
        wake: Callable[[], None] | None,
    ) -> None:
        self._types = types
        self._source = source
        self._leave = leave
        self._wake = wake
        self._events: deque[Event] = deque(maxlen=capacity)
        self._num_lost: int | None = 0  # None: nobody knows how many
        self._closed = False
        self._changed = Condition(Lock())

    def offer(self, event: Event) -> bool:
        """Take the event if it is wanted; return whether it was."""
        if not event.source.startswith(self._source) or (self._types and event.short_type not in self._types):
            return False
        with self._changed:
            if self._closed:
                return False
            if len(self._events) == self._events.maxlen and self._num_lost is not None:
                self._num_lost += 1  # the deque drops its oldest by itself
            self._events.append(event)
            self._changed.notify()
        return True

    def lose(self, num: int | None) -> None:
        """Note that events are lost that came before all that wait."""
        with self._changed:
            self._num_lost = num

    def wake(self) -> None:
        """Tell the reader that there is something to read, if he wants to be told."""
        if self._wake is not None:
            try:
                self._wake()
            except Exception as error:  # noqa: BLE001 - an event loop that is closed must not stop who publishes
                self._wake = None
                log.debug("a subscriber cannot be woken", error=str(error))

    def get(self, timeout_s: float | None = None) -> Event | Gap | None:
        with self._changed:
            if not (self._events or self._num_lost != 0 or self._closed):
                self._changed.wait_for(lambda: self._events or self._closed, timeout_s)
            if self._num_lost != 0:
                # What was lost is always older than what waits, so the gap stands before it.
                gap, self._num_lost = Gap(self._num_lost), 0
                return gap
            return self._events.popleft() if self._events else None

    def close(self) -> None:
        with self._changed:
            was_closed, self._closed = self._closed, True
            self._changed.notify_all()
        self._leave(self)
        if not was_closed:
            self.wake()

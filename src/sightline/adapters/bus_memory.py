"""The event bus of one process: a bounded queue for each subscriber.

Knows nothing of other processes; NATS does that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Lock

from sightline.core.errors import InvalidInput
from sightline.core.events import Event
from sightline.core.ports import EventBus, Gap, Subscription


class MemoryBus(EventBus):
    """Gives each event to the queues of those who want it; publishing waits for nobody."""

    def __init__(self) -> None:
        # Replaced as a whole under the lock, so that `publish` reads it without one.
        self._subscriptions: tuple[_MemorySubscription, ...] = ()
        self._lock = Lock()
        self._closed = False

    def publish(self, event: Event) -> None:
        """Give the event to all who want it."""
        for subscription in self._subscriptions:
            subscription.offer(event)

    def subscribe(self, *, types: Sequence[str] = (), source: str = "", capacity: int = 256) -> Subscription:
        """Return a queue for the events that are wanted; a closed one when the bus is closed."""
        if capacity < 1:
            raise InvalidInput(f"A subscription needs a capacity of at least 1, not {capacity}.")
        subscription = _MemorySubscription(frozenset(types), source, capacity, self._leave)
        with self._lock:
            if not self._closed:
                self._subscriptions = (*self._subscriptions, subscription)
                return subscription
        subscription.close()
        return subscription

    def close(self) -> None:
        """Close all queues; what waits in them can still be read."""
        with self._lock:
            self._closed = True
            subscriptions, self._subscriptions = self._subscriptions, ()
        for subscription in subscriptions:
            subscription.close()

    def _leave(self, subscription: _MemorySubscription) -> None:
        with self._lock:
            self._subscriptions = tuple(each for each in self._subscriptions if each is not subscription)


class _MemorySubscription(Subscription):
    """A queue that forgets its oldest events when it is full, and says how many."""

    def __init__(
        self, types: frozenset[str], source: str, capacity: int, leave: Callable[[_MemorySubscription], None]
    ) -> None:
        self._types = types
        self._source = source
        self._leave = leave
        self._events: deque[Event] = deque(maxlen=capacity)
        self._num_lost = 0
        self._closed = False
        self._changed = Condition(Lock())

    def offer(self, event: Event) -> None:
        """Take the event if it is wanted."""
        if not event.source.startswith(self._source) or (self._types and event.short_type not in self._types):
            return
        with self._changed:
            if self._closed:
                return
            if len(self._events) == self._events.maxlen:
                self._num_lost += 1  # the deque drops its oldest by itself
            self._events.append(event)
            self._changed.notify()

    def get(self, timeout_s: float | None = None) -> Event | Gap | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._events or self._closed, timeout_s) or not self._events:
                return None
            if self._num_lost:
                # What was lost is always older than what waits, so the gap stands before it.
                gap, self._num_lost = Gap(self._num_lost), 0
                return gap
            return self._events.popleft()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._leave(self)

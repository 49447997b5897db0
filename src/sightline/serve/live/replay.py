"""What a listener missed who comes back: durable events from the outbox, then what the bus still has.

Events stand in both while they are young. Where the outbox meets the bus, the bus goes on: it also has the
predictions, in the order in which all came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from sightline.core.events import Event
from sightline.core.ports import EventBus, Gap
from sightline.core.stores import EventStore

_PAGE = 500
_RING = 1 << 16


@dataclass(frozen=True)
class Missed:
    """What came since the last event that a listener had.

    Attributes:
        gap: what is lost for good among the events that live on the bus alone; None: nothing.
        ring: what the bus still has, in order.
        position: of the outbox, from which on its events are to be told before those of the ring; None: none are.
    """

    gap: Gap | None
    ring: tuple[Event, ...]
    position: int | None


def missed(bus: EventBus, outbox: EventStore, after: str, before: str | int | None) -> Missed:
    """Return what came since the event of id `after`.

    Args:
        bus: what happens now.
        outbox: what was recorded.
        after: the last event that the listener had.
        before: the durable event before it, where `after` itself is not durable: id, or position.
    """
    subscription = bus.subscribe(capacity=_RING, after=after)
    try:
        told = list(iter(lambda: subscription.get(0), None))
    finally:
        subscription.close()
    gap = next((each for each in told if isinstance(each, Gap)), None)
    ring = tuple(each for each in told if isinstance(each, Event))
    if gap is None:
        return Missed(None, ring, None)
    position = outbox.position(after)
    if position is None:
        position = outbox.position(before) if isinstance(before, str) else before
    return Missed(gap, ring, position)


def pages(outbox: EventStore, position: int, ring: frozenset[str]) -> Iterator[list[Event]]:
    """Yield the recorded events behind `position`, page by page, up to the first that the ring has too."""
    while True:
        found = outbox.list(after=position, limit=_PAGE)
        events = [event for _, event in found]
        page = list(takewhile(lambda event: event.id not in ring, events))
        yield page
        if len(page) < _PAGE:
            return
        position = found[-1][0]

"""The one way in which a run tells what happened: published at once, recorded in order when the database takes it.

Whoever tells never waits for the database: the writer's thread records, and what is left is recorded when the run ends.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Lock

import structlog

from sightline.core.errors import InvalidInput, Unavailable
from sightline.core.events import Event
from sightline.core.ports import Ports
from sightline.engine.pipeline import kind_of
from sightline.engine.surroundings import as_ours

log = structlog.get_logger()
_GRACE_S = 0.5  # what the end of a run waits for a thread that is recording


class Outbox:
    """The events of one run on their way to the database and the bus; any thread may call it.

    Args:
        ports: where they go.
        fail: ends the run, because a vital event cannot be recorded.
        capacity: events that wait for a database that is away; the oldest are lost beyond that.
        retry_s: pause before the database is tried again, at least as long as it took to fail.
        now: a clock in seconds.
    """

    def __init__(
        self,
        ports: Ports,
        *,
        fail: Callable[[Exception], None],
        capacity: int = 10_000,
        retry_s: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.num_lost = 0
        self._ports = ports
        self._fail = fail
        self._capacity = capacity
        self._retry_s = retry_s
        self._now = now
        self._waiting: deque[tuple[Event, bool]] = deque()  # with whether it is vital
        self._retry_at_s: float | None = None
        self._logged: set[str] = set()
        self._is_mute = False
        self._lock = Lock()  # of what waits; never held while the database is asked
        self._recording = Lock()

    def tell(self, *events: Event, vital: bool = True) -> None:
        """Publish events, and keep those that are durable until `record_due` or `settle` records them.

        Args:
            events: what happened.
            vital: the run has failed when it ends without having recorded them.
        """
        durable = [(event, vital) for event in events if not event.is_transient]
        if durable:
            with self._lock:
                self._waiting += durable
                self._trim()
        self.publish(*events)

    def publish(self, *events: Event) -> None:
        """Publish events that are recorded elsewhere, or not at all."""
        for event in events:
            try:
                self._ports.bus.publish(event)
                self._is_mute = False
            except Exception as error:  # noqa: BLE001 - a bus that fails must not end a run
                if not self._is_mute:
                    log.warning("event was not published", event_type=event.short_type, error=str(error))
                self._is_mute = True

    def record_due(self) -> None:
        """Record the events that wait, unless the database failed a moment ago."""
        if self._waiting and (self._retry_at_s is None or self._now() >= self._retry_at_s):
            with self._recording:
                self._record()

    def settle(self) -> None:
        """Record all that waits; what the database does not take now is lost."""
        if not self._recording.acquire(timeout=_GRACE_S):
            return  # a thread that was given up is still at it
        try:
            error = self._record()
        finally:
            self._recording.release()
        if error is not None:
            with self._lock:
                num_vital = sum(vital for _, vital in self._waiting)
                self._waiting.clear()
            self.num_lost += num_vital
            if num_vital:
                self._fail(error)

    def _record(self) -> Exception | None:
        """Record what waits; it goes on waiting while the database is away, whose error is returned."""
        begin_s = self._now()
        one_by_one = False
        while parcel := self._taken(1 if one_by_one else None):
            try:
                self._ports.store.events.append([event for event, _ in parcel])
            except Unavailable as error:
                self._put_back(parcel)
                if self._retry_at_s is None:
                    log.warning("events wait for the database", error=str(error))
                now_s = self._now()
                # A database that is slow to fail must not eat us up.
                self._retry_at_s = now_s + max(self._retry_s, now_s - begin_s)
                return error
            except Exception as error:  # noqa: BLE001 - an event that cannot be kept must not keep back the others
                if one_by_one:
                    self._refused(*parcel[0], error)
                else:
                    self._put_back(parcel)
                    one_by_one = True
        self._retry_at_s = None
        return None

    def _refused(self, event: Event, vital: bool, error: Exception) -> None:
        if kind_of(error) not in self._logged:
            log.error("event was not recorded", event_type=event.short_type, error=str(error))
        self._logged.add(kind_of(error))
        self.num_lost += vital
        if vital and not isinstance(error, InvalidInput):
            self._fail(as_ours(error, "The database"))

    def _taken(self, most: int | None) -> list[tuple[Event, bool]]:
        with self._lock:
            num = len(self._waiting) if most is None else min(most, len(self._waiting))
            return [self._waiting.popleft() for _ in range(num)]

    def _put_back(self, parcel: list[tuple[Event, bool]]) -> None:
        with self._lock:
            self._waiting.extendleft(reversed(parcel))
            self._trim()

    def _trim(self) -> None:
        while len(self._waiting) > self._capacity:
            _, vital = self._waiting.popleft()
            self.num_lost += vital

"""Carries what other processes recorded to the bus of this one.

So a client of `serve` sees the alarms of a `sightline run` in another terminal that uses the same database. What this
process told itself is passed over by the bus, which knows it already.
"""

from __future__ import annotations

from threading import Event, Thread

import structlog

from sightline.core.ports import Ports

log = structlog.get_logger()
_PARCEL = 500
_LONGEST_PAUSE_S = 5.0  # between two tries while the database is away


class Relay:
    """One thread that follows the outbox from its newest position on.

    Args:
        ports: the outbox and the bus.
        every_s: how often it looks.
    """

    def __init__(self, ports: Ports, *, every_s: float = 0.5) -> None:
        self._ports = ports
        self._every_s = every_s
        self._position: int | None = None
        self._woken = Event()
        self._closed = False
        self._thread = Thread(target=self._work, name="relay", daemon=True)

    def start(self) -> None:
        """Begin; what was recorded before is not carried. While the database is away, it begins when that is back."""
        self._thread.start()

    def look_now(self) -> None:
        """Do not wait for the next look: something was recorded."""
        self._woken.set()

    def close(self) -> None:
        """End, and wait a moment for the thread; a second call does nothing."""
        self._closed = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _work(self) -> None:
        pause_s = self._every_s
        is_away = False
        while not self._closed:
            self._woken.clear()
            try:
                self._carry()
            except Exception as error:  # noqa: BLE001 - whatever a store or bus raises, it may work later
                if not is_away:
                    log.warning("events of other processes cannot be read", error=str(error))
                is_away = True
                pause_s = min(2 * pause_s, max(_LONGEST_PAUSE_S, self._every_s))
            else:
                is_away, pause_s = False, self._every_s
            self._woken.wait(pause_s)

    def _carry(self) -> None:
        """Publish what was recorded since the last look."""
        events = self._ports.store.events
        if self._position is None:
            self._position = events.position() or 0
        while not self._closed:
            found = events.list(after=self._position, limit=_PARCEL)
            for position, event in found:
                self._ports.bus.publish(event)
                self._position = position
            if len(found) < _PARCEL:
                return

"""The durable events of a case, one by one and in order, for a sink that must lose none.

The outbox is the spool: what a receiver has not taken is read again from the kept position on, after an outage of any
length, after a crash too. So an event is delivered at least once; its id tells a receiver what it had already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event as Flag
from threading import Thread
from typing import Any

import structlog

from sightline.core.codec import from_json, to_json
from sightline.core.errors import InvalidInput, NotFound, SightlineError
from sightline.core.events import Event, fits, source_uri
from sightline.core.plugins import Context

log = structlog.get_logger()
_PARCEL = 100
_LONGEST_PAUSE_S = 5.0  # between two looks while the database is away
_OVER = frozenset({"run.completed", "run.failed", "run.cancelled"})


class Follower:
    """One thread that gives the events of a case to a receiver.

    The position is an artifact that is written whole after each delivery. Where none is kept, the first event is that
    of the run's own begin. Several runs of one case share the position; what two of them deliver at the same moment
    arrives twice.

    Args:
        context: of the sink.
        key: of the artifact that keeps the position.
        types: short types or families (`line.*`) to deliver; none: all.
        deliver: gives an event to the receiver; None when that is done with, else the seconds until it is asked again.
        poll_s: how often the database is looked at when nobody calls `wake`.
        ended: called by the thread when it has come to its end.
    """

    def __init__(
        self,
        context: Context,
        key: str,
        types: Sequence[str],
        deliver: Callable[[Event], float | None],
        *,
        poll_s: float = 0.5,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._context = context
        self._key = key
        self._types = tuple(types)
        self._deliver = deliver
        self._poll_s = poll_s
        self._ended = ended
        self._source = source_uri(context.case)
        self._position: int | None = None
        self._refused_mark = ""
        self._mark = ""  # set once this receiver is turned off
        self._woken = Flag()
        self._closing = Flag()
        self._end_s = float("inf")
        self._run_over = not context.run
        self._mute: set[str] = set()
        self._thread = Thread(target=self._work, name=f"follow-{context.case}", daemon=True)

    def start(self, but_not: str = "") -> None:
        """Begin, unless an earlier run has called `turn_off(but_not)`."""
        self._refused_mark = but_not
        with suppress(Exception):  # else the thread finds out where to begin, once the database is back
            self._begin()
        self._thread.start()

    def wanted(self, short_type: str) -> bool:
        """Return whether events of this type are delivered."""
        return not self._types or fits(short_type, self._types)

    def wake(self) -> None:
        """Look at once: something was recorded."""
        self._woken.set()

    def turn_off(self, mark: str) -> None:
        """Deliver nothing more, in this run and in later ones that `start` with the same mark.

        The event that is being delivered counts as not delivered.
        """
        self._mark = mark
        self._save()
        self._end_s = 0.0
        self._closing.set()

    def close(self, within_s: float) -> None:
        """Deliver what is recorded, with the end of the run, in that time at most; return at once.

        An event that is refused from now on is not tried again: it waits for the next run.
        """
        self._end_s = min(self._end_s, time.monotonic() + within_s)
        self._closing.set()
        self._woken.set()

    def join(self) -> None:
        """Wait for what `close` allows."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, self._end_s - time.monotonic()) + self._poll_s)

    def _work(self) -> None:
        pause_s = self._poll_s
        while not self._is_over():
            self._woken.clear()
            caught_up = False
            try:
                caught_up = self._begin() and self._page()
            except Exception as error:  # noqa: BLE001 - whatever a store raises, it may work later
                self._complain("events cannot be read", error)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                pause_s = self._poll_s
                self._mute.discard("events cannot be read")
            if caught_up and self._closing.is_set() and self._run_over:
                break
            if caught_up or pause_s > self._poll_s:
                # While closing, the end of the run is a moment away.
                self._woken.wait(min(pause_s, 0.05) if self._closing.is_set() else pause_s)
        self._leave()
        self._ended()

    def _leave(self) -> None:
        """Keep how far it was read, for the next run, unless another one is ahead."""
        try:
            kept = self._kept()
            if kept is not None and kept["position"] < (self._position or 0):
                self._save()
        except Exception as error:  # noqa: BLE001 - then the next run reads some events again, which it does not want
            self._complain("position cannot be kept", error)

    def _is_over(self) -> bool:
        return self._closing.is_set() and time.monotonic() >= self._end_s

    def _begin(self) -> bool:
        """Find out where to begin; return False where this receiver was turned off."""
        if self._position is not None:
            return True
        kept = self._kept()
        self._position = self._first() if kept is None else int(kept["position"])
        if kept is not None and self._refused_mark and kept.get("off") == self._refused_mark:
            log.warning("receiver was turned off, nothing is sent", case=self._context.case, kept_in=self._key)
            self.turn_off(self._refused_mark)
            return False
        if kept is None:
            self._save()
        return True

    def _first(self) -> int:
        events = self._context.ports.store.events
        newest = events.position() or 0
        run = self._context.run
        found = events.list(source=self._source, subject=f"run/{run}", limit=1) if run else ()
        return found[0][0] - 1 if found else newest

    def _page(self) -> bool:
        """Deliver what is recorded behind the position; return whether that was all."""
        events = self._context.ports.store.events
        newest = events.position() or 0  # asked first, so that nothing lies between what is listed and this
        found = events.list(after=self._position or 0, source=self._source, limit=_PARCEL)
        if found:
            self._catch_up()
        for position, event in found:
            if position <= (self._position or 0):
                continue
            if self._is_ours(event) and self.wanted(event.short_type):
                if not self._delivered(event, position):
                    return False
                if position > (self._position or 0):
                    self._position = position
                    self._save()
            self._position = max(self._position or 0, position)
            if event.short_type in _OVER and event.subject == f"run/{self._context.run}":
                self._run_over = True
        if len(found) < _PARCEL:
            self._position = max(self._position or 0, newest)
        return len(found) < _PARCEL

    def _is_ours(self, event: Event) -> bool:
        return event.source == self._source or event.source.startswith(f"{self._source}/")

    def _catch_up(self) -> None:
        """Pass over what another run of this case has delivered."""
        kept = self._kept()
        self._position = max(self._position or 0, int(kept["position"]) if kept else 0)

    def _delivered(self, event: Event, position: int) -> bool:
        """Give an event to the receiver until it is done with; False when nobody waits for that any more."""
        while True:
            was_closing = self._closing.is_set()
            wait_s = self._deliver(event)
            if wait_s is None:
                return True
            if was_closing or self._is_over():
                self._end_s = 0.0
                return False
            self._closing.wait(wait_s)
            if self._is_over():
                return False
            self._catch_up()
            if position <= (self._position or 0):
                return True

    def _kept(self) -> dict[str, Any] | None:
        try:
            with self._context.ports.artifacts.open(self._key) as file:
                kept = from_json(file.read())
        except NotFound:
            return None
        if not isinstance(kept, dict) or not isinstance(kept.get("position"), int):
            raise InvalidInput(f"{self._key} holds no position.", cure="Delete that artifact; events begin anew.")
        return kept

    def _save(self) -> None:
        body = {"position": self._position or 0, "run": self._context.run, "off": self._mark}
        try:
            self._context.ports.artifacts.put(self._key, to_json(body))
        except SightlineError as error:
            self._complain("position cannot be kept, events may come twice", error)
        else:
            self._mute.discard("position cannot be kept, events may come twice")

    def _complain(self, what: str, error: Exception) -> None:
        if what not in self._mute:
            log.warning(what, case=self._context.case, key=self._key, error=str(error))
        self._mute.add(what)

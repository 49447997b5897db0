"""Tells programs outside what happened, at least once: out of the outbox into rows, from there to the receiver.

What is to be told is recorded before anybody tries, with the position in the outbox that it was made of. So it survives
the death of any process; of several, each message is tried by one at a time. How a receiver is asked, and what it is
told of an event, is the receiver's own matter.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from threading import Event as Flag
from threading import Lock, Thread
from typing import TYPE_CHECKING

import structlog

from sightline.core.deliveries import Delivery
from sightline.core.errors import NotFound, SightlineError
from sightline.core.events import Event
from sightline.core.ports import Ports
from sightline.engine.pipeline import described

if TYPE_CHECKING:
    from sightline.core.sending import Answered

log = structlog.get_logger()
_PARCEL = 100
_FAR = 1000  # events of others that are passed over until the position is written all the same
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 600.0
_LONGEST_ASKED_S = 3600.0  # a receiver that asks for more is asked again after that
_LEAST_TRIES = 10  # also where nobody could try for longer than the messages are kept
_LONGEST_REST_S = 5.0  # between two looks while the database is away
_GRACE_S = 5.0  # of a holder, beyond what one try may take
_GONE = 410


class Receiver(ABC):
    """One program that is told what happened.

    Attributes:
        name: under which its messages are kept.
        types: short types of the events that it is told of, or families such as `run.*`.
        timeout_s: longest time of one try, in seconds.
        keep: how long a message is tried again that it does not take.
    """

    name: str
    types: Sequence[str]
    timeout_s: float
    keep: timedelta

    @abstractmethod
    def message(self, event: Event) -> Delivery | None:
        """Return what it is told of an event; None: nothing.

        Raises:
            NotFound: nobody knows any more what the event is about.
        """

    @abstractmethod
    def send(self, delivery: Delivery) -> Answered:
        """Try once, and return what it answers.

        Raises:
            SightlineError: it cannot be reached, or may not be.
        """

    def close(self) -> None:
        """Give up connections."""


class Deliveries:
    """One thread that looks for what one receiver is to be told, and a few that tell it.

    2xx ends a message, as does 410 Gone; every other answer, and none, is tried again with growing pauses.

    Args:
        ports: the outbox, the rows and the meter.
        receiver: whom to tell.
        every_s: how often it is looked.
        most: messages that are tried at the same time.
        first_pause_s: before the second try.
    """

    def __init__(
        self,
        ports: Ports,
        receiver: Receiver,
        *,
        every_s: float = 0.25,
        most: int = 4,
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._ports = ports
        self._receiver = receiver
        self._every_s = every_s
        self._most = most
        self._first_pause_s = first_pause_s
        self._position: int | None = None  # as it is written
        self._seen = 0  # up to where nothing is left to tell
        self._busy = 0
        self._lock = Lock()
        self._woken = Flag()
        self._closed = False
        self._thread = Thread(target=self._work, name=f"tell-{receiver.name}", daemon=True)

    def start(self) -> None:
        """Begin; where nothing was ever told, with what happens from now on."""
        try:
            self._begin()
        except SightlineError as error:
            log.warning("nobody can be told yet", receiver=self._receiver.name, error=str(error))
        self._thread.start()

    def wake(self) -> None:
        """Look at once: something happened."""
        self._woken.set()

    def close(self) -> None:
        """End, and wait a moment for what is under way; what was not taken is tried by the next process."""
        self._closed = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(2.0)
        self._receiver.close()

    def _work(self) -> None:
        rest_s, is_away = self._every_s, False
        while not self._closed:
            self._woken.clear()
            try:
                self._follow()
                self._hand_out()
            except Exception as error:  # noqa: BLE001 - whatever a store raises, it may work later
                if not is_away:
                    log.warning("messages cannot be read", receiver=self._receiver.name, error=str(error))
                is_away, rest_s = True, min(2 * rest_s, _LONGEST_REST_S)
            else:
                is_away, rest_s = False, self._every_s
            self._woken.wait(rest_s)

    def _begin(self) -> int:
        """Return the position that is written, which is made where there is none."""
        store, name = self._ports.store, self._receiver.name
        position = store.deliveries.position(name)
        if position is None:
            store.deliveries.add(name, [], after=None, position=store.events.position() or 0)
            position = store.deliveries.position(name) or 0
        self._position, self._seen = position, max(self._seen, position)
        return position

    def _follow(self) -> None:
        """Make messages of what the outbox has behind the position."""
        store = self._ports.store
        while not self._closed:
            position = self._begin() if self._position is None else self._position
            newest = store.events.position() or 0  # asked first, so that nothing lies between what is listed and this
            found = store.events.list(after=self._seen, types=self._receiver.types, limit=_PARCEL)
            is_all = len(found) < _PARCEL
            reached = max(self._seen, newest, *(at for at, _ in found)) if is_all else found[-1][0]
            messages = [made for _, event in found if (made := self._made(event)) is not None]
            if messages or reached - position > _FAR:
                if not store.deliveries.add(self._receiver.name, messages, after=position, position=reached):
                    self._position = None  # another process was faster
                    self._seen = position
                    continue
                self._position = reached
            self._seen = reached
            if is_all:
                return

    def _made(self, event: Event) -> Delivery | None:
        try:
            return self._receiver.message(event)
        except NotFound as error:
            log.warning("nothing is told of what is not there any more", event_id=event.id, error=str(error))
            return None

    def _hand_out(self) -> None:
        """Give what is due to threads of its own, as many as may be busy."""
        with self._lock:
            free = self._most - self._busy
        if free <= 0 or self._closed:
            return
        lease = timedelta(seconds=self._receiver.timeout_s + _GRACE_S)
        for delivery in self._ports.store.deliveries.take(self._receiver.name, lease=lease, most=free):
            with self._lock:
                self._busy += 1
            Thread(target=self._tell, args=(delivery,), name=self._thread.name, daemon=True).start()

    def _tell(self, delivery: Delivery) -> None:
        """Try once, and write down how it went; where that fails it is tried again."""
        asked_s, gone = None, False
        try:
            try:
                answered = self._receiver.send(delivery)
                error = "" if 200 <= answered.status < 300 else f"it answers {answered.status}"
                asked_s, gone = answered.retry_after_s, answered.status == _GONE
            except SightlineError as refused:
                error = refused.message
            except Exception as mistake:  # noqa: BLE001 - the message must not be lost with this thread
                error = described(mistake)
            self._note(delivery, error, gone=gone, asked_s=asked_s)
        except Exception as away:  # noqa: BLE001 - the database may be away
            log.warning("told, and it could not be written down", receiver=delivery.receiver, error=str(away))
        finally:
            with self._lock:
                self._busy -= 1
            self._woken.set()

    def _note(self, delivery: Delivery, error: str, *, gone: bool, asked_s: float | None) -> None:
        store = self._ports.store.deliveries
        said = {"receiver": delivery.receiver, "about": delivery.about, "tries": delivery.attempts}
        if not error:
            store.end(delivery, "delivered")
            log.info("message delivered", **said)
            self._count("delivered")
        elif gone:
            store.end(delivery, "gone", error=error)
            log.error("message given up: the receiver answers 410", **said)
            self._count("gone")
        elif delivery.age >= self._receiver.keep and delivery.attempts >= _LEAST_TRIES:
            store.end(delivery, "expired", error=error)
            log.error("message given up: nobody took it", error=error, **said)
            self._count("expired")
        else:
            pause_s = self._pause_s(delivery.attempts, asked_s)
            store.later(delivery, after=timedelta(seconds=pause_s), error=error)
            if delivery.attempts == 1:
                log.warning("message is not taken, will try again", error=error, **said)
            self._count("failed")

    def _pause_s(self, attempts: int, asked_s: float | None) -> float:
        longest_s = min(_LONGEST_PAUSE_S, self._first_pause_s * 2.0 ** min(attempts - 1, 30))
        pause_s = longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - so that many senders do not come back in one burst
        return min(_LONGEST_ASKED_S, max(pause_s, asked_s or 0.0))

    def _count(self, outcome: str) -> None:
        self._ports.meter.count("deliveries", receiver=self._receiver.name, outcome=outcome)

"""A part of the port MetadataStore: what is to be told to programs outside, until they have taken it.

The outbox says what happened; a delivery is what one receiver is told of it. It stays until the receiver has taken it,
whichever process tries, so nothing is lost when one dies between the change and the message.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sightline.core.prediction import JsonObject


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message for one receiver.

    Attributes:
        id: of the message, the same at each try; a receiver has one message of an id.
        path: put behind the receiver's address.
        about: id of what it tells of, for logs.
        attempts: how often it was taken; the newest holder proves itself by it.
        age: since it was recorded, by the database's clock.
        due: when it may be taken next.
        outcome: how it ended; None while it waits.
        error: why the last try failed.
    """

    id: str
    receiver: str
    body: JsonObject
    path: str = ""
    about: str = ""
    attempts: int = 0
    age: timedelta = timedelta(0)
    due: datetime | None = None
    outcome: str | None = None
    error: str | None = None


class DeliveryStore(ABC):
    """What is to be delivered, by receiver, and up to where each receiver's messages were made of the outbox."""

    @abstractmethod
    def position(self, receiver: str) -> int | None:
        """Return up to which position in the outbox messages were made; None where that was never said."""

    @abstractmethod
    def add(self, receiver: str, messages: Sequence[Delivery], *, after: int | None, position: int) -> bool:
        """Record what was made of the outbox between two positions, and the later one, in one transaction.

        Return False, and record nothing, where the receiver's position is not `after`: another process was faster.
        A message of an id that is known is passed over.
        """

    @abstractmethod
    def take(self, receiver: str, *, lease: timedelta, most: int = 10) -> Sequence[Delivery]:
        """Hold messages that are due, the ones that wait longest first; what is not ended by then is due again."""

    @abstractmethod
    def later(self, delivery: Delivery, *, after: timedelta, error: str) -> bool:
        """Let a message wait for its next try; False where somebody else has taken it since, or it is over."""

    @abstractmethod
    def end(self, delivery: Delivery, outcome: str, *, error: str | None = None) -> bool:
        """Never try a message again; False where somebody else has taken it since, or it is over."""

    @abstractmethod
    def list(self, receiver: str, *, waiting: bool | None = None, limit: int = 100) -> Sequence[Delivery]:
        """Return messages, the newest first: those that wait, those that are over, or both."""

    @abstractmethod
    def num_waiting(self, receiver: str) -> int:
        """Return how many messages wait."""

"""A stub of the application that hears of results: it fails as it is told, and checks each message as theirs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from standardwebhooks import Webhook
from tests.packs.basic.receiver import Receiver, receiving


class Stub:
    """What a backend saw.

    Attributes:
        tokens: those that it takes.
    """

    def __init__(self, receiver: Receiver, token: str) -> None:
        self.receiver = receiver
        self.tokens = [token]
        self.url = receiver.url.removesuffix("/hook")

    def fail_first(self, number: int) -> int:
        """Return the status of a request: the first try of each message fails."""
        ids = [headers["webhook-id"] for headers, _ in self.receiver.messages[: number + 1]]
        return 500 if ids.count(ids[number]) == 1 else 204

    @property
    def jobs(self) -> set[str]:
        """Ids of the jobs that it was asked about, whatever it answered."""
        return {path.removeprefix("/internal/jobs/").removesuffix("/completion") for path in self.receiver.paths}

    def checked(self) -> list[dict[str, Any]]:
        """Return the bodies that were taken, after checking everything that was sent."""
        for headers, body in self.receiver.messages:
            token = headers["authorization"].removeprefix("Bearer ")
            assert token in self.tokens
            secret = base64.b64encode(sha256(token.encode()).digest()).decode()
            assert Webhook(f"whsec_{secret}").verify(body, headers) == json.loads(body)
            assert headers["content-type"] == "application/json"
        return list(self.receiver.taken)


@contextmanager
def backend(token: str, *, port: int = 0, answer: Callable[[int], int] = lambda _: 204) -> Iterator[Stub]:
    """Listen until the block ends."""
    with receiving(port, answer) as receiver:
        yield Stub(receiver, token)

"""`Client` and `AsyncClient`: the same operations, once blocking and once to be awaited."""

from __future__ import annotations

import os
import ssl
from types import TracebackType
from typing import Self

from sightline.client import asking, inference, jobs, listening, objects, runs
from sightline.client.carriers import Awaiting, Blocking
from sightline.client.jobs import Runs
from sightline.client.models import Cases, Models
from sightline.client.objects import Objects
from sightline.client.parts import C, Listing, Operation, Part
from sightline.client.schedules import Schedules

URL = "http://127.0.0.1:8000"


class Operations(Part[C]):
    """What both clients can do.

    Attributes:
        runs: list, start, watch and stop runs; change their sources; files and history of jobs.
        schedules: list, add and remove jobs that are submitted by the clock.
        objects: list, fetch and delete what is stored on the server.
        models: list and add models, move their aliases.
        cases: list cases.
    """

    predict = Operation(asking.predict)
    drawn = Operation(asking.drawn)
    infer = Operation(asking.infer)
    run_inference = Operation(inference.run_inference)
    submit = Operation(jobs.submit)
    run = Operation(runs.get)
    upload = Operation(objects.upload)
    forward = Operation(asking.forward)
    forward_batch = Operation(asking.forward_batch)
    metadata = Operation(asking.metadata)
    health = Operation(asking.health)
    events = Listing(listening.events)
    predictions = Listing(listening.predictions)
    recorded_events = Listing(listening.recorded_events)

    def __init__(self, carrier: C) -> None:
        super().__init__(carrier)
        self.runs: Runs[C] = Runs(carrier)
        self.schedules: Schedules[C] = Schedules(carrier)
        self.objects: Objects[C] = Objects(carrier)
        self.models: Models[C] = Models(carrier)
        self.cases: Cases[C] = Cases(carrier)


class Client(Operations[Blocking]):
    """Asks a running Sightline, and waits for the answer. May be used by several threads; connections are kept.

    Args:
        url: address of the server.
        api_key: key or token; empty for a server that asks for none.
        timeout_s: for a call with all its tries and waits; the server gives up then, too.
        retries: further tries, after refusals (429, 503) by `Retry-After`, and after lost connections where a second
            try does no harm.
        verify: a TLS context in place of the default one; False trusts every certificate.

    Raises:
        ConfigError: the address or the key is none.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        api_key: str = "",
        timeout_s: float = 60.0,
        retries: int = 4,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        super().__init__(Blocking(url, api_key, timeout_s, retries, verify))

    @classmethod
    def from_env(cls, *, timeout_s: float = 60.0, retries: int = 4, verify: ssl.SSLContext | bool = True) -> Client:
        """Return a client of the server that SIGHTLINE_URL names, with the key in SIGHTLINE_API_KEY."""
        url, api_key = _of_environment()
        return cls(url, api_key=api_key, timeout_s=timeout_s, retries=retries, verify=verify)

    def close(self) -> None:
        """Close the connections."""
        self._carrier.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncClient(Operations[Awaiting]):
    """Asks a running Sightline, with answers to be awaited, on one asyncio loop; arguments as of `Client`."""

    def __init__(
        self,
        url: str = URL,
        *,
        api_key: str = "",
        timeout_s: float = 60.0,
        retries: int = 4,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        super().__init__(Awaiting(url, api_key, timeout_s, retries, verify))

    @classmethod
    def from_env(
        cls, *, timeout_s: float = 60.0, retries: int = 4, verify: ssl.SSLContext | bool = True
    ) -> AsyncClient:
        """Return a client of the server that SIGHTLINE_URL names, with the key in SIGHTLINE_API_KEY."""
        url, api_key = _of_environment()
        return cls(url, api_key=api_key, timeout_s=timeout_s, retries=retries, verify=verify)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._carrier.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()


def _of_environment() -> tuple[str, str]:
    return os.environ.get("SIGHTLINE_URL") or URL, os.environ.get("SIGHTLINE_API_KEY", "")

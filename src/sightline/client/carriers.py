"""Who carries steps out: blocking, or awaiting. All that differs between the two clients is here.

They use the transports of httpx2 (connections, pool, TLS), not its clients: those also follow redirects, keep cookies
and take addresses apart, which is not wanted here and costs as much again.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import httpx2

from sightline.client.disk import of_file, on_disk
from sightline.client.steps import (
    Answer,
    Append,
    Item,
    Look,
    Next,
    Pause,
    Play,
    Read,
    Rename,
    Send,
    Steps,
    Terms,
    Wish,
)
from sightline.client.tries import tries
from sightline.core.errors import ConfigError, SightlineError
from sightline.core.urls import redacted

T = TypeVar("T")

_SILENCE_S = 45.0  # of a stream of events, whose server says every 15 s that it is still there
_PART = 1 << 18
_MOST_KEY = 8192
_LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=4)
# An idle connection is given up before a server does, uvicorn by default after 5 s: a request may fall into the gap.


class Carrier:
    """What both carriers know: the server, and how it is asked.

    Args:
        url: address of the server; a path before its routes is kept.
        api_key: key or token; empty for none.
        timeout_s: for a call with all its tries and waits.
        retries: further tries after the first.

    Raises:
        ConfigError: the address or the key is none, or a number is wrong.

    Attributes:
        name: the address without secrets.
    """

    def __init__(self, url: str, api_key: str, timeout_s: float, retries: int) -> None:
        address = _checked_url(url)
        self.name = redacted(str(address)).rstrip("/")
        self._base = str(address).rstrip("/")
        self._headers = {"Host": address.netloc.decode("ascii"), "User-Agent": "sightline"}
        # Addresses are few and are asked again and again; to take one apart costs as much as to send a small request.
        self._url = lru_cache(256)(lambda rest: httpx2.URL(self._base + rest))
        if api_key:
            self._headers["Authorization"] = f"Bearer {_checked_key(api_key)}"
        self.now = time.monotonic
        terms = Terms(name=self.name, timeout_s=timeout_s, retries=retries, now=self.now, chance=random.random)
        self._expand = partial(tries, terms=terms)

    def play(self, steps: Steps[T]) -> Play[T]:
        """Begin steps."""
        return Play(steps, self._expand, self.now)

    def built(self, send: Send) -> httpx2.Request:
        """Return a request as it is sent.

        Raises:
            SightlineError: a file of the body is not there, or cannot be read.
        """
        request, left_s = send.request, send.left_s
        body = _Body(request.body)
        headers = {**self._headers, **send.headers}
        if request.body or request.method != "GET":
            headers["Content-Length"] = str(body.size)
        url = self._url(f"{request.path}?{urlencode(request.query)}" if request.query else request.path)
        silence_s = _SILENCE_S if request.listening else left_s
        timeout = {"connect": left_s, "read": silence_s, "write": left_s, "pool": left_s}
        return httpx2.Request(request.method, url, headers=headers, stream=body, extensions={"timeout": timeout})


class Blocking(Carrier):
    """Carries steps out in the thread that asks; may be used by several threads."""

    def __init__(self, url: str, api_key: str, timeout_s: float, retries: int, verify: ssl.SSLContext | bool) -> None:
        super().__init__(url, api_key, timeout_s, retries)
        self.http = httpx2.HTTPTransport(verify=verify, trust_env=False, limits=_LIMITS)

    def run(self, steps: Steps[T]) -> T:
        """Return what the steps give in the end."""
        with self.play(steps) as play, closing(_BlockingErrand(self)) as errand:
            while (wish := play.wish) is not None:
                errand.meet(wish, play)
            return cast("T", play.result)

    def each(self, steps: Steps[Any]) -> Generator[Any, None, None]:
        """Yield what the steps hand out."""
        with self.play(steps) as play, closing(_BlockingErrand(self)) as errand:
            while (wish := play.wish) is not None:
                if isinstance(wish, Item):
                    yield wish.value
                errand.meet(wish, play)


class _BlockingErrand:
    """One call on its way, with the answer that it listens to."""

    def __init__(self, carrier: Blocking) -> None:
        self._carrier = carrier
        self._heard: httpx2.Response | None = None
        self._parts: Iterator[bytes] = iter(())

    def close(self) -> None:
        """Listen no more."""
        if self._heard is not None:
            self._heard.close()

    def meet(self, wish: Wish, play: Play[Any]) -> None:
        """Do what is wanted, and say how it went."""
        try:
            answer = self._done(wish)
        except (httpx2.HTTPError, SightlineError) as error:
            play.fail(error)
        else:
            play.tell(answer)

    def _done(self, wish: Wish) -> Any:
        match wish:
            case Send():
                return self._sent(wish)
            case Next():
                return next(self._parts, None)
            case Pause(seconds):
                time.sleep(seconds)
            case Read() | Look() | Append() | Rename():
                return on_disk(wish)
        return None

    def _sent(self, send: Send) -> Answer:
        self.close()
        end_s = self._carrier.now() + send.left_s
        response = self._carrier.http.handle_request(self._carrier.built(send))
        if send.request.listening and response.is_success:
            self._heard, self._parts = response, response.iter_bytes()
            return Answer(response.status_code, response.headers)
        with closing(response):
            parts: list[bytes] = []
            for part in response.iter_bytes():
                parts.append(part)
                if self._carrier.now() > end_s:  # bytes that trickle in keep each single wait short
                    raise httpx2.ReadTimeout("the answer is too slow")
        return Answer(response.status_code, response.headers, _joined(parts))


class Awaiting(Carrier):
    """Carries steps out on the loop that awaits them."""

    def __init__(self, url: str, api_key: str, timeout_s: float, retries: int, verify: ssl.SSLContext | bool) -> None:
        super().__init__(url, api_key, timeout_s, retries)
        self.http = httpx2.AsyncHTTPTransport(verify=verify, trust_env=False, limits=_LIMITS)

    async def run(self, steps: Steps[T]) -> T:
        """Return what the steps give in the end."""
        with self.play(steps) as play:
            async with aclosing(_AwaitingErrand(self)) as errand:
                while (wish := play.wish) is not None:
                    await errand.meet(wish, play)
                return cast("T", play.result)

    async def each(self, steps: Steps[Any]) -> AsyncGenerator[Any, None]:
        """Yield what the steps hand out."""
        with self.play(steps) as play:
            async with aclosing(_AwaitingErrand(self)) as errand:
                while (wish := play.wish) is not None:
                    if isinstance(wish, Item):
                        yield wish.value
                    await errand.meet(wish, play)


class _AwaitingErrand:
    """One call on its way, with the answer that it listens to."""

    def __init__(self, carrier: Awaiting) -> None:
        self._carrier = carrier
        self._heard: httpx2.Response | None = None
        self._parts: AsyncIterator[bytes] | None = None

    async def aclose(self) -> None:
        """Listen no more."""
        if self._heard is not None:
            await self._heard.aclose()

    async def meet(self, wish: Wish, play: Play[Any]) -> None:
        """Do what is wanted, and say how it went."""
        try:
            answer = await self._done(wish)
        except (httpx2.HTTPError, SightlineError) as error:
            play.fail(error)
        else:
            play.tell(answer)

    async def _done(self, wish: Wish) -> Any:
        match wish:
            case Send():
                return await self._sent(wish)
            case Next():
                return None if self._parts is None else await anext(self._parts, None)
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Read() | Look() | Append() | Rename():
                return await asyncio.to_thread(on_disk, wish)
        return None

    async def _sent(self, send: Send) -> Answer:
        await self.aclose()
        try:
            async with asyncio.timeout(send.left_s):
                response = await self._carrier.http.handle_async_request(self._carrier.built(send))
                if send.request.listening and response.is_success:
                    self._heard, self._parts = response, response.aiter_bytes()
                    return Answer(response.status_code, response.headers)
                async with aclosing(response):
                    body = await response.aread()
        except TimeoutError:
            raise httpx2.ReadTimeout("the answer is too slow") from None
        return Answer(response.status_code, response.headers, body)


class _Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of a request, sent part by part without joining them; anew at each try.

    Attributes:
        size: in bytes.

    Raises:
        SightlineError: a file is not there, or cannot be read.
    """

    def __init__(self, parts: Sequence[bytes | memoryview | Path]) -> None:
        self._parts = parts
        self.size = sum(_size_of(part) for part in parts)

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            if not isinstance(part, Path):
                yield part  # type: ignore[misc]  # a memoryview is sent as it is
                continue
            with part.open("rb") as file:
                while piece := file.read(_PART):
                    yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = iter(self)
        has_file = any(isinstance(part, Path) for part in self._parts)
        while (piece := await asyncio.to_thread(next, pieces, None) if has_file else next(pieces, None)) is not None:
            yield piece


def _size_of(part: bytes | memoryview | Path) -> int:
    try:
        return part.stat().st_size if isinstance(part, Path) else len(part)
    except OSError as error:
        raise of_file(error, cast("Path", part)) from None


def _joined(parts: list[bytes]) -> bytes:
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _checked_url(url: str) -> httpx2.URL:
    """Return the parts of an address.

    Raises:
        ConfigError: it is none of http or https, or holds a password or a query.
    """
    try:
        address = httpx2.URL(url.strip())
    except (httpx2.InvalidURL, ValueError):
        raise ConfigError(f"{redacted(url)!r} is no address.", cure="Write http://host:port.") from None
    if address.scheme not in ("http", "https") or not address.host or address.query or address.fragment:
        raise ConfigError(f"{redacted(url)!r} is no address of a server.", cure="Write http://host:port.")
    if address.userinfo:
        raise ConfigError(f"{redacted(url)!r} holds a password.", cure="Give a key as api_key instead.")
    return address


def _checked_key(key: str) -> str:
    """Return a key.

    Raises:
        ConfigError: it cannot stand in a header; the key is not shown.
    """
    if len(key) > _MOST_KEY or not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError("api_key is no key: it holds blanks or other letters than a key has.")
    return key

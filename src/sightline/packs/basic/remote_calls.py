"""Ask another server over HTTP, in bounded time and with bounded answers: retries, and a breaker for each server.

Knows requests and bytes; knows nothing of pictures or predictions. Nothing is asked of another address than the one
that the case names: no redirect is followed, and no proxy or password is taken from the environment.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Lock

import httpx2

from sightline.core.errors import ConfigError, InvalidInput, SightlineError, Unavailable
from sightline.core.urls import redacted

_CONNECTION = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ReadError, httpx2.WriteError)
_ASK_AGAIN = frozenset({429, 503})
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
_MAX_SHOWN = 200  # characters of what the other server says of an error
_MOST_BREAKERS = 1024


class Breaker:
    """Refuses calls of a server that failed several times in a row, until it has had a pause; then lets one try.

    Args:
        failures: so many in a row open it.
        pause_s: how long it stays open.
        now: seconds on a clock that only rises.
    """

    def __init__(self, failures: int, pause_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._failures = failures
        self._pause_s = pause_s
        self._now = now
        self._num = 0
        self._open_until: float | None = None
        self._lock = Lock()

    def enter(self, name: str) -> None:
        """Let a call pass.

        Raises:
            Unavailable: it is open, or another call is trying whether the server is back.
        """
        with self._lock:
            if self._open_until is None:
                return
            left_s = self._open_until - self._now()
            if left_s > 0:
                raise Unavailable(
                    f"{name} failed {self._num} times in a row; it is asked again in {left_s:.1f} s.",
                    cure="Check that server; its last error is in the log.",
                )
            self._open_until = self._now() + self._pause_s  # the others wait for this one

    def leave(self, *, failed: bool) -> None:
        """Note how a call ended."""
        with self._lock:
            self._num = self._num + 1 if failed else 0
            self._open_until = self._now() + self._pause_s if self._num >= self._failures else None


_breakers: dict[tuple[str, int, float], Breaker] = {}
_breakers_lock = Lock()


def breaker_of(server: str, failures: int, pause_s: float) -> Breaker:
    """Return the breaker that all predictors of this process share for a server."""
    key = server, failures, pause_s
    with _breakers_lock:
        if key not in _breakers and len(_breakers) >= _MOST_BREAKERS:
            del _breakers[next(iter(_breakers))]
        return _breakers.setdefault(key, Breaker(failures, pause_s))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back with status 200 to 299; `headers` by lower-case name."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class RemoteCalls:
    """Calls of one server.

    Args:
        url: its address; user name and password in it are sent as Basic authentication.
        headers: of every request, for instance a token.
        timeout_s: for one call with all its tries and waits.
        retries: further tries after a connection that failed, 503 and 429.
        max_bytes: of an answer.
        breaker: failures in a row after which the server is left alone, and for how many seconds.
        stopping: ends waits.

    Raises:
        ConfigError: the address is none of http or https.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        retries: int,
        max_bytes: int,
        breaker: tuple[int, float],
        stopping: Flag,
    ) -> None:
        # The client logs each address; what stands behind its `?` may be a key.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        parsed = checked_url(url)
        auth = (parsed.username, parsed.password) if parsed.userinfo else None
        self.url = parsed.copy_with(username=None, password=None) if parsed.userinfo else parsed
        self.name = redacted(str(self.url))
        self._timeout_s = timeout_s
        self._retries = retries
        self._max_bytes = max_bytes
        self._stopping = stopping
        self._breaker = breaker_of(f"{self.url.scheme}://{self.url.netloc.decode('ascii')}", *breaker)
        self._client = httpx2.Client(headers=headers, auth=auth, follow_redirects=False, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, method: str, url: httpx2.URL, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request and return the answer.

        Raises:
            Unavailable: the server does not answer in time, is busy, fails, or the breaker is open.
            ConfigError: it does not know us, or has nothing at the address.
            InvalidInput: it refuses what was sent.
        """
        end_s = time.monotonic() + self._timeout_s
        self._breaker.enter(self.name)
        failed = True
        try:
            found = self._tried(method, url, body, headers or {}, end_s)
        except (ConfigError, InvalidInput):
            failed = False  # it is there, and answers
            raise
        else:
            failed = False
            return found
        finally:
            self._breaker.leave(failed=failed)

    def _tried(self, method: str, url: httpx2.URL, body: bytes, headers: Mapping[str, str], end_s: float) -> Answer:
        """Ask until there is an answer, or no try or time is left."""
        for number in range(self._retries + 1):
            asked_to_wait_s = 0.0
            try:
                status, answer = self._once(method, url, body, headers, end_s)
            except _CONNECTION as error:
                trouble: SightlineError = Unavailable(
                    f"{self.name} cannot be reached: {_words(error)}.", cure="Check that it runs, and its address."
                )
            except httpx2.RemoteProtocolError as error:
                trouble = Unavailable(f"{self.name} broke off: {_words(error)}.")
            except httpx2.TimeoutException:
                raise self._too_slow() from None
            except httpx2.HTTPError as error:
                raise Unavailable(f"{self.name} cannot be asked: {_words(error)}.") from None
            else:
                if status < 300:
                    return answer
                trouble = self._refusal(status, answer)
                if status not in _ASK_AGAIN:
                    raise trouble
                asked_to_wait_s = _retry_after_s(answer.headers)
            wait_s = max(asked_to_wait_s, min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**number) * random.uniform(0.5, 1))  # noqa: S311
            if number == self._retries or time.monotonic() + wait_s >= end_s or self._stopping.wait(wait_s):
                raise trouble
        raise self._too_slow()

    def _once(
        self, method: str, url: httpx2.URL, body: bytes, headers: Mapping[str, str], end_s: float
    ) -> tuple[int, Answer]:
        left_s = max(end_s - time.monotonic(), 0.001)
        with self._client.stream(method, url, content=body or None, headers=headers, timeout=left_s) as response:
            parts, size = [], 0
            for part in response.iter_bytes():
                size += len(part)
                if size > self._max_bytes:
                    raise Unavailable(
                        f"{self.name} answers with more than {self._max_bytes >> 20} MiB.",
                        cure="Raise max_answer_mb where that is right.",
                    )
                if time.monotonic() > end_s:  # bytes that trickle in keep each single wait short
                    raise self._too_slow()
                parts.append(part)
            return response.status_code, Answer(b"".join(parts), dict(response.headers.items()))

    def _too_slow(self) -> Unavailable:
        return Unavailable(
            f"{self.name} did not answer within {self._timeout_s:g} s.", cure="Raise timeout_s, or look why it is slow."
        )

    def _refusal(self, status: int, answer: Answer) -> SightlineError:
        """Return what a status means for us."""
        said = f" It says: {_shown(answer.body)}" if answer.body else ""
        if status < 400:
            return ConfigError(f"{self.name} redirects ({status}).", cure="Name the address where the model is.")
        if status in (401, 403, 407):
            return ConfigError(
                f"{self.name} does not let us in ({status}).{said}", cure="Check the token and its scopes."
            )
        if status in (404, 405):
            return ConfigError(
                f"{self.name} has nothing there ({status}).{said}", cure="Check url, protocol and model."
            )
        if status in (400, 406, 409, 411, 413, 415, 422):
            return InvalidInput(f"{self.name} refuses what was sent ({status}).{said}", cure="Check what it takes.")
        return Unavailable(f"{self.name} answers with status {status}.{said}", cure="Look into the log of that server.")


def checked_url(url: str) -> httpx2.URL:
    """Return the parts of an address.

    Raises:
        ConfigError: it is none of http or https.
    """
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        raise ConfigError(f"{redacted(url)!r} is no address.", cure="Write http://host:port.") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"{redacted(url)!r} is no address of http or https.", cure="Write http://host:port.")
    return parsed


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the seconds that the server wants us to wait; a date is taken for no wish."""
    wanted = headers.get("retry-after", "")
    return float(wanted) if wanted.isdecimal() and len(wanted) < 8 else 0.0


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".")


def _shown(body: bytes) -> str:
    """Return the beginning of what a server says, in one line."""
    text = " ".join(body[: 4 * _MAX_SHOWN].decode("utf-8", errors="replace").split())
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."

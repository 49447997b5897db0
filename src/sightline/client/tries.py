"""Ask until there is an answer, or no try or time is left; and what a refusal means.

Knows statuses and headers; sends nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from uuid import uuid4

import httpx2

from sightline.client.steps import Answer, Pause, Request, Send, Steps, Terms
from sightline.core.codec import from_json
from sightline.core.errors import (
    ConfigError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    JobFailed,
    NotFound,
    Overloaded,
    RateLimited,
    SightlineError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    error_types,
)

_BY_STATUS: Mapping[int, type[SightlineError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: NotFound,
    409: Conflict,
    412: Conflict,
    413: TooLarge,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_BUSY = frozenset({429, 503})
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
_MOST_MS = 999_999_999  # more digits are not taken by the server
_MOST_SHOWN = 200  # characters of what is no problem document, and at most of a code


def tries(request: Request, terms: Terms) -> Steps[Answer]:
    """Give the answer to a request, of status 200 to 299.

    It is asked again when the server was not reached, when it refused before it began (429, 503), and after any other
    trouble of the connection where `request.may_repeat`.

    Raises:
        SightlineError: the one that the server answered with, by its `code`.
        Unavailable: the server cannot be reached, or broke off.
        DeadlineExceeded: time is up.
        ConfigError: the server shows a certificate that is not trusted here.
    """
    timeout_s = terms.timeout_s if request.timeout_s is None else request.timeout_s
    if not timeout_s > 0:
        raise InvalidInput(f"timeout_s is {timeout_s}; it must be above 0.")
    end_s = terms.now() + timeout_s
    request_id = uuid4().hex
    number = 0
    while True:
        left_s = end_s - terms.now()
        if left_s <= 0:
            raise _too_slow(terms, timeout_s, request_id)
        headers = {**request.headers, "X-Request-Id": request_id}
        if not request.listening:
            headers["X-Request-Timeout-Ms"] = str(min(max(1, int(1000 * left_s)), _MOST_MS))
        wanted_s = 0.0
        try:
            answer: Answer = yield Send(request, headers, left_s)
        except _NOT_SENT as error:
            trouble = _unreached(terms, error)
            again = isinstance(trouble, Unavailable)
        except httpx2.TimeoutException:
            raise _too_slow(terms, timeout_s, request_id) from None
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            trouble, again = Unavailable(f"{terms.name} broke off: {_words(error)}."), request.may_repeat
        except httpx2.HTTPError as error:
            raise _stamped(ConfigError(f"{terms.name} cannot be asked: {_words(error)}."), request_id) from None
        else:
            if 200 <= answer.status < 300:
                return answer
            trouble = refusal(answer, terms.name)
            again = answer.status in _BUSY and (request.may_repeat or isinstance(trouble, Overloaded))
            wanted_s = _retry_after_s(answer.headers)
        backoff_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**number)
        wait_s = max(wanted_s, backoff_s) * (1 + terms.chance() / 2)
        if not again or number >= terms.retries or terms.now() + wait_s >= end_s:
            raise _stamped(trouble, request_id)
        yield Pause(wait_s)
        number += 1


def refusal(answer: Answer, name: str) -> SightlineError:
    """Return the error that an answer of status 300 or more stands for.

    It is of the class that has the `code` of the problem document; a code that this Sightline does not know, and an
    answer of something in between, are told by the status.

    Args:
        answer: what came.
        name: of the server, for messages.
    """
    document = _problem(answer)
    detail, cure = _text(document, "detail"), _text(document, "cure")
    kind = _kinds().get(_text(document, "code")) or _by_status(answer.status)
    if not detail:
        where = answer.headers.get("location", "")
        said = f"redirects to {where[:_MOST_SHOWN]}" if where else f"answers with status {answer.status}"
        shown = _line(answer.body)
        detail = f"{name} {said}." + (f" It says: {shown}" if shown else "")
        cure = cure or ("Name the address where it is." if where else "")
    error = kind(detail, cure=cure)
    if isinstance(error, RateLimited):
        error.retry_after_s = _retry_after_s(answer.headers) or error.retry_after_s
    if isinstance(error, JobFailed):
        error.kind = _text(document, "kind")
    for each in document["errors"] if isinstance(document.get("errors"), list) else ():
        if isinstance(each, dict) and isinstance(each.get("loc"), list):
            error.add_note(f"{'.'.join(map(str, each['loc']))}: {each.get('message')}")
    return _stamped(error, answer.headers.get("x-request-id", "") or _text(document, "request_id"))


@cache
def _kinds() -> Mapping[str, type[SightlineError]]:
    """Return the error types by code, those of this tree alone: others may want other arguments."""
    return {kind.code: kind for kind in error_types() if kind.__module__ == SightlineError.__module__}


def _by_status(status: int) -> type[SightlineError]:
    if status < 400:
        return ConfigError
    return _BY_STATUS.get(status) or (InvalidInput if status < 500 else SightlineError)


def _problem(answer: Answer) -> Mapping[str, Any]:
    if "json" not in answer.headers.get("content-type", ""):
        return {}
    try:
        document = from_json(answer.body)
    except InvalidInput:
        return {}
    return document if isinstance(document, dict) else {}


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _stamped(error: SightlineError, request_id: str) -> SightlineError:
    error.request_id = request_id
    return error


def _unreached(terms: Terms, error: Exception) -> SightlineError:
    if "CERTIFICATE_VERIFY_FAILED" not in str(error):
        words = f"{terms.name} cannot be reached: {_words(error)}."
        return Unavailable(words, cure="Check that it runs, and its address.")
    said = str(error).partition("verify failed: ")[2].partition(" (_ssl")[0] or "nobody known here vouches for it"
    return ConfigError(
        f"The certificate of {terms.name} is not trusted: {said}.",
        cure='Give verify=ssl.create_default_context(cafile="server.pem") with the certificate, or of who signed it.',
    )


def _too_slow(terms: Terms, timeout_s: float, request_id: str) -> SightlineError:
    late = DeadlineExceeded(f"{terms.name} did not answer within {timeout_s:g} s.", cure="Raise timeout_s.")
    return _stamped(late, request_id)


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the seconds that the server wants us to wait; 0 where it does not say."""
    wanted = headers.get("retry-after", "").strip()
    if wanted.isascii() and wanted.isdecimal() and len(wanted) < 8:
        return float(wanted)
    try:
        return max(0.0, (parsedate_to_datetime(wanted) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date, or one without a zone
        return 0.0


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".")


def _line(body: bytes) -> str:
    """Return the beginning of a text, in one line."""
    text = " ".join(body[: 4 * _MOST_SHOWN].decode("utf-8", errors="replace").split())
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."

"""How errors look over HTTP: RFC 9457 `application/problem+json` with a stable `code`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import structlog

from sightline.core.codec import to_json
from sightline.core.errors import (
    Cancelled,
    ConfigError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    HeadTooLarge,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    NotProcessed,
    Overloaded,
    RateLimited,
    RequestTimeout,
    SampleRejected,
    SightlineError,
    SourceUnreachable,
    Stale,
    StorageFull,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unseen,
    UpgradeRequired,
    WrongMediaType,
    WrongRange,
)
from sightline.engine.pipeline import described
from sightline.serve.auth import challenge
from sightline.serve.errors import remote_cure

log = structlog.get_logger()
PROBLEM = b"application/problem+json"
RETRY_AFTER_S = 1

STATUSES: Mapping[type[SightlineError], int] = MappingProxyType(
    {
        SightlineError: 500,
        ConfigError: 422,
        InvalidInput: 400,
        TooLarge: 413,
        HeadTooLarge: 431,
        WrongMediaType: 415,
        WrongRange: 416,
        UpgradeRequired: 426,
        NotProcessed: 403,
        SampleRejected: 422,
        NotFound: 404,
        MethodNotAllowed: 405,
        Conflict: 409,
        Stale: 412,
        Unseen: 428,
        Overloaded: 503,
        RateLimited: 429,
        DeadlineExceeded: 504,
        RequestTimeout: 408,
        Cancelled: 499,
        Unauthenticated: 401,
        Forbidden: 403,
        Unavailable: 503,
        SourceUnreachable: 503,
        StorageFull: 507,
    }
)
"""Error type -> HTTP status; a type that is not here has that of its nearest parent."""


def status_of(error: SightlineError) -> int:
    """Return the HTTP status of an error."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def ours(error: Exception) -> SightlineError:
    """Return an error of our tree: itself, or for one that nobody foresaw what a caller is told of it."""
    if isinstance(error, SightlineError):
        return error
    log.error("a mistake of ours", error=described(error), exc_info=error)
    return SightlineError("Sightline itself failed; its log says how.", cure="Report the request id.")


def problem(
    error: SightlineError, *, instance: str, request_id: str, errors: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Return the members of the problem document of an error.

    Args:
        error: what went wrong.
        instance: path of the request.
        request_id: id of the request.
        errors: what is wrong where, each with `loc` and `message`.
    """
    words, detail = error.code.replace("_", " "), str(error).removeprefix("--")  # as in `--source: ...`
    members: dict[str, Any] = {
        "type": f"/docs/errors#{error.code.replace('_', '-')}",
        "title": words[0].upper() + words[1:],
        "status": status_of(error),
        "code": error.code,
        "detail": detail,
        "cure": remote_cure(error),
        "instance": instance,
        "request_id": request_id,
    }
    if errors:
        members["errors"] = list(errors)
    if instance.startswith("/v2"):
        members["error"] = detail  # where clients of the Open Inference Protocol look
    return members


def problem_headers(error: SightlineError, *, shown: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers that go with an error: when to come back, how to say who one is.

    Args:
        error: what went wrong.
        shown: whether the caller sent credentials.
    """
    status = status_of(error)
    if status in (429, 503):
        seconds = getattr(error, "retry_after_s", RETRY_AFTER_S)
        return [(b"retry-after", str(max(1, round(seconds))).encode())]
    if isinstance(error, Unauthenticated | Forbidden):
        return [(b"www-authenticate", challenge(error, shown=shown).encode())]
    if isinstance(error, UpgradeRequired):
        return [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
    if isinstance(error, WrongRange):
        return [(b"content-range", f"bytes */{error.num_bytes}".encode())]
    if isinstance(error, MethodNotAllowed) and error.allow:
        return [(b"allow", ", ".join(error.allow).encode())]
    return []


def rendered(error: SightlineError, *, instance: str, request_id: str) -> bytes:
    """Return the problem document as JSON."""
    return to_json(problem(error, instance=instance, request_id=request_id))

"""How errors look over gRPC: the status, and beside it in the trailing metadata the same code as over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from grpc import StatusCode

from sightline.core.errors import (
    Cancelled,
    ConfigError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    RateLimited,
    SightlineError,
    StorageFull,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from sightline.serve.errors import remote_cure

GRPC_CODES: Mapping[type[SightlineError], StatusCode] = MappingProxyType(
    {
        SightlineError: StatusCode.INTERNAL,
        ConfigError: StatusCode.FAILED_PRECONDITION,
        InvalidInput: StatusCode.INVALID_ARGUMENT,
        TooLarge: StatusCode.RESOURCE_EXHAUSTED,
        NotFound: StatusCode.NOT_FOUND,
        Conflict: StatusCode.ABORTED,
        Overloaded: StatusCode.UNAVAILABLE,
        RateLimited: StatusCode.RESOURCE_EXHAUSTED,
        DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
        Cancelled: StatusCode.CANCELLED,
        Unauthenticated: StatusCode.UNAUTHENTICATED,
        Forbidden: StatusCode.PERMISSION_DENIED,
        Unavailable: StatusCode.UNAVAILABLE,
        StorageFull: StatusCode.RESOURCE_EXHAUSTED,
    }
)
"""Error type -> status; a type that is not here has that of its nearest parent."""

_MAX_DETAILS = 2000  # characters; gRPC sends it in a header, and takes 8 KiB of those, escaped
_RETRY_MS = 1000


def code_of(error: SightlineError) -> StatusCode:
    """Return the gRPC status of an error."""
    return next(GRPC_CODES[kind] for kind in type(error).__mro__ if kind in GRPC_CODES)


def details_of(error: SightlineError) -> str:
    """Return what is wrong and what to do about it, in one line."""
    return f"{error} {remote_cure(error)}"[:_MAX_DETAILS]


def trailers_of(error: SightlineError, request_id: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that goes with an error: its code, the request's id, and when to come back."""
    trailers = [("sightline-code", error.code), ("x-request-id", request_id)]
    if isinstance(error, Overloaded | Unavailable):
        wait_ms = round(1000 * getattr(error, "retry_after_s", _RETRY_MS / 1000))
        trailers += [("retry-after", str(max(1, round(wait_ms / 1000)))), ("grpc-retry-pushback-ms", str(wait_ms))]
    return tuple(trailers)

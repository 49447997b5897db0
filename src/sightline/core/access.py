"""Who asks, and what they may do: API keys as they are kept, and the caller that a door has recognised.

Knows no header and no signature; `serve.auth` reads those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What a caller may do; each scope stands for itself, `admin` for all."""

    READ = "read"
    INFER = "infer"
    MANAGE = "manage"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key as it is kept: never the key itself, only what recognises it.

    Attributes:
        id: the beginning of the key, which may be shown.
        name: what its owner calls it.
        digest: SHA-256 of the whole key, hexadecimal.
        project: what its caller sees and makes belongs to this project.
        expires: from when on it is refused; None: never.
        revoked: since when it is refused; None: it is not.
    """

    id: str
    name: str
    digest: str
    scopes: frozenset[Scope]
    project: str = "default"
    created: datetime | None = None
    expires: datetime | None = None
    revoked: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks.

    Attributes:
        id: id of the key, subject of the token, or `anonymous` where nobody has to say.
    """

    id: str = "anonymous"
    scopes: frozenset[Scope] = field(default_factory=frozenset)
    project: str = "default"

    def may(self, scope: Scope) -> bool:
        """Return whether this caller may do what needs `scope`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One request that was answered, for the request log: never what was in it.

    Attributes:
        route: the route's pattern, for instance `/v2/models/{name}/infer`.
        model: `name@version` of the models that ran, joined by commas; empty for none.
        caller: id of the caller.
        status: HTTP status, of gRPC calls the one that means the same.
        latency_ms: from the first byte of the head to the last byte of the answer.
        bytes_in, bytes_out: of the bodies.
    """

    time: datetime
    id: str
    method: str
    route: str
    status: int
    latency_ms: float
    model: str = ""
    case: str = ""
    caller: str = ""
    bytes_in: int = 0
    bytes_out: int = 0

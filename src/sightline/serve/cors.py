"""Which web pages may ask: on a loopback address those of loopback, elsewhere those that the settings name."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from sightline.serve.auth.hosts import is_loopback
from sightline.serve.exchange import Message, Scope, Send

_MOST_NAMES = 64  # that are remembered
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_EXPOSED = b"X-Request-Id, Retry-After, ETag, Server-Timing, X-Cache, Inference-Header-Content-Length"
_ASKED = (
    b"Authorization, Content-Type, Idempotency-Key, If-Match, Inference-Header-Content-Length, Last-Event-ID, "
    b"X-Api-Key, X-Request-Id, X-Request-Timeout-Ms"
)


class Cors:
    """Decides about the header `Origin`.

    Args:
        host: where the server listens.
        origins: origins that may ask, `*` for all.
        keyless: whether nobody is asked who he is.
    """

    def __init__(self, host: str, origins: Iterable[str], *, keyless: bool = True) -> None:
        self._loopback = is_loopback(host)
        self._keyless = keyless
        self._plain: set[bytes] = set()
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def allowed(self, scope: Scope) -> bytes | None:
        """Return the origin of the request where it may ask; None for others, and where there is none."""
        origin = host = None
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value
            elif name == b"host":
                host = value
        if origin is None:
            return None
        text = origin.decode("latin-1").lower()
        if text in self._origins or "*" in self._origins:
            return bytes(origin)
        try:
            parts = urlsplit(text)
            name = parts.hostname or ""
        except ValueError:
            return None
        same = host is not None and parts.netloc == host.decode("latin-1").lower()
        return bytes(origin) if same or (self._loopback and is_loopback(name)) else None

    def is_disguised(self, host: bytes | None) -> bool:
        """Return whether a request calls us by a name that is not this machine's, where only this machine may ask.

        A page from anywhere can give its own name our address ("DNS rebinding"); a browser then holds it and us for
        one origin, and keeps nothing from it. Where keys are asked for, it has none.

        Args:
            host: the header of that name.
        """
        if not (self._loopback and self._keyless) or host is None or host in self._plain:
            return False
        try:
            name = urlsplit(f"//{host.decode('latin-1').lower()}").hostname or ""
        except ValueError:
            return True
        known = is_loopback(name) or any(urlsplit(origin).hostname == name for origin in self._origins)
        if (known or "*" in self._origins) and len(self._plain) < _MOST_NAMES:
            self._plain.add(host)
        return not known and "*" not in self._origins

    @staticmethod
    def preflight(origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """Return the headers that answer a browser's question before it asks across origins."""
        if origin is None:
            return []
        return [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _ASKED),
            (b"access-control-max-age", b"600"),
        ]

    @staticmethod
    def sender(send: Send, origin: bytes) -> Send:
        """Return `send` with the headers that let a page of `origin` read the answer."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"access-control-allow-origin", origin),
                    (b"access-control-expose-headers", _EXPOSED),
                    (b"vary", b"Origin"),
                ]
            await send(message)

        return sending

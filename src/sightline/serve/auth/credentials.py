"""What a caller sends to say who it is, and what it is told when that was not enough (RFC 6750)."""

from __future__ import annotations

from sightline.core.errors import Forbidden, SightlineError, Unauthenticated

MAX_TOKEN = 8192
HOW = "Make a key with `sightline keys create NAME`, and send it as `Authorization: Bearer KEY`."


def shown(authorization: str | None, api_key: str | None) -> str:
    """Return the key or token in what was sent, plain ASCII; a `Bearer` counts before an `X-API-Key`.

    Raises:
        Unauthenticated: there is none, or it is longer than 8 KiB.
    """
    token = api_key or ""
    if authorization:
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "bearer":
            token = rest.strip()
        elif not token:
            raise Unauthenticated("Authorization is not of the scheme Bearer.", cure=HOW)
    if not token:
        raise Unauthenticated("No key or token was sent.", cure=HOW)
    if len(token) > MAX_TOKEN or not token.isascii():
        raise Unauthenticated("What was sent is no key or token.", cure=HOW)
    return token


def challenge(error: SightlineError, *, shown: bool) -> str:
    """Return the header `WWW-Authenticate` for a refusal; `shown`: whether credentials were sent."""
    head = 'Bearer realm="sightline"'
    if isinstance(error, Forbidden):
        return f'{head}, error="insufficient_scope"'
    return f'{head}, error="invalid_token"' if shown else head

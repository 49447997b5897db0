"""Addresses without secrets, for logs, events, errors and answers."""

from __future__ import annotations

import re

_SECRET_QUERY = re.compile(r"(?i)([?&;#](?:[a-z_]*(?:pass|pwd|secret|token|key|auth)[a-z_]*)=)[^&;#]*")


def redacted(url: str) -> str:
    """Return `url` without user name, password and values of secret-looking query fields.

    All that stands before the last `@` counts as user name and password: people write passwords with `/`, `#` and `?`
    in them, and a shortened address is better than a password in a log.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    credentials, at, place = rest.rpartition("@")
    shown = f"***@{place}" if at and credentials else place if at else rest
    return f"{scheme}://" + _SECRET_QUERY.sub(r"\1***", shown)

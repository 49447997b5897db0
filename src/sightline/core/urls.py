"""Addresses without secrets, for logs, events, errors and answers."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_SECRET_QUERY = re.compile(r"(?i)((?:^|[?&;])(?:[a-z_]*(?:pass|pwd|secret|token|key|auth)[a-z_]*)=)[^&;#]*")


def redacted(url: str) -> str:
    """Return `url` without user name, password and values of secret-looking query fields; paths stay as they are."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")
        netloc = f"***@{host[2]}" if host[1] else host[2]
        return urlunsplit(parts._replace(netloc=netloc, query=_SECRET_QUERY.sub(r"\1***", parts.query)))
    except ValueError:
        return f"{url.partition('://')[0]}://***"

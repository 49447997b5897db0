"""Addresses without secrets, for logs, events, errors and answers."""

from __future__ import annotations

import re

# `key=value` anywhere: cameras want it in the path too (rtsp://host/user=admin_password=x_channel=1), and a password
# may hold any letter but the `&` that ends it.
_SECRET_VALUE = re.compile(
    r"(?i)([^=&;#?/]*(?:pass|pwd|secret|token|key|auth|signature|credential|sig(?==))[^=&;#?/]*=)[^&]*"
)
_USER_FIRST = re.compile(r"[^/\\\s:@]{2,}:\S*@")  # user:password@host without a scheme; `C:` is a drive


def redacted(url: str) -> str:
    """Return `url` without user name, password and values of secret-looking fields.

    All that stands before the last `@` counts as user name and password: people write passwords with `/`, `#` and `?`
    in them, and a shortened address is better than a password in a log.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or "@" in scheme:
        scheme, separator, rest = "", "", url
        if not _USER_FIRST.match(url):
            return url
    credentials, at, place = rest.rpartition("@")
    shown = f"***@{place}" if at and credentials else place if at else rest
    return scheme + separator + _SECRET_VALUE.sub(r"\1***", shown)

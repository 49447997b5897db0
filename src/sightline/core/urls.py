"""Addresses without secrets, for logs, events, errors and answers."""

from __future__ import annotations

import re

# `key=value` anywhere: cameras want it in the path too (rtsp://host/user=admin_password=x_channel=1), and a password
# may hold any letter but the `&` that ends it.
_SECRET_VALUE = re.compile(
    r"(?i)([^=&;#?/]*(?:pass|pwd|secret|token|key|auth|signature|credential|sig(?==))[^=&;#?/]*=)[^&]*"
)
_NO_SCHEME = re.compile(r"[:@]\S*$")  # what stands before :// is a part of a password
_USER_FIRST = re.compile(r"[^/\\\s:@]{2,}:\S*@")  # user:password@host without a scheme; `C:` is a drive


def redacted(url: str) -> str:
    """Return `url` without user name, password and values of secret-looking fields.

    All that stands before the last `@` counts as user name and password: people write passwords with `/`, `#` and `?`
    in them, and a shortened address is better than a password in a log.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or _NO_SCHEME.search(scheme):
        scheme, separator, rest = "", "", url
        if not _USER_FIRST.match(url):
            return url
    shown = _SECRET_VALUE.sub(r"\1***", rest)
    credentials, at, place = shown.rpartition("@")
    if "@" in rest and not at:
        return f"{scheme}{separator}***"  # in the value of a field, or does that stand in a password?
    return scheme + separator + (f"***@{place}" if credentials else place)

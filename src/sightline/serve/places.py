"""Where a caller may have this machine look: at cameras, but not into its files."""

from __future__ import annotations

import re

from sightline.core.access import Caller, Scope
from sightline.core.errors import Forbidden

_NETWORK = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "srt", "rtp", "udp", "tcp"})
_WEBCAM = re.compile(r"[0-9]{1,3}|/dev/video[0-9]{1,3}")


def check_place(url: str, caller: Caller) -> None:
    """Check that a caller may have this machine look at a place: a camera's address, or a webcam.

    Raises:
        Forbidden: it is a file, or something else of this machine; only admins may name those.
    """
    scheme, separator, _ = url.partition("://")
    if caller.may(Scope.ADMIN) or (separator and scheme.lower() in _NETWORK) or _WEBCAM.fullmatch(url):
        return
    raise Forbidden(
        "Files of this machine may be named by admins alone.", cure="Give the address of a camera: rtsp://HOST/PATH"
    )

"""The header `Server-Timing`: where the time of a request went, as browsers show it."""

from __future__ import annotations

from collections.abc import Mapping


def server_timing(spans: Mapping[str, float]) -> bytes:
    """Return `queue;dur=0.4, inference;dur=4.8`, in milliseconds.

    Args:
        spans: seconds by what they were spent on.
    """
    return ", ".join([f"{name};dur={1000 * seconds:.2f}" for name, seconds in spans.items()]).encode()

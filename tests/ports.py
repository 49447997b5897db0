"""Ports for servers that take a number and not a socket."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """Return a port that is free now, of those that the kernel does not hand out to others meanwhile."""
    while True:
        port = random.randrange(22_000, 25_000)  # noqa: S311
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port

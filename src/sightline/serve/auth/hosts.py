"""Whether anybody but this machine can come in."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Literal


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine alone: `localhost`, 127.0.0.0/8 or `::1`; other names count as public."""
    plain = host.removeprefix("[").removesuffix("]").lower()
    if plain in ("localhost", "localhost."):
        return True
    try:
        address = ip_address(plain)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def is_required(mode: Literal["auto", "on", "off"], host: str) -> bool:
    """Return whether callers must say who they are, with `auth.mode` and the address that the server listens at."""
    return mode == "on" or (mode == "auto" and not is_loopback(host))

"""Which addresses a webhook may go to: a host is resolved once, and only an address that was looked at is connected to.

Without that, whoever may name a receiver could have this process speak to what only this process reaches: other
programs of the machine, the router, the metadata of a cloud.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from sightline.core.errors import ConfigError, Forbidden, Unavailable

Address: TypeAlias = IPv4Address | IPv6Address

PUBLIC = "public"
_NAT64 = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")  # all that the registry gives out for the internet
_NOT_PUBLIC = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
)  # which `is_global` takes for public, in parts
_CURE = "Name it in the setting webhooks.allow, if that is right."


class Targets:
    """Where may be sent to.

    Args:
        allowed: `public`, names of hosts, addresses, networks (`10.0.0.0/8`).
        resolve: gives the addresses of a host; the system's resolver by default.

    Raises:
        ConfigError: an entry is none of these.
    """

    def __init__(self, allowed: Sequence[str], resolve: Callable[[str, int], Sequence[str]] | None = None) -> None:
        self._public = PUBLIC in allowed
        self._hosts = set()
        self._networks = []
        self._resolve = resolve or _resolved
        for entry in allowed:
            if entry == PUBLIC:
                continue
            try:
                self._networks.append(ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                if "/" in entry or ":" in entry or not entry:
                    raise ConfigError(
                        f"webhooks.allow: {entry!r} is no host and no network.",
                        cure="Write hooks.internal or 10.0.0.0/8.",
                    ) from None
                self._hosts.add(entry.lower().rstrip("."))

    def check(self, host: str) -> None:
        """Refuse at once a host that is an address, without asking any resolver.

        Raises:
            Forbidden: it may not be sent to.
        """
        if (literal := _literal(host)) is not None:
            self._checked(host, [literal])

    def address(self, host: str, port: int) -> str:
        """Return the address to connect to.

        Raises:
            Forbidden: the host may not be sent to.
            Unavailable: nobody knows the host.
        """
        literal = _literal(host)
        try:
            found = [str(literal)] if literal is not None else self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise Unavailable(f"The host {host} has no address: {error}.", cure="Check its name.") from None
        return self._checked(host, [ip_address(each.partition("%")[0]) for each in found])

    def _checked(self, host: str, addresses: Sequence[Address]) -> str:
        by_name = host.lower().rstrip(".") in self._hosts
        for address in addresses:
            if by_name or self._may(address):
                return str(address)
        shown = "" if _literal(host) is not None else f" ({', '.join(map(str, addresses)) or 'no address'})"
        raise Forbidden(f"Webhooks may not go to {host}{shown}.", cure=_CURE)

    def _may(self, address: Address) -> bool:
        inner = _inside(address)
        if any(each in network for each in (address, inner) for network in self._networks):
            return True
        return self._public and all(map(_is_public, (address, inner)))


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        return address.is_global and (address in _UNICAST or address in _NAT64)
    return address.is_global and not address.is_multicast and not any(address in each for each in _NOT_PUBLIC)


def _inside(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address carries, else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def _resolved(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]

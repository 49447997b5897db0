"""Which addresses webhooks may go to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sightline.core.errors import ConfigError, Forbidden, Unavailable
from sightline.core.targets import Targets


def targets(*allowed: str, found: Sequence[str] = ()) -> Targets:
    return Targets(allowed, resolve=lambda *_: found)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0",  # noqa: S104
         "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1",
        "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::7f00:1", "fec0::1", "5f00::1",  # inside, by older names
        "192.0.0.8", "192.88.99.1", "::ffff:93.184.216.34",
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused(address: str) -> None:
    for host, allowed in ((address, targets("public")), ("hooks.example.org", targets("public", found=[address]))):
        with pytest.raises(Forbidden, match="may not go"):
            allowed.address(host, 443)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_public_addresses_are_allowed_by_their_word(address: str) -> None:
    assert targets("public", found=[address]).address("example.org", 443) == address
    with pytest.raises(Forbidden):
        targets(found=[address]).address("example.org", 443)


def test_a_host_is_allowed_by_name_whatever_its_address() -> None:
    allowed = targets("Hooks.internal", found=["10.0.0.7"])
    assert allowed.address("hooks.INTERNAL.", 80) == "10.0.0.7"
    with pytest.raises(Forbidden):
        allowed.address("other.internal", 80)


def test_a_network_allows_its_addresses_only() -> None:
    assert targets("10.1.0.0/16", "::1").address("10.1.2.3", 80) == "10.1.2.3"
    assert targets("10.1.0.0/16", found=["10.2.0.1", "10.1.0.1"]).address("hooks", 80) == "10.1.0.1"
    assert targets("10.1.0.0/16", "::1").address("[::1]", 80) == "::1"
    with pytest.raises(Forbidden):
        targets("10.1.0.0/16").address("10.2.0.1", 80)


def test_what_is_connected_to_is_what_was_looked_at() -> None:
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    rebinding = Targets(["public"], resolve=lambda *_: next(answers))
    assert rebinding.address("evil.example.org", 80) == "93.184.216.34"
    with pytest.raises(Forbidden):
        rebinding.address("evil.example.org", 80)


def test_numbers_in_disguise_are_what_the_resolver_makes_of_them() -> None:
    for host in ("127.1", "0x7f.1", "2130706433", "localhost"):
        with pytest.raises((Forbidden, Unavailable)):
            Targets(["public"]).address(host, 80)


def test_a_host_that_nobody_knows_may_be_known_later() -> None:
    with pytest.raises(Unavailable, match="no address"):
        Targets(["public"]).address("nowhere.invalid", 80)


@pytest.mark.parametrize("entry", ["", "10.0.0.0/99", "http://x"])
def test_an_entry_that_is_none_is_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"webhooks\.allow"):
        targets(entry)

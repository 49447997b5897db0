from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import ECKey, OctKey
from joserfc.util import int_to_base64
from structlog.testing import capture_logs
from tests.serve.auth.conftest import AUDIENCE, Issuer, MakeGate, until

from sightline.core.access import Scope
from sightline.core.errors import ConfigError, InvalidInput, Unauthenticated, Unavailable
from sightline.serve.auth import jwks


class Provider:
    """A real server that publishes keys; what it answers can be changed."""

    def __init__(self) -> None:
        self.body = b"{}"
        self.status = 200
        self.headers: dict[str, str] = {}
        self.endless = False
        self.num_asked = 0
        provider = self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.num_asked += 1
                self.send_response(provider.status)
                for name, value in provider.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(provider.body)
                    while provider.endless:
                        self.wfile.write(b" " * 65536)
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/keys?token=hidden"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.endless = False
    provider.server.shutdown()
    provider.server.server_close()


def published(*issuers: Issuer) -> bytes:
    return json.dumps({"keys": [key for issuer in issuers for key in issuer.jwks()["keys"]]}).encode()


def test_keys_in_a_file_are_exchanged_without_a_restart(make_gate: MakeGate, jwks_file: Path, issuer: Issuer) -> None:
    gate = make_gate(jwks=str(jwks_file), jwt_audience=AUDIENCE)
    old, new = issuer.token(), Issuer("second").token()
    gate.admit(None, old, Scope.READ)

    jwks_file.write_bytes(published(issuer, Issuer("second")))
    gate.refresh()
    assert gate.admit(None, new, Scope.READ).id == gate.admit(None, old, Scope.READ).id == "anna"

    jwks_file.write_bytes(published(Issuer("second")))
    gate.refresh()
    gate.admit(None, new, Scope.READ)
    with pytest.raises(Unauthenticated, match="not known here"):
        gate.admit(None, old, Scope.READ)  # although it had been recognised


def test_a_file_that_breaks_later_leaves_the_old_keys_and_is_told_of(
    make_gate: MakeGate, jwks_file: Path, issuer: Issuer
) -> None:
    gate = make_gate(jwks=str(jwks_file), jwt_audience=AUDIENCE)
    good = jwks_file.read_bytes()

    with capture_logs() as lines:
        for broken in (b"{", b'{"keys": []}', b"x" * 300_000):
            jwks_file.write_bytes(broken)
            gate.refresh()
            gate.refresh()
            assert any("auth.jwks" in line for line in gate.warnings())
        jwks_file.unlink()
        gate.refresh()
        assert any("cannot be read" in line for line in gate.warnings())
    gate.admit(None, issuer.token(), Scope.READ)
    jwks_file.write_bytes(good)
    gate.refresh()

    assert gate.warnings() == []
    assert [line["event"] for line in lines] == ["auth source failed"] * 4


def test_a_file_that_is_wrong_ends_the_start(make_gate: MakeGate, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"auth\.jwks: .*cannot be read"):
        make_gate(jwks=str(tmp_path / "absent.json"))
    (tmp_path / "wrong.json").write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        make_gate(jwks=str(tmp_path / "wrong.json"))


@pytest.mark.parametrize(
    "place",
    [
        "http://login.example.org/keys",
        "http://127.0.0.1.example.org/keys",
        "http://user:password@login.example.org/keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/keys",
        "https://",
        "http://[::1",
    ],
)
def test_keys_come_over_https_or_from_loopback_only(make_gate: MakeGate, place: str) -> None:
    with pytest.raises(ConfigError, match=r"auth\.jwks") as refused:
        make_gate(jwks=place)
    assert "password" not in str(refused.value)


def test_https_and_loopback_are_taken() -> None:
    for place in ("https://login.example.org/keys", "http://localhost:8080/keys", "http://[::1]:1/keys"):
        assert jwks.checked_place(place) == place


def test_keys_are_fetched_and_an_unknown_one_is_asked_for_at_most_once_in_30_s(
    make_gate: MakeGate, provider: Provider, issuer: Issuer
) -> None:
    provider.body = published(issuer)
    gate = make_gate(jwks=provider.url, jwt_audience=AUDIENCE)
    gate.start()
    assert asyncio.run(gate.admitted(None, issuer.token(), Scope.READ)).id == "anna"
    assert provider.num_asked == 1

    second, third = Issuer("second"), Issuer("third")
    provider.body = published(issuer, second)
    assert asyncio.run(gate.admitted(None, second.token(), Scope.READ)).id == "anna"
    assert provider.num_asked == 2

    for _ in range(20):
        with pytest.raises(Unauthenticated, match="not known here"):
            asyncio.run(gate.admitted(None, third.token(), Scope.READ))
    assert provider.num_asked == 2


def test_a_provider_that_is_down_is_told_of_and_does_not_delay_the_start(make_gate: MakeGate, issuer: Issuer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gate = make_gate(jwks=f"http://127.0.0.1:{silent.getsockname()[1]}/keys?token=hidden", jwt_audience=AUDIENCE)
        gate.start()
        assert gate.warnings() == []  # it has begun, and the provider may still answer
        assert until(lambda: gate.warnings() != [])
    (line,) = gate.warnings()
    assert "does not answer" in line
    assert "hidden" not in line
    with pytest.raises(Unauthenticated):
        gate.admit(None, issuer.token(), Scope.READ)


def test_what_is_fetched_is_bounded(provider: Provider) -> None:
    provider.body = b"[" + b" " * 300_000
    with pytest.raises(Unavailable, match="more than 256 KiB"):
        jwks.fetch(provider.url)
    provider.endless = True
    with pytest.raises(Unavailable, match="more than 256 KiB"):
        jwks.fetch(provider.url)


def test_redirects_errors_and_packed_answers_are_refused(provider: Provider) -> None:
    provider.status, provider.headers = 302, {"Location": "http://127.0.0.1/other"}
    with pytest.raises(Unavailable, match="answered with 302"):
        jwks.fetch(provider.url)
    provider.status, provider.headers = 500, {}
    with pytest.raises(Unavailable, match="answered with 500"):
        jwks.fetch(provider.url)
    provider.status, provider.headers = 200, {"Content-Encoding": "gzip"}
    with pytest.raises(Unavailable) as refused:
        jwks.fetch(provider.url)
    assert "hidden" not in str(refused.value)


def test_only_public_keys_that_are_strong_and_fit_are_taken(issuer: Issuer) -> None:
    good: dict[str, Any] = dict(issuer.rsa.as_dict(private=True))
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()  # noqa: S505 - that it is weak is the point
    weak = {"kty": "RSA", "kid": "weak", "n": int_to_base64(numbers.n), "e": int_to_base64(numbers.e)}
    listed: list[Any] = [
        weak,
        OctKey.generate_key(256, {"kid": "oct"}).as_dict(),
        ECKey.generate_key("P-384", {"kid": "p384"}).as_dict(private=False),
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "ps", "alg": "PS256"},
        {**good, "kid": "bad", "n": "AA"},
        {**good, "kid": "worse", "n": 5},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "off the curve"},
        {"kty": "new"},
        "nonsense",
        good,
    ]

    found = jwks.parse(json.dumps({"keys": listed}).encode(), "the set")

    assert set(found) == {("RS256", "first")}
    assert not found["RS256", "first"][1].is_private


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"5", b'{"keys": 5}', b'{"keys": []}', b'{"keys": [{}]}', b"[" * 100_000, b"\xff", b'{"keys": ['],
)
def test_what_is_no_key_set_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="the set"):
        jwks.parse(data, "the set")
    with pytest.raises(InvalidInput, match="more than 64"):
        jwks.parse(json.dumps({"keys": [{}] * 65}).encode(), "the set")

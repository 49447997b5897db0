"""Who may come in, through the real door: keys, tokens, rates, web pages, over HTTP and WebSocket."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from tests.serve.auth.conftest import AUDIENCE, ISSUER, Issuer
from tests.serve.raw import RawAnswer, asked, connected
from tests.servers import RunningServer, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from sightline.core.access import Scope
from sightline.serve.auth.keys import new_key

READ, INFER = "/api/v1/models", "/predict"


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps(issuer.jwks()))
    with serving(
        folder,
        auth__mode="on",
        auth__jwks=str(jwks),
        auth__jwt_issuer=ISSUER,
        auth__jwt_audience=AUDIENCE,
        server__cors_origins=["https://app.example.org"],
    ) as running:
        yield running


def key(server: RunningServer, *scopes: Scope, **fields: Any) -> str:
    shown, kept = new_key("test", scopes or [Scope.READ], **fields)
    server.platform.context.store.keys.add(kept)
    server.platform.gate.refresh()
    return shown


def expired_key(server: RunningServer) -> str:
    shown = key(server, expires=datetime.now(UTC) + timedelta(seconds=0.2))
    time.sleep(0.25)
    return shown


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def unsigned(claims: dict[str, Any], header: dict[str, Any], signature: bytes = b"") -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    return ".".join((part(json.dumps(header).encode()), part(json.dumps(claims).encode()), part(signature)))


def with_public_key(issuer: Issuer) -> str:
    """Return a token signed by HS256 with the public key as its secret."""
    token = unsigned(issuer.claims(), {"alg": "HS256", "kid": issuer.rsa.kid})
    secret = issuer.rsa.as_pem(private=False)
    signature = hmac.digest(secret, token.rpartition(".")[0].encode(), "sha256")
    return unsigned(issuer.claims(), {"alg": "HS256", "kid": issuer.rsa.kid}, signature)


def bad_tokens(server: RunningServer, issuer: Issuer) -> dict[str, str]:
    now = int(time.time())
    stranger = Issuer("first")
    good = issuer.token()
    return {
        "alg none": unsigned(issuer.claims(), {"alg": "none"}),
        "alg None": unsigned(issuer.claims(), {"alg": "None", "kid": issuer.rsa.kid}),
        "public key as secret": with_public_key(issuer),
        "unknown kid": issuer.token(header={"kid": "unknown"}),
        "no signature": good.rpartition(".")[0] + ".",
        "changed": good[:-6] + ("AAAAAA" if good[-6:] != "AAAAAA" else "BBBBBB"),
        "another's key": jwt.encode({"alg": "ES256", "kid": issuer.ec.kid}, issuer.claims(), stranger.ec, ["ES256"]),
        "expired": issuer.token(exp=now - 3600, iat=now - 7200, nbf=now - 7200),
        "not yet": issuer.token(nbf=now + 3600),
        "wrong audience": issuer.token(aud="others"),
        "wrong issuer": issuer.token(iss="https://evil.example/"),
        "no expiry": issuer.token(exp=None),
        "noise": "a.b.c",
        "long": "a" * 9000,
        "expired key": expired_key(server),
        "made up key": "sl_" + "a" * 8 + "_" + "b" * 43,
    }


def test_forged_and_expired_tokens_do_not_come_in(server: RunningServer, issuer: Issuer) -> None:
    for name, token in bad_tokens(server, issuer).items():
        answer = asked(server.port, "GET", READ, bearer(token))
        assert (answer.status, answer.code) == (401, "unauthenticated"), (name, answer)
        assert answer.headers["www-authenticate"].startswith("Bearer"), name
        assert "invalid_token" in answer.headers["www-authenticate"], name
        assert token.encode() not in answer.body


def test_nor_do_they_open_a_socket(server: RunningServer, issuer: Issuer) -> None:
    for name, token in bad_tokens(server, issuer).items():
        assert is_refused_by_socket(server, "", {"Authorization": f"Bearer {token}"}), name


def is_refused_by_socket(server: RunningServer, query: str, headers: dict[str, str]) -> bool:
    """Return whether a WebSocket is closed for want of permission."""
    try:
        with connect(f"ws://{server.address}/ws{query}", additional_headers=headers) as made:
            made.recv(timeout=30)
    except InvalidStatus as error:
        return error.response.status_code in (401, 403, 431)
    except ConnectionClosed as error:
        return error.rcvd is not None and error.rcvd.code == 1008
    return False


def test_who_shows_nothing_is_asked_for_a_token(server: RunningServer) -> None:
    for method, path in (
        ("GET", READ),
        ("POST", INFER),
        ("POST", "/v2/models/x/infer"),
        ("GET", "/stream"),
        ("GET", "/x"),
    ):
        answer = asked(server.port, method, path)
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == 'Bearer realm="sightline"'
    for path in ("/livez", "/readyz", "/health", "/v2/health/live", "/docs"):
        assert asked(server.port, "GET", path).status == 200


def test_a_body_is_not_read_for_who_may_not_come_in(server: RunningServer) -> None:
    with connected(server.port) as client:
        client.ask("POST", INFER, "Content-Length: 60000000", "Expect: 100-continue")
        assert client.answer().status == 401  # and no `100 Continue` before it


def test_a_key_and_a_token_come_in_with_what_they_may(server: RunningServer, issuer: Issuer) -> None:
    for token in (key(server), issuer.token(), issuer.token(alg="ES256")):
        assert asked(server.port, "GET", READ, bearer(token)).status == 200
    assert asked(server.port, "GET", READ, f"X-API-Key: {key(server)}").status == 200
    answer = asked(server.port, "POST", INFER, bearer(key(server)), body=b"x")
    assert (answer.status, answer.code) == (403, "forbidden")
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert asked(server.port, "POST", INFER, bearer(key(server, Scope.INFER)), body=b"x").code == "invalid_media"


def test_a_socket_opens_with_a_header_or_a_token_in_the_address(server: RunningServer, issuer: Issuer) -> None:
    token = key(server)
    for url, headers in (
        (f"ws://{server.address}/ws", {"Authorization": f"Bearer {token}"}),
        (f"ws://{server.address}/ws?access_token={token}", {}),
        (f"ws://{server.address}/ws?access_token={issuer.token()}", {}),
    ):
        with connect(url, additional_headers=headers) as made:
            made.send('{"op":"ping"}')
            assert made.recv(timeout=30) == '{"op":"pong"}'
    assert asked(server.port, "GET", f"{READ}?access_token={token}").status == 401  # not everywhere


@contextmanager
def few(folder: Path) -> Iterator[tuple[RunningServer, str]]:
    with serving(folder, auth__mode="on", auth__rate_per_minute=6) as running:
        yield running, key(running)


def test_who_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    with few(tmp_path) as (server, token):
        answers: list[RawAnswer] = []
        while (not answers or answers[-1].status == 200) and len(answers) < 50:
            answers.append(asked(server.port, "GET", READ, bearer(token)))
        assert answers[0].status == 200
        assert (answers[-1].status, answers[-1].code) == (429, "rate_limited")
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert asked(server.port, "GET", READ, bearer(key(server))).status == 200  # the others go on
        assert is_refused_by_socket(server, f"?access_token={token}", {})


@pytest.mark.parametrize("origin", ["https://app.example.org", "http://localhost:3000", "http://127.0.0.1"])
def test_pages_of_these_origins_may_ask(server: RunningServer, origin: str) -> None:
    answer = asked(server.port, "GET", "/livez", f"Origin: {origin}")
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Origin" in answer.headers["vary"]

    preflight = asked(
        server.port, "OPTIONS", INFER, f"Origin: {origin}", "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization",
    )  # fmt: skip
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == origin
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    refused = asked(server.port, "POST", INFER, f"Origin: {origin}", body=b"x")
    assert refused.status == 401  # for want of a key; and the page may read that
    assert refused.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "x", "http://[::1"]
)
def test_pages_of_other_origins_may_not(server: RunningServer, origin: str) -> None:
    token = bearer(key(server, Scope.INFER, Scope.READ))
    answer = asked(server.port, "POST", INFER, f"Origin: {origin}", token, body=b"x")
    assert (answer.status, answer.code) == (403, "forbidden")
    preflight = asked(server.port, "OPTIONS", INFER, f"Origin: {origin}", "Access-Control-Request-Method: POST")
    read = asked(server.port, "GET", "/livez", f"Origin: {origin}")
    for each in (answer, preflight, read):
        assert "access-control-allow-origin" not in each.headers
        assert "access-control-allow-methods" not in each.headers
    assert is_refused_by_socket(server, "", {"Origin": origin})


def test_a_server_without_keys_is_not_asked_under_a_strange_name(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for host in (f"localhost:{server.port}", "127.0.0.1", "[::1]:80"):
            assert asked(server.port, "GET", READ, host=host).status == 200
        for host in ("evil.example", f"evil.example:{server.port}", "localhost.evil.example", "[", "127.0.0.1.nip.io"):
            for method, path in (("GET", READ), ("POST", INFER), ("GET", "/stream")):
                answer = asked(server.port, method, path, host=host)
                assert (answer.status, answer.code) == (403, "forbidden"), host

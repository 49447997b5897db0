from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey
from tests.serve.auth.conftest import AUDIENCE, ISSUER, Issuer, MakeGate, Turned

from sightline.core.access import Scope
from sightline.core.errors import ConfigError, Forbidden, Unauthenticated
from sightline.serve.auth.gate import Gate
from sightline.serve.auth.tokens import Tokens

SECRET = "0123456789abcdef0123456789abcdef-and-more"


@pytest.fixture
def gate(make_gate: MakeGate, jwks_file: Path) -> Gate:
    return make_gate(jwks=str(jwks_file), jwt_issuer=ISSUER, jwt_audience=AUDIENCE)


def b64(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hs256(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """Sign as an attacker does, without a library that would refuse to."""
    signed = f"{b64(header)}.{b64(claims)}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def pem(issuer: Issuer) -> bytes:
    return issuer.rsa.public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_a_rightly_signed_token_is_taken(gate: Gate, issuer: Issuer, alg: str) -> None:
    caller = gate.admit(f"Bearer {issuer.token(alg=alg, project='yard')}", None, Scope.INFER)

    assert (caller.id, caller.project) == ("anna", "yard")
    assert caller.scopes == {Scope.READ, Scope.INFER}


@pytest.mark.parametrize(
    ("given", "scopes"),
    [
        ({"scope": "read"}, {Scope.READ}),
        ({"scope": None, "scopes": ["manage", "infer", "nonsense", 7]}, {Scope.MANAGE, Scope.INFER}),
        ({"scope": ["read"], "scopes": "admin"}, {Scope.READ, Scope.ADMIN}),
        ({"scope": "READ,infer"}, set()),
        ({"scope": {"admin": True}}, set()),
        ({"scope": None}, set()),
    ],
)
def test_scopes_come_from_the_claims(gate: Gate, issuer: Issuer, given: dict[str, Any], scopes: set[Scope]) -> None:
    token = issuer.token(**given)

    for scope in Scope:
        if scope in scopes or Scope.ADMIN in scopes:
            assert gate.admit(None, token, scope).scopes == scopes
        else:
            with pytest.raises(Forbidden):
                gate.admit(None, token, scope)


ATTACKER = ECKey.generate_key("P-256", {"kid": "new"})
FORGED: dict[str, Callable[[Issuer], str]] = {
    "alg none": lambda own: f"{b64({'alg': 'none'})}.{b64(own.claims())}.",
    "alg None": lambda own: f"{b64({'alg': 'None'})}.{b64(own.claims())}.",
    "alg none with the signature of another": lambda own: (
        f"{b64({'alg': 'none', 'kid': 'first'})}.{b64(own.claims())}.{own.token().split('.')[2]}"
    ),
    "HS256 with the public key as PEM": lambda own: hs256({"alg": "HS256", "kid": "first"}, own.claims(), pem(own)),
    "HS256 with the public key as JWK": lambda own: hs256(
        {"alg": "HS256", "kid": "first"}, own.claims(), json.dumps(own.jwks()["keys"][0]).encode()
    ),
    "HS256 with an empty secret": lambda own: hs256({"alg": "HS256"}, own.claims(), b""),
    "HS512": lambda own: jwt.encode({"alg": "HS512"}, own.claims(), OctKey.import_key("k" * 64), ["HS512"]),
    "RS512 by the right key": lambda own: jwt.encode(
        {"alg": "RS512", "kid": "strong"}, own.claims(), rsa_key_without_alg(own), ["RS512"]
    ),
    "unknown kid": lambda _: Issuer("second").token(),
    "known kid, other key": lambda own: jwt.encode(
        {"alg": "RS256", "kid": "first"}, own.claims(), Issuer("second").rsa, ["RS256"]
    ),
    "the key in its own header": lambda own: jws.serialize_compact(
        {"alg": "ES256", "kid": "new", "jwk": {**ATTACKER.as_dict(private=False)}},
        json.dumps(own.claims()),
        ATTACKER,
        ["ES256"],
    ),
    "changed claims": lambda own: ".".join(
        [own.token().split(".")[0], b64(own.claims(scope="admin")), own.token().split(".")[2]]
    ),
    "no signature": lambda own: own.token().rpartition(".")[0] + ".",
    "signature of something else": lambda own: own.token()[:-8] + "AAAAAAAA",
    "kid is a list": lambda own: f"{b64({'alg': 'RS256', 'kid': ['first']})}.{b64(own.claims())}.AAAA",
    "alg is a list": lambda own: f"{b64({'alg': ['RS256'], 'kid': 'first'})}.{b64(own.claims())}.AAAA",
    "critical extension": lambda _: f"{b64({'alg': 'RS256', 'kid': 'first', 'crit': ['x'], 'x': 1})}.e30.AAAA",
    "no alg": lambda own: f"{b64({'kid': 'first'})}.{b64(own.claims())}.AAAA",
    "header is a list": lambda own: f"{b64(['alg'])}.{b64(own.claims())}.AAAA",
    "header is a text": lambda own: f"{b64('alg')}.{b64(own.claims())}.AAAA",
    "header of brackets": lambda _: f"{b64(b'[' * 3000)}.e30.AAAA",
    "header is no base64": lambda _: "!!!.e30.AAAA",
    "not a token": lambda _: "a.b.c",
    "dots": lambda _: "..",
    "five parts, encrypted": lambda _: "e30.e30.e30.e30.e30",
    "huge": lambda own: own.token(pad="x" * 9000),
    "claims are a list": lambda own: signed(own, b"[1]"),
    "claims are no JSON": lambda own: signed(own, b"{"),
    "claims of brackets": lambda own: signed(own, b"[" * 5000),
    "claims with a huge number": lambda own: signed(own, b'{"exp": ' + b"9" * 5000 + b"}"),
    "wrong audience": lambda own: own.token(aud="other"),
    "no audience": lambda own: own.token(aud=None),
    "audience is a number": lambda own: own.token(aud=5),
    "wrong issuer": lambda own: own.token(iss="https://login.example.org.evil/"),
    "no issuer": lambda own: own.token(iss=None),
    "expired": lambda own: own.token(exp=int(time.time()) - 60),
    "expires never": lambda own: own.token(exp=None),
    "expires at no time": lambda own: own.token(exp="tomorrow"),
    "expires at NaN": lambda own: signed(own, json.dumps(own.claims(exp=float("nan"))).encode()),
    "expires at infinity": lambda own: signed(own, json.dumps(own.claims(exp=float("inf"))).encode()),
    "expires at true": lambda own: own.token(exp=True),
    "not yet valid": lambda own: own.token(nbf=int(time.time()) + 600),
    "issued in the future": lambda own: own.token(iat=int(time.time()) + 600),
    "nobody's": lambda own: own.token(sub=None),
    "of an empty subject": lambda own: own.token(sub=""),
    "of a subject that is a number": lambda own: own.token(sub=5),
    "of a subject with a line break": lambda own: own.token(sub="anna\naudit"),
    "of a long subject": lambda own: own.token(sub="a" * 300),
    "of a project that is a list": lambda own: own.token(project=["a"]),
}


def rsa_key_without_alg(own: Issuer) -> Any:
    plain = own.rsa.as_dict(private=True)
    plain.pop("alg")
    return type(own.rsa).import_key(plain)


def signed(own: Issuer, payload: bytes) -> str:
    """Sign any bytes by the right key."""
    return jws.serialize_compact({"alg": "RS256", "kid": "first"}, payload, own.rsa, ["RS256"])


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_token_is_refused(gate: Gate, issuer: Issuer, how: str) -> None:
    token = FORGED[how](issuer)

    for _ in range(2):  # nothing of it may be remembered
        with pytest.raises(Unauthenticated) as refused:
            gate.admit(f"Bearer {token}", None, Scope.READ)
    assert "\n" not in str(refused.value)
    assert refused.value.cure


@given(header=st.text(max_size=200), claims=st.binary(max_size=200), signature=st.binary(max_size=70))
@settings(max_examples=300, deadline=None)
def test_whatever_is_sent_is_refused_and_breaks_nothing(header: str, claims: bytes, signature: bytes) -> None:
    tokens = Tokens(issuer=None, audience=None, unknown_key=lambda: None)
    tokens.trust_secret(SECRET.encode())
    for head in (b64(header.encode()), b64({"alg": "HS256", "kid": header}), b64({"alg": header})):
        with pytest.raises(Unauthenticated):
            tokens.caller(f"{head}.{b64(claims)}.{b64(signature)}", b"digest")


def test_a_token_without_kid_is_taken_where_one_key_fits(gate: Gate, issuer: Issuer) -> None:
    plain = jwt.encode({"alg": "RS256"}, issuer.claims(), issuer.rsa, ["RS256"])

    assert gate.admit(None, plain, Scope.READ).id == "anna"


def test_a_token_for_somebody_else_is_refused_as_long_as_no_audience_is_set(
    make_gate: MakeGate, jwks_file: Path, issuer: Issuer
) -> None:
    gate = make_gate(jwks=str(jwks_file))

    with pytest.raises(Unauthenticated, match="jwt_audience"):
        gate.admit(None, issuer.token(), Scope.READ)
    assert gate.admit(None, issuer.token(aud=None), Scope.READ).id == "anna"


def test_hs256_counts_only_with_a_secret(make_gate: MakeGate, gate: Gate, issuer: Issuer) -> None:
    token = hs256({"alg": "HS256"}, issuer.claims(), SECRET.encode())
    own = make_gate(jwt_secret=SECRET, jwt_issuer=ISSUER, jwt_audience=AUDIENCE)

    assert own.admit(None, token, Scope.READ).id == "anna"
    with pytest.raises(Unauthenticated, match="jwt_secret is not set"):
        gate.admit(None, token, Scope.READ)
    with pytest.raises(Unauthenticated, match="forged"):
        own.admit(None, hs256({"alg": "HS256"}, issuer.claims(), b"x" * 40), Scope.READ)
    with pytest.raises(Unauthenticated):
        own.admit(None, issuer.token(), Scope.READ)


def test_with_secret_and_public_keys_the_public_key_signs_no_hs256(
    make_gate: MakeGate, jwks_file: Path, issuer: Issuer
) -> None:
    gate = make_gate(jwt_secret=SECRET, jwks=str(jwks_file), jwt_issuer=ISSUER, jwt_audience=AUDIENCE)

    assert gate.admit(None, issuer.token(), Scope.READ).id == "anna"
    assert gate.admit(None, hs256({"alg": "HS256"}, issuer.claims(), SECRET.encode()), Scope.READ).id == "anna"
    with pytest.raises(Unauthenticated, match="forged"):
        gate.admit(None, FORGED["HS256 with the public key as PEM"](issuer), Scope.READ)


def test_a_weak_secret_is_refused_at_the_start(make_gate: MakeGate, issuer: Issuer) -> None:
    for secret in ("short", "x" * 31, pem(issuer).decode()):
        with pytest.raises(ConfigError, match=r"auth\.jwt_secret"):
            make_gate(jwt_secret=secret)


def test_the_secret_in_a_file_is_exchanged_without_a_restart(
    make_gate: MakeGate, issuer: Issuer, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    gate = make_gate(jwt_secret=SECRET, jwt_audience=AUDIENCE, files={"jwt_secret": file})
    old, new = (hs256({"alg": "HS256"}, issuer.claims(), secret) for secret in (SECRET.encode(), b"y" * 40))
    gate.admit(None, old, Scope.READ)

    file.write_text("y" * 40 + "\n")
    gate.refresh()

    assert gate.admit(None, new, Scope.READ).id == "anna"
    with pytest.raises(Unauthenticated, match="forged"):
        gate.admit(None, old, Scope.READ)


def test_a_token_that_was_recognised_before_still_expires(gate: Gate, issuer: Issuer, clock: Turned) -> None:
    token = issuer.token(exp=int(clock.s) + 100)
    assert gate.admit(None, token, Scope.READ) is gate.admit(None, token, Scope.READ)

    clock.s += 111
    with pytest.raises(Unauthenticated, match="expired"):
        gate.admit(None, token, Scope.READ)


def test_recognised_tokens_fill_no_memory(issuer: Issuer) -> None:
    tokens = Tokens(issuer=None, audience=AUDIENCE, unknown_key=lambda: None)
    tokens.trust_secret(SECRET.encode())
    token = hs256({"alg": "HS256"}, issuer.claims(), SECRET.encode())

    for number in range(5000):
        tokens.caller(token, number.to_bytes(32, "big"))

    assert 3000 < len(tokens._trusted.seen) <= 4096

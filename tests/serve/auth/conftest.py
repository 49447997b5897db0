"""What the tests of the gate share: a store of keys in memory, a clock that is turned, and an issuer of tokens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from sightline.core.access import ApiKey, Scope
from sightline.core.errors import Conflict, NotFound
from sightline.core.stores import KeyStore
from sightline.serve.auth.gate import Gate
from sightline.serve.auth.keys import new_key
from sightline.settings.model import AuthSettings

ISSUER, AUDIENCE = "https://login.example.org/", "sightline"


class MemoryKeys(KeyStore):
    """Keys in memory; `broken` makes it fail as a database does that is gone, `slow_s` as one that is busy."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self.broken = False
        self.slow_s = 0.0
        self.num_listed = 0

    def add(self, key: ApiKey) -> ApiKey:
        if key.id in self._keys:
            raise Conflict(f"Key {key.id!r} exists.")
        self._keys[key.id] = replace(key, created=datetime.now(UTC))
        return self._keys[key.id]

    def list(self) -> Sequence[ApiKey]:
        self.num_listed += 1
        time.sleep(self.slow_s)
        if self.broken:
            raise OSError("the database is gone")
        return list(reversed(self._keys.values()))

    def revoke(self, key_id: str) -> ApiKey:
        if key_id not in self._keys:
            raise NotFound(f"There is no key {key_id!r}.")
        self._keys[key_id] = replace(self._keys[key_id], revoked=datetime.now(UTC))
        return self._keys[key_id]

    def make(self, *scopes: Scope, **fields: Any) -> str:
        """Add a key and return it."""
        key, kept = new_key("test", scopes or [Scope.READ], **fields)
        self.add(kept)
        return key


class Turned:
    """A clock of seconds that stands still until it is turned."""

    def __init__(self) -> None:
        self.s = time.time()

    def __call__(self) -> float:
        return self.s


class Issuer:
    """Signs tokens as an identity provider does, and publishes its keys."""

    def __init__(self, kid: str = "first") -> None:
        self.rsa = rsa_key(kid)
        self.ec = ECKey.generate_key("P-256", {"kid": f"{kid}-ec", "use": "sig", "alg": "ES256"})

    def jwks(self) -> dict[str, Any]:
        return {"keys": [self.rsa.as_dict(private=False), self.ec.as_dict(private=False)]}

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return claims that are right, with changes; a claim that is None is left out."""
        now = int(time.time())
        right = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "scope": "openid read infer",
            "iat": now, "nbf": now, "exp": now + 300,
        }  # fmt: skip
        return {name: value for name, value in (right | changed).items() if value is not None}

    def token(self, *, alg: str = "RS256", header: dict[str, Any] | None = None, **changed: Any) -> str:
        key = self.rsa if alg == "RS256" else self.ec
        return jwt.encode({"alg": alg, "kid": key.kid, **(header or {})}, self.claims(**changed), key, [alg])


@cache
def rsa_key(kid: str) -> RSAKey:
    """Return an RSA key; making one takes a moment."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


@pytest.fixture
def keys() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def clock() -> Turned:
    return Turned()


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def jwks_file(tmp_path: Path, issuer: Issuer) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(issuer.jwks()))
    return path


MakeGate = Callable[..., Gate]


@pytest.fixture
def make_gate(keys: MemoryKeys, clock: Turned) -> Iterator[MakeGate]:
    """Return what makes a gate that asks for keys; its keywords are settings, and those of the gate."""
    made: list[Gate] = []

    def make(**given: Any) -> Gate:
        own: dict[str, Any] = {"required": True, "now": clock}
        own |= {name: given.pop(name) for name in ("required", "loopback", "files") if name in given}
        gate = Gate(AuthSettings(**given), lambda: keys, **own)
        made.append(gate)
        return gate

    yield make
    for gate in made:
        gate.close()


def until(told: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    """Wait until `told` says yes, and return whether it did."""
    end_s = time.monotonic() + timeout_s
    while not told() and time.monotonic() < end_s:
        time.sleep(0.005)
    return told()

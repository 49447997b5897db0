"""Signed tokens (JWT, RFC 7519): RS256 and ES256 by public keys, HS256 by a secret of this node.

The algorithm decides which keys are looked at, so no public key ever checks an HMAC, and the header's own ideas about
keys (`jwk`, `jku`, `x5u`) are not followed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joserfc import jws
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwk import OctKey
from joserfc.jwt import JWTClaimsRegistry

from sightline.core.access import Caller, Scope
from sightline.core.errors import ConfigError, Unauthenticated

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

_LEEWAY_S = 10  # clocks differ
_MAX_SEEN = 4096
_MIN_SECRET_BYTES = 32  # RFC 7518, 3.2
_MAX_NAME = 256
_SCOPES: Mapping[str, Scope] = {str(scope): scope for scope in Scope}
_REGISTRIES = {name: jws.JWSRegistry(algorithms=[name]) for name in ("RS256", "ES256", "HS256")}
for _registry in _REGISTRIES.values():
    _registry.max_header_length = 4096  # some issuers put certificates there; the whole token is bounded anyway

PublicKeys = Mapping[tuple[str, str], "tuple[Mapping[str, Any], RSAKey | ECKey]"]


@dataclass(frozen=True, kw_only=True)
class _Trusted:
    """The keys of one moment, and the tokens that they have recognised: with new keys all are checked again."""

    public: PublicKeys = field(default_factory=dict)
    secret: OctKey | None = None
    seen: dict[bytes, tuple[Caller, float]] = field(default_factory=dict)


class Tokens:
    """Recognises tokens.

    Args:
        issuer: `iss` that they must carry; None: any.
        audience: `aud` that they must carry; None: they may carry none, as RFC 7519 (4.1.3) wants it.
        unknown_key: told when a token names a key that is not there.
        now: seconds since 1970.
    """

    def __init__(
        self,
        *,
        issuer: str | None,
        audience: str | None,
        unknown_key: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self.unknown_key = unknown_key
        self._now = now
        self._trusted = _Trusted()

    def trust(self, public: PublicKeys) -> bool:
        """Check tokens by these public keys from now on; return whether they are others than before."""
        old = self._trusted
        if _documents(old.public) == _documents(public):
            return False
        self._trusted = _Trusted(public=public, secret=old.secret)
        return True

    def trust_secret(self, secret: bytes) -> None:
        """Check HS256 by this secret from now on.

        Raises:
            ConfigError: it is shorter than 32 bytes, or a public key.
        """
        if len(secret) < _MIN_SECRET_BYTES:
            raise ConfigError(
                f"auth.jwt_secret is shorter than {_MIN_SECRET_BYTES} bytes.",
                cure="Make one: python -c 'import secrets; print(secrets.token_urlsafe(48))'",
            )
        if b"-----BEGIN" in secret or secret.startswith(b"ssh-"):
            raise ConfigError(
                "auth.jwt_secret is a key file, no secret.", cure="Name public keys with auth.jwks, as a JWKS file."
            )
        self._trusted = _Trusted(public=self._trusted.public, secret=OctKey.import_key(secret))

    def caller(self, token: str, digest: bytes) -> Caller:
        """Return who shows `token`, whose SHA-256 is `digest`; one that was checked before is only looked up.

        Raises:
            Unauthenticated: it is none of ours, forged, expired or not yet valid; says which.
        """
        trusted, now = self._trusted, self._now()
        seen = trusted.seen.get(digest)
        if seen is not None:
            if now < seen[1]:
                return seen[0]
            raise _expired()
        claims = self._claims(token, trusted)
        try:
            self._rules(now).validate(claims)
            end = float(claims["exp"]) + _LEEWAY_S
        except ExpiredTokenError:
            raise _expired() from None
        except MissingClaimError as error:
            raise _refused(f"has no {error.claim}") from None
        except (InvalidClaimError, OverflowError) as error:
            raise _refused(f"has a wrong claim {getattr(error, 'claim', 'exp')!r}") from None
        if self._audience is None and claims.get("aud"):
            raise _refused("is for somebody else (aud), as long as auth.jwt_audience is not set")
        caller = _caller(claims)
        _remember(trusted.seen, digest, caller, end, now)
        return caller

    def _claims(self, token: str, trusted: _Trusted) -> dict[str, Any]:
        """Return the claims of a token that is rightly signed."""
        try:
            signed = jws.extract_compact(token.encode("ascii"), registry=_REGISTRIES["RS256"])
            header = signed.headers()
            algorithm, kid = header.get("alg"), header.get("kid", "")
            if not isinstance(algorithm, str) or algorithm not in _REGISTRIES or not isinstance(kid, str):
                raise _refused("is not signed by RS256, ES256 or HS256")
            key = self._key(trusted, algorithm, kid)
            if not jws.validate_compact(signed, key, registry=_REGISTRIES[algorithm]):
                raise _refused("is forged: its signature is wrong")
            claims = json.loads(signed.payload or b"")
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise _refused("is damaged or none") from None
        if not isinstance(claims, dict):
            raise _refused("has no claims")
        return claims

    def _key(self, trusted: _Trusted, algorithm: str, kid: str) -> Any:
        if algorithm == "HS256":
            if trusted.secret is None:
                raise _refused("is signed by HS256, and auth.jwt_secret is not set")
            return trusted.secret
        found = trusted.public.get((algorithm, kid))
        if found is None and not kid:
            fitting = [pair for (name, _), pair in trusted.public.items() if name == algorithm]
            found = fitting[0] if len(fitting) == 1 else None
        if found is None:
            self.unknown_key()
            raise _refused("is signed by a key that is not known here")
        return found[1]

    def _rules(self, now: float) -> JWTClaimsRegistry:
        rules: dict[str, Any] = {"exp": {"essential": True}, "sub": {"essential": True}}
        if self._issuer is not None:
            rules["iss"] = {"essential": True, "value": self._issuer}
        if self._audience is not None:
            rules["aud"] = {"essential": True, "value": self._audience}
        return JWTClaimsRegistry(now=int(now), leeway=_LEEWAY_S, **rules)


def _documents(public: PublicKeys) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {name: document for name, (document, _) in public.items()}


def _caller(claims: Mapping[str, Any]) -> Caller:
    subject, project = claims["sub"], claims.get("project", "default")
    for what, text in (("sub", subject), ("project", project)):
        if not isinstance(text, str) or not 0 < len(text) <= _MAX_NAME or not text.isprintable():
            raise _refused(f"has a wrong claim {what!r}")
    words: list[Any] = []
    for name in ("scope", "scopes"):
        given = claims.get(name, [])
        words += given.split() if isinstance(given, str) else given if isinstance(given, list) else []
    scopes = frozenset(_SCOPES[word] for word in words if isinstance(word, str) and word in _SCOPES)
    return Caller(id=subject, scopes=scopes, project=project)


def _remember(seen: dict[bytes, tuple[Caller, float]], digest: bytes, caller: Caller, end: float, now: float) -> None:
    """Keep what was recognised; where there are too many, the expired and then the oldest go."""
    if len(seen) >= _MAX_SEEN:
        items = list(seen.items())
        for old, (_, old_end) in items:
            if old_end <= now:
                seen.pop(old, None)
        for old, _ in items[: max(0, len(seen) - _MAX_SEEN * 9 // 10)]:
            seen.pop(old, None)
    seen[digest] = (caller, end)


def _expired() -> Unauthenticated:
    return Unauthenticated("The token has expired.", cure="Get a new one.")


def _refused(what: str) -> Unauthenticated:
    return Unauthenticated(f"The token {what}.", cure="Get one that is meant for this server.")

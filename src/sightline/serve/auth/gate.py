"""The gate that every door asks: who is this, and may they do that?

Knows no ASGI and no gRPC. `admit` does no input or output, so that it can be called on the event loop: keys and
public keys lie in memory, and threads of the gate keep them new.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog

from sightline.core.access import ApiKey, Caller, Scope
from sightline.core.errors import ConfigError, Forbidden, SightlineError, Unauthenticated, Unavailable
from sightline.core.stores import KeyStore
from sightline.serve.auth.credentials import HOW, MAX_TOKEN, shown
from sightline.serve.auth.examples import refuse_examples
from sightline.serve.auth.files import WatchedFile, read_secret
from sightline.serve.auth.keys import ID_CHARS, PREFIX
from sightline.serve.auth.rates import Rates
from sightline.serve.auth.refreshing import Refresher, Troubles

if TYPE_CHECKING:
    from sightline.serve.auth.tokens import Tokens
    from sightline.settings.model import AuthSettings

NOBODY = Caller()
"""Whoever asks for what is open."""
ANYBODY = Caller(scopes=frozenset(Scope))
"""Whoever asks where nobody has to say who they are."""

_KEYS_EVERY_S = 1.0
_KEYS_GAP_S = 0.25
_JWKS_EVERY_S = 300.0
_JWKS_GAP_S = 30.0
_SETTLE_S = 3.0
_MAX_WAITING = 64
_MIN_SERVICE_TOKEN = 16
_SECRET_AT = len(PREFIX) + ID_CHARS
_NEVER = float("inf")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Held:
    """What recognises one key; `until` is its end in seconds since 1970, 0 when it was revoked."""

    digest: str
    caller: Caller
    until: float


class Gate:
    """Recognises callers by API key, signed token or service token, and counts how often they ask.

    Args:
        settings: who may ask.
        keys: returns the store of the keys; called by the gate's thread.
        required: False lets everybody do everything, and looks at no credentials; see `hosts.is_required`.
        loopback: whether only this machine can come in.
        files: files of the secrets `jwt_secret` and `service_token`, read again when they change; see
            `files.secret_files`.
        now: seconds since 1970.

    Raises:
        ConfigError: a secret is short, an example's, or not to be sent in a header; `auth.jwks` cannot be used.
    """

    def __init__(
        self,
        settings: AuthSettings,
        keys: Callable[[], KeyStore],
        *,
        required: bool,
        loopback: bool = False,
        files: Mapping[str, Path] = MappingProxyType({}),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = keys
        self._required = required
        self._loopback = loopback
        self._now = now
        self._held: dict[str, _Held] | None = None
        self._service_digest: bytes | None = None
        self._rates = None if settings.rate_per_minute is None else Rates(settings.rate_per_minute)
        self._troubles = Troubles()
        self._waiting = 0
        self._refreshing = Lock()
        self._tokens: Tokens | None = None
        self._watched: dict[str, WatchedFile] = {}
        self._refreshers = [Refresher("auth-keys", self._refresh_keys, gap_s=_KEYS_GAP_S)]
        if not required:
            return
        if settings.service_token is not None:
            self._take_service_token(settings.service_token.get_secret_value().encode())
        if settings.jwks is not None or settings.jwt_secret is not None:
            self._take_token_settings(settings)
        for name, use in (("jwt_secret", self._take_jwt_secret), ("service_token", self._take_service_token)):
            if name in files:
                self._watch(f"auth.{name}", WatchedFile(files[name], read_secret, use))

    def start(self) -> None:
        """Start the threads that keep the keys new; the first reading goes on after this returns."""
        if self._required:
            for refresher in self._refreshers:
                refresher.start()

    def close(self) -> None:
        """End the threads."""
        for refresher in self._refreshers:
            refresher.close()

    def refresh(self) -> None:
        """Read the keys and the watched files now; blocks. For a thread that has just changed the keys.

        A store that does not answer is no error here: the keys known before stay valid, and `warnings` tells it.
        """
        if self._required:
            self._refresh_keys()

    @property
    def is_settling(self) -> bool:
        """True while keys are read for the first time, or looked up because somebody showed an unknown one."""
        return any(refresher.is_busy for refresher in self._refreshers)

    def warnings(self) -> list[str]:
        """Return what a person should know of, one line each: for the start, and for `/readyz?verbose`."""
        found = self._troubles.lines()
        if not self._required and not self._loopback:
            found.insert(
                0, "Nobody is asked for a key (auth.mode is off): whoever reaches this port may do everything."
            )
        return found

    def admit(
        self, authorization: str | None, api_key: str | None, scope: Scope | None, *, counted: bool = True
    ) -> Caller:
        """Return who asks, if they may do what needs `scope`; quick, and without input or output.

        Args:
            authorization: the header of that name, `Bearer ...`.
            api_key: the header `X-API-Key`, or `?access_token=` where a browser cannot set one.
            scope: None: it is open, and no credentials are looked at.
            counted: False for asking again within one long connection, at each heartbeat, whether it may go on.

        Raises:
            Unauthenticated: nothing was shown, or nothing that is known. After an unknown key or key id a look-up is
                on its way (`is_settling`), at most once in 0.25 s for keys and in 30 s for addresses of public keys.
            Forbidden: they may not.
            RateLimited: they ask too often.
            Unavailable: the keys could not be read yet.
        """
        if scope is None:
            return NOBODY
        if not self._required:
            return ANYBODY
        caller = self._recognised(shown(authorization, api_key))
        if counted and self._rates is not None:
            self._rates.take(caller.id)
        if not caller.may(scope):
            raise Forbidden(f"{caller.id} has no scope {scope}.", cure=f"Ask for a key or token with scope {scope}.")
        return caller

    async def admitted(self, authorization: str | None, api_key: str | None, scope: Scope | None) -> Caller:
        """Do as `admit`, and ask a second time when a look-up that may change the answer is over.

        So a key that was made a moment ago, and a token signed by a key that was exchanged a moment ago, are not
        refused. Waits at most 3 s, and does not wait when 64 others do.
        """
        try:
            return self.admit(authorization, api_key, scope)
        except (Unauthenticated, Unavailable):
            if not self.is_settling or self._waiting >= _MAX_WAITING or not (authorization or api_key):
                raise
        self._waiting += 1
        try:
            end_s = time.monotonic() + _SETTLE_S
            while time.monotonic() < end_s and self.is_settling:  # noqa: ASYNC110 - a thread ends it, not the loop
                await asyncio.sleep(0.005)
        finally:
            self._waiting -= 1
        return self.admit(authorization, api_key, scope)

    def _recognised(self, token: str) -> Caller:
        data = token.encode("ascii")
        digest = sha256(data)
        if self._service_digest is not None and hmac.compare_digest(digest.digest(), self._service_digest):
            return _SERVICE
        if token.startswith(PREFIX) and token[_SECRET_AT : _SECRET_AT + 1] == "_":
            return self._key_holder(token[len(PREFIX) : _SECRET_AT], digest.hexdigest())
        if self._tokens is not None and token.count(".") == 2:
            return self._tokens.caller(token, digest.digest())
        raise Unauthenticated("This is no key or token that is known here.", cure=HOW)

    def _key_holder(self, key_id: str, digest: str) -> Caller:
        if self._held is None:
            self._refreshers[0].ask()
            raise Unavailable("The API keys could not be read yet.", cure="Try again in a moment.")
        held = self._held.get(key_id)
        if held is None or not hmac.compare_digest(held.digest, digest):
            if held is None:
                self._refreshers[0].ask()
            raise Unauthenticated("This API key is not known here.", cure=HOW)
        if held.until <= self._now():
            why = "was revoked" if held.until == 0 else "has expired"
            raise Unauthenticated(f"API key {key_id} {why}.", cure=HOW)
        return held.caller

    def _take_service_token(self, data: bytes) -> None:
        token = data.decode("latin-1")
        refuse_examples(self._settings.insecure or self._loopback, service_token=token)
        if not token.isascii() or not token.isprintable() or " " in token or len(token) > MAX_TOKEN:
            raise ConfigError(
                "auth.service_token cannot be sent in a header.", cure="Take letters, digits and -._~ without blanks."
            )
        self._service_digest = sha256(data).digest()
        if len(token) < _MIN_SERVICE_TOKEN:
            self._troubles.begin("auth.service_token", f"it has fewer than {_MIN_SERVICE_TOKEN} characters")
        else:
            self._troubles.end("auth.service_token")

    def _take_jwt_secret(self, data: bytes) -> None:
        if self._tokens is not None:
            self._tokens.trust_secret(data)

    def _take_token_settings(self, settings: AuthSettings) -> None:
        from sightline.serve.auth import jwks  # with cryptography, which takes a while to load, only for tokens
        from sightline.serve.auth.tokens import Tokens

        tokens = self._tokens = Tokens(
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            unknown_key=self._refreshers[0].ask,
            now=self._now,
        )
        if settings.jwt_secret is not None:
            tokens.trust_secret(settings.jwt_secret.get_secret_value().encode())
        if settings.jwks is None:
            return
        place = jwks.checked_place(settings.jwks)
        if isinstance(place, Path):
            file = WatchedFile(place, jwks.read, lambda data: tokens.trust(jwks.parse(data, str(place))))
            self._watch("auth.jwks", file)
            return

        def fetch() -> float:
            try:
                changed = tokens.trust(jwks.parse(jwks.fetch(place), "auth.jwks"))
            except SightlineError as error:
                self._troubles.begin("auth.jwks", error.message)
                return _JWKS_GAP_S
            self._troubles.end("auth.jwks")
            if changed:
                _log.info("public keys changed", setting="auth.jwks")
            return _JWKS_EVERY_S

        refresher = Refresher("auth-jwks", fetch, gap_s=_JWKS_GAP_S)
        self._refreshers.append(refresher)
        tokens.unknown_key = refresher.ask

    def _watch(self, what: str, file: WatchedFile) -> None:
        """Read a file now, where its errors end the start, and look after it from now on."""
        try:
            file.look()
        except SightlineError as error:
            raise ConfigError(f"{what}: {error.message}", cure=error.cure) from None
        self._watched[what] = file

    def _refresh_keys(self) -> float:
        with self._refreshing:  # what was read first must not take the place of what was read last
            for what, file in self._watched.items():
                try:
                    if file.look():
                        self._troubles.end(what)
                        _log.info("file was read again", setting=what)
                except SightlineError as error:
                    self._troubles.begin(what, error.message)
            try:
                self._held = {key.id: _held(key) for key in self._store().list()}
                self._troubles.end("API keys")
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a store, the thread must live on
                self._troubles.begin("API keys", f"{type(error).__name__}; those known before stay valid")
        return _KEYS_EVERY_S


_SERVICE = Caller(id="service", scopes=frozenset({Scope.READ, Scope.INFER, Scope.MANAGE}))


def _held(key: ApiKey) -> _Held:
    until = _NEVER if key.expires is None else key.expires.timestamp()
    caller = Caller(id=key.id, scopes=key.scopes, project=key.project)
    return _Held(key.digest, caller, 0.0 if key.revoked is not None else until)

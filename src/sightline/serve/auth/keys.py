"""API keys: how they are made and what of them is kept.

A key is `sl_<id>_<secret>`. The id may be shown; of the whole key only its SHA-256 is kept, which is enough for a
secret of 238 random bits: nobody can try them out, as with passwords.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Iterable
from datetime import UTC, datetime

from sightline.core.access import ApiKey, Scope
from sightline.core.errors import InvalidInput
from sightline.core.stores import KeyStore

PREFIX = "sl_"
ID_CHARS = 8
_ID_LETTERS = string.ascii_lowercase + string.digits
_SECRET_LETTERS = string.ascii_letters + string.digits
_SECRET_CHARS = 40
_MAX_NAME = 64


def new_key(
    name: str, scopes: Iterable[Scope], *, project: str = "default", expires: datetime | None = None
) -> tuple[str, ApiKey]:
    """Return a new key and what is kept of it; the key itself cannot be had again.

    Raises:
        InvalidInput: the name or the project is empty, long or unprintable, there is no scope, or the time is past.
    """
    held = frozenset(scopes)
    if not held:
        raise InvalidInput(f"Key {name!r} would have no scope.", cure=f"Give one of {', '.join(Scope)}.")
    for what, text in (("name", name), ("project", project)):
        if not text.strip() or len(text) > _MAX_NAME or not text.isprintable():
            raise InvalidInput(f"Not a {what} for a key: {text[:_MAX_NAME]!r}.", cure=f"Take 1 to {_MAX_NAME} letters.")
    if expires is not None and expires <= datetime.now(UTC):
        raise InvalidInput(
            f"Key {name!r} would have expired already, at {expires:%Y-%m-%d %H:%M} UTC.", cure="Give a later time."
        )
    key_id = _drawn(_ID_LETTERS, ID_CHARS)
    key = f"{PREFIX}{key_id}_{_drawn(_SECRET_LETTERS, _SECRET_CHARS)}"
    return key, ApiKey(id=key_id, name=name, digest=digest_of(key), scopes=held, project=project, expires=expires)


def digest_of(key: str) -> str:
    """Return the SHA-256 of a key, hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def id_of(text: str) -> str:
    """Return the id in a whole key, in its beginning `sl_<id>`, or the id itself."""
    return text.removeprefix(PREFIX).partition("_")[0] if text.startswith(PREFIX) else text


def first_key(store: KeyStore) -> str | None:
    """Return a new key that may do all, if no key in `store` works; else None.

    For the first start on a public address, which prints it once.
    """
    now = datetime.now(UTC)
    if any(key.revoked is None and (key.expires is None or key.expires > now) for key in store.list()):
        return None
    key, kept = new_key("first", [Scope.ADMIN])
    store.add(kept)
    return key


def _drawn(letters: str, num: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(num))

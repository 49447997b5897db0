"""Public keys that sign tokens (JWKS, RFC 7517): read from a file or an https address, and checked.

Only what can check RS256 or ES256 is taken: RSA keys of at least 2,048 bits and P-256 keys. Symmetric keys in a set
are passed over, for a public file is no place for a secret.
"""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sightline.core.errors import ConfigError, InvalidInput, Unavailable
from sightline.core.urls import redacted
from sightline.serve.auth.hosts import is_loopback

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

_MAX_BYTES = 256 * 1024
_MAX_KEYS = 64
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
_TIMEOUT_S = 5.0
_TOTAL_S = 10.0
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y")}
_ALGORITHM = {"RSA": "RS256", "EC": "ES256"}


def checked_place(place: str) -> Path | str:
    """Return where the keys lie, a Path or an address.

    Raises:
        ConfigError: the address is neither https nor on a loopback address.
    """
    if "://" not in place:
        return Path(place)
    try:
        parts = urlsplit(place)
        host = parts.hostname or ""
    except ValueError:
        host, parts = "", urlsplit("")
    if host and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        return place
    raise ConfigError(
        f"auth.jwks is neither a file nor an https address: {redacted(place)}.",
        cure="Keys that come over plain http can be exchanged on their way: use https, or copy them into a file.",
    )


def check(place: str) -> None:
    """Look whether public keys can come from there; a file is read, an address is not asked: it may be away now.

    Raises:
        SightlineError: what is wrong with the place, or with what lies there.
    """
    found = checked_place(place)
    if isinstance(found, Path):
        parse(read(found), redacted(place))


def parse(data: bytes, what: str) -> Mapping[tuple[str, str], tuple[Mapping[str, Any], RSAKey | ECKey]]:
    """Return the usable keys by algorithm and id (`kid`, empty where there is none), with what made them.

    Raises:
        InvalidInput: it is no key set, has more than 64 keys, or none that is usable.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{what} is not JSON.", cure="A key set looks so: {'keys': [...]}.") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
        raise InvalidInput(f"{what} is no key set, or one of more than {_MAX_KEYS} keys.")
    found: dict[tuple[str, str], tuple[Mapping[str, Any], RSAKey | ECKey]] = {}
    for item in listed:
        key = _imported(item)
        if key is not None:
            kid = item.get("kid", "")
            found[_ALGORITHM[item["kty"]], kid if isinstance(kid, str) else ""] = (item, key)
    if not found:
        raise InvalidInput(f"{what} has no key for RS256 (2,048 bits or more) or ES256 (P-256).")
    return found


def _imported(item: Any) -> RSAKey | ECKey | None:
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey

    if not isinstance(item, dict) or item.get("kty") not in ("RSA", "EC"):
        return None
    kind = item["kty"]
    if item.get("use", "sig") != "sig" or item.get("alg", _ALGORITHM[kind]) != _ALGORITHM[kind]:
        return None
    if kind == "EC" and item.get("crv") != "P-256":
        return None
    if kind == "RSA" and not _MIN_RSA_BITS <= _bits(item.get("n")) <= _MAX_RSA_BITS:
        return None
    public: dict[str, Any] = {name: item.get(name) for name in _PUBLIC[kind]} | {"kty": kind}
    try:
        return ECKey.import_key(public) if kind == "EC" else RSAKey.import_key(public)
    except (JoseError, ValueError, TypeError, AttributeError):
        return None


def _bits(number: Any) -> int:
    """Return the length of a number in base64url, 0 if it is none."""
    try:
        return int.from_bytes(urlsafe_b64decode(f"{number}===")).bit_length()
    except ValueError:
        return 0


def read(path: Path) -> bytes:
    """Return the bytes of a key file.

    Raises:
        ConfigError: it is not there, cannot be read, or is larger than 256 KiB.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", cure="Check the path and its permissions."
        ) from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path} is larger than 256 KiB.", cure="Name the file of the public keys.")
    return data


def fetch(url: str) -> bytes:
    """Return what lies at an address; bytes are counted as they come, and no redirect is followed.

    Raises:
        Unavailable: it does not answer in time, not with 200, or with more than 256 KiB.
    """
    import httpx2  # only where keys come from an address

    shown = redacted(url)
    end_s = time.monotonic() + _TOTAL_S
    data = bytearray()
    try:
        with httpx2.stream("GET", url, headers={"Accept-Encoding": "identity"}, timeout=_TIMEOUT_S) as answer:
            if answer.status_code != 200 or answer.headers.get("content-encoding", "identity") != "identity":
                raise Unavailable(f"{shown} answered with {answer.status_code} where keys were expected.")
            for part in answer.iter_raw():
                data += part
                if len(data) > _MAX_BYTES:
                    raise Unavailable(f"{shown} answers with more than 256 KiB.")
                if time.monotonic() > end_s:
                    raise Unavailable(f"{shown} answers too slowly.")
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise Unavailable(f"{shown} does not answer: {type(error).__name__}.") from None
    return bytes(data)

"""`GET /` and `/ui/`: the web interface, as it was built into the folder `web/app`.

It knows files and their headers, and nothing of what the interface does. The files are open to everybody, as those of
`/viewer` are; the data that they ask for needs a key where keys are asked for.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable

from sightline.core.errors import NotFound
from sightline.serve.exchange import Exchange

FOLDER = "/ui/"
_ROUTE = "/ui/{file}"
_PAGE = "index.html"
_TYPES = {
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "svg": b"image/svg+xml",
    "woff2": b"font/woff2",
    "wasm": b"application/wasm",
    "png": b"image/png",
    "jpg": b"image/jpeg",
}
_HASHED = "assets/"  # names there hold a hash of what is in them: another content has another name
_FOR_EVER = b"public, max-age=31536000, immutable"
_POLICY = (
    b"default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; worker-src 'self' blob:; "
    b"connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_WORTH_IT = 1000  # bytes below which compressing saves nothing


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the interface, ready to be sent.

    Attributes:
        zipped: the body for those who take gzip; None where it would not be smaller.
    """

    body: bytes
    zipped: bytes | None
    media_type: bytes
    etag: bytes
    caching: bytes


class WebDoor:
    """Answers `/` and what is below `/ui/`."""

    async def __call__(self, exchange: Exchange) -> None:
        """Send a file.

        Raises:
            NotFound: no file has this name.
        """
        is_page = exchange.path == "/"
        exchange.route = "/" if is_page else _ROUTE
        file = self._files.get(_PAGE if is_page else exchange.path.removeprefix(FOLDER))
        if file is None:
            raise NotFound(
                f"The interface has no file {exchange.path[:128]!r}.", cure="Load the page anew: it was updated."
            )
        headers = [
            (b"cache-control", file.caching),
            (b"etag", file.etag),
            (b"vary", b"accept-encoding"),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"content-security-policy", _POLICY),
        ]
        if file.etag in (exchange.header(b"if-none-match") or b""):
            await exchange.begin(304, headers)
            await exchange.send_part(b"", more=False)
            return
        body = file.body
        if file.zipped is not None and b"gzip" in (exchange.header(b"accept-encoding") or b""):
            body = file.zipped
            headers.append((b"content-encoding", b"gzip"))
        await exchange.answer(200, body, file.media_type, headers)

    @cached_property
    def _files(self) -> dict[str, _File]:
        """Every file by its name; they are few and small, and compressed once."""
        return dict(_found(files("sightline").joinpath("web", "app"), ""))


def _found(folder: Traversable, above: str) -> list[tuple[str, _File]]:
    found: list[tuple[str, _File]] = []
    for entry in folder.iterdir():
        name = above + entry.name
        kind = _TYPES.get(name.rpartition(".")[2])
        if entry.is_dir():
            found += _found(entry, f"{name}/")
        elif kind is not None:
            found.append((name, _read(name, entry.read_bytes(), kind)))
    return found


def _read(name: str, body: bytes, media_type: bytes) -> _File:
    zipped = gzip.compress(body, 9, mtime=0) if len(body) >= _WORTH_IT else body
    digest = hashlib.sha256(body).hexdigest()[:20]
    return _File(
        body=body,
        zipped=zipped if len(zipped) < len(body) else None,
        media_type=media_type,
        etag=f'W/"{digest}"'.encode(),  # weak: compressed or not, it is the same
        caching=_FOR_EVER if name.startswith(_HASHED) else b"no-cache",
    )

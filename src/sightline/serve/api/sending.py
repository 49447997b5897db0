"""Files as answers: whole, or the part that is asked for; never more in memory than a piece.

As RFC 9110 has it, sections 13 (conditions) and 14 (ranges).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

from fastapi import Header, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sightline.core.errors import WrongRange
from sightline.serve.api.asked import exchange_of
from sightline.serve.api.describing import BYTES, STRING

_PIECE = 256 << 10
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)

Range = Annotated[str | None, Header(max_length=256, description="`bytes=0-1023`, `bytes=1024-` or `bytes=-1024`.")]
IfRange = Annotated[
    str | None, Header(max_length=256, description="ETag of which the part is wanted; else the whole is sent.")
]
IfNoneMatch = Annotated[str | None, Header(max_length=1024, description="ETags that the caller has.")]


def send_file(
    request: Request,
    file: BinaryIO,
    *,
    name: str,
    media_type: str,
    etag: str,
    part: str | None,
    if_range: str | None,
    if_none_match: str | None,
    is_foreign: bool = False,
) -> Response:
    """Return the answer that sends a file, or of it what `Range` names; the file is closed behind it.

    With `is_foreign` somebody else made it: browsers save it and do not open it as a page of ours.

    Raises:
        WrongRange: the part begins behind the end.
    """
    num_bytes = file.seek(0, 2)
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Cache-Control": "private, max-age=3600",
        "Content-Disposition": f"{'attachment' if is_foreign else 'inline'}; {_file_name(name)}",
    }
    if is_foreign:
        headers |= {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
        headers["Cache-Control"] = "private, no-cache"
    if if_none_match is not None and (if_none_match.strip() == "*" or etag.removeprefix("W/") in _tags(if_none_match)):
        file.close()
        return Response(None, 304, headers)
    is_same = if_range is None or (if_range.strip() == etag and not etag.startswith("W/"))
    bounds = None if not is_same else _bounds(part, num_bytes)
    if bounds is not None and bounds[0] >= min(bounds[1], num_bytes):
        file.close()
        raise WrongRange(
            f"{str(part)[:60]!r} is not in a file of {num_bytes} bytes.",
            num_bytes=num_bytes,
            cure="Ask for a part that begins before the end.",
        )
    begin, end = bounds or (0, num_bytes)
    headers["Content-Length"] = str(end - begin)
    if bounds is not None:
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{num_bytes}"
    status = 200 if bounds is None else 206
    if exchange_of(request).method == "HEAD":
        file.close()
        return Response(None, status, headers, media_type)
    return _Lent(file, (begin, end), status, headers, media_type)


def told_file(media_type: str, text: str) -> dict[int | str, dict[str, Any]]:
    """Return what the document says of the answers that `send_file` gives."""
    headers = {
        name: {"description": about, "schema": STRING}
        for name, about in (("ETag", "Of these bytes."), ("Accept-Ranges", "`bytes`."))
    }
    part = {"Content-Range": {"description": "Which bytes, of how many.", "schema": STRING}}
    content = {media_type: {"schema": BYTES}}
    return {
        200: {"description": text, "content": content, "headers": headers},
        206: {"description": "The part that was asked for.", "content": content, "headers": headers | part},
        304: {"description": "The caller has it."},
        416: {"$ref": "#/components/responses/Problem416"},
    }


def _file_name(name: str) -> str:
    """Return the parameter of `Content-Disposition` that names a file, as RFC 6266 has it, for any name."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f'filename="{plain}"' + ("" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}")


def _tags(text: str) -> list[str]:
    """Return the ETags of `If-None-Match`, whose comparison is the weak one."""
    return [each.strip().removeprefix("W/") for each in text.split(",")]


def _bounds(part: str | None, num_bytes: int) -> tuple[int, int] | None:
    """Return begin and end (exclusive) of the part; None for the whole, as where several parts are asked for."""
    found = _RANGE.fullmatch((part or "").replace(" ", ""))
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return max(0, num_bytes - int(last)), num_bytes if int(last) else 0
    if last and int(last) < int(first):
        return None  # no range at all, so as if it were not there
    return int(first), min(num_bytes, int(last) + 1) if last else num_bytes


class _Lent(StreamingResponse):
    """Sends pieces of a file that is closed however the answer ends: the caller may leave before the first one."""

    def __init__(self, file: BinaryIO, bounds: tuple[int, int], *told: Any) -> None:
        super().__init__(_pieces(file, *bounds), *told)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _pieces(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    file.seek(begin)
    while begin < end and (piece := file.read(min(_PIECE, end - begin))):
        begin += len(piece)
        yield piece

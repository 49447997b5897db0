"""What all management doors read of a request and say in an answer: JSON, who asks, lists in pages, revisions."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import Path, Query, Request, Response
from fastapi.routing import APIRoute

from sightline.core.codec import encode_time, to_json
from sightline.core.errors import InvalidInput, Stale, WrongMediaType
from sightline.serve.exchange import Exchange, Scope

T = TypeVar("T")
PREFIX = "/api/v1"
MOST = 1000

Limit = Annotated[int, Query(ge=1, le=MOST, description="Most items in the answer.")]
After = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=2048,
        pattern="^[A-Za-z0-9_-]+$",
        description="`next` of the page before; leave it out for the first page.",
    ),
]
Name = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
"""A name in a path: of a model, an alias, a case, a source, a run."""
ModelRef = Annotated[
    str, Path(min_length=1, max_length=257, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(@[A-Za-z0-9][A-Za-z0-9._-]*)?$")
]
"""A model in a path: its name, or `name@version-or-alias`."""


class Json(Response):
    """An answer in the one JSON form."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes of the answer."""
        return to_json(content)


class _Asked(Request):
    """A request whose body is read as the raw doors read it: in limits of bytes and of time, and by one parser."""

    async def body(self) -> bytes:
        """Return the whole body."""
        return await exchange_of(self).body()

    async def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            InvalidInput: it is none.
        """
        return await exchange_of(self).json()


class Route(APIRoute):
    """A route that reads bodies as the raw doors do."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return what answers a request."""
        answer = super().get_route_handler()

        reads_json = self.body_field is not None

        async def handle(request: Request) -> Response:
            return await answer(_Asked(_said(request) if reads_json else request.scope, request.receive))

        return handle


def _said(request: Request) -> Scope:
    """Return the scope of a request whose body is JSON; who does not say what it is means that.

    Raises:
        WrongMediaType: it says that it is something else.
    """
    kind = exchange_of(request).media_type
    if kind == "application/json" or kind.endswith("+json"):
        return request.scope
    if kind:
        raise WrongMediaType(
            f"A body of the type {kind[:60]!r} is not taken.", cure="Send JSON, with Content-Type: application/json."
        )
    headers = [each for each in request.scope["headers"] if each[0] != b"content-type"]
    return {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}


def exchange_of(request: Request) -> Exchange:
    """Return the exchange that the doorway began."""
    exchange: Exchange = request.scope["sightline.exchange"]
    return exchange


def cursor(position: object) -> str:
    """Return an opaque text that `position_of` understands."""
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def position_of(text: str) -> str:
    """Return the position in a cursor.

    Raises:
        InvalidInput: it is none of ours.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise _no_cursor(text) from None


def number_of(text: str | None) -> int:
    """Return the position in a cursor of numbered rows; 0 for none.

    Raises:
        InvalidInput: it is none of ours.
    """
    if text is None:
        return 0
    position = position_of(text)
    if not (position.isascii() and position.isdecimal() and len(position) < 19):
        raise _no_cursor(text)
    return int(position)


def page(items: Sequence[T], limit: int, key: Callable[[T], object]) -> dict[str, Any]:
    """Return a page of `items`, of which one more than `limit` were looked up."""
    shown = items[:limit]
    return {"items": list(shown), "next": cursor(key(shown[-1])) if len(items) > limit else None}


def page_of(items: Sequence[T], limit: int, after: str | None, key: Callable[[T], str]) -> dict[str, Any]:
    """Return a page of a list that is known as a whole, in the order of `key`."""
    behind = None if after is None else position_of(after)
    ordered = sorted((item for item in items if behind is None or key(item) > behind), key=key)
    return page(ordered[: limit + 1], limit, key)


def told(time: datetime | None) -> str | None:
    """Return a time in the one form that all answers have."""
    return None if time is None else encode_time(time)


def etag(revision: int) -> str:
    """Return the ETag of a revision."""
    return f'"{revision}"'


def check_revision(given: str | None, revision: int) -> None:
    """Compare `If-Match` with the revision there is; without the header anything fits.

    Raises:
        Stale: somebody changed the thing meanwhile.
    """
    if given is None or given.strip() == "*":
        return
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    if etag(revision) not in tags:
        raise Stale(
            f"Somebody changed this meanwhile: it has revision {revision}, you have seen {given[:40]!r}.",
            cure="Read it again, then change it.",
        )


def answer(value: Mapping[str, Any], status: int = 200, **headers: str) -> Json:
    """Return an answer with headers; `_` in their names stands for `-`."""
    return Json(value, status, {name.replace("_", "-"): text for name, text in headers.items()})


def _no_cursor(text: str) -> InvalidInput:
    return InvalidInput(f"{text[:40]!r} is no cursor.", cure="Give `next` of an earlier page, or leave `after` out.")

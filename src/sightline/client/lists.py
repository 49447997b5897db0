"""Lists that come in pages: `{"items": [...], "next": cursor}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sightline.client.asking import json_object
from sightline.client.steps import Item, Items, Request
from sightline.core.errors import SightlineError
from sightline.core.json_fields import DAMAGE
from sightline.core.prediction import JsonObject

T = TypeVar("T")
API = "/api/v1"
_PAGE = 200


def pages(path: str, read: Callable[[JsonObject], T], query: Mapping[str, str] | None = None) -> Items[T]:
    """Hand out the items of a list; the next page is asked for when the one before is used up."""
    after: dict[str, str] = {}
    while True:
        answer = yield Request(method="GET", path=API + path, query={"limit": str(_PAGE), **(query or {}), **after})
        page = json_object(answer)
        for item in page.get("items", ()):
            yield Item(shaped(read, item))
        following = page.get("next")
        if following is None:
            return
        after = {"after": str(following)}


def shaped(read: Callable[[Any], T], wire: Any) -> T:
    """Return what `read` makes of JSON that a server sent.

    Raises:
        SightlineError: it is of another form.
    """
    try:
        return read(wire)
    except DAMAGE as error:
        raise SightlineError(
            f"The server answered in a form that this client does not know: {error!r}.", cure="Use the same version."
        ) from None

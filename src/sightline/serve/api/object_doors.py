"""`/api/v1/objects`: what jobs work on, and what they made, by its key; bodies of gigabytes are never held."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from sightline.core.errors import InvalidInput, NotFound, WrongMediaType
from sightline.core.ports import ArtifactStore
from sightline.engine.publishing import media_type_of
from sightline.serve.api.asked import PREFIX, After, Json, Limit, Route, exchange_of, page, position_of, told
from sightline.serve.api.job_shapes import ObjectShape, ObjectTaken
from sightline.serve.api.sending import IfNoneMatch, IfRange, Range, send_file, told_file
from sightline.serve.api.shapes import Page
from sightline.serve.objects import Uploads, checked_object, open_folders, version_of
from sightline.serve.platform import Platform
from sightline.serve.rights import rights_of

_MIB = 1 << 20
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
ObjectKey = Annotated[
    str, Path(min_length=1, max_length=512, description="Slashes belong to it.", examples=["uploads/street.mp4"])
]


class ObjectDoors:
    """Answers `/objects`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        server = platform.context.settings.server
        self._platform = platform
        self._uploads = Uploads(lambda: platform.context.artifacts, most=server.max_upload_mb * _MIB)
        self.router = router = APIRouter(prefix=PREFIX, tags=["objects"], route_class=Route)
        one = "/objects/{key:path}"
        router.add_api_route("/objects", self.list_all, response_model=Page[ObjectShape], name="list_objects")
        router.add_api_route(
            one,
            self.put,
            methods=["PUT"],
            status_code=201,
            response_model=ObjectTaken,
            name="put_object",
            openapi_extra=_BODY,
        )
        router.add_api_route(
            one,
            self.get,
            response_class=Response,
            responses=told_file("*/*", "The bytes, with the media type of the key."),
            name="get_object",
        )
        router.add_api_route(one, self.delete, methods=["DELETE"], status_code=204, name="delete_object")

    def list_all(
        self,
        request: Request,
        *,
        prefix: Annotated[str, Query(max_length=512, description="What the keys begin with.")] = "",
        limit: Limit = 50,
        after: After = None,
    ) -> Any:
        """List the objects of callers, by their keys."""
        behind = "" if after is None else position_of(after)
        known = open_folders(self._folders(request))
        folders = [max(each, prefix, key=len) for each in known if each.startswith(prefix) or prefix.startswith(each)]
        if prefix and not folders:
            named = ", ".join(known) or "nothing"
            raise InvalidInput(f"{prefix[:80]!r} is not open to callers.", cure=f"Open: {named}.")
        entries = (entry for folder in sorted(folders) for entry in self._artifacts.entries(folder))
        found = list(islice((entry for entry in entries if entry.key > behind), limit + 1))
        shown = page(found, limit, lambda entry: entry.key)
        items = [
            {
                "key": entry.key,
                "num_bytes": entry.num_bytes,
                "media_type": media_type_of(entry.key),
                "modified": told(entry.modified),
            }
            for entry in shown["items"]
        ]
        return {**shown, "items": items}

    async def put(self, key: ObjectKey, request: Request) -> Json:
        """Store an object, whole or not at all, in the place of what was there."""
        checked_object(key, self._folders(request))
        exchange = exchange_of(request)
        if exchange.text_header(b"content-encoding").strip().lower() not in ("", "identity"):
            raise WrongMediaType("Bodies with a Content-Encoding are not taken.", cure="Send the object as it is.")
        if exchange.header(b"content-range") is not None:
            raise InvalidInput("An object cannot be sent in parts.", cure="Send it whole, without Content-Range.")
        num_bytes, sha256 = await self._uploads.put(key, exchange)
        taken = {"key": key, "num_bytes": num_bytes, "media_type": media_type_of(key), "sha256": sha256}
        return Json(taken, 201)

    def get(
        self,
        key: ObjectKey,
        request: Request,
        *,
        range: Range = None,
        if_range: IfRange = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Send an object, or a part of it."""
        checked_object(key, self._folders(request))
        return sent_object(request, self._artifacts, key, media_type_of(key), (range, if_range, if_none_match))

    def delete(self, key: ObjectKey, request: Request) -> Response:
        """Delete an object; jobs that have not read it by then fail."""
        checked_object(key, self._folders(request))
        try:
            self._artifacts.size(key)
        except NotFound:
            raise NotFound(f"Nothing is stored at {key!r}.", cure="See GET /api/v1/objects.") from None
        self._artifacts.delete(key)
        return Response(status_code=204)

    @property
    def _artifacts(self) -> ArtifactStore:
        return self._platform.context.artifacts

    def _folders(self, request: Request) -> Sequence[str]:
        return rights_of(exchange_of(request).caller, self._platform.context.settings).folders


def sent_object(
    request: Request,
    artifacts: ArtifactStore,
    key: str,
    media_type: str,
    asked: tuple[str | None, str | None, str | None],
) -> Response:
    """Return the answer that sends an object.

    Args:
        request: who asks.
        artifacts: where it is.
        key: of it.
        media_type: of it.
        asked: headers `Range`, `If-Range` and `If-None-Match`.

    Raises:
        NotFound: it is gone.
        WrongRange: the part begins behind the end.
    """
    try:
        file = artifacts.open(key)
    except NotFound:
        raise NotFound(f"Nothing is stored at {key!r}.", cure="See GET /api/v1/objects.") from None
    part, if_range, if_none_match = asked
    try:
        return send_file(
            request,
            file,
            name=key.rpartition("/")[2],
            media_type=media_type,
            etag=version_of(file, artifacts, key),
            part=part,
            if_range=if_range,
            if_none_match=if_none_match,
            is_foreign=True,
        )
    except BaseException:
        file.close()
        raise

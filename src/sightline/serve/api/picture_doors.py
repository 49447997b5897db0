"""Pictures of single sources: the newest one given, and new ones taken from whoever pushes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from sightline.core.codec import encode_time
from sightline.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from sightline.core.sample import Frame, Sample
from sightline.serve.api.asked import PREFIX, Json, Name, Route, exchange_of
from sightline.serve.api.case_shapes import FrameTaken
from sightline.serve.api.run_doors import found_run
from sightline.serve.live.pictures import plain_jpeg
from sightline.serve.platform import Platform

_QUALITY = 80
_JPEG = {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}
_TIME: dict[str, Any] = {
    "X-Frame-Time": {"description": "When it was taken.", "schema": {"type": "string", "format": "date-time"}}
}
_PICTURE = {
    "requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}
FrameTime = Annotated[
    datetime | None, Header(alias="X-Frame-Time", description="When it was taken (RFC 3339); now where left out.")
]


class PictureDoors:
    """Answers `/runs/{run}/sources/{source}/picture` and `/sources/{source}/frames`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = router = APIRouter(prefix=PREFIX, tags=["sources"], route_class=Route)
        router.add_api_route(
            "/runs/{run}/sources/{source}/picture",
            self.picture,
            name="get_picture",
            response_class=Response,
            responses={200: {"content": _JPEG, "headers": _TIME, "description": "The newest frame."}},
        )
        router.add_api_route(
            "/sources/{source}/frames",
            self.push,
            methods=["POST"],
            status_code=202,
            response_model=FrameTaken,
            name="push_frame",
            openapi_extra=_PICTURE,
        )

    def picture(
        self,
        run: Name,
        source: Name,
        *,
        drawn: Annotated[bool, Query(description="With what was predicted drawn onto it.")] = False,
        width: Annotated[int | None, Query(ge=16, le=8192, description="In pixels, at most.")] = None,
    ) -> Response:
        """Give the newest finished frame of a source as a JPEG."""
        sample = self._newest(run, source)
        jpeg = self._drawn(sample) if drawn else plain_jpeg(sample)
        if width is not None:
            jpeg = _narrowed(jpeg, width)
        headers = {"X-Frame-Time": encode_time(sample.time), "Cache-Control": "no-store"}
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    async def push(
        self,
        source: Name,
        request: Request,
        *,
        run: Annotated[str | None, Query(max_length=128, description="Where several runs have it.")] = None,
        case: Annotated[str | None, Query(max_length=128)] = None,
        x_frame_time: FrameTime = None,
    ) -> Json:
        """Give a frame to a source of a run, which waits for such."""
        exchange = exchange_of(request)
        body = await exchange.body()
        return await run_in_threadpool(
            self._pushed, source, body, exchange.media_type, run=run, case=case, time=_aware(x_frame_time)
        )

    def _pushed(
        self, name: str, body: bytes, media_type: str, *, run: str | None, case: str | None, time: datetime | None
    ) -> Json:
        if not body:
            raise InvalidInput("The body is empty.", cure="Send the bytes of a picture: JPEG or PNG.")
        place = self._place(name, run, case)
        try:
            source = self._platform.streams.source(place["run"], name)
        except NotFound:  # its thread begins a moment after the run, and ends before it
            raise Unavailable(
                f"The source {name!r} takes no frames now: {place['state']}.", cure="Send it again in a moment."
            ) from None
        source.push(body, media_type, time)
        return Json({"run": place["run"], "case": place["case"], "source": name, "bytes": len(body)}, 202)

    def _place(self, name: str, run: str | None, case: str | None) -> Mapping[str, Any]:
        """Return the row of the one source that is meant.

        Raises:
            NotFound: no run here has it.
            Conflict: several have.
        """
        rows = self._platform.streams.status()
        found = [
            row for row in rows if row["source"] == name and run in (None, row["run"]) and case in (None, row["case"])
        ]
        if not found:
            known = ", ".join(sorted({row["source"] for row in rows})) or "none"
            raise NotFound(f"No run here reads a source {name!r}. Read: {known}.", cure="See GET /api/v1/sources.")
        if len(found) > 1:
            runs = ", ".join(f"{row['run']} ({row['case']})" for row in found)
            raise Conflict(f"Several runs have a source {name!r}: {runs}.", cure="Name one: ?run=ID or ?case=NAME")
        return found[0]

    def _newest(self, run: str, source: str) -> Sample[Frame]:
        """Return the newest finished frame of a source.

        Raises:
            NotFound: there is none, and why.
        """
        found, here = found_run(self._platform, run)
        sources = found.status.get("sources") or {}
        if not here:
            raise NotFound(
                f"The run {run} is not executed by this process: it is {found.state.value}.",
                cure="Ask the process that executes it." if found.worker else "Start it.",
            )
        if source not in sources:
            known = ", ".join(sources) or "none"
            raise NotFound(f"The run {run} has no source {source!r}. It has: {known}.", cure="Take one of those.")
        sample = self._platform.streams.latest(run, source)
        if sample is None:
            seen = sources[source]
            why = (
                f"{seen['state']}: {seen['reason'] or seen['trouble']}"
                if seen["reason"] or seen["trouble"]
                else seen["state"]
            )
            raise NotFound(f"The source {source!r} has given no picture yet: {why}.", cure="Ask again in a moment.")
        if not isinstance(sample.payload, Frame):
            raise NotFound(f"The source {source!r} gives no pictures.", cure="Ask for its events: GET /stream")
        return sample

    def _drawn(self, sample: Sample[Frame]) -> bytes:
        jpeg: bytes = self._platform.context.plugin("sources", "images", url="-").drawn(sample)
        return jpeg


def _narrowed(jpeg: bytes, width: int) -> bytes:
    """Return a picture that is no wider."""
    from PIL import Image  # only where somebody wants it smaller

    with Image.open(BytesIO(jpeg)) as picture:
        if picture.width <= width:
            return jpeg
        picture.draft("RGB", (width, width * picture.height // picture.width))
        smaller = picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.BOX)
    out = BytesIO()
    smaller.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def _aware(time: datetime | None) -> datetime | None:
    """Return a time with a zone; without one it is meant as UTC."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time

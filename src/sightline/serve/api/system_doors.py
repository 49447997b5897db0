"""`/api/v1/system` and `/api/v1/log`: how this process is, and what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from sightline.core.codec import encode_time
from sightline.serve.api.asked import PREFIX, After, Json, Limit, Route, cursor, number_of
from sightline.serve.api.system_shapes import LogPage, SystemShape
from sightline.serve.log_tail import TAIL, Line
from sightline.serve.platform import Platform

Level = Literal["debug", "info", "warning", "error"]


class SystemDoors:
    """Answers `/system` and `/log`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = router = APIRouter(prefix=PREFIX, tags=["system"], route_class=Route)
        router.add_api_route("/system", self.system, response_model=SystemShape, name="get_system")
        router.add_api_route("/log", self.log, response_model=LogPage, name="list_log")

    def system(
        self,
        since: Annotated[
            datetime | None, Query(description="Only the history behind this time; all ten minutes where left out.")
        ] = None,
    ) -> Json:
        """Tell what this process takes, in all and for each camera and model, now and for ten minutes."""
        aware = since.replace(tzinfo=UTC) if since is not None and since.tzinfo is None else since
        return Json(self._platform.system.told(aware))

    def log(
        self,
        *,
        level: Annotated[Level, Query(description="The least that is wanted.")] = "debug",
        requests: Annotated[bool, Query(description="Also requests that went well.")] = False,
        limit: Limit = 200,
        after: After = None,
    ) -> Json:
        """Give the last lines of the log, the oldest first; with `after` those that came since."""
        seen = None if after is None else number_of(after)
        lines, lost = TAIL.after(seen, level=level, limit=limit, requests=requests)
        newest = lines[-1].number if seen is not None and len(lines) == limit else max(TAIL.number, seen or 0)
        return Json({"items": [_told(line) for line in lines], "next": cursor(newest), "lost": lost})


def _told(line: Line) -> dict[str, Any]:
    return {
        "id": line.number,
        "time": encode_time(line.time),
        "level": line.level,
        "message": line.event,
        "fields": dict(line.fields),
    }

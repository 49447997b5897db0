"""`/api/v1/requests`: which requests were answered, and how."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from sightline.serve.api.asked import PREFIX, After, Limit, Route, number_of, page, told
from sightline.serve.api.shapes import Page, RequestShape
from sightline.serve.platform import Platform

Text = Annotated[str | None, Query(max_length=512)]


class RequestDoors:
    """Answers `/requests`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = APIRouter(prefix=PREFIX, tags=["requests"], route_class=Route)
        self.router.add_api_route("/requests", self.list_all, response_model=Page[RequestShape], name="list_requests")

    def list_all(
        self,
        *,
        route: Text = None,
        model: Text = None,
        caller: Text = None,
        least_status: Annotated[int | None, Query(ge=100, le=599)] = None,
        limit: Limit = 50,
        after: After = None,
    ) -> Any:
        """List rows of the request log, the newest first; they are written in batches, a moment later."""
        rows = self._platform.context.store.requests.list(
            route=route,
            model=model,
            caller=caller,
            least_status=least_status,
            before=number_of(after) or None,
            limit=limit + 1,
        )
        found = page(rows, limit, lambda row: row[0])
        return {**found, "items": [{**asdict(row), "time": told(row.time)} for _, row in found["items"]]}

"""`/api/v1/plugins` and `/api/v1/cases/schema`: what a manifest may hold, as JSON Schema."""

from __future__ import annotations

from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, Query

from sightline.build.case_modules import local_plugins
from sightline.build.schemas import manifest_schema, plugin_schemas
from sightline.core.errors import SightlineError
from sightline.serve.api.asked import PREFIX, After, Json, Limit, Route, page_of
from sightline.serve.api.case_shapes import PluginShape
from sightline.serve.api.shapes import JsonObject, Page
from sightline.serve.platform import Platform

OfCase = Annotated[
    str | None, Query(max_length=128, description="Also what this case has in its own plugins.py.", min_length=1)
]


class PluginDoors:
    """Answers `/plugins` and `/cases/schema`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._installed: list[dict[str, Any]] | None = None
        self._lock = Lock()
        self.router = router = APIRouter(prefix=PREFIX, tags=["cases"], route_class=Route)
        absent: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such case."}}
        router.add_api_route(
            "/plugins", self.list_all, response_model=Page[PluginShape], name="list_plugins", responses=absent
        )
        router.add_api_route(
            "/cases/schema", self.schema, response_model=JsonObject, name="get_manifest_schema", responses=absent
        )

    def list_all(
        self,
        *,
        kind: Annotated[str | None, Query(max_length=32, examples=["predictors"])] = None,
        case: OfCase = None,
        limit: Limit = 200,
        after: After = None,
    ) -> Json:
        """List the plug-ins that a manifest may name, each with the JSON Schema of its fields."""
        found = [each for each in self._plugins(case) if kind is None or each["kind"] == kind]
        return Json(page_of(found, limit, after, lambda each: f"{each['kind']}/{each['name']}"))

    def schema(self, case: OfCase = None) -> Json:
        """Give the JSON Schema of a whole manifest."""
        return Json(manifest_schema(self._plugins(case)))

    def _plugins(self, case: str | None) -> list[dict[str, Any]]:
        catalog = self._platform.context.catalog
        if case is None:
            with self._lock:
                self._installed = self._installed or plugin_schemas(catalog)
                return self._installed
        place = self._platform.cases.place(case)
        try:
            with self._platform.cases.building:
                own = local_plugins(place)
        except SightlineError:  # GET /cases/{case} tells it
            own = {}
        installed = self._plugins(None)
        return [*installed, *plugin_schemas(catalog, own)[len(installed) :]] if own else installed

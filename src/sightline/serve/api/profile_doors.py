"""`/api/v1/profiles`: how carefully the jobs of a case may look."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from sightline.build.profiles import list_profiles, origin_of
from sightline.serve.api.asked import PREFIX, After, Limit, Route, page_of
from sightline.serve.api.shapes import JsonObject, Page
from sightline.serve.errors import told_problem
from sightline.serve.platform import Platform

OfCase = Annotated[
    str | None, Query(max_length=128, min_length=1, description="Also those in the folder `profiles` of this case.")
]


class ProfileShape(BaseModel):
    """A profile that a job may ask for."""

    name: str
    title: str = Field(description="What it is for.")
    origin: str = Field(description="`case`, `profiles_root` or `shipped`; of one name the first of these counts.")
    problem: JsonObject | None = Field(
        description="What is wrong with its file: `code`, `message`, `cure`; null: nothing."
    )


class ProfileDoors:
    """Answers `/profiles`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = APIRouter(prefix=PREFIX, tags=["cases"], route_class=Route)
        absent: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such case."}}
        self.router.add_api_route(
            "/profiles", self.list_all, response_model=Page[ProfileShape], name="list_profiles", responses=absent
        )

    def list_all(self, *, case: OfCase = None, limit: Limit = 200, after: After = None) -> Any:
        """List the profiles that a job may name, the broken ones too."""
        context = self._platform.context
        folder = None if case is None else self._platform.cases.place(case).folder
        profiles = list_profiles(context.settings, context.catalog, folder)
        found = [
            {
                "name": each.name,
                "title": each.title,
                "origin": origin_of(each, context.settings, folder),
                "problem": None if each.error is None else told_problem(each.error),
            }
            for each in profiles
            if each.hidden_by is None
        ]
        return page_of(found, limit, after, lambda each: str(each["name"]))

"""`/api/v1/schedules`: jobs that are submitted again and again, by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from sightline.core.access import Caller
from sightline.core.errors import Conflict, NotFound
from sightline.core.jobs import Schedule
from sightline.engine.schedules import Schedules, project_of
from sightline.serve.api.asked import PREFIX, After, Json, Limit, Name, Route, exchange_of, page_of, told
from sightline.serve.api.job_rights import check_job
from sightline.serve.api.job_shapes import ScheduleShape, ScheduleWish
from sightline.serve.api.shapes import Page
from sightline.serve.platform import Platform
from sightline.serve.rights import is_of, rights_of


class ScheduleDoors:
    """Answers `/schedules`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._schedules = Schedules(platform.jobs)
        self.router = router = APIRouter(prefix=PREFIX, tags=["runs"], route_class=Route)
        one = "/schedules/{schedule}"
        router.add_api_route("/schedules", self.list_all, response_model=Page[ScheduleShape], name="list_schedules")
        router.add_api_route(one, self.get, response_model=ScheduleShape, name="get_schedule")
        router.add_api_route(one, self.put, methods=["PUT"], response_model=ScheduleShape, name="put_schedule")
        router.add_api_route(one, self.delete, methods=["DELETE"], status_code=204, name="delete_schedule")

    def list_all(self, request: Request, limit: Limit = 50, after: After = None) -> Any:
        """List the schedules by name."""
        known = self._known(exchange_of(request).caller)
        found = page_of(list(known), limit, after, lambda name: name)
        return {**found, "items": [_facts(known[name]) for name in found["items"]]}

    def get(self, schedule: Name, request: Request) -> Json:
        """Show a schedule."""
        return Json(_facts(self._found(schedule, exchange_of(request).caller)))

    def put(self, schedule: Name, wish: ScheduleWish, request: Request) -> Json:
        """Make a schedule, or put it in the place of the one of its name."""
        rights = rights_of(exchange_of(request).caller, self._platform.context.settings)
        free = partial(self._platform.jobs.free_parameters, wish.case)
        check_job(wish.object, wish.output, wish.parameters, rights, free=free)
        if schedule not in self._known(rights.caller) and any(each.name == schedule for each in self._schedules.list()):
            raise Conflict(f"Another project has a schedule {schedule!r}.", cure="Take another name.")
        made = self._schedules.add(
            schedule,
            wish.case,
            wish.object,
            wish.cron,
            parameters=wish.parameters,
            output=wish.output,
            tags=wish.tags,
            priority=wish.priority,
            deadline_s=wish.deadline_s,
            project=rights.caller.project,
        )
        return Json(_facts(made))

    def delete(self, schedule: Name, request: Request) -> Response:
        """Take a schedule away; jobs that it submitted go on."""
        self._found(schedule, exchange_of(request).caller)
        self._schedules.remove(schedule)
        return Response(status_code=204)

    def _known(self, caller: Caller) -> Mapping[str, Schedule]:
        return {each.name: each for each in self._schedules.list() if is_of(caller, project_of(each))}

    def _found(self, name: str, caller: Caller) -> Schedule:
        known = self._known(caller)
        if name not in known:
            shown = ", ".join(known) or "none"
            raise NotFound(f"No schedule is called {name!r}. Known: {shown}.", cure="See GET /api/v1/schedules.")
        return known[name]


def _facts(schedule: Schedule) -> dict[str, Any]:
    spec = schedule.spec
    return {
        "name": schedule.name,
        "case": schedule.case,
        "cron": schedule.cron,
        "object": str(spec.get("object") or ""),
        "parameters": dict(spec.get("parameters") or {}),
        "priority": schedule.priority,
        "deadline_s": spec.get("deadline_s"),
        "tags": dict(schedule.metadata),
        "output": spec.get("output"),
        "due": told(schedule.due),
        "created": told(schedule.created),
    }

"""The runs of other projects are not there: one check before every route that names a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from sightline.core.access import Scope
from sightline.core.errors import NotFound
from sightline.serve.api.asked import exchange_of
from sightline.serve.api.run_doors import found_run
from sightline.serve.platform import Platform
from sightline.serve.rights import is_of

RUN = "run"
"""Name of the parameter, of the path or the query, in which a route has the id of a run."""


def own_runs(platform: Platform) -> Callable[[Request], Awaitable[None]]:
    """Return the check, which answers as if there were no run of that id; admins may see those of all projects."""

    async def check(request: Request) -> None:
        run_id = request.path_params.get(RUN) or request.query_params.get(RUN)
        caller = exchange_of(request).caller
        if not run_id or caller.may(Scope.ADMIN):
            return
        project = caller.project
        with suppress(NotFound):  # the route itself tells it, in its own words
            project = (await run_in_threadpool(found_run, platform, run_id))[0].project
        if not is_of(caller, project):
            raise NotFound(f"No run has the id {run_id!r}.", cure="See GET /api/v1/runs.")

    return check

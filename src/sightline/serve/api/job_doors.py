"""`/api/v1/runs/{run}/...`: end a run, try a job again, see what happened to it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from sightline.core.codec import encode_event
from sightline.core.errors import Conflict
from sightline.core.run import RunKind
from sightline.engine.job_log import job_log
from sightline.serve.api.asked import PREFIX, After, Json, Limit, Name, Route, answer, etag, number_of, page
from sightline.serve.api.event_shapes import EventShape
from sightline.serve.api.job_shapes import JobLine
from sightline.serve.api.run_doors import RunDoors, found_run
from sightline.serve.api.shapes import Page, RunShape
from sightline.serve.platform import Platform


class JobDoors:
    """Answers `/runs/{run}/cancel`, `/retry`, `/events` and `/logs`.

    Args:
        platform: what all doors share.
        runs: ends runs of every kind, and tells of them.
    """

    def __init__(self, platform: Platform, runs: RunDoors) -> None:
        self._platform = platform
        self._runs = runs
        self.router = router = APIRouter(prefix=PREFIX, tags=["runs"], route_class=Route)
        for word, act in (("cancel", self.cancel), ("retry", self.retry)):
            router.add_api_route(
                f"/runs/{{run}}/{word}",
                act,
                methods=["POST"],
                status_code=202,
                response_model=RunShape,
                name=f"{word}_run",
            )
        router.add_api_route("/runs/{run}/events", self.events, response_model=Page[EventShape], name="list_run_events")
        router.add_api_route("/runs/{run}/logs", self.logs, response_model=Page[JobLine], name="list_run_logs")

    def cancel(self, run: Name, request: Request) -> Json:
        """End a run: a job that waits at once, else no new step begins and the one under way is told."""
        return self._runs.stop(run, request)

    def retry(self, run: Name) -> Json:
        """Submit a job that failed or was cancelled anew; the steps that are done stay done."""
        found, _ = found_run(self._platform, run)
        if found.kind is not RunKind.JOB:
            raise Conflict(f"The run {run} is no job.", cure="Start it again: POST /api/v1/runs/ID/restart")
        again = self._platform.jobs.retry(run)
        return answer(self._runs.shown(again, here=False), 202, ETag=etag(again.revision))

    def events(self, run: Name, limit: Limit = 50, after: After = None) -> Any:
        """List what happened to a run, the oldest first, as far as events are kept; progress is not."""
        found_run(self._platform, run)
        rows = self._platform.context.store.events.list(subject=f"run/{run}", after=number_of(after), limit=limit + 1)
        found = page(rows, limit, lambda row: row[0])
        return {**found, "items": [encode_event(event) for _, event in found["items"]]}

    def logs(self, run: Name) -> Any:
        """Tell what happened to a run, line by line: its events and its steps, with what they took."""
        return {"items": job_log(self._platform.context.store, run), "next": None}

"""`/api/v1/runs`: start, list, show and stop the runs of cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request

from sightline.build.replacing import MAIN
from sightline.build.running import held_run
from sightline.build.sources import make_source, secrets_of
from sightline.core.access import Scope
from sightline.core.case import Case
from sightline.core.errors import Conflict, InvalidInput, NotFound
from sightline.core.plugins import SourceState
from sightline.core.run import Run, RunKind, RunState
from sightline.engine.streams import StreamRun
from sightline.engine.surroundings import ALL_SOURCES
from sightline.engine.wishes import checked_source_id
from sightline.serve.api.asked import (
    PREFIX,
    After,
    Json,
    Limit,
    Name,
    Route,
    answer,
    etag,
    exchange_of,
    page,
    position_of,
    told,
)
from sightline.serve.api.entries import checked_entry
from sightline.serve.api.job_rights import check_job, shown_key, stored_key
from sightline.serve.api.job_shapes import JobWish, Wish
from sightline.serve.api.shapes import Page, RunShape, RunWish
from sightline.serve.exchange import Exchange
from sightline.serve.places import check_place
from sightline.serve.platform import Platform
from sightline.serve.rights import rights_of

LOCATION = {
    "Location": {"description": "Where it is.", "schema": {"type": "string"}},
    "ETag": {"description": "Its revision.", "schema": {"type": "string"}},
}


_REPLAYED = {
    "Idempotent-Replayed": {"description": "`true`: the key had this job already.", "schema": {"type": "string"}}
}
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Of a job: within 24 hours the same key with the same body is the same job, with another one 409.",
    ),
]
TagQuery = Annotated[
    list[Annotated[str, Query(max_length=641)]] | None,
    Query(max_length=8, description="`name=value`, or `name` for any value; several must all be there."),
]


class RunDoors:
    """Answers `/runs`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = router = APIRouter(prefix=PREFIX, tags=["runs"], route_class=Route)
        router.add_api_route("/runs", self.list_all, response_model=Page[RunShape], name="list_runs")
        router.add_api_route(
            "/runs",
            self.start,
            methods=["POST"],
            status_code=201,
            response_model=RunShape,
            name="start_run",
            responses={
                201: {"headers": LOCATION, "description": "A stream was started."},
                202: {"headers": LOCATION | _REPLAYED, "model": RunShape, "description": "A job was submitted."},
            },
        )
        router.add_api_route("/runs/{run}", self.get, response_model=RunShape, name="get_run")
        for path, method in (("/runs/{run}", "DELETE"), ("/runs/{run}/stop", "POST")):
            router.add_api_route(
                path,
                self.stop,
                methods=[method],
                status_code=202,
                response_model=RunShape,
                name="stop_run" if method == "POST" else "delete_run",
            )

        router.add_api_route(
            "/runs/{run}/restart",
            self.restart,
            methods=["POST"],
            response_model=RunShape,
            name="restart_run",
            responses={200: {"headers": {"ETag": LOCATION["ETag"]}}},
        )

    def list_all(
        self,
        request: Request,
        *,
        case: str | None = Query(default=None, max_length=128),
        kind: RunKind | None = None,
        state: RunState | None = None,
        tag: TagQuery = None,
        limit: Limit = 50,
        after: After = None,
    ) -> Any:
        """List the runs of one's project, the newest first; where jobs wait is told of single ones."""
        caller = exchange_of(request).caller
        wanted: dict[str, Any] = {
            "case": case, "kind": kind, "state": state, "tags": _wanted(tag or ()),
            "project": None if caller.may(Scope.ADMIN) else caller.project,
        }  # fmt: skip
        here = {run.id: run for run in self._platform.streams.list()}
        behind = None if after is None else position_of(after)
        try:
            listed = self._platform.context.store.runs.list(**wanted, limit=limit + 1, after=behind)
        except NotFound:
            raise InvalidInput(
                "The run at which the last page ended is gone.", cure="Begin with the first page."
            ) from None
        found = page(listed, limit, lambda run: run.id)
        return {**found, "items": [self.shown(here.get(run.id, run), here=run.id in here) for run in found["items"]]}

    def get(self, run: Name) -> Json:
        """Show a run as it is now."""
        found, here = found_run(self._platform, run)
        shown = dict(self.shown(found, here=here))
        if found.kind is RunKind.JOB:
            queue = self._platform.jobs.queue(run)
            shown["queue"] = {"position": queue.position, "expected_wait_s": queue.expected_wait_s}
        return answer(shown, ETag=etag(found.revision))

    def start(self, wish: Wish, request: Request, idempotency_key: IdempotencyKey = None) -> Json:
        """Start a run of a case in this process; or, with an `object`, submit a job that any worker takes."""
        exchange = exchange_of(request)
        caller = exchange.caller
        if isinstance(wish, JobWish):
            return self._submit(wish, exchange, idempotency_key)
        if idempotency_key is not None:
            raise InvalidInput("Streams have no Idempotency-Key.", cure="Leave it out, or name an object.")
        if wish.source is not None and wish.sources is not None:
            raise InvalidInput("There are both source and sources.", cure="Keep one of them.")
        for entry in (wish.sources or {}).values():
            checked_entry(entry, caller)
        if isinstance(wish.source, str):
            name, equals, url = wish.source.partition("=")
            check_place(url if equals and "://" not in name else wish.source, caller)
        elif wish.source is not None:
            checked_entry(wish.source, caller)

        def make() -> StreamRun:
            with self._platform.cases.building:
                case, own = self._case(wish)
            stands = not case.sources if wish.stands is None else wish.stands
            goes_on = stands or any(source.is_live for source in case.sources.values())
            return held_run(
                case,
                self._platform.context,
                metadata=wish.metadata,
                project=caller.project,
                stands=stands,
                duration_s=wish.duration_s,
                restart=wish.restart or ("always" if goes_on and wish.duration_s is None else "never"),
                follows=wish.sources is None,
                own=own,
            )

        run = self._platform.streams.start(make)
        exchange.audited = place = f"{PREFIX}/runs/{run.id}"
        where = {"Location": place, "ETag": etag(run.revision)}
        return answer(self.shown(run, here=True), 201, **where)

    def _submit(self, wish: JobWish, exchange: Exchange, key: str | None) -> Json:
        caller = exchange.caller
        check_job(
            wish.object,
            wish.output,
            wish.parameters,
            rights_of(caller, self._platform.context.settings),
            free=lambda: self._platform.jobs.free_parameters(wish.case),
        )
        run, is_new = self._platform.jobs.submit(
            wish.case,
            wish.object,
            parameters=wish.parameters,
            media_type=wish.media_type,
            output=wish.output,
            priority=wish.priority,
            deadline_s=wish.deadline_s,
            tags=wish.tags,
            key=stored_key(key, caller.project),
            project=caller.project,
        )
        exchange.audited = place = f"{PREFIX}/runs/{run.id}"
        where = {"Location": place, "ETag": etag(run.revision)}
        if not is_new:
            where["Idempotent-Replayed"] = "true"
        return answer(self.shown(run, here=False), 202, **where)

    def restart(self, run: Name) -> Json:
        """End the work on a run and begin it anew with its case as it is now: under its id, and a new epoch."""
        found, _ = found_run(self._platform, run)
        if found.kind is RunKind.JOB:
            raise Conflict(f"The run {run} is a job.", cure="Try it again: POST /api/v1/runs/ID/retry")
        begun = self._platform.runs.restart(found)
        return answer(self.shown(begun, here=True), ETag=etag(begun.revision))

    def stop(self, run: Name, request: Request) -> Json:
        """End a run as Ctrl-C does: what was read is finished, then it is cancelled."""
        found, here = found_run(self._platform, run)
        if here:
            self._platform.streams.stop(run, by=exchange_of(request).caller.id)
            found = replace(found, cancelling=True)
        elif not found.state.is_final:
            is_job = found.kind is RunKind.JOB
            try:
                found = (
                    self._platform.jobs.cancel(run)
                    if is_job
                    else self._platform.context.store.runs.amend(run, cancel=True)
                )
            except Conflict:  # it ended meanwhile
                found = self._platform.context.store.runs.get(run)
        if found.state.is_final:
            secrets_of(self._platform.context).forget(run)
        return answer(self.shown(found, here=here), 202, ETag=etag(found.revision))

    def shown(self, run: Run, *, here: bool) -> Mapping[str, Any]:
        """Return what is told of a run."""
        waiting = self._platform.runs.problems().get(run.id)
        return {
            **facts(run, here=here),
            "needs_restart": self._platform.runs.outdated(run.id) if here else "",
            "waiting": "" if waiting is None else str(waiting),
        }

    def _case(self, wish: RunWish) -> tuple[Case, list[str]]:
        """Return the case that is wanted, with the sources that are wanted, and the ids of those that are not its own.

        Raises:
            CaseNotFound: there is none of that name; a path never is a name here.
            ConfigError: it is wrong, or a source is.
        """
        context = self._platform.context
        url = wish.source if isinstance(wish.source, str) else None
        live = bool(wish.stands)
        case = self._platform.cases.load(wish.case, source=url, live=live)
        entries = wish.sources if url is None else None
        if isinstance(wish.source, Mapping):
            if len(case.sources) > 1:
                raise InvalidInput(f"The case has several sources: {', '.join(case.sources)}.", cure="Give `sources`.")
            entries = {next(iter(case.sources), MAIN): wish.source}
        if entries is None:
            named = "" if url is None else url.partition("=")[0]
            return case, [] if url is None else [named if named in case.sources else next(iter(case.sources))]
        sources = {
            checked_source_id(name): make_source(checked_entry(entry), context, case=case.name, name=name, live=live)
            for name, entry in entries.items()
        }
        return replace(case, sources=sources), [*sources]


def found_run(platform: Platform, run_id: str) -> tuple[Run, bool]:
    """Return a run as it is now, and whether this process executes it.

    Raises:
        NotFound: there is none of this id.
    """
    try:
        return platform.streams.get(run_id), True
    except NotFound:
        try:
            return platform.context.store.runs.get(run_id), False
        except NotFound as error:
            error.cure = "See GET /api/v1/runs."
            raise


def facts(run: Run, *, here: bool) -> Mapping[str, Any]:
    """Return what is told of a run, without what this process alone knows."""
    end = run.finished or (datetime.now(UTC) if run.state is RunState.RUNNING else None)
    return {
        "id": run.id,
        "case": run.case,
        "kind": run.kind.value,
        "project": run.project,
        "parent": run.parent,
        "state": run.state.value,
        "spec": dict(run.spec),
        "revision": run.revision,
        "status": dict(run.status),
        "metadata": dict(run.metadata),
        "stands": bool(run.spec.get("stands")),
        "cancelling": run.cancelling,
        "restart": run.restart,
        "worker": run.worker,
        "here": here,
        "created": told(run.created),
        "started": told(run.started),
        "finished": told(run.finished),
        "duration_s": None if run.started is None or end is None else round((end - run.started).total_seconds(), 3),
        "counts": _counts(run.status),
        "error": run.error,
        "cure": (run.status.get("cure") or _cure(run)) if run.error else "",
        "error_kind": str(run.status.get("error_kind") or "") if run.error else "",
        "priority": run.priority,
        "deadline": told(run.deadline),
        "due": told(run.due),
        "attempts": run.attempts,
        "key": shown_key(run.key, run.project),
        "queue": None,
    }


def _wanted(tags: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return what `name=value` and `name` ask for."""
    return [(name, value if equals else None) for name, equals, value in (each.partition("=") for each in tags)]


def _cure(run: Run) -> str:
    if run.kind is not RunKind.JOB:
        return "Start it again."
    if run.status.get("error_kind") == "validation":
        return "Submit another object, or other parameters."
    return "See its logs; POST /api/v1/runs/ID/retry tries it again." if run.state.is_final else "It is tried again."


def _counts(status: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of a run over all its sources."""
    found: Mapping[str, Any] = status.get("sources") or {}
    sources = [counts for name, counts in found.items() if name != ALL_SOURCES]
    totals = {name: sum(each.get(name, 0) for each in sources) for name in ("read", "processed", "reconnects")}
    lost = {
        name: sum(sum(each.get(name, {}).values()) for each in sources) for name in ("dropped", "rejected", "failed")
    }
    live = sum(each.get("state") == SourceState.LIVE.value for each in sources)
    return {"sources": len(sources), "live": live, **totals, **lost}

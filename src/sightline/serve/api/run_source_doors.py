"""`/api/v1/runs/{id}/sources`: add, change and remove one source of a run, the others untouched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from sightline.build.sources import HIDDEN, entry_of, make_source
from sightline.core.codec import to_json
from sightline.core.errors import Conflict, NotFound, Stale
from sightline.core.plugins import Source, SourceState
from sightline.core.run import Run
from sightline.engine.wishes import OWN, checked_source_id
from sightline.serve.api.asked import (
    PREFIX,
    After,
    Json,
    Limit,
    Name,
    Route,
    answer,
    check_revision,
    etag,
    exchange_of,
    page_of,
)
from sightline.serve.api.entries import checked_entry
from sightline.serve.api.run_doors import LOCATION, found_run
from sightline.serve.api.shapes import NewSource, Page, RunSource, SourceWish
from sightline.serve.platform import Platform

IfMatch = Annotated[
    str | None, Header(max_length=256, description="ETag that you have seen; 412 where it is not the newest.")
]
_ETAG = {"ETag": LOCATION["ETag"]}


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A run as it was before a change.

    Attributes:
        here: this process executes it.
        revision: the one that must still be the newest; None: any may be.
    """

    run: Run
    here: bool
    revision: int | None


class RunSourceDoors:
    """Answers `/runs/{run}/sources`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.router = router = APIRouter(prefix=PREFIX, tags=["runs"], route_class=Route)
        one = "/runs/{run}/sources/{source}"
        router.add_api_route(
            "/runs/{run}/sources",
            self.list_all,
            response_model=Page[RunSource],
            name="list_run_sources",
            responses={200: {"headers": _ETAG}},
        )
        router.add_api_route(
            "/runs/{run}/sources",
            self.add,
            methods=["POST"],
            status_code=201,
            response_model=RunSource,
            name="add_run_source",
            responses={201: {"headers": LOCATION}},
        )
        router.add_api_route(
            one, self.get, response_model=RunSource, name="get_run_source", responses={200: {"headers": _ETAG}}
        )
        router.add_api_route(
            one,
            self.change,
            methods=["PUT"],
            response_model=RunSource,
            name="change_run_source",
            responses={200: {"headers": _ETAG}},
        )
        router.add_api_route(
            one,
            self.remove,
            methods=["DELETE"],
            status_code=204,
            name="remove_run_source",
            responses={204: {"headers": _ETAG}},
        )

        router.add_api_route(
            f"{one}/reconnect", self.reconnect, methods=["POST"], status_code=204, name="reconnect_run_source"
        )

    def list_all(self, run: Name, limit: Limit = 50, after: After = None) -> Json:
        """List the sources of a run, with what is seen of them."""
        found, _ = found_run(self._platform, run)
        rows = [_facts(found, name) for name in _sources(found)]
        return answer(page_of(rows, limit, after, lambda row: row["id"]), ETag=etag(found.revision))

    def get(self, run: Name, source: Name) -> Json:
        """Show a source of a run."""
        found, _ = found_run(self._platform, run)
        _known(found, source)
        return answer(_facts(found, source), ETag=etag(found.revision))

    def add(self, run: Name, wish: NewSource, request: Request, if_match: IfMatch = None) -> Json:
        """Read one more source; the others go on untouched."""
        seen = self._seen(run, if_match)
        if wish.id in _sources(seen.run):
            raise Conflict(f"The run {run} has a source {wish.id!r}.", cure="Change it, or take another name.")
        made = self._made(seen.run, wish.id, wish, request)
        add = self._platform.streams.add_source
        changed = self._applied(seen, wish.id, made, lambda: add(run, wish.id, made, seen.revision, by=_by(request)))
        where = {"Location": f"{PREFIX}/runs/{run}/sources/{wish.id}", "ETag": etag(changed.revision)}
        return answer(_facts(changed, wish.id), 201, **where)

    def change(self, run: Name, source: Name, wish: SourceWish, request: Request, if_match: IfMatch = None) -> Json:
        """Read a source otherwise; the others go on untouched."""
        seen = self._seen(run, if_match)
        _known(seen.run, source, "POST adds it.")
        made = self._made(seen.run, source, wish, request)
        change = self._platform.streams.change_source
        changed = self._applied(seen, source, made, lambda: change(run, source, made, seen.revision, by=_by(request)))
        begun = {**_facts(changed, source), "status": {"state": SourceState.CONNECTING.value}}
        return answer(begun, ETag=etag(changed.revision))

    def remove(self, run: Name, source: Name, request: Request, if_match: IfMatch = None) -> Response:
        """Read a source no longer; what it gave is finished."""
        seen = self._seen(run, if_match)
        _known(seen.run, source)
        remove = self._platform.streams.remove_source
        changed = self._applied(seen, source, None, lambda: remove(run, source, seen.revision, by=_by(request)))
        return Response(status_code=204, headers={"ETag": etag(changed.revision)})

    def reconnect(self, run: Name, source: Name) -> Response:
        """Open a live source anew, now: a wait is cut short, a connection that stands is given up."""
        seen = self._seen(run, None)
        _known(seen.run, source)
        if not seen.here:
            raise Conflict("Another process executes the run.", cure="Ask that one.")
        self._platform.streams.source(run, source).reconnect()
        return Response(status_code=204)

    def _seen(self, run_id: str, if_match: str | None) -> _Seen:
        run, here = found_run(self._platform, run_id)
        if run.state.is_final:
            raise Conflict(f"The run {run_id} is over.", cure="Start another one.")
        check_revision(if_match, run.revision)
        any_will_do = if_match is None or if_match.strip() == "*"
        return _Seen(run=run, here=here, revision=None if any_will_do else run.revision)

    def _made(self, run: Run, name: str, wish: SourceWish, request: Request) -> Source:
        entry = checked_entry(wish.source, exchange_of(request).caller)
        with self._platform.cases.building:
            live = bool(run.spec.get("stands"))
            name = checked_source_id(name)
            return make_source(entry, self._platform.context, case=run.case, name=name, live=live)

    def _applied(self, seen: _Seen, name: str, source: Source | None, change: Callable[[], Run]) -> Run:
        """Make a change, here or by way of the record, and return the run.

        Raises:
            Stale: somebody else was first, and the caller had said what he has seen.
            Conflict: somebody else was first, or the run is over.
        """
        try:
            return change() if seen.here else self._amended(seen.run, name, source)
        except Conflict as error:
            is_first = found_run(self._platform, seen.run.id)[0].revision == seen.run.revision
            if seen.revision is None or is_first:
                raise
            raise Stale(error.message, cure="Read it again, then change it.") from None

    def _amended(self, run: Run, name: str, source: Source | None) -> Run:
        """Write into the record what the process that executes the run will read there."""
        sources = dict(_sources(run))
        if source is None:
            del sources[name]
        else:
            entry = entry_of(source, self._platform.context)
            if HIDDEN.encode() in to_json(entry):
                raise Conflict(
                    "Another process executes the run, and passwords are not handed on by the database.",
                    cure="Ask the process that executes it.",
                )
            sources[name] = entry
        spec = {**run.spec, OWN: sorted({*run.spec.get(OWN, ()), name}), "sources": sources}
        return self._platform.context.store.runs.amend(run.id, revision=run.revision, spec=spec)


def _by(request: Request) -> str:
    """Return who asks, as the audit line calls him."""
    return exchange_of(request).caller.id


def _sources(run: Run) -> Mapping[str, Any]:
    sources = run.spec.get("sources")
    return sources if isinstance(sources, Mapping) else {}


def _known(run: Run, source: str, cure: str = "Take one of those.") -> None:
    if source not in _sources(run):
        known = ", ".join(_sources(run)) or "none"
        raise NotFound(f"The run {run.id} has no source {source!r}. It has: {known}.", cure=cure)


def _facts(run: Run, name: str) -> dict[str, Any]:
    seen = run.status.get("sources")
    return {
        "id": name,
        "source": _sources(run).get(name) or {},
        "status": seen.get(name) if isinstance(seen, Mapping) else None,
    }

"""`/api/v1/sources`: the sources of all runs that go on, and a look at what an address sends."""

from __future__ import annotations

from threading import Semaphore
from typing import Any

from fastapi import APIRouter, Query, Request

from sightline.build.replacing import source_entry
from sightline.core.errors import InvalidInput, Overloaded
from sightline.serve.api.asked import PREFIX, After, Limit, Route, exchange_of, page_of
from sightline.serve.api.shapes import JsonObject, Page, ProbeWish, SourceState
from sightline.serve.camera_numbers import camera_rows
from sightline.serve.places import check_place
from sightline.serve.platform import Platform

_AT_ONCE = 4  # a camera that does not answer keeps a thread for seconds


class SourceDoors:
    """Answers `/sources`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._probing = Semaphore(_AT_ONCE)
        self.router = APIRouter(prefix=PREFIX, tags=["sources"], route_class=Route)
        self.router.add_api_route("/sources", self.list_all, response_model=Page[SourceState], name="list_sources")
        self.router.add_api_route(
            "/sources/probe", self.probe, methods=["POST"], response_model=JsonObject, name="probe_source"
        )

    def list_all(
        self,
        *,
        case: str | None = Query(default=None, max_length=128),
        run: str | None = Query(default=None, max_length=128),
        state: str | None = Query(default=None, max_length=32),
        limit: Limit = 50,
        after: After = None,
    ) -> Any:
        """List the sources of the runs of this process, with their numbers."""
        wanted = {"case": case, "run": run, "state": state}
        rows = [
            row
            for row in camera_rows(self._platform)
            if all(value is None or row.get(name) == value for name, value in wanted.items())
        ]
        return page_of(rows, limit, after, lambda row: f"{row['run']}/{row['source']}")

    def probe(self, wish: ProbeWish, request: Request) -> Any:
        """Tell what a camera or file sends, what decoding it costs, and how to make it cheaper."""
        if "\0" in wish.url:
            raise InvalidInput("The address has a NUL in it.", cure="Write it without.")
        check_place(wish.url, exchange_of(request).caller)
        if not self._probing.acquire(blocking=False):
            raise Overloaded(f"{_AT_ONCE} addresses are being probed.", cure="Wait until they are done.")
        try:
            context = self._platform.context
            entry = source_entry(wish.url, fps=wish.fps)
            source = context.plugin("sources", entry.pop("use"), **entry)
            source.open(context.world(source="probe"))
            try:
                return dict(source.probe())
            finally:
                source.close()
        finally:
            self._probing.release()

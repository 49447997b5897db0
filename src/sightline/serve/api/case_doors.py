"""`/api/v1/cases`: which cases there are, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as InPath

from sightline.build.documents import Document, read_document
from sightline.build.folders import CasePlace
from sightline.build.manifest import check_case
from sightline.build.replacing import MAIN
from sightline.core.errors import SightlineError
from sightline.core.plugins import Source
from sightline.core.urls import redacted
from sightline.serve.api.asked import PREFIX, After, Limit, Route, page_of
from sightline.serve.api.shapes import CaseDetail, CaseShape, Page
from sightline.serve.errors import told_problem
from sightline.serve.platform import Platform

CaseName = Annotated[str, InPath(min_length=1, max_length=128)]
"""Name of a case in a path: that of a folder, which may have any letters."""

_SECRET = re.compile(r"(?i)pass|pwd|secret|token|key|auth|credential")


class CaseDoors:
    """Answers `/cases`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._problems: dict[str, tuple[object, list[dict[str, str]]]] = {}
        self._lock = Lock()
        self.router = APIRouter(prefix=PREFIX, tags=["cases"], route_class=Route)
        self.router.add_api_route("/cases", self.list_all, response_model=Page[CaseShape], name="list_cases")
        self.router.add_api_route("/cases/{case}", self.get, response_model=CaseDetail, name="get_case")

    def list_all(self, limit: Limit = 50, after: After = None) -> Any:
        """List the cases by name, the broken ones too."""
        found = page_of(list(self._platform.cases.places().values()), limit, after, lambda place: place.name)
        return {**found, "items": [self._seen(place) for place in found["items"]]}

    def get(self, case: CaseName) -> Any:
        """Show a case and its manifest."""
        place = self._platform.cases.place(case)
        document = self._document(place)
        manifest = None if document is None else shown(document.data)
        return {**self._seen(place), "manifest": manifest}

    def _seen(self, place: CasePlace) -> dict[str, Any]:
        document = self._document(place)
        data = {} if document is None else document.data
        sources = _mapping(data.get("sources")) or ({MAIN: data["source"]} if data.get("source") else {})
        return {
            "name": place.name,
            "title": data.get("title") if isinstance(data.get("title"), str) else "",
            "origin": place.origin,
            "sources": list(sources),
            "streams": all(map(self._is_read, sources.values())),
            "stages": {str(stage): list(_mapping(keys)) for stage, keys in _mapping(data.get("stages")).items()},
            "served": place.name in self._platform.cases.names(),
            "running": [run.id for run in self._platform.streams.list() if run.case == place.name],
            "problems": self._checked(place),
            "safe_mode": place.name in self._platform.cases.problems(),
        }

    def _is_read(self, source: Any) -> bool:
        """Return False for a source that is filled by jobs alone; one that cannot be found is told by `problems`."""
        try:
            kind = self._platform.context.catalog.load("sources", str(_mapping(source).get("use")))
        except SightlineError:
            return True
        return kind.read is not Source.read

    def _document(self, place: CasePlace) -> Document | None:
        """Return the manifest as it is written, variables not put in; None where there is none that can be read."""
        if place.manifest is None:
            return None
        try:
            return read_document(place.manifest, expand=lambda text, _: text)
        except SightlineError:
            return None  # `problems` says why

    def _checked(self, place: CasePlace) -> list[dict[str, str]]:
        """Return what is wrong with a case; looked up again when one of its files has changed."""
        state = place.state()
        with self._lock:
            before = self._problems.get(place.shown)
        if before is not None and before[0] == state:
            return before[1]
        with self._platform.cases.building:
            found = check_case(place, self._platform.context)
        problems = [told_problem(each) for each in found]
        with self._lock:
            self._problems[place.shown] = state, problems
        return problems


def shown(value: Any) -> Any:
    """Return JSON of a manifest as a person may see it: without passwords."""
    if isinstance(value, Mapping):
        return {
            str(key): "***" if isinstance(item, str) and item and _SECRET.search(str(key)) else shown(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return redacted(value) if isinstance(value, str) else value


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}

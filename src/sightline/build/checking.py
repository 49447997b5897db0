"""Import every plug-in and build every case, one by one: a broken one never stops the others."""

from __future__ import annotations

from sightline.build.catalog import KINDS, PORT_KINDS
from sightline.build.context import CaseBuildContext
from sightline.build.folders import list_cases
from sightline.build.manifest import check_case
from sightline.core.errors import MissingExtra, SightlineError


def check_all(context: CaseBuildContext) -> list[dict[str, str]]:
    """Return what is broken: `what`, `code`, `message` with file and line, and `cure`.

    A plug-in whose extra is not installed is no fault: nobody asked for it yet.
    """
    problems: list[dict[str, str]] = []
    root = context.settings.cases_root
    if root is not None and not root.is_dir():
        problems.append(
            {
                "what": "setting cases_root",
                "code": "file_missing",
                "message": f"{context.loaded.origin('cases_root')}: There is no folder {root}.",
                "cure": "Make it, or correct the setting.",
            }
        )
    for kind in (*KINDS, *PORT_KINDS, "tasks"):
        for name in context.catalog.names(kind):
            try:
                context.catalog.load(kind, name)
            except MissingExtra:
                continue
            except SightlineError as error:
                problems.append(_described(f"{kind} {name}", error))
    for place in list_cases(context.loaded):
        if not place.hidden_by:
            problems += [_described(f"case {place.name}", error) for error in check_case(place, context)]
    return problems


def _described(what: str, error: SightlineError) -> dict[str, str]:
    return {"what": what, "code": error.code, "message": str(error), "cure": error.cure}

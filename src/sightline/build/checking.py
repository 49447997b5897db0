"""Import every plug-in and build every case, one by one: a broken one never stops the others."""

from __future__ import annotations

from sightline.build.catalog import FILE_KINDS, KINDS, PORT_KINDS
from sightline.build.context import CaseBuildContext
from sightline.build.folders import list_cases
from sightline.build.manifest import check_case
from sightline.build.profiles import all_profiles
from sightline.core.errors import MissingExtra, SightlineError

_SHIPPED = "shipped"  # origin of a case that came with us


def check_all(context: CaseBuildContext) -> list[dict[str, str]]:
    """Return what is broken: `what`, `code`, `message` with file and line, and `cure`.

    A plug-in whose extra is not installed is no fault, nor is a shipped case of it: nobody asked for it yet.
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
    for kind in (*KINDS, *FILE_KINDS, *PORT_KINDS, "tasks"):
        for name in context.catalog.names(kind):
            try:
                context.catalog.load(kind, name)
            except MissingExtra:
                continue
            except SightlineError as error:
                problems.append(_described(f"{kind} {name}", error))
    places = list_cases(context.loaded)
    for profile, _ in all_profiles(context.settings, context.catalog, places):
        if profile.error is not None:
            problems.append(_described(f"profile {profile.name}", profile.error))
    for place in places:
        if not place.hidden_by:
            found = check_case(place, context)
            if place.origin == _SHIPPED and any(isinstance(error, MissingExtra) for error in found):
                continue  # it came with us, and nobody asked for it yet either
            problems += [_described(f"case {place.name}", error) for error in found]
    return problems


def _described(what: str, error: SightlineError) -> dict[str, str]:
    return {"what": what, "code": error.code, "message": str(error), "cure": error.cure}

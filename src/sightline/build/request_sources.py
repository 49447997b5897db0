"""Which source reads the body of a request, when a case does not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sightline.build.context import CaseBuildContext
from sightline.build.plugins import build_plugin
from sightline.core.case import Case
from sightline.core.errors import WrongMediaType
from sightline.core.plugins import Source
from sightline.engine.requests import Requests

PICTURES = ("image/jpeg", "image/png", "image/webp", "image/bmp")
READINGS = ("text/csv", "application/x-ndjson")
SOURCES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("", "application/octet-stream", *PICTURES), "images"),
        **dict.fromkeys(READINGS, "readings"),
    }
)
"""Media type of a body -> name of the source that loads it; a picture is known by its bytes."""


def requests_of(case: Case, context: CaseBuildContext) -> Requests:
    """Return what answers single requests to a case; see `source_finder` for which source loads a body."""
    outputs = context.settings.runs_root / case.name / "requests"
    world = context.world(case_folder=case.folder, outputs=outputs.absolute())
    return Requests(case, world, source_for=source_finder(case, context))


def source_finder(case: Case, context: CaseBuildContext) -> Callable[[str], Source]:
    """Return what gives the source for a media type.

    A body is loaded by the case's `input`. Where it names none, the type of the body tells the kind of source; one of
    this kind among the case's own is taken as it is, so that its fields count.
    """
    made: dict[str, Source] = {}

    def source_for(media_type: str) -> Source:
        name = SOURCES.get(media_type)
        if name is None:
            raise WrongMediaType(
                f"A body of the type {media_type[:60]!r} is not taken.", cure=f"Send {', '.join(PICTURES)}."
            )
        if name == "images" and case.sources and _all_readings(case, context):
            raise WrongMediaType(
                f"The case {case.name!r} takes readings, no pictures.", cure=f"Send {' or '.join(READINGS)}."
            )
        if name not in made:
            kind = context.catalog.load("sources", name)
            own = [source for source in case.sources.values() if type(source) is kind]
            made[name] = own[0] if own else build_plugin("sources", name, kind, {"url": "."})
        return made[name]

    return source_for


def _all_readings(case: Case, context: CaseBuildContext) -> bool:
    kind = context.catalog.load("sources", "readings")
    return all(isinstance(source, kind) for source in case.sources.values())

"""Sources as entries, `{"use": "video", "url": ...}`: how a manifest, the API and the record of a run say them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from sightline.build.case_modules import local_plugins
from sightline.build.catalog import KINDS
from sightline.build.context import CaseBuildContext
from sightline.build.folders import find_case
from sightline.build.plugins import build_plugin
from sightline.build.replacing import live_entry
from sightline.build.source_secrets import SourceSecrets
from sightline.core.errors import ConfigError, NotFound
from sightline.core.plugins import Source
from sightline.core.prediction import JsonObject
from sightline.core.run import Run
from sightline.core.urls import redacted
from sightline.engine.wishes import SourceSpecs, checked_source_id

SOURCES = "sources"
HIDDEN = "***"
"""What stands in an entry for what must not be seen."""

_SECRET = re.compile(r"(?i)pass|pwd|secret|token|key|auth|credential")
_NO_VALUE = object()


def make_source(
    entry: JsonObject | str, context: CaseBuildContext, *, case: str = "", name: str = "", live: bool = False
) -> Source:
    """Return the source that an entry describes, with its fields validated.

    Args:
        entry: `use` and fields, as in a manifest; a name alone is a source without fields.
        context: the plug-ins.
        case: a case whose own plugins.py may have the source.
        name: id of the source, for messages; empty where it has none yet.
        live: it is for a run that is live; see `live_entry`.

    Raises:
        ConfigError: there is no such plug-in, or a field is unknown, missing or wrong.
    """
    fields: Any = {"use": entry} if isinstance(entry, str) else entry  # what comes from outside may be anything
    fields = live_entry(fields) if live else fields
    location = f"sources.{name}" if name else ""
    if not isinstance(fields, Mapping) or not isinstance(fields.get("use"), str):
        raise ConfigError("A source needs the name of its plug-in.", cure="Write {use: video, ...}.", location=location)
    use = str(fields["use"])
    rest = {key: value for key, value in fields.items() if key != "use"}
    if hidden := [key for key, value in rest.items() if _is_hidden(value)]:
        raise ConfigError(
            f"The field {hidden[0]!r} of the source is hidden: {HIDDEN} stands in it.",
            cure="Give the whole value again, with user name and password.",
            location=location,
        )
    found = _own_sources(case, context).get(use) or context.catalog.load(SOURCES, use, location=location)

    def locate(*path: object) -> str:
        return ".".join([location, *map(str, path)]) if location else ""

    made: Source = build_plugin(SOURCES, use, found, rest, locate=locate)
    return made


def entry_of(source: Source, context: CaseBuildContext, *, shown: bool = True) -> JsonObject:
    """Return the entry of a source as JSON: `use`, and the fields that differ from their defaults.

    What is `shown` to anybody has its secrets hidden. `use` is the name of an installed plug-in, that of a class of the
    case, or an import path. A field that is no JSON (a function, for instance) is left out.
    """
    entry: dict[str, Any] = {"use": _name_of(type(source), context)}
    for field in dataclasses.fields(source):
        if not field.init:
            continue
        value = getattr(source, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if value is default or (isinstance(value, type(default)) and value == default):
            continue
        encoded = HIDDEN if shown and value and _SECRET.search(field.name) else _encoded(value, shown=shown)
        if encoded is not _NO_VALUE:
            entry[field.name] = encoded
    return entry


def source_specs(context: CaseBuildContext, case: str, run: Run) -> SourceSpecs:
    """Return how the sources of a case stand in the record of a run; one that outlives its process keeps passwords."""
    secrets = secrets_of(context)

    def keep(sources: Mapping[str, Source]) -> None:
        entries = {name: entry_of(source, context, shown=False) for name, source in sources.items()}
        hidden = {name for name, source in sources.items() if _is_hidden(entry_of(source, context))}
        secrets.keep(run.id, {name: entry for name, entry in entries.items() if name in hidden})

    return SourceSpecs(
        keep=keep if run.restart != "never" else lambda _: None,
        forget=lambda: secrets.forget(run.id),
        entry=lambda source: entry_of(source, context),
        make=lambda entries: {
            name: make_source(entry, context, case=case, name=checked_source_id(name))
            for name, entry in entries.items()
        },
    )


def secrets_of(context: CaseBuildContext) -> SourceSecrets:
    """Return what keeps the passwords of sources that the records of runs hide."""
    return SourceSecrets(context.settings.data_root / "secrets" / "runs")


def recorded_sources(run: Run, context: CaseBuildContext) -> dict[str, Source]:
    """Return the sources in the record of a run, with the passwords that were kept on this machine.

    Raises:
        ConfigError: one cannot be made, or its password is not here.
    """
    kept = secrets_of(context).entries(run.id)
    made: dict[str, Source] = {}
    for name, entry in dict(run.spec.get(SOURCES) or {}).items():
        if not _is_hidden(entry):
            made[name] = make_source(entry, context, case=run.case, name=name)
            continue
        whole = make_source(kept[name], context, case=run.case, name=name) if name in kept else None
        if whole is None or entry_of(whole, context) != entry:
            raise ConfigError(
                f"The password of the source {name!r} of the run {run.id} is not kept on this machine.",
                cure="Give the source again: PUT /api/v1/runs/{run}/sources/{source}, or stop the run.",
            )
        made[name] = whole
    return made


def _own_sources(case: str, context: CaseBuildContext) -> Mapping[str, type[Any]]:
    """Return the sources in the plugins.py of a case; none where the case is not found by its name."""
    if not case:
        return {}
    try:
        found = local_plugins(find_case(context.loaded, case))
    except NotFound:
        return {}
    return {name: kind for name, kind in found.items() if issubclass(kind, KINDS[SOURCES])}


def _name_of(kind: type[Any], context: CaseBuildContext) -> str:
    target = f"{kind.__module__}:{kind.__qualname__}"
    for listed in context.catalog.listed(SOURCES):
        if listed.target == target:
            return listed.name
    return kind.__qualname__ if kind.__module__.startswith("sightline_cases.") else target


def _encoded(value: Any, *, shown: bool = True) -> Any:
    """Return a value as JSON has it, for what is shown with secrets hidden; `_NO_VALUE` for what is no JSON."""
    if isinstance(value, Enum):
        return _encoded(value.value, shown=shown)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | Path):
        return redacted(str(value)) if shown else str(value)
    if isinstance(value, list | tuple):
        items = [_encoded(item, shown=shown) for item in value]
        return _NO_VALUE if any(item is _NO_VALUE for item in items) else items
    if isinstance(value, Mapping):
        pairs = {
            str(key): HIDDEN if shown and item and _SECRET.search(str(key)) else _encoded(item, shown=shown)
            for key, item in value.items()
        }
        return {key: item for key, item in pairs.items() if item is not _NO_VALUE}
    return _NO_VALUE


def _is_hidden(value: Any) -> bool:
    if isinstance(value, str):
        return HIDDEN in value
    if isinstance(value, Mapping):
        return any(_is_hidden(item) for item in value.values())
    return isinstance(value, list | tuple) and any(_is_hidden(item) for item in value)

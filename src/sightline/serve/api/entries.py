"""Sources as callers write them: an address, or a plug-in with its fields."""

from __future__ import annotations

import re
from typing import Any

from sightline.build.replacing import source_entry
from sightline.core.access import Caller, Scope
from sightline.core.errors import Forbidden
from sightline.core.prediction import JsonObject
from sightline.serve.places import check_place

PLACE = re.compile(r"(?:.*_)?(?:url|path|file|folder|ca)")
"""Fields in which sources name a place."""


def checked_entry(source: str | JsonObject, caller: Caller | None = None) -> JsonObject:
    """Return the entry of a source; an address becomes that of the plug-in which reads it.

    Args:
        source: what the caller wrote.
        caller: who wrote it; None where that was looked at before.

    Raises:
        Forbidden: it names a class by its import path, which loads code, or a file of this machine; only admins may.
    """
    entry: JsonObject = source_entry(source) if isinstance(source, str) else source
    use: Any = entry.get("use")
    if caller is None or caller.may(Scope.ADMIN):
        return entry
    if isinstance(use, str) and ":" in use:
        raise Forbidden(f"Admins alone may name a class: {use[:80]!r}.", cure="Name an installed plug-in: video.")
    for field, place in entry.items():
        if PLACE.fullmatch(field) and isinstance(place, str | int):
            check_place(str(place), caller)
    return entry

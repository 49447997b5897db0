"""What a caller may have a job do: its objects are a matter of `Rights`, its parameters of this module."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sightline.core.access import Scope
from sightline.core.errors import Forbidden
from sightline.serve.api.entries import PLACE
from sightline.serve.places import check_place
from sightline.serve.rights import Rights

_PREFIX = "http"  # before the keys of callers: those of schedules and of /infer are others
_OBJECT = "_object"


def check_job(
    object_: str,
    output: str | None,
    parameters: Mapping[str, Any],
    rights: Rights,
    *,
    free: Callable[[], Collection[str]],
) -> None:
    """Refuse a job that would reach what is not the caller's.

    Args:
        object_: what it works on: a key, a folder of keys, or something in the archive that the settings name.
        output: stem of its results.
        parameters: fields of plug-ins; what ends in `_object` is a key too.
        rights: what he may name who wants it.
        free: gives the names of the parameters that every caller may set.

    Raises:
        InvalidInput: a key is none, or not the caller's.
        Forbidden: studies of the archive are not for this caller; or a parameter is not for every caller, or names a
            file of this machine: only admins may.
    """
    named = {name: value for name, value in parameters.items() if name.endswith(_OBJECT)}
    others = [value for value in named.values() if isinstance(value, str) and value]
    rights.check_job(object_, output=output, others=others)
    caller = rights.caller
    if parameters and not caller.may(Scope.ADMIN):
        known = free()
        for name in parameters:
            if name not in known:
                raise Forbidden(
                    f"The parameter {name[:128]} is not for every caller.",
                    cure=f"Set one of {', '.join(sorted(known)) or 'none'}; job.parameters of the case lists them.",
                )
    for name, value in parameters.items():
        if name not in named and PLACE.fullmatch(name) and isinstance(value, str | int):
            check_place(str(value), caller)


def stored_key(key: str | None, project: str) -> str | None:
    """Return the idempotency key of a caller as it is kept: callers of two projects do not meet."""
    return None if key is None else f"{_PREFIX}:{project}:{key}"


def shown_key(key: str | None, project: str) -> str | None:
    """Return the idempotency key of a job as its caller knows it."""
    return None if key is None else key.removeprefix(f"{_PREFIX}:{project}:")

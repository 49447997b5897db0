"""Read parts of JSON that came from outside, and say which part is wrong.

Knows JSON kinds and dataclasses; knows nothing of what the parts mean (`codec` does).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from types import NoneType
from typing import Any, TypeVar

from sightline.core.prediction import JsonObject

T = TypeVar("T")

DAMAGE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What reading damaged JSON can raise: a part is missing, of a wrong kind, no such number, or too large a one."""

# What JSON may hold where a field is of this type; JSON has no NaN, so a number that is none comes as null.
_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float, NoneType),
    "str | None": (str, NoneType),
    "float | None": (int, float, NoneType),
    "float | str | None": (int, float, str, NoneType),
    "JsonObject | None": (Mapping, NoneType),
}


def stated(wire: Any, name: str) -> Any:
    """Return a member of what should be a JSON object; None where it has none, or is no object."""
    return wire.get(name) if isinstance(wire, Mapping) else None


def member(wire: JsonObject, name: str, kind: type | tuple[type, ...]) -> Any:
    """Return a member of a JSON object.

    Raises:
        KeyError, TypeError: it is missing, or of another kind.
    """
    value = wire[name]
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r:.80}")
    return value


def words(wire: JsonObject, name: str) -> tuple[str, ...]:
    """Return a member that is a list of texts.

    Raises:
        KeyError, TypeError: it is missing, or something else.
    """
    found = member(wire, name, list)
    if not all(isinstance(word, str) for word in found):
        raise TypeError(f"{name} has something other than text")
    return tuple(found)


def taken(kind: type[T], wire: JsonObject) -> T:
    """Return a dataclass whose fields are JSON; members that it does not know, of a newer Sightline, are passed over.

    Raises:
        TypeError: a field is missing or of a wrong kind.
    """
    values: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]  # T is any dataclass; typing has no word for that in 3.11
        if each.name in wire:
            value = member(wire, each.name, _KINDS[str(each.type)])
            values[each.name] = math.nan if value is None and each.type == "float" else value
    return kind(**values)

"""Reads what a card says of feeding and reading a model of volumes, and complains in words that can be acted on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from sightline.core.errors import InvalidModel
from sightline.core.model import ModelCard
from sightline.core.prediction import JsonObject

_OPTIONS = {"preprocessing": "--preprocess", "postprocessing": "--postprocess"}
_MISSING: Any = object()


class CardFields:
    """The fields of one section of a card, or of a section within it.

    Args:
        card: the card.
        section: `preprocessing` or `postprocessing`.
        within: name of a field of it that holds fields itself, for instance `normalise`.
    """

    def __init__(self, card: ModelCard, section: str, within: str = "") -> None:
        self._card, self._section = card, section
        self._path = f"{section}.{within}" if within else section
        fields: Any = getattr(card, section)
        if within:
            fields = fields.get(within, {})
            if not isinstance(fields, dict):
                raise self._error(f"has {self._path} = {fields!r}; it must be a JSON object.")
        self._fields: JsonObject = fields

    def check_known(self, known: Sequence[str]) -> None:
        """Raise InvalidModel for a field that is not among `known`: it would be passed over in silence."""
        for key in self._fields:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise self._error(f"has the unknown field {self._path}.{key}.{hint} Known: {', '.join(known)}.")

    def has(self, key: str) -> bool:
        """Tell whether the field is given."""
        return key in self._fields

    def choice(self, key: str, options: Sequence[str], default: str = _MISSING) -> str:
        """Return one of `options`."""
        wanted = f"one of {', '.join(options)}"
        value = self._get(key, default, wanted)
        if value not in options:
            raise self.wrong(key, wanted)
        return str(value)

    def text(self, key: str, default: str = _MISSING) -> str:
        """Return a name."""
        value = self._get(key, default, "a name")
        if not isinstance(value, str):
            raise self.wrong(key, "a name")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._fields.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def number(self, key: str, low: float, high: float, default: float = _MISSING) -> float:
        """Return a number of `low` to `high`."""
        wanted = f"a number of {low:g} to {high:g}"
        value = self._get(key, default, wanted)
        if not _is_number(value) or not low <= value <= high:
            raise self.wrong(key, wanted)
        return float(value)

    def numbers(self, key: str, low: float, high: float) -> tuple[float, float, float] | None:
        """Return three numbers, one for each axis, of a list or of one number; None where none are given."""
        value = self._fields.get(key)
        if value is None:
            return None
        values = list(value) if isinstance(value, list | tuple) else [value] * 3
        if len(values) != 3 or not all(_is_number(each) and low <= each <= high for each in values):
            raise self.wrong(key, f"one or three numbers of {low:g} to {high:g}")
        return float(values[0]), float(values[1]), float(values[2])

    def sides(self, key: str) -> tuple[int, int, int] | None:
        """Return three numbers of voxels; None where none are given."""
        values = self.numbers(key, 1, 4096)
        if values is None:
            return None
        if any(value != int(value) for value in values):
            raise self.wrong(key, "three whole numbers")
        return int(values[0]), int(values[1]), int(values[2])

    def wrong(self, key: str, wanted: str) -> InvalidModel:
        """Return the error of a field that is not `wanted`."""
        return self._error(f"has {self._path}.{key} = {self._fields.get(key)!r}; it must be {wanted}.", key)

    def _error(self, fault: str, key: str = "KEY") -> InvalidModel:
        command = f"sightline models add FILE {_OPTIONS[self._section]} '{{\"{key}\": ...}}'"
        return InvalidModel(f"The model {self._card.ref} {fault}", cure=f"Write it into the file: {command}")

    def _get(self, key: str, default: Any, wanted: str) -> Any:
        value = self._fields.get(key, default)
        if value is _MISSING:
            raise self._error(f"has no {self._path}.{key}; it must be {wanted}.", key)
        return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

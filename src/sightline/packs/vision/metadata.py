"""Reads what a card says of feeding and reading a model, and complains in words that can be acted on.

Knows how fields are checked and how a case completes a card; knows none of the fields (`preprocess`, `layouts`).
The format is described in `docs/reference/model-metadata.md`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sightline.core.errors import InvalidModel
from sightline.core.model import ModelCard
from sightline.core.prediction import JsonObject

_OPTIONS = {"preprocessing": "--preprocess", "postprocessing": "--postprocess"}
_MISSING: Any = object()


def completed(
    card: ModelCard,
    *,
    preprocessing: JsonObject | None,
    postprocessing: JsonObject | None,
    labels: Sequence[str | None] | None,
) -> ModelCard:
    """Return `card` with what the case gives in place of what the file says."""
    changes: dict[str, Any] = {}
    if preprocessing is not None:
        changes["preprocessing"] = preprocessing
    if postprocessing is not None:
        changes["postprocessing"] = postprocessing
    if labels is not None:
        changes["labels"] = tuple(labels)
    return replace(card, **changes) if changes else card


def nearest(word: str, known: Sequence[str]) -> str:
    """Return ` Did you mean 'x'?`, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class CardFields:
    """The fields of one section of a card, `preprocessing` or `postprocessing`."""

    def __init__(self, card: ModelCard, section: str) -> None:
        self._card = card
        self._section = section
        self._fields: JsonObject = getattr(card, section)

    def check_known(self, known: Sequence[str]) -> None:
        """Raise InvalidModel for a field that is not among `known`: it would be passed over in silence."""
        for key in self._fields:
            if key not in known:
                hint = nearest(key, known)
                raise self.error(f"has the unknown field {self._section}.{key}.{hint} Known: {', '.join(known)}.")

    def choice(self, key: str, options: Sequence[str], default: str = _MISSING) -> str:
        """Return one of `options`."""
        value = self._get(key, default, " or ".join(repr(option) for option in options))
        if value not in options:
            raise self.wrong(key, f"one of {', '.join(options)}")
        return str(value)

    def text(self, key: str, default: str = _MISSING) -> str:
        """Return a name."""
        value = self._get(key, default, "a name")
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a name")
        return value

    def texts(self, key: str, num: int) -> tuple[str, ...]:
        """Return `num` names."""
        value = self._get(key, _MISSING, f"a list of {num} names")
        if not isinstance(value, list | tuple) or len(value) != num or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, f"a list of {num} names")
        return tuple(value)

    def number(self, key: str, low: float, high: float, default: float = _MISSING) -> float:
        """Return a number of `low` to `high`."""
        wanted = f"a number of {low:g} to {high:g}"
        value = self._get(key, default, wanted)
        if not _is_number(value) or not low <= value <= high:
            raise self.wrong(key, wanted)
        return float(value)

    def integer(self, key: str, low: int, high: int, default: int = _MISSING) -> int:
        """Return a whole number of `low` to `high`."""
        value = self.number(key, low, high, default)
        if value != int(value):
            raise self.wrong(key, "a whole number")
        return int(value)

    def numbers(self, key: str, num: int | None, default: Sequence[float] = _MISSING) -> tuple[float, ...]:
        """Return `num` numbers (None: at least one)."""
        wanted = f"a list of {num} numbers" if num else "a list of numbers"
        value = self._get(key, default, wanted)
        if not isinstance(value, list | tuple) or not value or (num and len(value) != num):
            raise self.wrong(key, wanted)
        if not all(_is_number(item) for item in value):
            raise self.wrong(key, wanted)
        return tuple(float(item) for item in value)

    def integers(self, key: str, num: int | None) -> tuple[int, ...]:
        """Return `num` whole numbers of at least 1 (None: at least one)."""
        values = self.numbers(key, num)
        if any(value < 1 or value != int(value) for value in values):
            raise self.wrong(key, "a list of whole numbers of at least 1")
        return tuple(int(value) for value in values)

    def has(self, key: str) -> bool:
        """Tell whether the field is given."""
        return key in self._fields

    def wrong(self, key: str, wanted: str) -> InvalidModel:
        """Return the error of a field that is not `wanted`."""
        return self.error(f"has {self._section}.{key} = {self._fields.get(key)!r}; it must be {wanted}.", key)

    def error(self, fault: str, key: str = "KEY") -> InvalidModel:
        """Return an error whose sentence begins with the model and whose cure names the command."""
        command = f"sightline models add FILE {_OPTIONS[self._section]} '{{\"{key}\": ...}}'"
        return InvalidModel(
            f"The model {self._card.ref} {fault}",
            cure=f"Write it into the file: {command}; or give {self._section} in the case.",
        )

    def _get(self, key: str, default: Any, wanted: str) -> Any:
        value = self._fields.get(key, default)
        if value is _MISSING:
            raise self.error(f"has no {self._section}.{key}; it must be {wanted}.", key)
        return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

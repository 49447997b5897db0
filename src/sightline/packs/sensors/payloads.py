"""What a message of a sensor says: a number, or JSON with numbers in it, and perhaps a time.

Knows bytes and numbers; knows nothing of brokers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sightline.core.codec import from_json
from sightline.core.errors import InvalidInput
from sightline.packs.sensors.tables import number_of, time_of

_MOST_CHANNELS = 256
_DEEPEST = 8
_MILLISECONDS = 1e11  # a number of seconds as large as this lies in the year 5138


class BadPayload(Exception):
    """A message that is no reading.

    Attributes:
        kind: one word for the counters.
    """

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind


def reading_of(
    payload: bytes, *, channel: str, time_field: str, fields: Sequence[str] = ()
) -> tuple[datetime | None, Mapping[str, float]]:
    """Return the time that a message gives, None where it gives none, and its numbers by channel.

    A bare number is that of `channel`. Of a JSON object every number is a channel, `true` and `false` are 1 and 0, and
    what is inside another object has its name before a point: `air.temperature`.

    Args:
        payload: of the message.
        channel: name of a bare number.
        time_field: field with the time, RFC 3339 or seconds (or milliseconds) since 1970; points go into objects.
        fields: the only channels that are taken; none named: all.

    Raises:
        BadPayload: it is none of that.
    """
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        raise BadPayload("no_text", "no UTF-8 text") from None
    try:
        value = from_json(text)
    except InvalidInput:
        try:
            value = number_of(text)  # a `+21.5` or `.5`, which is no JSON
        except InvalidInput:
            raise BadPayload("no_json", "neither JSON nor a number") from None
    if not isinstance(value, dict):
        return None, {channel: _number(value)}
    found = dict(_numbers(value, ""))
    time = _time(value, time_field)
    found.pop(time_field, None)
    numbers = {name: found[name] for name in fields if name in found} if fields else found
    if not numbers:
        raise BadPayload("no_number", f"none of {', '.join(fields)}" if fields else "no number")
    if len(numbers) > _MOST_CHANNELS:
        raise BadPayload("too_many", f"more than {_MOST_CHANNELS} numbers")
    return time, numbers


def _number(value: Any) -> float:
    if isinstance(value, bool):
        return float(value)
    number = float(value) if isinstance(value, int | float) else math.nan
    if not math.isfinite(number):
        raise BadPayload("no_number", f"{type(value).__name__} is no number")
    return number


def _numbers(value: Mapping[str, Any], before: str, depth: int = 0) -> Iterator[tuple[str, float]]:
    for name, item in value.items():
        if isinstance(item, dict) and depth < _DEEPEST:
            yield from _numbers(item, f"{before}{name}.", depth + 1)
            continue
        try:
            number = float(item) if isinstance(item, bool) else number_of(item)
        except InvalidInput:
            continue  # words beside the numbers
        if number is not None:
            yield f"{before}{name}", number


def _time(value: Mapping[str, Any], path: str) -> datetime | None:
    found: Any = value
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if found is None:
        return None
    try:
        if isinstance(found, int | float) and not isinstance(found, bool) and abs(found) >= _MILLISECONDS:
            return time_of(found / 1000)
        return time_of(found)
    except InvalidInput as error:
        raise BadPayload("bad_time", error.message) from None

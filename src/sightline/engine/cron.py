"""Times of a schedule: the five fields of crontab(5), in UTC.

Minute, hour, day of the month, month, day of the week (0 and 7 are Sunday); `*`, lists, ranges, steps and the names of
months and days. Where both days are limited, either is enough, as in cron.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sightline.core.errors import InvalidInput

_SHORT: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: Sequence[tuple[str, int, int, Mapping[str, int]]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?")
_MOST_YEARS = 28  # the calendar repeats by then, but for the leap days around 2100


class Cron:
    """The times that a line of crontab stands for.

    Raises:
        InvalidInput: it is none.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        parts = _SHORT.get(text.strip().lower(), text).split()
        if len(parts) != len(_FIELDS):
            raise InvalidInput(f"{text!r} is no cron line.", cure="Write five fields: 30 3 * * mon-fri")
        self._minutes, self._hours, self._days, self._months, weekdays = (
            _numbers(part, *field) for part, field in zip(parts, _FIELDS, strict=True)
        )
        self._weekdays = {number % 7 for number in weekdays}
        self._either = not parts[2].startswith("*") and not parts[4].startswith("*")

    def after(self, time: datetime) -> datetime:
        """Return the first time that is later than `time`.

        Raises:
            InvalidInput: there is none: 30 February.
        """
        minute = time.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = minute.year + _MOST_YEARS
        while minute.year <= end:
            if minute.month not in self._months:
                minute = (minute.replace(day=1, hour=0, minute=0) + timedelta(days=32)).replace(day=1)
            elif not self._is_day(minute):
                minute = minute.replace(hour=0, minute=0) + timedelta(days=1)
            elif minute.hour not in self._hours:
                minute = minute.replace(minute=0) + timedelta(hours=1)
            elif minute.minute not in self._minutes:
                minute += timedelta(minutes=1)
            else:
                return minute
        raise InvalidInput(f"{self.text!r} never comes.", cure="Name a day that there is.")

    def _is_day(self, time: datetime) -> bool:
        day = time.day in self._days
        weekday = time.isoweekday() % 7 in self._weekdays
        return day or weekday if self._either else day and weekday


def _numbers(text: str, what: str, least: int, most: int, names: Mapping[str, int]) -> set[int]:
    """Return the numbers that a field allows."""
    found: set[int] = set()
    for part in text.lower().split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise InvalidInput(f"{part!r} is no {what} of a cron line.", cure=f"Write {least} to {most}, * or */5.")
        first, last, step = match.groups()
        begin = least if first is None else _number(first, what, least, most, names)
        if last is not None:
            end = _number(last, what, least, most, names)
        else:
            end = most if first is None or step is not None else begin
        if end < begin or (step is not None and int(step) < 1):
            raise InvalidInput(f"{part!r} is no {what} of a cron line.", cure="Write a range as 9-17, a step as */5.")
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def _number(text: str, what: str, least: int, most: int, names: Mapping[str, int]) -> int:
    number = names.get(text, int(text) if text.isdecimal() else -1)
    if not least <= number <= most:
        raise InvalidInput(f"{text!r} is no {what} of a cron line.", cure=f"Write a number from {least} to {most}.")
    return number

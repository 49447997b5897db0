"""The last lines of this process's log, kept in memory for whoever looks at it from a browser.

They are taken behind the step that hides secrets, so that nothing stands here that the log itself would not say.
Requests that went well are kept apart: a page that looks every second must not push out what happened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

MOST = 2000
LEVELS = ("debug", "info", "warning", "error", "critical")
_PARTS = frozenset({"event", "level", "timestamp", "dataset", "exc_info", "stack_info", "_record", "_from_structlog"})
_LONGEST = 1000  # letters of one field


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line.

    Attributes:
        number: counts the lines of the process.
        fields: what was said beside the event, as plain values.
    """

    number: int
    time: datetime
    level: str
    event: str
    fields: Mapping[str, Any]


class LogTail:
    """Keeps the last lines; any thread may write and read.

    Args:
        most: lines of each of the two kinds that are kept.
        clock: the time in UTC.
    """

    def __init__(self, most: int = MOST, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._lines: deque[Line] = deque(maxlen=most)
        self._requests: deque[Line] = deque(maxlen=most)
        self._number = 0
        self._clock = clock
        self._lock = Lock()

    def __call__(self, _: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Keep a line on its way to the log, as a step of structlog."""
        self.keep(fields)
        return fields

    def keep(self, fields: Mapping[str, Any]) -> None:
        """Keep a line, from which secrets have been taken out."""
        said = {name: _plain(value) for name, value in fields.items() if name not in _PARTS and value not in (None, "")}
        level, event = str(fields.get("level", "info")), str(fields.get("event", ""))
        went_well = event == "request answered" and level in ("debug", "info")
        with self._lock:
            self._number += 1
            line = Line(number=self._number, time=self._clock(), level=level, event=event[:_LONGEST], fields=said)
            (self._requests if went_well else self._lines).append(line)

    @property
    def number(self) -> int:
        """Number of the newest line."""
        return self._number

    def after(self, number: int | None, *, level: str, limit: int, requests: bool = False) -> tuple[list[Line], int]:
        """Return the lines behind a number, the oldest first, and how many of those behind it are kept no more.

        Args:
            number: that of the last line that was seen; None: the newest lines.
            level: the least that is wanted.
            limit: most lines; without a number the newest ones, else the oldest.
            requests: also requests that went well.
        """
        wanted = LEVELS[LEVELS.index(level) :]
        with self._lock:
            kept = [*self._lines, *self._requests] if requests else list(self._lines)
            oldest = min((lines[0].number for lines in (self._lines, self._requests) if len(lines) == lines.maxlen),
                         default=1)  # fmt: skip
        kept.sort(key=lambda line: line.number)
        found = [line for line in kept if line.number > (number or 0) and line.level in wanted]
        lost = 0 if number is None else max(0, oldest - number - 1)
        return (found[-limit:] if number is None else found[:limit]), lost


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict | list):
        return value  # made plain where secrets were taken out
    return str(value)[:_LONGEST]


TAIL = LogTail()
"""That of this process; `set_up_log` has it filled."""

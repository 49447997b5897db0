"""What may go into a column: names of a sane length, and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sightline.core.codec import to_json
from sightline.core.errors import InvalidInput

NAME_LIMIT = 512
"""Most characters of an id, a name or a source."""

_LARGEST = (1 << 63) - 1
"""Largest integer that the databases keep."""

JSON_LIMIT = 64 << 20
"""Most bytes of one JSON value; the databases themselves stop at about 1 GB."""


def checked_name(value: str, what: str) -> str:
    """Return `value`.

    Raises:
        InvalidInput: it is empty, too long, or has characters that no database keeps.
    """
    if not value or len(value) > NAME_LIMIT or "\0" in value:
        shown = value if len(value) <= 80 else f"{value[:80]}... ({len(value)} characters)"
        raise InvalidInput(f"{what} cannot be {shown!r}.", cure=f"Use 1 to {NAME_LIMIT} characters, none of them NUL.")
    return checked_text(value)


def checked_text(value: str) -> str:
    """Return free text without NUL, which PostgreSQL does not keep.

    Raises:
        InvalidInput: it has half a surrogate pair.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"Not Unicode text: {error.reason} at character {error.start}.") from None
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def checked_filter(value: str) -> str:
    """Return a text that rows are to have.

    Raises:
        InvalidInput: no row can have it: NUL, or half a surrogate pair.
    """
    if "\0" in value:
        raise InvalidInput(f"Nothing is called {value[:80]!r}.", cure="Leave the NUL out.")
    return checked_text(value)


def checked_label(value: str, what: str) -> str:
    """Return a name that may be empty.

    Raises:
        InvalidInput: it is too long, or has characters that no database keeps.
    """
    return checked_name(value, what) if value else ""


def checked_number(value: int, what: str) -> int:
    """Return a position, a token or a count.

    Raises:
        InvalidInput: it is negative or larger than a database keeps.
    """
    if not 0 <= value <= _LARGEST:
        raise InvalidInput(f"{what} is out of range.", cure="Use a number from 0 to 2**63 - 1.")
    return value


def checked_time(value: datetime, what: str) -> datetime:
    """Return a time in UTC.

    Raises:
        InvalidInput: it does not say its zone, or lies outside the years 1 to 9999.
    """
    if value.tzinfo is None:
        raise InvalidInput(f"{what} is {value.isoformat()}, without a zone.", cure="Write 2026-11-20T12:00:41Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(f"{what} cannot be {value.isoformat()}.") from None


def checked_limit(limit: int) -> int:
    """Return the largest number of rows that is wanted.

    Raises:
        InvalidInput: it is under 1.
    """
    if limit < 1:
        raise InvalidInput(f"limit is {limit}; it must be at least 1.")
    return min(limit, _LARGEST)


def checked_lease(lease: timedelta) -> timedelta:
    """Return the length of a lease; nothing is a lease that has passed already.

    Raises:
        InvalidInput: it is negative.
    """
    if lease < timedelta(0):
        raise InvalidInput(f"A lease cannot last {lease.total_seconds()} s.")
    return lease


def json_text(value: Any) -> str:
    """Return the JSON of a column.

    Raises:
        InvalidInput: JSON cannot hold the value, or it is larger than `JSON_LIMIT`.
    """
    try:
        try:
            data = to_json(value)
        except TypeError:
            data = to_json(plain(value))
    except (TypeError, RecursionError) as error:
        raise InvalidInput(f"Not JSON: {error}.") from None
    if len(data) > JSON_LIMIT:
        raise InvalidInput(f"A JSON value of {len(data)} bytes is too large; at most {JSON_LIMIT} are kept.")
    return data.decode()


def plain(value: Any) -> Any:
    """Return `value` with dicts for other mappings and lists for other sequences, all the way down."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value

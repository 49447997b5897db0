"""What a client of the WebSocket says: `subscribe`, `unsubscribe`, `ping`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.core.codec import from_json
from sightline.core.errors import InvalidInput
from sightline.serve.live.wanted import Wanted

MAX_BYTES = 1 << 14
_MOST = 100
_MAX_FPS = 60.0
ALL = Wanted()
_FIELDS = frozenset({"op", "case", "source", "run", "types", "pictures", "max_fps"})


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One message of a client.

    Attributes:
        op: `subscribe`, `unsubscribe` or `ping`.
        wanted: of `subscribe`: which events.
        pictures: also the pictures, as binary messages.
        max_fps: most pictures a second of each source.
    """

    op: str
    wanted: Wanted = ALL
    pictures: bool = False
    max_fps: float | None = None


def read_wish(text: str | bytes) -> Wish:
    """Return what a message says.

    Raises:
        InvalidInput: it is too long, no JSON object, or says what nobody understands.
    """
    if len(text) > MAX_BYTES:
        raise InvalidInput(f"The message is longer than {MAX_BYTES} bytes.", cure="Subscribe to fewer names.")
    said = from_json(text)
    if not isinstance(said, dict):
        raise InvalidInput("The message is no JSON object.", cure='Send {"op": "ping"}, for instance.')
    op = said.get("op")
    if op in ("unsubscribe", "ping"):
        return Wish(op=op)
    if op != "subscribe":
        raise InvalidInput(f"op is {str(op)[:40]!r}.", cure="It is one of subscribe, unsubscribe, ping.")
    unknown = sorted(set(said) - _FIELDS)
    if unknown:
        raise InvalidInput(f"subscribe has no field {unknown[0][:40]!r}.", cure=f"Known: {', '.join(sorted(_FIELDS))}.")
    pictures = said.get("pictures", False)
    if not isinstance(pictures, bool):
        raise InvalidInput("pictures is neither true nor false.", cure="Write true or false.")
    return Wish(
        op=op,
        wanted=Wanted.of(_names(said, "case"), _names(said, "source"), _names(said, "types"), _names(said, "run")),
        pictures=pictures,
        max_fps=_rate(said),
    )


def _names(said: Mapping[str, Any], field: str) -> list[str]:
    """Return the names in a field: a list, or a text with commas."""
    given = said.get(field)
    if given is None:
        return []
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, list) or len(names) > _MOST or not all(isinstance(name, str) for name in names):
        raise InvalidInput(f"{field} is no name and no list of names.", cure=f"Give at most {_MOST} names.")
    return [name.strip() for name in names if name.strip()]


def _rate(said: Mapping[str, Any]) -> float | None:
    fps = said.get("max_fps")
    if fps is None:
        return None
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0.01 <= fps <= _MAX_FPS:
        raise InvalidInput("max_fps is no rate.", cure=f"Give a number from 0.01 to {_MAX_FPS:g}.")
    return float(fps)

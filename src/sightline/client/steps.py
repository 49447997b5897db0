"""What a client does, as steps without input or output: a generator says what it wants next, and is told the answer.

Who carries the steps out (`carriers`), blocking or awaiting, is no business of theirs; so everything that is worth
testing is written once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypeVar

from sightline.core.errors import ConfigError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_ALWAYS_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A wish: ask this, again where that is safe. The answer is an `Answer` of status 200 to 299.

    Attributes:
        path: below the address of the server, quoted.
        body: what is sent, one after the other; a file is read while it is sent.
        timeout_s: for all tries together; None: as the client says.
        repeatable: asking twice does no more than asking once; None: as the method says.
        listening: the body of the answer has no end; it is asked for by `Next`.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: tuple[bytes | memoryview | Path, ...] = ()
    timeout_s: float | None = None
    repeatable: bool | None = None
    listening: bool = False

    @property
    def may_repeat(self) -> bool:
        """True where a second try does no harm although the first may have been carried out."""
        return self.method in _ALWAYS_REPEATABLE if self.repeatable is None else self.repeatable


@dataclass(frozen=True, slots=True)
class Send:
    """A wish: send this once, within `left_s` seconds. The answer is an `Answer` of any status."""

    request: Request
    headers: Mapping[str, str]
    left_s: float


@dataclass(frozen=True, slots=True)
class Next:
    """A wish: the next bytes of the answer that is listened to; None at its end."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A wish: wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Read:
    """A wish: the bytes of a file."""

    path: Path


@dataclass(frozen=True, slots=True)
class Look:
    """A wish: what is at a path, as `Local`; its files are read once for that."""

    path: Path


@dataclass(frozen=True, slots=True)
class Local:
    """Files of this machine.

    Attributes:
        digest: SHA-256 of names, sizes and bytes, hexadecimal.
        files: name below the folder, or of the file itself, fit for a key; where it is; bytes.
    """

    digest: str
    files: tuple[tuple[str, Path, int], ...]
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Append:
    """A wish: write bytes behind those of a file, or with `anew` in their place."""

    path: Path
    data: bytes
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Rename:
    """A wish: give a file another name, in the place of what has it."""

    path: Path
    to: Path


@dataclass(frozen=True, slots=True)
class Now:
    """A wish: seconds on a clock that only rises."""


@dataclass(frozen=True, slots=True)
class Item(Generic[T_co]):
    """A wish: hand this to whoever iterates."""

    value: T_co


Wish: TypeAlias = Request | Send | Next | Pause | Read | Look | Append | Rename | Now | Item[Any]
Steps: TypeAlias = Generator[Wish, Any, T]
"""Wishes out, answers in; in the end the result."""
Items: TypeAlias = Generator[Request | Send | Next | Pause | Read | Look | Append | Rename | Now | Item[T], Any, None]
"""Steps that hand out items and have no result."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the body is empty where it is listened to.

    Attributes:
        headers: by lower-case name.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a client asks.

    Attributes:
        name: of the server, for messages; without secrets.
        timeout_s: for a call with all its tries and waits.
        retries: further tries after the first.
        now: seconds on a clock that only rises.
        chance: a number from 0 to 1, another one each time.

    Raises:
        ConfigError: a number is wrong.
    """

    name: str
    timeout_s: float
    retries: int
    now: Callable[[], float]
    chance: Callable[[], float]

    def __post_init__(self) -> None:
        if not (self.timeout_s > 0 and math.isfinite(self.timeout_s)):
            raise ConfigError(f"timeout_s is {self.timeout_s}; it must be a number of seconds above 0.")
        if self.retries < 0:
            raise ConfigError(f"retries is {self.retries}; it must be 0 or more.")


class Play(Generic[T]):
    """Steps on their way: the wish that is to be met now, until there is none.

    Args:
        steps: what to do.
        expand: returns the steps of a `Request`: its tries.
        now: answers `Now`.

    Attributes:
        wish: None when the steps have ended.
        result: what they gave in the end.
    """

    def __init__(self, steps: Steps[T], expand: Callable[[Request], Steps[Answer]], now: Callable[[], float]) -> None:
        self.wish: Wish | None = None
        self.result: T | None = None
        self._steps = _expanded(steps, expand, now)
        self.tell(None)

    def tell(self, answer: Any) -> None:
        """Meet the wish."""
        self._go(lambda: self._steps.send(answer))

    def fail(self, error: Exception) -> None:
        """Say that the wish cannot be met."""
        self._go(lambda: self._steps.throw(error))

    def _go(self, step: Callable[[], Wish]) -> None:
        try:
            self.wish = step()
        except StopIteration as end:
            self.wish = None
            self.result = end.value

    def __enter__(self) -> Play[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._steps.close()


def _expanded(steps: Steps[T], expand: Callable[[Request], Steps[Answer]], now: Callable[[], float]) -> Steps[T]:
    """Return the same steps, with the tries of each request in its place."""
    try:
        wish = next(steps)
        while True:
            try:
                if isinstance(wish, Request):
                    answer: Any = yield from expand(wish)
                elif isinstance(wish, Now):
                    answer = now()
                else:
                    answer = yield wish
            except Exception as error:  # noqa: BLE001 - it is for the steps to judge
                wish = steps.throw(error)
            else:
                wish = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()

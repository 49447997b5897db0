"""The audit chain: who managed what, each line bound to the line before it by a hash.

Knows how lines are bound and where a chain is broken; keeps none. A chain proves that nobody changed, removed or added
lines without making all later hashes anew. Who may write to the database can do that too: so note the last hash where
he cannot write (each line is also in the log, with its hash), and compare.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sightline.core.codec import encode_time, to_json

VERSION = 1
"""Of what is hashed."""

FIRST = "0" * 64
"""What stands for the hash before the first line."""

FORGOTTEN = "forgotten"
"""Route of the line that tells that lines before it were removed for their age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What somebody did; never what was in it.

    Attributes:
        caller: id of a key, subject of a token, or `anonymous`.
        method: of HTTP, or `RPC`.
        route: pattern, for instance `/api/v1/models/{name}`.
        path: what was managed: `/api/v1/models/door`.
        status: of the answer; of a remote procedure the one that means the same.
        request: id of the request.
    """

    time: datetime
    caller: str
    project: str
    method: str
    route: str
    path: str
    status: int
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """An entry in its place.

    Attributes:
        number: 1, 2, 3, ...
        previous: hash of the line before, 64 hexadecimal digits; FIRST for the first.
        hash: of this line.
    """

    number: int
    entry: AuditEntry
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of walking along a chain.

    Attributes:
        num_lines: number of the last line up to which all are whole.
        hash: of the last of them; FIRST where there is none.
        broken: number of the first line that is not; None: all are.
        reason: why it is not.
        first: number of the first line that is there; those before it were removed for their age, as a line tells.
    """

    num_lines: int
    hash: str
    broken: int | None = None
    reason: str = ""
    first: int = 1


class AuditStore(ABC):
    """The chain of all processes that share a database. No line can be changed, and only its first ones be removed."""

    @abstractmethod
    def append(self, entries: Sequence[AuditEntry]) -> Sequence[AuditLine]:
        """Bind the entries to the end of the chain, all or none; any number of processes may do so at once.

        Raises:
            InvalidInput: an entry cannot be kept.
        """

    @abstractmethod
    def list(self, *, caller: str | None = None, before: int | None = None, limit: int = 100) -> Sequence[AuditLine]:
        """Return lines, the newest first, those before number `before`."""

    @abstractmethod
    def walk(self) -> Iterator[AuditLine]:
        """Yield all lines from the first on, a page at a time."""

    @abstractmethod
    def end(self) -> tuple[int, str]:
        """Return number and hash of the line that was bound last, as the database noted them beside the lines."""

    @abstractmethod
    def begin(self) -> tuple[int, str]:
        """Return number and hash of the line that was removed last for its age; 0 and FIRST where none was."""

    @abstractmethod
    def forget(self, before: datetime, *, most: int = 1000) -> int:
        """Remove the first lines, at most `most`, up to the first one that is not older than `before`; return how many.

        The last line stays. Whatever goes, a line is bound that tells up to where (`removal`), in one transaction with
        it: so the chain stays whole, and nobody removes lines without a trace.
        """


def hash_of(number: int, entry: AuditEntry, previous: str) -> str:
    """Return the SHA-256 of a line, hexadecimal."""
    told = asdict(entry) | {"time": encode_time(entry.time)}
    return hashlib.sha256(to_json([VERSION, number, previous, sorted(told.items())])).hexdigest()


def bound(entries: Iterable[AuditEntry], number: int, previous: str) -> list[AuditLine]:
    """Return the entries as the lines that follow line `number`, whose hash is `previous`."""
    lines = []
    for entry in entries:
        number += 1
        line = AuditLine(number=number, entry=entry, previous=previous, hash=hash_of(number, entry, previous))
        lines.append(line)
        previous = line.hash
    return lines


def removal(number: int, hash_: str, now: datetime) -> AuditEntry:
    """Return the entry that tells that the lines up to this one were removed for their age."""
    return AuditEntry(
        time=now,
        caller="sightline",
        project="",
        method="RETENTION",
        route=FORGOTTEN,
        path=_removed(number, hash_),
        status=200,
        request="",
    )


def verify(store: AuditStore) -> Verdict:
    """Walk along the whole chain, and say which line is the first that is not as it was written."""
    begin = store.begin()
    verdict = _verified(store, *begin)
    if verdict.broken is not None and store.begin() != begin:  # lines were removed for their age while we walked
        return verify(store)
    return verdict


def _verified(store: AuditStore, number: int, previous: str) -> Verdict:
    """Walk from behind line `number`, the last that was removed, whose hash is `previous`."""
    first, gone, is_told = number + 1, _removed(number, previous), number == 0
    end_number, end_hash = store.end()  # before the lines: what is appended meanwhile is no break
    for line in store.walk():
        if reason := _break(line, number + 1, previous):
            return Verdict(number, previous, number + 1, reason, first)
        if line.number == end_number and line.hash != end_hash:
            reason = "its hash is not the one that was noted for the last line"
            return Verdict(number, previous, line.number, reason, first)
        is_told |= (line.entry.route, line.entry.path) == (FORGOTTEN, gone)
        number, previous = line.number, line.hash
    if number < end_number:
        return Verdict(number, previous, number + 1, f"the lines from here to {end_number} are missing", first)
    if number > (end_number := store.end()[0]):
        reason = "it was put behind the line that was noted as the last"
        return Verdict(end_number, end_hash, end_number + 1, reason, first)
    if not is_told:
        return Verdict(0, FIRST, 1, f"the lines before {first} are missing, and no line tells why", first)
    return Verdict(number, previous, first=first)


def _removed(number: int, hash_: str) -> str:
    return f"1-{number}:{hash_}"


def _break(line: AuditLine, number: int, previous: str) -> str:
    """Return why `line` is not line `number` behind the one whose hash is `previous`; nothing if it is."""
    if line.number > number:
        return "it is missing"
    if line.number < number:
        return f"another line has the number {line.number}"
    if line.previous != previous:
        return "it does not follow the line before it"
    if line.hash != hash_of(line.number, line.entry, line.previous):
        return "it was changed"
    return ""

"""The audit chain in the table `audit_lines`.

`audit_end` has its last line, the lock of all who write, and the line that was removed last for its age.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from sightline.adapters.database.checks import (
    checked_filter,
    checked_label,
    checked_limit,
    checked_name,
    checked_number,
    checked_time,
)
from sightline.adapters.database.tables import audit_end, audit_lines
from sightline.adapters.database.transactions import Transactions
from sightline.core.audit import FIRST, AuditEntry, AuditLine, AuditStore, bound, removal
from sightline.core.errors import Conflict

_PAGE = 1000
_ROW = 1  # of audit_end: the last line
_GONE = 2  # of audit_end: the line that was removed last for its age
_BEFORE_ALL = -(1 << 63)  # also before a number that nobody here gives
_SAME = ("time", "caller", "project", "method", "route", "path", "status", "request")


class SqlAudit(AuditStore):
    """Lines that follow one another without a gap; a transaction that does not commit leaves nothing of itself."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def append(self, entries: Sequence[AuditEntry]) -> Sequence[AuditLine]:
        """Read the end under its lock, write the lines behind it, move the end: one transaction."""
        checked = [_checked(entry) for entry in entries]
        if not checked:
            return []
        with self._transactions.writing() as connection:
            return self._appended(connection, checked, *self._locked_end(connection))

    def forget(self, before: datetime, *, most: int = 1000) -> int:
        """Move the beginning, delete the lines before it, and bind the line that tells so: one transaction."""
        old = select(audit_lines.c.number).where(audit_lines.c.time >= checked_time(before, "before"))
        with self._transactions.writing() as connection:
            end, end_hash = self._locked_end(connection)
            begin = self._noted(connection, _GONE)[0]
            kept = connection.execute(old.order_by(audit_lines.c.number).limit(1)).scalar()
            last = min((end if kept is None else kept) - 1, begin + checked_limit(most))
            one = select(audit_lines.c.hash).where(audit_lines.c.number == last)
            if last <= begin or (last_hash := connection.execute(one).scalar()) is None:
                return 0
            connection.execute(delete(audit_lines).where(audit_lines.c.number <= last))
            connection.execute(self._transactions.dialect.insert_new(audit_end).values(id=_GONE, number=0, hash=FIRST))
            self._note(connection, _GONE, last, last_hash)
            now = connection.execute(select(self._transactions.dialect.now())).scalar_one()
            self._appended(connection, [removal(last, last_hash, now)], end, end_hash)
        return int(last - begin)

    def list(self, *, caller: str | None = None, before: int | None = None, limit: int = 100) -> Sequence[AuditLine]:
        """Return lines, the newest first."""
        query = select(audit_lines).order_by(audit_lines.c.number.desc()).limit(checked_limit(limit))
        if caller is not None:
            query = query.where(audit_lines.c.caller == checked_filter(caller))
        if before is not None and checked_number(before, "before"):
            query = query.where(audit_lines.c.number < before)
        with self._transactions.reading() as connection:
            return [_line(row) for row in connection.execute(query).mappings()]

    def walk(self) -> Iterator[AuditLine]:
        """Yield the lines in their order; no transaction stays open between two pages."""
        query = select(audit_lines).order_by(audit_lines.c.number).limit(_PAGE)
        last = _BEFORE_ALL
        while True:
            with self._transactions.reading() as connection:
                rows = connection.execute(query.where(audit_lines.c.number > last)).mappings().all()
            yield from map(_line, rows)
            if len(rows) < _PAGE:
                return
            last = rows[-1]["number"]

    def end(self) -> tuple[int, str]:
        """Return what `audit_end` says; nothing where its row is gone."""
        with self._transactions.reading() as connection:
            return self._noted(connection, _ROW)

    def begin(self) -> tuple[int, str]:
        """Return where the lines that are there begin."""
        with self._transactions.reading() as connection:
            return self._noted(connection, _GONE)

    def _appended(
        self, connection: Connection, entries: Sequence[AuditEntry], number: int, previous: str
    ) -> Sequence[AuditLine]:
        lines = bound(entries, number, previous)
        try:
            connection.execute(insert(audit_lines), [_row(line) for line in lines])
        except IntegrityError:
            raise Conflict(
                "The end of the audit chain is not where it was noted.", cure="sightline audit verify"
            ) from None
        self._note(connection, _ROW, lines[-1].number, lines[-1].hash)
        return lines

    def _note(self, connection: Connection, row: int, number: int, hash_: str) -> None:
        connection.execute(update(audit_end).where(audit_end.c.id == row).values(number=number, hash=hash_))

    def _noted(self, connection: Connection, which: int) -> tuple[int, str]:
        row = connection.execute(select(audit_end).where(audit_end.c.id == which)).mappings().one_or_none()
        return (0, FIRST) if row is None else (row["number"], row["hash"])

    def _locked_end(self, connection: Connection) -> tuple[int, str]:
        first = self._transactions.dialect.insert_new(audit_end).values(id=_ROW, number=0, hash=FIRST)
        connection.execute(first)
        query = select(audit_end).where(audit_end.c.id == _ROW).with_for_update()
        row = connection.execute(query).mappings().one()
        return row["number"], row["hash"]


def _checked(entry: AuditEntry) -> AuditEntry:
    """Return the entry as it will come back: what is hashed is what is kept."""
    return AuditEntry(
        time=checked_time(entry.time, "The time of an audit line"),
        caller=checked_name(entry.caller, "The caller of an audit line"),
        project=checked_label(entry.project, "The project of an audit line"),
        method=checked_name(entry.method, "The method of an audit line"),
        route=checked_name(entry.route, "The route of an audit line"),
        path=checked_label(entry.path, "The path of an audit line"),
        status=checked_number(entry.status, "The status of an audit line"),
        request=checked_label(entry.request, "The request of an audit line"),
    )


def _row(line: AuditLine) -> dict[str, Any]:
    entry = {name: getattr(line.entry, name) for name in _SAME}
    return {"number": line.number, "previous": line.previous, "hash": line.hash, **entry}


def _line(row: RowMapping) -> AuditLine:
    entry = AuditEntry(**{name: row[name] for name in _SAME})
    return AuditLine(number=row["number"], entry=entry, previous=row["previous"], hash=row["hash"])

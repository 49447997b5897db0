"""The request log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select

from sightline.adapters.database.checks import (
    checked_filter,
    checked_label,
    checked_limit,
    checked_name,
    checked_number,
    checked_time,
)
from sightline.adapters.database.tables import request_logs
from sightline.adapters.database.transactions import Transactions
from sightline.core.access import RequestRow
from sightline.core.errors import InvalidInput
from sightline.core.stores import RequestStore

_STATUSES = range(100, 600)
_SAME_NAMES = ("time", "id", "method", "route", "model", "caller", "status", "latency_ms", "bytes_in", "bytes_out")


class SqlRequests(RequestStore):
    """Rows in the table `request_logs`. An id need not be new: callers may choose it."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def record(self, rows: Sequence[RequestRow]) -> None:
        """Record rows in one statement; InvalidInput where one of them cannot be kept."""
        values = [_values(row) for row in rows]
        if values:
            with self._transactions.writing() as connection:
                connection.execute(insert(request_logs), values)

    def list(
        self,
        *,
        route: str | None = None,
        model: str | None = None,
        caller: str | None = None,
        least_status: int | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[tuple[int, RequestRow]]:
        """Return rows, the newest first. `model` is a name, or `name@version`; one of those that ran must be it."""
        table = request_logs.c
        query = select(request_logs).order_by(table.position.desc()).limit(checked_limit(limit))
        for column, value in ((table.route, route), (table.caller, caller)):
            if value is not None:
                query = query.where(column == checked_filter(value))
        if model is not None:
            query = query.where(self._ran(checked_filter(model)))
        if least_status is not None:
            query = query.where(table.status >= checked_number(least_status, "least_status"))
        if before is not None and checked_number(before, "before"):
            query = query.where(table.position < before)
        with self._transactions.reading() as connection:
            found = connection.execute(query).mappings().all()
        return [
            (row["position"], RequestRow(case=row["case_name"], **{name: row[name] for name in _SAME_NAMES}))
            for row in found
        ]

    def _ran(self, model: str) -> Any:
        """Return whether `model` is among the models of a row, as SQL."""
        end = "," if "@" in model else "@"
        return self._transactions.dialect.holds("," + request_logs.c.model + ",", f",{model}{end}")


def _values(row: RequestRow) -> dict[str, Any]:
    if row.status not in _STATUSES:
        raise InvalidInput(f"The status of a request cannot be {row.status}.", cure="Use 100 to 599.")
    if not (math.isfinite(row.latency_ms) and row.latency_ms >= 0):
        raise InvalidInput(f"The latency of a request cannot be {row.latency_ms} ms.")
    return {
        "time": checked_time(row.time, "The time of a request"),
        "id": checked_name(row.id, "The id of a request"),
        "method": checked_name(row.method, "The method of a request"),
        "route": checked_name(row.route, "The route of a request"),
        "model": checked_label(row.model, "The model of a request"),
        "case_name": checked_label(row.case, "The case of a request"),
        "caller": checked_label(row.caller, "The caller of a request"),
        "status": row.status,
        "latency_ms": row.latency_ms,
        "bytes_in": checked_number(row.bytes_in, "bytes_in"),
        "bytes_out": checked_number(row.bytes_out, "bytes_out"),
    }

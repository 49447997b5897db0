"""What was predicted: a row a sample, in its wire form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select

from sightline.adapters.database.checks import checked_filter, checked_limit, checked_name, checked_number
from sightline.adapters.database.tables import predictions
from sightline.adapters.database.transactions import Transactions
from sightline.core.codec import encode_sample
from sightline.core.prediction import JsonObject
from sightline.core.sample import Sample
from sightline.core.stores import PredictionStore


class SqlPredictions(PredictionStore):
    """Samples in the table `predictions`. A sample that is recorded twice is there twice."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._now = transactions.dialect.now

    def record(self, run_id: str, case: str, samples: Sequence[Sample[Any]]) -> None:
        """Record the samples without their payloads."""
        checked_name(run_id, "The id of a run")
        checked_name(case, "The name of a case")
        rows = [
            {
                "run_id": run_id,
                "case_name": case,
                "source": checked_name(sample.source, "The id of a source"),
                "time": sample.time,
                "body": encode_sample(sample, case),
            }
            for sample in samples
        ]
        if rows:
            with self._transactions.writing() as connection:
                connection.execute(insert(predictions).values(recorded=self._now()), rows)

    def list(
        self,
        *,
        run_id: str | None = None,
        case: str | None = None,
        source: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[tuple[int, JsonObject]]:
        """Return rows behind `after`, oldest first.

        On PostgreSQL a position may appear below one that was seen already while several processes record;
        whoever follows what happens now reads the bus.
        """
        query = select(predictions.c.position, predictions.c.body).where(
            predictions.c.position > checked_number(after, "after")
        )
        wanted = {predictions.c.run_id: run_id, predictions.c.case_name: case, predictions.c.source: source}
        for column, value in wanted.items():
            if value is not None:
                query = query.where(column == checked_filter(value))
        with self._transactions.reading() as connection:
            rows = connection.execute(query.order_by(predictions.c.position).limit(checked_limit(limit))).all()
        return [(row.position, row.body) for row in rows]

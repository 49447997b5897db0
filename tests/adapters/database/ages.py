"""What time does to rows, on every database."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from sightline.adapters.database import SqlStore
from sightline.adapters.database.tables import job_keys
from sightline.core.run import Run


def check_that_a_key_means_its_run_for_a_day(store: SqlStore) -> None:
    """Submit under a key that is a little younger, then a little older than 24 hours by the database's clock."""
    first, _ = store.jobs.submit(Run(case="scan"), key="k", digest="d")
    for minutes, is_kept in ((-1, True), (1, False)):
        age = timedelta(hours=24, minutes=minutes)
        with store._transactions.writing() as connection:
            connection.execute(update(job_keys).values(created=store._transactions.dialect.now(-age)))
        found = store.jobs.keyed("default", "k", "d")
        assert (found is not None and found.id == first.id) is is_kept
        run, is_new = store.jobs.submit(Run(case="scan"), key="k", digest="d" if is_kept else "e")
        assert (run.id == first.id, is_new) == (is_kept, not is_kept)

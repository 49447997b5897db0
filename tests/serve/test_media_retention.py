"""Media of events go when they are old or too many, with the rows; what is not of events stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sightline.adapters.artifacts import ObjectStore
from sightline.adapters.database import SqlStore
from sightline.core.events import media_key
from sightline.core.run import Run
from sightline.serve.request_log import RequestLog
from sightline.serve.retention import MediaLimits, Retention
from sightline.settings.model import RecordsSettings

NOW = datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(tmp_path / "rows.db")) as store:
        yield store


@pytest.fixture
def artifacts() -> ObjectStore:
    artifacts = ObjectStore("memory://")
    for event_id in ("one", "two"):
        artifacts.put(media_key(NOW, event_id, ".jpg"), b"-" * 10)
        artifacts.put(media_key(NOW, event_id, ".mp4"), b"-" * 90)
    artifacts.put("captures/yard/2020/01/01/door.jpg", b"-" * 500)
    return artifacts


def retention(store: SqlStore, artifacts: ObjectStore, now: datetime, **limits: Any) -> Retention:
    media = MediaLimits(artifacts=lambda: artifacts, **{"days": 30, **limits})
    return Retention(lambda: store, {"requests": 30}, media=media, now=lambda: now)


def test_old_media_go_and_it_is_recorded_of_which_events(store: SqlStore, artifacts: ObjectStore) -> None:
    assert retention(store, artifacts, NOW + timedelta(days=29)).sweep() == {"media": 0, "requests": 0}
    assert retention(store, artifacts, NOW + timedelta(days=31)).sweep() == {"media": 4, "requests": 0}

    assert list(artifacts.list()) == ["captures/yard/2020/01/01/door.jpg"]
    told = [event for _, event in store.events.list(types=["capture.removed"])]
    assert {event.subject for event in told} == {"one", "two"}
    assert {event.data["reason"] for event in told} == {"older than 30 days"}


def test_of_too_many_bytes_the_oldest_go(store: SqlStore, artifacts: ObjectStore) -> None:
    assert retention(store, artifacts, NOW, most_bytes=150).sweep() == {"media": 2, "requests": 0}
    [(_, event)] = store.events.list(types=["capture.removed"])
    assert (event.data["bytes"], event.data["reason"]) == (100, "more than 150 bytes")
    assert retention(store, artifacts, NOW, most_bytes=150).sweep() == {"media": 0, "requests": 0}


def test_the_settings_say_how_much(store: SqlStore, artifacts: ObjectStore) -> None:
    days = RecordsSettings(media_days=10, media_gb=1e-7)
    assert RequestLog(lambda: store, days, artifacts=lambda: artifacts).retention.sweep()["media"] == 2
    nothing = RecordsSettings(media_gb=None)
    assert RequestLog(lambda: store, nothing, artifacts=lambda: artifacts).retention.sweep()["media"] == 0
    assert "media" not in RequestLog(lambda: store, days).retention.sweep()


def test_what_jobs_put_aside_goes_with_their_runs(store: SqlStore, artifacts: ObjectStore) -> None:
    old, _ = store.jobs.submit(Run(case="texts"))
    store.runs.amend(old.id, cancel=True)
    going, _ = store.jobs.submit(Run(case="texts"))
    for run in (old, going):
        artifacts.put(f"runs/{run.id}/1/steps/reading", b"-")
    artifacts.put("results/a.txt", b"-")
    later = Retention(lambda: store, {"runs": 30}, artifacts=lambda: artifacts, now=lambda: NOW + timedelta(days=31))
    assert later.sweep() == {"runs": 1, "job files": 1}
    assert list(artifacts.list("runs/")) == [f"runs/{going.id}/1/steps/reading"]
    assert list(artifacts.list("results/")) == ["results/a.txt"]

"""What a job leaves in the log and in the numbers when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sightline.adapters.database import SqlStore
from sightline.adapters.meter_prometheus import PrometheusMeter
from sightline.core.run import Run, RunKind, RunState
from sightline.engine.job_numbers import JobQueueNumbers, job_ended


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(tmp_path / "store.db")) as store:
        yield store


def page(meter: PrometheusMeter) -> list[str]:
    return [line for line in meter.page("")[0].decode().splitlines() if not line.startswith("#")]


def test_a_job_ends_with_a_line_that_has_its_tags_its_time_and_its_models_and_is_counted() -> None:
    meter = PrometheusMeter()
    begun = datetime.now(UTC) - timedelta(seconds=45)
    tags = {"job_uuid": "7f", "state": "of the caller"}
    run = Run(case="scan", kind=RunKind.JOB, started=begun, metadata=tags)
    with capture_logs() as lines:
        job_ended(meter, run, RunState.COMPLETED, models=["deepbrain@1", "deepbet@2"])
        job_ended(meter, run, RunState.FAILED, error="No scan.", kind="validation")
    good, bad = lines
    assert (good["event"], good["job_uuid"], good["state"]) == ("job ended", "7f", "completed")
    assert 45 <= good["processing_time"] < 60
    assert good["model_version"] == "deepbrain@1,deepbet@2"
    assert "error" not in good
    assert bad["error_kind"] == "validation"
    told = page(meter)
    assert 'sightline_jobs_total{case="scan",kind="",state="completed"} 1.0' in told
    assert 'sightline_jobs_total{case="scan",kind="validation",state="failed"} 1.0' in told
    assert 'sightline_job_seconds_bucket{case="scan",le="30.0",state="completed"} 0.0' in told
    assert 'sightline_job_seconds_bucket{case="scan",le="60.0",state="completed"} 1.0' in told


def test_the_log_tells_no_names_of_objects_which_may_be_those_of_patients() -> None:
    spec = {
        "object": "uploads/mueller.zip",
        "parameters": {"reference_object": "uploads/anna.nii.gz", "threshold": 0.5},
    }
    run = Run(case="scan", kind=RunKind.JOB, spec=spec)
    with capture_logs() as lines:
        job_ended(
            PrometheusMeter(), run, RunState.FAILED, error="mueller.zip: HANS/1.dcm is cut off.", kind="validation"
        )
        for key in ("uploads/mueller.zip", "uploads/anna.nii.gz"):
            error = f"The store does not answer for {key!r}."
            job_ended(PrometheusMeter(), run, RunState.FAILED, error=error, kind="storage")
    assert not any(name in str(lines).lower() for name in ("mueller", "hans", "anna"))
    assert lines[1]["error"] == "The store does not answer for '(object)'."


def test_the_jobs_that_wait_are_told_by_case(store: SqlStore) -> None:
    meter = PrometheusMeter()
    numbers = JobQueueNumbers(meter, every_s=0)
    for case in ("scan", "scan", "other"):
        store.jobs.submit(Run(case=case, kind=RunKind.JOB, spec={"object": "a"}))
    numbers.update(store.runs)
    assert 'sightline_jobs_waiting{case="scan"} 2.0' in page(meter)
    while store.jobs.take("worker", cases=["scan"]):
        continue
    numbers.update(store.runs)
    assert {'sightline_jobs_waiting{case="scan"} 0.0', 'sightline_jobs_waiting{case="other"} 1.0'} < set(page(meter))

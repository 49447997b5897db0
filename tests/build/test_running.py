from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from tests.build.conftest import WriteCase

from sightline.build import CaseBuildContext, load_case, run, stream_run
from sightline.core.case import Case
from sightline.core.errors import ConfigError, FileMissing
from sightline.core.run import Run, RunState
from sightline.core.sample import Sample

FAST = {"source.realtime": False, "source.num_frames": 5}


def test_metadata_reaches_samples_events_and_the_record(context: CaseBuildContext) -> None:
    case = load_case("dummy_offline", context=context, changes=FAST)
    seen: list[Sample[Any]] = []

    outcome = run(case, context=context, metadata={"location": "lab"}, watch=seen.append)

    assert outcome.run.state is RunState.COMPLETED
    assert [sample.metadata["location"] for sample in seen] == ["lab"] * 5
    assert context.store.runs.get(outcome.run.id).metadata == {"location": "lab"}
    events = [event for _, event in context.store.events.list()]
    assert {event.short_type for event in events} >= {"run.submitted", "run.started", "source.live", "run.completed"}
    assert all(event.data["metadata"] == {"location": "lab"} for event in events)
    rows = context.store.predictions.list(run_id=outcome.run.id)
    assert [row["metadata"]["location"] for _, row in rows] == ["lab"] * 5


def test_outputs_are_named_after_case_and_run(context: CaseBuildContext) -> None:
    outcome = run(load_case("dummy_offline", context=context, changes=FAST), context=context)

    folder = context.settings.runs_root / "dummy_offline"
    [made] = folder.iterdir()
    assert made.name.endswith(outcome.run.id[:6])
    assert outcome.made["predictions"] == str(made / "predictions.jsonl")


def test_a_run_whose_process_died_is_failed_by_the_next(context: CaseBuildContext) -> None:
    dead = Run(case="door", id="dead")
    context.store.runs.create(dead, worker="gone:1", lease=timedelta(milliseconds=1))
    time.sleep(0.02)

    stream_run(load_case("dummy_offline", context=context, changes=FAST), context)

    assert context.store.runs.get("dead").state is RunState.FAILED


def test_a_case_without_sources_cannot_run(context: CaseBuildContext) -> None:
    with pytest.raises(ConfigError, match="has no source to read") as caught:
        run(Case(name="door"), context=context)

    assert "--source" in caught.value.cure


def test_the_error_that_ended_a_run_is_raised(context: CaseBuildContext) -> None:
    case = load_case("street_people", context=context, source="nothing.mp4")

    with pytest.raises(FileMissing, match=r"nothing\.mp4"):
        run(case, context=context)

    [record] = context.store.runs.list()
    assert record.state is RunState.FAILED
    assert record.error is not None
    assert "nothing.mp4" in record.error


def test_without_a_context_the_settings_of_the_working_folder_are_taken(
    write_case: WriteCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_case("own", "source: {use: synthetic, num_frames: 3}\nstages: {analytics: {m: brightness}}\n")
    root = folder.parents[1]
    (root / "sightline.yaml").write_text("data_root: data\n")
    monkeypatch.chdir(root)
    monkeypatch.delenv("SIGHTLINE_DATA_ROOT", raising=False)

    outcome = run(load_case("own"))

    assert outcome.run.state is RunState.COMPLETED
    assert (root / "data" / "sightline.db").exists()


def test_the_duration_ends_a_run_that_would_go_on(context: CaseBuildContext) -> None:
    case = load_case("dummy_offline", context=context)

    outcome = run(case, context=context, duration_s=0.3)

    assert outcome.run.state is RunState.COMPLETED
    assert 1 <= outcome.run.status["sources"]["main"]["processed"] < 50

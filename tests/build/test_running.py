from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.build.conftest import WriteCase

from sightline.build import CaseBuildContext, load_case, run, stream_run
from sightline.build.running import camera_case, held_run, with_recorded_sources
from sightline.build.sources import make_source, secrets_of
from sightline.core.case import Case
from sightline.core.codec import from_json
from sightline.core.errors import ConfigError, FileMissing
from sightline.core.run import Run, RunState
from sightline.core.sample import Sample
from sightline.settings import load_settings

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


class TestCameraCase:
    def test_two_settings_make_a_case_of_one_camera(self, tmp_path: Path) -> None:
        environ = {
            "SIGHTLINE_DATA_ROOT": str(tmp_path / "data"),
            "APP_RTSP_URL": "rtsp://admin:secret@camera.local/1",
            "APP_MODEL_NAME": "person_detector",
            "APP_FRAME_WIDTH": "320",
            "APP_FRAME_HEIGHT": "240",
            "APP_FRAME_SAMPLE_FPS": "4",
        }
        with CaseBuildContext(load_settings(folder=tmp_path, environ=environ)) as context:
            case = camera_case(context)
            shown = held_run(case, context).run.spec

        assert case.name == "camera"
        [(stage, predictors)] = case.stages.items()
        assert (stage, list(predictors)) == ("analytics", ["model", "presence"])
        assert [type(sink).__name__ for sink in case.sinks] == ["BusSink"]
        assert case.sources["camera"].is_live
        entry = {"use": "video", "url": "rtsp://***@camera.local/1", "fps": 4.0, "size": [320, 240]}
        assert shown == {"stands": True, "sources": {"camera": entry}}

    def test_a_file_in_the_place_of_the_camera_is_played_as_if_it_were_one(self, tmp_path: Path) -> None:
        environ = {"APP_RTSP_URL": "street.mp4", "APP_MODEL_NAME": "person_detector"}
        with CaseBuildContext(load_settings(folder=tmp_path, environ=environ)) as context:
            source: Any = camera_case(context).sources["camera"]

        assert (source.realtime, source.loop) == (True, True)

    @pytest.mark.parametrize("missing", ["APP_RTSP_URL", "APP_MODEL_NAME"])
    def test_one_alone_says_what_is_missing(self, tmp_path: Path, missing: str) -> None:
        environ = {"APP_RTSP_URL": "0", "APP_MODEL_NAME": "person_detector"}
        del environ[missing]
        context = CaseBuildContext(load_settings(folder=tmp_path, environ=environ))
        wanted = "camera.url" if missing == "APP_RTSP_URL" else "camera.model"
        with context, pytest.raises(ConfigError, match=wanted):
            camera_case(context)


def test_a_held_run_may_begin_without_a_source_and_stands(context: CaseBuildContext) -> None:
    stream = held_run(Case(name="door"), context, metadata={"location": "lab"}, project="east")

    run = stream.run

    assert (run.case, run.project, run.metadata, run.spec) == (
        "door",
        "east",
        {"location": "lab"},
        {"stands": True, "sources": {}},
    )


class TestTakingUp:
    """What a run reads, after its process has ended."""

    def test_a_password_is_kept_for_its_owner_alone_and_nowhere_else(self, context: CaseBuildContext) -> None:
        entry = {"use": "video", "url": "rtsp://ann:geheim@camera/door", "fps": 2.0}
        source = make_source(entry, context)
        case = Case(name="door", sources={"a": source, "b": make_source("synthetic", context)})
        held = held_run(case, context, restart="always")

        run = held.begin()

        [file] = (context.settings.data_root / "secrets/runs").iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
        assert from_json(file.read_bytes()) == {"a": entry}
        assert "geheim" not in str(context.store.runs.get(run.id))
        again = with_recorded_sources(Case(name="door"), context.store.runs.get(run.id), context)
        assert again.sources == case.sources

    def test_a_run_that_ends_with_its_process_keeps_no_password(self, context: CaseBuildContext) -> None:
        source = make_source({"use": "video", "url": "rtsp://ann:geheim@camera/door"}, context)
        held_run(Case(name="door", sources={"a": source}), context).begin()

        assert not (context.settings.data_root / "secrets").exists()

    def test_without_its_password_a_source_cannot_be_made(self, context: CaseBuildContext) -> None:
        entry = {"use": "video", "url": "rtsp://***@camera/door"}
        record = Run(case="door", spec={"sources": {"a": entry}})

        with pytest.raises(ConfigError, match="not kept on this machine"):
            with_recorded_sources(Case(name="door"), record, context)
        secrets_of(context).keep(record.id, {"a": {"use": "video", "url": "rtsp://ann:geheim@elsewhere/door"}})
        with pytest.raises(ConfigError, match="not kept on this machine"):
            with_recorded_sources(Case(name="door"), record, context)

    def test_a_run_that_follows_its_case_reads_what_the_case_says_now(self, context: CaseBuildContext) -> None:
        spec = {
            "follows": True,
            "own": ["mine", "gone"],
            "sources": {name: {"use": "synthetic", "fps": 3.0} for name in ("of_case", "mine")},
        }
        new = make_source({"use": "synthetic", "fps": 9}, context)
        case = Case(name="door", sources={"of_case": new, "gone": new, "more": new})

        found = with_recorded_sources(case, Run(case="door", spec=spec), context).sources

        rates = {name: getattr(source, "fps", 0) for name, source in found.items()}
        assert rates == {"of_case": 9, "more": 9, "mine": 3}

    def test_what_is_wanted_of_a_run_is_in_its_record(self, context: CaseBuildContext) -> None:
        held = held_run(Case(name="door"), context, restart="always", follows=True, by="serve", duration_s=3)

        assert held.run.restart == "always"
        assert held.run.spec == {"stands": True, "follows": True, "by": "serve", "duration_s": 3, "sources": {}}

"""Jobs done by the workers of this process: steps, checkpoints, retries, ends, and one visible result."""

from __future__ import annotations

import json
import time
from threading import Event as Flag
from typing import Any

import pytest
from tests.engine.conftest import World
from tests.engine.job_world import Alarm, JobWorld, Journal, eventually, make_case, until

from sightline.adapters.artifacts import ObjectStore
from sightline.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from sightline.core.jobs import Limit
from sightline.core.plugins import Context
from sightline.core.run import RunState


def test_a_job_goes_through_its_steps_to_a_result(texts: JobWorld, journal: Journal) -> None:
    run = texts.submit(tags={"who": "me"})
    ended = texts.done(run)
    assert (ended.state, ended.error) == (RunState.COMPLETED, None)
    assert journal.lines == ["reading", "length", "report0"]
    status = ended.status
    assert (status["progress"], status["attempt"], status["stage"]) == (1.0, 1, "")
    assert [(step["name"], step["state"]) for step in status["steps"]] == [
        (name, "done") for name in ("reading", "length", "report", "publishing")
    ]
    assert all(step["seconds"] >= 0 and step["peak_mb"] > 1 for step in status["steps"])
    key = status["made"]["report0"]
    assert key == f"runs/{run.id}/1/result.0.txt"
    assert status["files"] == {"report0": {"key": key, "num_bytes": 10, "media_type": "text/plain"}}
    assert texts.text(key) == "[2.0, 3.0]"
    assert texts.told(run) == ["run.submitted", "run.started", "run.completed"]
    assert list(texts.ports.artifacts.list("runs/")) == [key]


def test_the_results_stand_under_the_wanted_name(texts: JobWorld) -> None:
    run = texts.submit(output="results/analysis_1")
    ended = texts.done(run)
    assert ended.status["made"] == {"report0": "results/analysis_1.0.txt"}
    assert texts.text("results/analysis_1.0.txt") == "[2.0, 3.0]"
    assert list(texts.ports.artifacts.list("runs/")) == []


def test_without_a_sink_the_predictions_are_the_result(lone: World, journal: Journal) -> None:
    texts = JobWorld(lone, make_case(journal, sinks=0))
    ended = texts.done(texts.submit(tags={"who": "me"}))
    told = json.loads(texts.text(ended.status["made"]["json"]))
    assert told["case"] == "texts"
    assert [each["predictions"]["length"]["value"] for each in told["samples"]] == [2.0, 3.0]
    assert [each["id"] for each in told["samples"]] == ["lines/1/0", "lines/1/1"]
    assert told["samples"][0]["metadata"] == {"place": "lab", "who": "me"}
    assert ended.status["files"]["json"]["media_type"] == "application/json"


def test_parameters_reach_the_plug_ins(texts: JobWorld) -> None:
    ended = texts.done(texts.submit(parameters={"factor": 10.0}))
    assert texts.text(ended.status["made"]["report0"]) == "[20.0, 30.0]"
    with pytest.raises(InvalidInput, match="nothing"):
        texts.submit(parameters={"nothing": 1})


def test_an_object_that_is_not_there_is_refused_at_once(texts: JobWorld) -> None:
    with pytest.raises(NotFound, match=r"absent\.txt"):
        texts.jobs.submit("texts", "in/absent.txt")
    with pytest.raises(NotFound, match="in/none/"):
        texts.jobs.submit("texts", "in/none/")
    with pytest.raises(InvalidInput, match="key"):
        texts.jobs.submit("texts", "../secret")


def test_an_object_that_goes_before_it_is_read_fails_its_job(texts: JobWorld) -> None:
    run = texts.submit()
    texts.ports.artifacts.delete("in/a.txt")
    ended = texts.done(run)
    assert (ended.state, ended.status["error_kind"], ended.attempts) == (RunState.FAILED, "storage", 1)
    assert ended.error is not None
    assert "in/a.txt" in ended.error
    assert texts.told(run)[-1] == "run.failed"


def test_findings_become_events_with_the_step_that_made_them(lone: World, journal: Journal) -> None:
    texts = JobWorld(lone, make_case(journal, late={"alarm": Alarm(journal=journal)}))
    run = texts.submit("a\nb")
    texts.done(run)
    events = [event for _, event in texts.ports.store.events.list(types=["count.over"])]
    assert [(event.data["run"], event.data["sample"]) for event in events] == [
        (run.id, "lines/1/0"),
        (run.id, "lines/1/1"),
    ]


def test_large_outcomes_are_kept_in_the_artifact_store(texts: JobWorld, journal: Journal) -> None:
    text = "\n".join(str(number) * 40 for number in range(2000))
    failed = False

    def fail_once(step: str, _: Context) -> None:
        nonlocal failed
        if step == "report0" and not failed:
            failed = True
            kept = list(texts.ports.artifacts.list("runs/"))
            assert [key.rpartition("/")[2] for key in kept] == ["length", "reading"]
            raise Unavailable("down")

    journal.act = fail_once
    ended = texts.done(texts.submit(text))
    assert journal.lines == ["reading", "length", "report0", "report0"]
    assert len(json.loads(texts.text(ended.status["made"]["report0"]))) == 2000
    assert len(list(texts.ports.artifacts.list("runs/"))) == 1


def test_progress_is_seen_at_once_while_a_step_goes_on_and_nothing_is_written_without(
    texts: JobWorld, journal: Journal, lone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.engine.worker._BEAT_S", 60.0)  # so that nothing but news is written
    go = Flag()

    def show(step: str, context: Context) -> None:
        if step == "length":
            time.sleep(0.25)  # so that there is a step without progress before
            context.progress(0.5, "half")
            go.wait(60)

    journal.act = show
    run = texts.submit()
    with texts.working(lease_s=600):
        eventually(lambda: texts.jobs.get(run.id).status.get("message") == "half")
        seen = texts.jobs.get(run.id)
        time.sleep(0.5)
        assert texts.jobs.get(run.id) == seen
        status = seen.status
        go.set()
        texts.over(run)
    assert (status["progress"], status["stage"]) == (0.375, "length")
    assert [step["state"] for step in status["steps"]] == ["done", "running", "waiting", "waiting"]
    progress = [event for event in lone.published() if event.short_type == "run.progress"]
    assert any(event.data["message"] == "half" for event in progress)


def test_the_lease_is_extended_though_a_step_tells_nothing(texts: JobWorld, journal: Journal) -> None:
    go = Flag()
    journal.act = lambda step, _: None if step != "length" else until(go)
    run = texts.submit()
    with texts.working(lease_s=60):
        eventually(lambda: texts.jobs.get(run.id).status.get("stage") == "length")
        seen = texts.jobs.get(run.id)
        eventually(lambda: texts.jobs.get(run.id).lease_until != seen.lease_until)
        go.set()
        assert texts.over(run).state is RunState.COMPLETED


@pytest.mark.parametrize(("cheap_s", "recorded"), [(60, []), (0, ["reading"])])
def test_steps_that_are_cheap_are_recorded_with_what_comes_next(
    texts: JobWorld, journal: Journal, cheap_s: float, recorded: list[str]
) -> None:
    seen: dict[str, list[str]] = {}

    def look(step: str, context: Context) -> None:
        seen[step] = list(texts.ports.store.jobs.checkpoints(context.run))

    journal.act = look
    ended = texts.done(texts.submit(), cheap_s=cheap_s)
    assert seen == {"reading": [], "length": recorded, "report0": ["reading", "length"]}
    assert list(texts.ports.store.jobs.checkpoints(ended.id)) == ["reading", "length", "report"]

    def fail(step: str, _: Context) -> None:
        if step == "length":
            raise InvalidInput("no")

    journal.act = fail
    failed = texts.done(texts.submit(), cheap_s=cheap_s)
    assert (failed.state, list(texts.ports.store.jobs.checkpoints(failed.id))) == (RunState.FAILED, ["reading"])


def test_two_workers_work_side_by_side(texts: JobWorld, journal: Journal) -> None:
    both = [Flag(), Flag()]

    def meet(step: str, _: Context) -> None:
        if step == "length":
            mine = both[0] if not both[0].is_set() else both[1]
            mine.set()
            until(both[1])

    journal.act = meet
    runs = [texts.submit(name=f"in/{number}.txt") for number in range(2)]
    with texts.working(workers=2):
        assert [texts.over(run).state for run in runs] == [RunState.COMPLETED] * 2


def test_no_more_jobs_of_a_case_go_on_than_it_may_have(texts: JobWorld, journal: Journal) -> None:
    now, most = 0, 0

    def count(step: str, _: Context) -> None:
        nonlocal now, most
        if step == "reading":
            now += 1
            most = max(most, now)
            time.sleep(0.03)
            now -= 1

    journal.act = count
    runs = [texts.submit(name=f"in/{number}.txt") for number in range(4)]
    with texts.working(workers=3, limits=lambda: {"texts": Limit(concurrency=1)}):
        assert all(texts.over(run).state is RunState.COMPLETED for run in runs)
    assert most == 1


def test_an_idle_worker_takes_a_job_of_its_process_at_once(texts: JobWorld) -> None:
    with texts.working(poll_s=30.0):
        time.sleep(0.1)
        begin_s = time.monotonic()
        texts.over(texts.submit())
        assert time.monotonic() - begin_s < 15


def test_one_key_is_one_job(texts: JobWorld) -> None:
    first = texts.submit(key="job-1")
    assert texts.submit(key="job-1").id == first.id
    with pytest.raises(Conflict, match=first.id):
        texts.submit(key="job-1", parameters={"factor": 3.0})
    texts.done(first)
    assert texts.submit(key="job-1").state is RunState.COMPLETED
    assert texts.told(first).count("run.submitted") == 1
    texts.ports.artifacts.delete("in/a.txt")  # what was accepted stays so
    assert texts.jobs.submit("texts", "in/a.txt", key="job-1") == (texts.jobs.get(first.id), False)
    for other in ("in/a.txt", "in/b.txt"):
        with pytest.raises(Conflict, match=first.id):
            texts.jobs.submit("texts", other, parameters={"factor": 3.0}, key="job-1")
    with pytest.raises(NotFound):
        texts.jobs.submit("texts", "in/a.txt", key="job-2")


def test_waiting_ends_with_its_time(texts: JobWorld) -> None:
    run = texts.submit()
    begin_s = time.monotonic()
    assert texts.jobs.wait(run.id, 0.1).state is RunState.SUBMITTED
    assert time.monotonic() - begin_s < 10


def test_a_store_that_is_away_for_a_moment_costs_no_result(texts: JobWorld) -> None:
    run = texts.submit(output="results/a")
    store = texts.ports.artifacts
    failing = FailingPuts(store, num=1, name="results/")
    texts.ports.artifacts = failing  # type: ignore[assignment]
    assert texts.done(run).state is RunState.COMPLETED
    assert failing.left == 0
    assert texts.text("results/a.0.txt") == "[2.0, 3.0]"


class FailingPuts:
    """An artifact store that is away for the first puts below a name."""

    def __init__(self, store: Any, *, num: int, name: str) -> None:
        self._store = store
        self.left = num
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, key: str, data: Any) -> int:
        if key.startswith(self._name) and self.left:
            self.left -= 1
            raise Unavailable("away")
        return int(self._store.put(key, data))


def test_the_fakes_hold() -> None:
    store = FailingPuts(ObjectStore("memory://"), num=1, name="x")
    with pytest.raises(Unavailable):
        store.put("x/a", b"")
    assert store.put("x/a", b"ab") == 2

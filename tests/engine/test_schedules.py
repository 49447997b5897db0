from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.engine.job_world import JobWorld

from sightline.core.errors import InvalidInput, NotFound
from sightline.core.run import RunState
from sightline.engine.schedules import Schedules

LAST_YEAR = datetime(2025, 11, 20, 12, 0, tzinfo=UTC)


def past(texts: JobWorld) -> Schedules:
    """Return schedules whose first time has come: they were added a year ago."""
    return Schedules(texts.jobs, lambda: LAST_YEAR)


def test_what_is_due_is_submitted_once(texts: JobWorld) -> None:
    texts.ports.artifacts.put("in/a.txt", b"abc")
    past(texts).add(
        "hourly", "texts", "in/a.txt", "@hourly", parameters={"factor": 2.0}, tags={"who": "me"}, priority=3
    )
    for _ in range(3):
        past(texts).tick()
    [run] = texts.ports.store.runs.list()
    assert (run.case, run.priority, run.metadata) == ("texts", 3, {"who": "me", "schedule": "hourly"})
    assert run.key == "schedule/hourly/2025-11-20T13:00:00.000000Z"
    ended = texts.done(run)
    assert ended.state is RunState.COMPLETED
    assert texts.text(ended.status["made"]["report0"]) == "[6.0]"


def test_times_that_were_missed_are_made_up_for_once(texts: JobWorld) -> None:
    past(texts).add("hourly", "texts", "in/a.txt", "@hourly")
    past(texts).tick()
    [schedule] = past(texts).list()
    assert schedule.due is not None
    assert timedelta(0) < schedule.due - datetime.now(UTC) <= timedelta(hours=1, minutes=1)


def test_two_that_notice_it_submit_one_job(texts: JobWorld) -> None:
    past(texts).add("hourly", "texts", "in/a.txt", "@hourly")
    [(schedule, _)] = texts.ports.store.schedules.due()
    assert schedule.due is not None
    for _ in range(2):
        past(texts)._submit(schedule, schedule.due)
    assert len(texts.ports.store.runs.list()) == 1


def test_workers_submit_what_is_due(texts: JobWorld) -> None:
    texts.ports.artifacts.put("in/a.txt", b"abc")
    past(texts).add("hourly", "texts", "in/a.txt", "@hourly")
    with texts.working(tend=past(texts).tick):
        run = None
        while run is None:
            run = next(iter(texts.ports.store.runs.list()), None)
        assert texts.over(run).state is RunState.COMPLETED


def test_a_wish_that_cannot_be_is_refused_when_it_is_told(texts: JobWorld) -> None:
    schedules = past(texts)
    with pytest.raises(InvalidInput, match="cron"):
        schedules.add("a", "texts", "in/a.txt", "often")
    with pytest.raises(InvalidInput, match="nothing"):
        schedules.add("a", "texts", "in/a.txt", "@hourly", parameters={"nothing": 1})
    with pytest.raises(InvalidInput, match="key"):
        schedules.add("a", "texts", "../a", "@hourly")
    for name in ("", "two words", "a/b", ".hidden", "a" * 129):  # what no address can name
        with pytest.raises(InvalidInput, match="cannot be called"):
            schedules.add(name, "texts", "in/a.txt", "@hourly")
    assert schedules.list() == []


def test_a_job_that_cannot_be_submitted_does_not_stop_the_others(texts: JobWorld) -> None:
    schedules = past(texts)
    schedules.add("bad", "texts", "in/a.txt", "@hourly", parameters={"factor": 1.0})
    [bad] = texts.ports.store.schedules.list()
    texts.ports.store.schedules.put(type(bad)(**{**vars(bad), "spec": {**bad.spec, "parameters": {"gone": 1}}}))
    schedules.add("good", "texts", "in/a.txt", "5 * * * *")
    schedules.tick()
    assert [run.metadata["schedule"] for run in texts.ports.store.runs.list()] == ["good"]
    assert texts.ports.store.schedules.due() == []


def test_a_schedule_is_taken_away(texts: JobWorld) -> None:
    past(texts).add("hourly", "texts", "in/a.txt", "@hourly")
    past(texts).remove("hourly")
    past(texts).tick()
    assert texts.ports.store.runs.list() == []
    with pytest.raises(NotFound):
        past(texts).remove("hourly")

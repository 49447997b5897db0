"""How attempts at a job end: tried again, cancelled, too late, given back, or lost to another worker."""

from __future__ import annotations

import time
from datetime import timedelta
from threading import Event as Flag

import pytest
from tests.engine.conftest import World
from tests.engine.job_world import JobWorld, Journal, Length, eventually, make_case, until

from sightline.core.errors import Conflict, InvalidInput, Overloaded, StorageFull, StoreRefused, Unavailable
from sightline.core.plugins import Context
from sightline.core.run import RunState
from sightline.engine.attempt import Attempt, AttemptRules


def test_bad_input_is_not_tried_again(texts: JobWorld, journal: Journal) -> None:
    def refuse(step: str, _: Context) -> None:
        if step == "length":
            raise InvalidInput("no text of this kind", cure="Send another text.")

    journal.act = refuse
    ended = texts.done(texts.submit("one line"))
    assert (ended.state, ended.error) == (RunState.FAILED, "no text of this kind")
    assert (ended.status["error_kind"], ended.attempts) == ("validation", 1)
    assert ended.status["cure"] == "Send another text."
    assert journal.lines == ["reading", "length"]


def test_what_validation_refuses_fails_with_the_reason(lone: World, journal: Journal) -> None:
    case = make_case(journal)
    strict = Length(step="usable", refuse=True, journal=journal)
    texts = JobWorld(lone, type(case)(**{**vars(case), "stages": {"validation": {"usable": strict}, **case.stages}}))
    ended = texts.done(texts.submit())
    assert ended.state is RunState.FAILED
    assert ended.status["error_kind"] == "validation"
    assert "'usable'" in str(ended.error)
    assert journal.lines == ["reading", "usable"]


@pytest.mark.parametrize(
    ("error", "at", "kind"),
    [
        (Unavailable("down"), "length", "model"),
        (Overloaded("busy"), "length", "model"),
        (Unavailable("the store is down"), "reading", "storage"),
        (StoreRefused("a wrong secret"), "reading", "storage"),
        (StorageFull("the disk is full"), "report0", "storage"),
        (OSError(28, "No space left on device"), "reading", "storage"),
    ],
)
def test_what_is_down_is_tried_again_from_the_step_that_failed(
    texts: JobWorld, journal: Journal, error: Exception, at: str, kind: str
) -> None:
    failures = [error, error]

    def fail(step: str, _: Context) -> None:
        if step == at and failures:
            raise failures.pop()

    journal.act = fail
    run = texts.submit()
    ended = texts.done(run)
    assert (ended.state, ended.attempts, ended.error) == (RunState.COMPLETED, 3, None)
    assert journal.lines == [
        each for step in ("reading", "length", "report0") for each in [step] * (1 + 2 * (step == at))
    ]
    retried = [e for _, e in texts.ports.store.events.list(types=["run.retrying"])]
    assert [each.data["error_kind"] for each in retried] == [kind, kind]
    assert texts.told(run).count("run.started") == 3


def test_a_job_fails_when_its_attempts_are_used_up(texts: JobWorld, journal: Journal) -> None:
    def fail(step: str, _: Context) -> None:
        if step == "report0":
            raise OSError(5, "disk broken")

    journal.act = fail
    ended = texts.done(texts.submit())
    assert (ended.state, ended.attempts, ended.status["error_kind"]) == (RunState.FAILED, 3, "storage")
    assert "disk broken" in str(ended.error)
    assert journal.lines == ["reading", "length", "report0", "report0", "report0"]


def test_the_case_says_how_often_a_job_is_tried(lone: World, journal: Journal) -> None:
    def fail(*_: object) -> None:
        raise Unavailable("down")

    journal.act = fail
    texts = JobWorld(lone, make_case(journal, attempts=1))
    assert texts.done(texts.submit()).attempts == 1


def test_a_person_tries_a_failed_job_again_and_its_steps_stay_done(texts: JobWorld, journal: Journal) -> None:
    broken = True

    def fail(step: str, _: Context) -> None:
        if step == "report0" and broken:
            raise InvalidInput("no")

    journal.act = fail
    run = texts.submit()
    assert texts.done(run).state is RunState.FAILED
    broken = False
    texts.jobs.retry(run.id)
    assert texts.done(run).state is RunState.COMPLETED
    assert journal.lines == ["reading", "length", "report0", "report0"]
    with pytest.raises(Conflict):
        texts.jobs.retry(run.id)


def test_a_job_that_waits_is_cancelled_at_once(texts: JobWorld, journal: Journal) -> None:
    run = texts.submit()
    assert texts.jobs.cancel(run.id).state is RunState.CANCELLED
    assert texts.told(run) == ["run.submitted", "run.cancelled"]
    with texts.working():
        time.sleep(0.1)
    assert journal.lines == []


def test_cancelling_tells_the_step_and_begins_no_other(texts: JobWorld, journal: Journal) -> None:
    under_way = Flag()

    def wait(step: str, context: Context) -> None:
        if step == "length":
            under_way.set()
            assert context.stopping.wait(30)

    journal.act = wait
    run = texts.submit()
    with texts.working():
        until(under_way)
        begin_s = time.monotonic()
        assert texts.jobs.cancel(run.id).cancelling
        ended = texts.over(run)
        assert time.monotonic() - begin_s < 15
    assert (ended.state, ended.cancelling) == (RunState.CANCELLED, False)
    assert journal.lines == ["reading", "length"]
    assert texts.told(run) == ["run.submitted", "run.started", "run.cancelled"]


def test_a_step_that_does_not_heed_is_left_behind(texts: JobWorld, journal: Journal) -> None:
    under_way, free = Flag(), Flag()

    def hang(step: str, _: Context) -> None:
        if step == "length" and not free.is_set():
            under_way.set()
            free.wait(30)

    journal.act = hang
    run = texts.submit()
    with texts.working(grace_s=0.1, lease_s=0.5):
        until(under_way)
        texts.jobs.cancel(run.id)
        assert texts.over(run).state is RunState.CANCELLED
        journal.act = lambda *_: None
        assert texts.over(texts.submit(name="in/b.txt")).state is RunState.COMPLETED  # by a thread in its place
        free.set()
    assert texts.jobs.get(run.id).state is RunState.CANCELLED
    assert "report0" in journal.lines


def test_a_job_past_its_deadline_fails_and_its_step_is_told(texts: JobWorld, journal: Journal) -> None:
    def wait(step: str, context: Context) -> None:
        if step == "length":
            context.stopping.wait(30)

    journal.act = wait
    deadline_s = 1.0
    while "length" not in journal.lines and deadline_s < 20:  # a busy machine takes longer to come to it
        journal.lines.clear()
        ended = texts.done(texts.submit(deadline_s=deadline_s), lease_s=0.5)
        assert (ended.state, ended.status["error_kind"]) == (RunState.FAILED, "timeout")
        deadline_s *= 4
    assert journal.lines == ["reading", "length"]


def test_a_plugin_says_how_long_the_work_may_take_and_the_shortest_counts(texts: JobWorld, journal: Journal) -> None:
    def wait(step: str, context: Context) -> None:
        if step == "reading":
            context.within(work_s)
            context.within(60)
        if step == "length":
            context.stopping.wait(30)

    journal.act = wait
    work_s = 0.3
    while "length" not in journal.lines and work_s < 20:  # a busy machine takes longer to come to it
        journal.lines.clear()
        ended = texts.done(texts.submit(deadline_s=30), lease_s=0.5)
        assert (ended.state, ended.status["error_kind"]) == (RunState.FAILED, "timeout")
        work_s *= 8
    assert journal.lines == ["reading", "length"]


def test_a_job_whose_deadline_passes_while_it_waits_fails(texts: JobWorld, journal: Journal) -> None:
    run = texts.submit(deadline_s=0.02)
    time.sleep(0.05)
    ended = texts.done(run, cases=list)
    assert (ended.state, ended.status["error_kind"]) == (RunState.FAILED, "timeout")
    assert texts.told(run) == ["run.submitted", "run.failed"]
    other = texts.submit(deadline_s=0.02, name="in/b.txt")
    time.sleep(0.05)
    assert texts.done(other).status["error_kind"] == "timeout"
    assert journal.lines == []


def test_a_job_of_a_dead_worker_goes_on_behind_its_last_step(texts: JobWorld, journal: Journal) -> None:
    run = texts.submit()
    under_way, over = Flag(), Flag()

    def die(step: str, _: Context) -> None:
        if step == "report0" and not under_way.is_set():
            under_way.set()
            over.wait(30)

    journal.act = die
    with texts.working(lease_s=0.5) as first:
        until(under_way)
        first._held.clear()  # as if it were dead: nothing is reported any more
        first._closing.set()
        begin_s = time.monotonic()
        ended = texts.done(run, lease_s=0.5)
        assert time.monotonic() - begin_s < 0.5 + 15  # lease, and a moment
        over.set()
    assert (ended.state, ended.attempts, ended.token) == (RunState.COMPLETED, 2, 2)
    assert journal.lines == ["reading", "length", "report0", "report0"]
    assert ended.status["made"] == {"report0": f"runs/{run.id}/2/result.0.txt"}


def test_a_worker_that_stood_still_past_its_lease_publishes_nothing(texts: JobWorld, journal: Journal) -> None:
    frozen, thaw = Flag(), Flag()

    def freeze(step: str, _: Context) -> None:
        if step == "report0" and not frozen.is_set():
            frozen.set()
            thaw.wait(30)

    journal.act = freeze
    run = texts.submit(output="results/a", parameters={"factor": 2.0})
    with texts.working(lease_s=0.5) as first:
        until(frozen)
        first._closing.set()  # its keeper stands still too
        first._held.clear()
        ended = texts.done(run, lease_s=0.5)
        assert ended.state is RunState.COMPLETED
        before = texts.text("results/a.0.txt")
        thaw.set()
        eventually(lambda: not any(thread.is_alive() for thread in first._threads))
    assert texts.jobs.get(run.id) == ended
    assert texts.text("results/a.0.txt") == before
    assert texts.told(run).count("run.completed") == 1
    assert journal.lines.count("report0") == 2


def test_a_job_that_kills_its_workers_fails_at_last(texts: JobWorld, journal: Journal) -> None:
    run = texts.submit()
    for _ in range(3):
        assert texts.ports.store.jobs.take("dying", lease=timedelta(0)) is not None
    ended = texts.done(run)
    assert (ended.state, ended.status["error_kind"]) == (RunState.FAILED, "internal")
    assert "died" in str(ended.error)
    assert journal.lines == []


def test_a_worker_that_ends_lets_the_step_finish_and_gives_the_job_back(texts: JobWorld, journal: Journal) -> None:
    under_way = Flag()

    def work(step: str, context: Context) -> None:
        if step == "length":
            under_way.set()
            assert not context.stopping.wait(0.2)

    journal.act = work
    run = texts.submit()
    with texts.working():
        until(under_way)
    waits = texts.jobs.get(run.id)
    assert (waits.state, waits.attempts, waits.worker) == (RunState.SUBMITTED, 0, None)
    assert list(texts.ports.store.jobs.checkpoints(run.id)) == ["reading", "length"]
    ended = texts.done(run)
    assert (ended.state, ended.attempts) == (RunState.COMPLETED, 1)
    assert journal.lines == ["reading", "length", "report0"]


def test_a_worker_that_stood_still_after_taking_begins_no_step(texts: JobWorld, journal: Journal) -> None:
    texts.submit()
    stale = texts.ports.store.jobs.take("still", lease=timedelta(0))
    other = texts.ports.store.jobs.take("other")
    assert stale is not None
    assert other is not None
    long_ago_s = time.monotonic() - 60
    Attempt(stale, texts.ports, texts.made, AttemptRules(), taken_s=long_ago_s).run()
    assert journal.lines == []
    assert texts.jobs.get(other.id) == other

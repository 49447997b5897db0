"""What every JobStore promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from sightline.core.errors import Conflict, InvalidInput, NotFound
from sightline.core.jobs import Limit
from sightline.core.run import Run, RunKind, RunState
from sightline.core.stores import MetadataStore
from sightline.testing.contracts.run_store import PASSED, run_event


def submit(store: MetadataStore, case: str = "scan", **fields: object) -> Run:
    """Submit a job, and return it."""
    run, _ = store.jobs.submit(Run(case=case, **fields))  # type: ignore[arg-type]
    return run


def took(store: MetadataStore, worker: str = "me", **how: object) -> Run:
    """Take the next job, which must be there."""
    run = store.jobs.take(worker, **how)  # type: ignore[arg-type]
    assert run is not None
    return run


class JobStoreContract(ABC):
    """Part of MetadataStoreContract."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> MetadataStore:
        """Return an empty store."""

    def test_a_submitted_job_waits_as_it_was_wanted(self, store: MetadataStore) -> None:
        run, is_new = store.jobs.submit(
            Run(case="scan", spec={"object": "a.nii"}, metadata={"who": "Бухта"}, priority=3),
            key="k1",
            within=timedelta(minutes=5),
        )
        assert is_new
        assert (run.kind, run.state, run.token, run.attempts) == (RunKind.JOB, RunState.SUBMITTED, 0, 0)
        assert (run.spec, run.metadata, run.priority, run.key) == ({"object": "a.nii"}, {"who": "Бухта"}, 3, "k1")
        assert run.deadline is not None
        assert run.created is not None
        assert abs(run.deadline - run.created - timedelta(minutes=5)) < timedelta(seconds=1)
        assert store.runs.get(run.id) == run
        assert store.runs.list(kind=RunKind.JOB) == [run]

    def test_a_second_submission_under_a_key_returns_the_first_run(self, store: MetadataStore) -> None:
        first, second = Run(case="scan", spec={"n": 1}), Run(case="scan", spec={"n": 1})
        run, _ = store.jobs.submit(first, key="k", digest="d", events=[run_event(first)])
        found, is_new = store.jobs.submit(second, key="k", digest="d", events=[run_event(second)])
        assert (found, is_new) == (run, False)
        assert len(store.events.list()) == 1
        assert len(store.runs.list()) == 1
        taken = took(store)
        assert store.jobs.submit(second, key="k", digest="d") == (taken, False)

    def test_a_key_is_not_used_for_two_things(self, store: MetadataStore) -> None:
        submit(store)
        run, _ = store.jobs.submit(Run(case="scan"), key="k", digest="d")
        with pytest.raises(Conflict, match=run.id):
            store.jobs.submit(Run(case="scan"), key="k", digest="other")
        assert store.jobs.submit(Run(case="scan", project="lab"), key="k", digest="other")[1]

    def test_a_key_tells_its_run(self, store: MetadataStore) -> None:
        assert store.jobs.keyed("default", "k", "d") is None
        run, _ = store.jobs.submit(Run(case="scan"), key="k", digest="d")
        assert store.jobs.keyed("default", "k", "d") == run
        assert store.jobs.keyed("another", "k", "d") is None
        with pytest.raises(Conflict, match=run.id):
            store.jobs.keyed("default", "k", "e")

    def test_of_many_submissions_under_one_key_one_is_new(self, store: MetadataStore) -> None:
        with ThreadPoolExecutor(4) as pool:
            told = list(pool.map(lambda _: store.jobs.submit(Run(case="scan"), key="k", digest="d"), range(8)))
        assert sum(is_new for _, is_new in told) == 1
        assert len({run.id for run, _ in told}) == 1
        assert len(store.runs.list()) == 1

    def test_an_id_is_submitted_once(self, store: MetadataStore) -> None:
        run = submit(store)
        with pytest.raises(Conflict, match=run.id):
            store.jobs.submit(Run(case="scan", id=run.id))
        with pytest.raises(Conflict, match=run.id):
            store.jobs.submit(Run(case="scan", id=run.id), key="k")

    def test_a_name_is_held_by_one_job(self, store: MetadataStore) -> None:
        names = ["results/analysis_1234", "results/analysis_1234567"]
        first, _ = store.jobs.submit(Run(case="scan", spec={"object": "a"}), names=names)
        second, _ = store.jobs.submit(Run(case="scan", spec={"object": "b"}), names=names)
        assert first.spec == {"object": "a", "output": names[0]}
        assert second.spec == {"object": "b", "output": names[1]}
        assert store.runs.get(second.id) == second
        third = Run(case="scan")
        with pytest.raises(Conflict, match="analysis_1234"):
            store.jobs.submit(third, names=names, events=[run_event(third)])
        assert len(store.runs.list()) == 2
        assert store.events.list() == []

    def test_a_name_that_a_job_asked_for_is_given_to_no_other(self, store: MetadataStore) -> None:
        submit(store, spec={"output": "results/mine"})
        submit(store, spec={"output": "results/mine"})
        run, _ = store.jobs.submit(Run(case="scan"), names=["results/mine", "results/other"])
        assert run.spec["output"] == "results/other"

    def test_a_job_is_taken_under_a_new_token(self, store: MetadataStore) -> None:
        run = submit(store)
        given: list[Run] = []

        def told(seen: Run) -> list:  # type: ignore[type-arg]
            given.append(seen)
            return [run_event(seen)]

        held = took(store, lease=timedelta(seconds=20), events=told)
        assert (held.id, held.state, held.worker, held.token, held.attempts) == (run.id, RunState.RUNNING, "me", 1, 1)
        assert given == [held]
        assert len(store.events.list()) == 1
        assert held.started is not None
        assert held.lease_until is not None
        assert timedelta(seconds=19) < held.lease_until - held.started <= timedelta(seconds=20)
        assert store.runs.get(run.id) == held
        assert store.jobs.take("other") is None

    def test_the_highest_priority_comes_first_then_the_oldest(self, store: MetadataStore) -> None:
        ids = [submit(store, priority=priority).id for priority in (0, 5, -1, 5, 0)]
        assert [took(store).id for _ in ids] == [ids[1], ids[3], ids[0], ids[4], ids[2]]

    def test_a_priority_has_bounds(self, store: MetadataStore) -> None:
        with pytest.raises(InvalidInput, match="priority"):
            submit(store, priority=1 << 60)

    def test_streams_are_not_taken(self, store: MetadataStore) -> None:
        store.runs.create(Run(case="street"))
        store.runs.create(Run(case="street", restart="always"), worker="me", lease=PASSED)
        assert store.jobs.take("me") is None

    def test_a_worker_may_look_for_jobs_of_some_cases_alone(self, store: MetadataStore) -> None:
        submit(store, "other")
        run = submit(store)
        assert store.jobs.take("me", cases=["yard"]) is None
        assert took(store, cases=["yard", "scan"]).id == run.id
        assert store.jobs.take("me", cases=["scan"]) is None
        assert store.jobs.take("me", cases=[]) is None

    def test_each_of_many_workers_takes_another_job(self, store: MetadataStore) -> None:
        ids = {submit(store).id for _ in range(12)}

        def work(name: int) -> list[str]:
            taken: list[str] = []
            while run := store.jobs.take(str(name)):
                taken.append(run.id)
            return taken

        with ThreadPoolExecutor(4) as pool:
            found = [run_id for each in pool.map(work, range(4)) for run_id in each]
        assert len(found) == 12
        assert set(found) == ids

    def test_a_job_whose_worker_died_is_taken_by_another(self, store: MetadataStore) -> None:
        run = submit(store)
        submit(store, priority=1)
        took(store)
        dead = took(store, lease=PASSED)
        held = took(store, "other")
        assert (held.id, held.worker, held.token, held.attempts) == (run.id, "other", 2, 2)
        assert held.started == dead.started
        with pytest.raises(Conflict, match="token"):
            store.jobs.checkpoint(run.id, 1, {"reading": {}}, status={})

    def test_the_sweep_of_dead_streams_leaves_jobs_alone(self, store: MetadataStore) -> None:
        submit(store, restart="never")
        run = took(store)
        store.runs.amend(run.id, cancel=True)
        store.runs.report(run.id, run.token, {}, lease=PASSED)
        assert store.runs.expire() == []
        held = took(store, "other")
        assert held.cancelling

    def test_no_more_jobs_of_a_case_are_taken_than_it_may_have(self, store: MetadataStore) -> None:
        for _ in range(3):
            submit(store)
        other = submit(store, "other")
        limits = {"scan": Limit(concurrency=2), "away": Limit(concurrency=1)}
        first = took(store, limits=limits)
        took(store, limits=limits)
        assert took(store, limits=limits).id == other.id
        assert store.jobs.take("me", limits=limits) is None
        store.runs.finish(first.id, first.token, RunState.COMPLETED, status={})
        assert took(store, limits=limits).case == "scan"

    def test_of_many_that_ask_at_once_no_more_get_a_job_than_may(self, store: MetadataStore) -> None:
        for _ in range(6):
            submit(store)
        limits = {"scan": Limit(concurrency=2)}
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda number: store.jobs.take(str(number), limits=limits), range(6)))
        assert sum(run is not None for run in found) == 2

    def test_jobs_of_a_case_are_taken_at_a_rate(self, store: MetadataStore) -> None:
        for _ in range(3):
            submit(store)
        limits = {"scan": Limit(rate_per_minute=2)}
        for _ in range(2):
            run = took(store, limits=limits)
            store.runs.finish(run.id, run.token, RunState.COMPLETED, status={})
        assert store.jobs.take("me", limits=limits) is None
        assert took(store).state is RunState.RUNNING

    def test_a_step_is_recorded_once_with_what_came_of_it(self, store: MetadataStore) -> None:
        submit(store)
        run = took(store, lease=timedelta(seconds=1))
        store.jobs.checkpoint(run.id, 1, {"reading": {"key": "a"}}, status={"progress": 0.5}, events=[run_event(run)])
        seen = store.runs.get(run.id)
        assert seen.status == {"progress": 0.5}
        assert seen.lease_until is not None
        assert run.lease_until is not None
        assert seen.lease_until > run.lease_until
        store.jobs.checkpoint(run.id, 1, {"brain": {"key": "b"}}, status={})
        with pytest.raises(Conflict, match="reading"):
            store.jobs.checkpoint(run.id, 1, {"reading": {"key": "c"}}, status={}, events=[run_event(run)])
        assert list(store.jobs.checkpoints(run.id).items()) == [("reading", {"key": "a"}), ("brain", {"key": "b"})]
        store.jobs.checkpoint(run.id, 1, {"brain": {"key": "b"}}, status={})
        assert len(store.jobs.checkpoints(run.id)) == 2
        assert store.jobs.checkpoints("nobody") == {}
        assert len(store.events.list()) == 1

    @pytest.mark.parametrize("token", [0, 2])
    def test_who_has_another_token_records_no_step(self, store: MetadataStore, token: int) -> None:
        submit(store)
        run = took(store)
        with pytest.raises(Conflict, match="token"):
            store.jobs.checkpoint(run.id, token, {"reading": {}}, status={"x": 1}, events=[run_event(run)])
        with pytest.raises(Conflict, match="token"):
            store.jobs.put_back(run.id, token, after=PASSED, status={"x": 1}, events=[run_event(run)])
        assert store.jobs.checkpoints(run.id) == {}
        assert store.runs.get(run.id) == run
        assert store.events.list() == []

    def test_steps_are_recorded_together_with_what_follows_them(self, store: MetadataStore) -> None:
        run = (submit(store), took(store))[1]
        store.jobs.checkpoint(run.id, 1, {"reading": {"key": "a"}, "brain": {"key": "b"}}, status={})
        with pytest.raises(Conflict, match="brain"):
            store.jobs.checkpoint(run.id, 1, {"report": {}, "brain": {"key": "c"}}, status={"x": 1})
        store.jobs.put_back(run.id, 1, after=PASSED, status={}, steps={"report": {"made": {}}})
        assert list(store.jobs.checkpoints(run.id)) == ["reading", "brain", "report"]
        again = took(store)
        with pytest.raises(Conflict, match="report"):
            store.jobs.finish(run.id, again.token, RunState.COMPLETED, status={"x": 1}, steps={"report": {"made": {}}})
        assert store.runs.get(run.id) == again
        store.jobs.finish(run.id, again.token, RunState.COMPLETED, status={}, steps={"publishing": {"made": {}}})
        assert list(store.jobs.checkpoints(run.id).items())[2:] == [
            ("report", {"made": {}}),
            ("publishing", {"made": {}}),
        ]

    def test_a_job_that_was_put_back_waits_until_it_is_due(self, store: MetadataStore) -> None:
        submit(store)
        run = took(store)
        store.jobs.put_back(
            run.id, 1, after=timedelta(hours=1), status={"progress": 0.5}, error="store down", events=[run_event(run)]
        )
        waits = store.runs.get(run.id)
        assert (waits.state, waits.worker, waits.lease_until) == (RunState.SUBMITTED, None, None)
        assert (waits.status, waits.error, waits.attempts) == ({"progress": 0.5}, "store down", 1)
        assert waits.due is not None
        assert store.jobs.take("me") is None
        assert len(store.events.list()) == 1
        submit(store)
        other = took(store)
        store.jobs.put_back(other.id, 1, after=PASSED, status={}, used=False)
        held = took(store)
        assert (held.id, held.token, held.attempts, held.due) == (other.id, 2, 1, None)

    def test_a_wish_to_end_outlives_that_a_job_is_put_back(self, store: MetadataStore) -> None:
        submit(store)
        run = took(store)
        store.runs.amend(run.id, cancel=True)
        store.jobs.put_back(run.id, 1, after=timedelta(hours=1), status={})
        assert took(store).cancelling

    def test_what_shall_end_is_taken_though_its_case_is_full(self, store: MetadataStore) -> None:
        submit(store)
        run = took(store)
        store.runs.amend(run.id, cancel=True)
        store.jobs.put_back(run.id, 1, after=PASSED, status={})
        assert took(store, limits={"scan": Limit(concurrency=0)}).cancelling

    def test_a_job_that_waits_is_cancelled_at_once(self, store: MetadataStore) -> None:
        run = submit(store)
        assert store.runs.amend(run.id, cancel=True).state is RunState.CANCELLED
        assert store.jobs.take("me") is None

    @pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
    def test_a_job_that_ended_badly_is_submitted_anew_with_its_steps(
        self, store: MetadataStore, state: RunState
    ) -> None:
        store.jobs.submit(Run(case="scan"), within=timedelta(hours=1))
        run = took(store)
        store.jobs.checkpoint(run.id, 1, {"reading": {"key": "a"}}, status={})
        store.runs.finish(run.id, 1, state, status={"progress": 0.3}, error="no")
        anew = store.jobs.again(run.id, events=[run_event(run)])
        assert (anew.state, anew.attempts, anew.error, anew.deadline) == (RunState.SUBMITTED, 0, None, None)
        assert anew.finished is None
        assert len(store.events.list()) == 1
        held = took(store)
        assert (held.id, held.token, held.attempts) == (run.id, 2, 1)
        assert store.jobs.checkpoints(run.id) == {"reading": {"key": "a"}}

    def test_only_a_job_that_ended_badly_is_submitted_anew(self, store: MetadataStore) -> None:
        stream = store.runs.create(Run(case="street"), worker="me")
        store.runs.finish(stream.id, 1, RunState.FAILED, status={})
        waiting, done = submit(store), submit(store, priority=1)
        store.runs.finish(took(store).id, 1, RunState.COMPLETED, status={})
        for run in (stream, waiting, done):
            with pytest.raises(Conflict, match=run.id):
                store.jobs.again(run.id, events=[run_event(run)])
        with pytest.raises(NotFound, match="nobody"):
            store.jobs.again("nobody")
        assert store.events.list() == []

    def test_a_job_that_waited_too_long_fails(self, store: MetadataStore) -> None:
        late, _ = store.jobs.submit(Run(case="scan"), within=PASSED)
        store.jobs.submit(Run(case="scan"), within=timedelta(hours=1))
        submit(store)
        [failed] = store.jobs.overdue(lambda run: [run_event(run, f"run.{run.state.value}")])
        assert (failed.id, failed.state, failed.status["error_kind"]) == (late.id, RunState.FAILED, "timeout")
        assert failed.error
        assert failed.finished is not None
        assert store.runs.get(late.id) == failed
        assert [event.short_type for _, event in store.events.list()] == ["run.failed"]
        assert store.jobs.overdue() == []

    def test_a_job_knows_where_it_stands(self, store: MetadataStore) -> None:
        first, second, third = submit(store), submit(store), submit(store, priority=1)
        assert [store.jobs.queue(run.id).position for run in (third, first, second)] == [1, 2, 3]
        assert store.jobs.queue(first.id).expected_wait_s is None
        held = took(store)
        store.runs.finish(held.id, held.token, RunState.COMPLETED, status={})
        found = [store.jobs.queue(run.id) for run in (third, first, second)]
        assert [each.position for each in found] == [0, 1, 2]
        waits = [each.expected_wait_s for each in found[1:]]
        assert waits[0] is not None
        assert waits[1] is not None
        assert 0 <= waits[0] <= waits[1] < 5
        with pytest.raises(NotFound, match="nobody"):
            store.jobs.queue("nobody")

    def test_what_is_kept_of_a_job_goes_with_it_but_for_the_name_of_its_result(self, store: MetadataStore) -> None:
        store.jobs.submit(Run(case="scan"), key="k", digest="d", names=["results/a"])
        run = took(store)
        store.jobs.checkpoint(run.id, 1, {"reading": {}}, status={})
        ended = store.runs.finish(run.id, 1, RunState.COMPLETED, status={})
        assert ended.finished is not None
        assert store.forget("runs", ended.finished + timedelta(seconds=1)) == 1
        assert store.jobs.checkpoints(run.id) == {}
        assert store.jobs.submit(Run(case="scan"), key="k", digest="other")[1]
        with pytest.raises(Conflict, match="results/a"):
            store.jobs.submit(Run(case="scan"), names=["results/a"])

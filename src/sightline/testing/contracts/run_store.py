"""What every RunStore promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from sightline.core.errors import Conflict, InvalidInput, NotFound, SightlineError
from sightline.core.events import Event, make_event, source_uri
from sightline.core.run import Run, RunKind, RunState
from sightline.core.stores import MetadataStore

PASSED = timedelta(0)
"""A lease that has passed as soon as it is given: tests need not wait."""


def run_event(run: Run, short_type: str = "run.started") -> Event:
    """Return an event that tells of a run."""
    return make_event(short_type, source=source_uri(run.case), time=datetime(2026, 11, 20, tzinfo=UTC), data={})


class RunStoreContract(ABC):
    """Part of MetadataStoreContract."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> MetadataStore:
        """Return an empty store."""

    def test_a_run_comes_back_as_it_was_recorded(self, store: MetadataStore) -> None:
        run = Run(
            case="street",
            kind=RunKind.JOB,
            project="lab",
            parent="batch",
            spec={"sources": {"door": {"url": "street.mp4"}}, "zones": [[0.5, 1]]},
            revision=3,
            status={"frames": 0},
            metadata={"place": "Бухта"},
            restart="on_failure",
        )
        created = store.runs.create(run)
        assert created == replace(run, created=created.created)
        assert store.runs.get(run.id) == created

    def test_without_a_worker_a_run_waits_for_one(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street", state=RunState.RUNNING, token=7, worker="me"))
        assert (run.state, run.token, run.worker) == (RunState.SUBMITTED, 0, None)
        assert run.started is None
        assert run.lease_until is None

    def test_with_a_worker_a_run_is_held_from_the_start(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me", lease=timedelta(seconds=20))
        assert (run.state, run.token, run.worker) == (RunState.RUNNING, 1, "me")
        assert run.created is not None
        assert run.started is not None
        assert run.lease_until is not None
        assert timedelta(seconds=19.9) < run.lease_until - run.created < timedelta(seconds=20.1)

    def test_times_are_aware(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"))
        assert run.created is not None
        assert run.created.utcoffset() == timedelta(0)

    def test_an_id_is_used_once(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"))
        with pytest.raises(Conflict, match=run.id):
            store.runs.create(Run(case="other", id=run.id), events=[run_event(run)])
        assert store.runs.get(run.id).case == "street"
        assert store.events.list() == []

    def test_getting_an_absent_run_says_which(self, store: MetadataStore) -> None:
        with pytest.raises(NotFound, match="nobody"):
            store.runs.get("nobody")

    def test_an_unknown_restart_rule_is_refused(self, store: MetadataStore) -> None:
        with pytest.raises(InvalidInput, match="sometimes"):
            store.runs.create(Run(case="street", restart="sometimes"))

    def test_runs_are_listed_the_newest_first(self, store: MetadataStore) -> None:
        ids = [store.runs.create(Run(case="street")).id for _ in range(5)]
        assert [run.id for run in store.runs.list()] == ids[::-1]

    def test_runs_are_listed_page_by_page(self, store: MetadataStore) -> None:
        ids = [store.runs.create(Run(case="street")).id for _ in range(5)]
        first = store.runs.list(limit=2)
        second = store.runs.list(limit=2, after=first[-1].id)
        third = store.runs.list(limit=2, after=second[-1].id)
        assert [run.id for run in (*first, *second, *third)] == ids[::-1]

    def test_runs_are_found_by_case_kind_and_state(self, store: MetadataStore) -> None:
        wanted = store.runs.create(Run(case="street", kind=RunKind.JOB), worker="me")
        store.runs.create(Run(case="yard", kind=RunKind.JOB), worker="me")
        store.runs.create(Run(case="street"), worker="me")
        store.runs.create(Run(case="street", kind=RunKind.JOB))
        found = store.runs.list(case="street", kind=RunKind.JOB, state=RunState.RUNNING)
        assert [run.id for run in found] == [wanted.id]

    def test_the_runs_of_a_project_are_found(self, store: MetadataStore) -> None:
        ours = [store.runs.create(Run(case="street", project="yard")).id for _ in range(3)]
        store.runs.create(Run(case="street"))
        first = store.runs.list(project="yard", limit=2)
        assert [run.id for run in (*first, *store.runs.list(project="yard", after=first[-1].id))] == ours[::-1]
        assert store.runs.list(project="nobody") == []

    def test_runs_are_found_by_their_tags(self, store: MetadataStore) -> None:
        odd = {'"place".$[0]': "Бухта 'A'", "batch": "7", "empty": ""}
        made = [store.runs.create(Run(case="street", metadata=tags)).id for tags in ({"batch": "7"}, odd, {}, odd)]

        def found(*tags: tuple[str, str | None], **more: Any) -> list[str]:
            return [run.id for run in store.runs.list(tags=tags, **more)]

        assert found(("batch", "7")) == [made[3], made[1], made[0]]
        assert found(("batch", None), *odd.items()) == [made[3], made[1]]
        assert found(("batch", None), limit=1, after=made[3]) == [made[1]]
        assert found(("empty", "")) == [made[3], made[1]]
        assert found(("batch", "07")) == found(("Batch", None)) == found(("batch", "7"), ("none", None)) == []

    def test_a_report_extends_the_lease(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me", lease=PASSED)
        assert run.lease_until is not None
        seen = store.runs.report(run.id, run.token, {"frames": 12}, lease=timedelta(seconds=30))
        assert seen == replace(run, status={"frames": 12}, lease_until=seen.lease_until)
        assert seen.lease_until is not None
        assert seen.lease_until - run.lease_until >= timedelta(seconds=30)
        assert store.runs.get(run.id) == seen

    def test_a_run_ends_with_its_last_status_and_cause(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me")
        ended = store.runs.finish(run.id, 1, RunState.FAILED, status={"frames": 3}, error="disk full")
        assert ended.finished is not None
        assert ended.created is not None
        assert ended.finished >= ended.created
        assert ended == replace(
            run,
            state=RunState.FAILED,
            status={"frames": 3},
            error="disk full",
            finished=ended.finished,
            worker=None,
            lease_until=None,
        )
        assert store.runs.get(run.id) == ended

    def test_a_run_cannot_finish_as_running(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me")
        with pytest.raises(InvalidInput, match="running"):
            store.runs.finish(run.id, 1, RunState.RUNNING, status={})

    @pytest.mark.parametrize("token", [0, 2])
    def test_who_has_another_token_writes_nothing(self, store: MetadataStore, token: int) -> None:
        run = store.runs.create(Run(case="street"), worker="me")
        with pytest.raises(Conflict, match="token"):
            store.runs.report(run.id, token, {"frames": 1}, events=[run_event(run)])
        with pytest.raises(Conflict, match="token"):
            store.runs.finish(run.id, token, RunState.COMPLETED, status={}, events=[run_event(run)])
        assert store.runs.get(run.id) == run
        assert store.events.list() == []

    def test_nobody_writes_to_a_run_that_nobody_holds(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"))
        with pytest.raises(Conflict):
            store.runs.report(run.id, 0, {"frames": 1})
        with pytest.raises(Conflict):
            store.runs.finish(run.id, 0, RunState.COMPLETED, status={})

    def test_nobody_writes_to_a_run_that_is_over(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me")
        ended = store.runs.finish(run.id, 1, RunState.COMPLETED, status={})
        with pytest.raises(Conflict, match="over"):
            store.runs.report(run.id, 1, {"frames": 1}, events=[run_event(run)])
        with pytest.raises(Conflict, match="over"):
            store.runs.finish(run.id, 1, RunState.FAILED, status={}, events=[run_event(run)])
        assert store.runs.get(run.id) == ended
        assert store.events.list() == []

    def test_writing_to_an_absent_run_says_which(self, store: MetadataStore) -> None:
        with pytest.raises(NotFound, match="nobody"):
            store.runs.report("nobody", 1, {})
        with pytest.raises(NotFound, match="nobody"):
            store.runs.finish("nobody", 1, RunState.COMPLETED, status={})

    def test_events_commit_with_the_change_that_they_tell_of(self, store: MetadataStore) -> None:
        run = Run(case="street")
        started, progressed, ended = run_event(run), run_event(run, "run.seen"), run_event(run, "run.completed")
        store.runs.create(run, worker="me", events=[started])
        store.runs.report(run.id, 1, {}, events=[progressed])
        store.runs.finish(run.id, 1, RunState.COMPLETED, status={}, events=[ended])
        assert [event.id for _, event in store.events.list()] == [started.id, progressed.id, ended.id]

    def test_a_run_whose_lease_passed_is_failed_once(self, store: MetadataStore) -> None:
        dead = store.runs.create(Run(case="street"), worker="me", lease=PASSED)
        alive = store.runs.create(Run(case="street"), worker="me")
        again = store.runs.create(Run(case="street", restart="always"), worker="me", lease=PASSED)
        waiting = store.runs.create(Run(case="street"))
        [failed] = store.runs.expire()
        assert failed.id == dead.id
        assert failed.state is RunState.FAILED
        assert failed.error
        assert failed.finished is not None
        assert store.runs.get(dead.id) == failed
        assert [store.runs.get(run.id) for run in (alive, again, waiting)] == [alive, again, waiting]
        assert store.runs.expire() == []

    def test_a_run_that_shall_end_is_failed_when_its_holder_is_dead(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street", restart="always"), worker="me")
        store.runs.amend(run.id, cancel=True)
        store.runs.report(run.id, 1, {}, lease=PASSED)
        assert [failed.id for failed in store.runs.expire()] == [run.id]

    def test_the_end_of_a_dead_run_is_told_in_the_same_transaction(self, store: MetadataStore) -> None:
        dead = store.runs.create(Run(case="street"), worker="me", lease=PASSED)
        store.runs.create(Run(case="street"), worker="me")
        store.runs.expire(lambda run: [run_event(run, "run.failed")])
        [(_, told)] = store.events.list()
        assert (told.short_type, told.source) == ("run.failed", f"/cases/{dead.case}")
        assert store.runs.expire(lambda run: [run_event(run, "run.failed")]) == []
        assert len(store.events.list()) == 1

    def test_a_holder_that_comes_back_too_late_writes_nothing(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me", lease=PASSED)
        store.runs.expire()
        with pytest.raises(Conflict, match="over"):
            store.runs.report(run.id, run.token, {"frames": 1})

    def test_a_run_that_was_given_back_is_claimed_under_a_new_token(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street", restart="always"), worker="me")
        back = store.runs.finish(run.id, 1, RunState.SUBMITTED, status={"frames": 3})
        assert (back.state, back.worker, back.lease_until, back.finished) == (RunState.SUBMITTED, None, None, None)
        taken = store.runs.claim(run.id, "you", events=[run_event(run)])
        assert (taken.state, taken.token, taken.worker) == (RunState.RUNNING, 2, "you")
        assert (taken.status, taken.started) == ({"frames": 3}, run.started)
        assert taken.lease_until is not None
        assert store.runs.get(run.id) == taken
        assert len(store.events.list()) == 1
        with pytest.raises(Conflict, match="token"):
            store.runs.report(run.id, 1, {})

    def test_a_run_that_was_only_submitted_is_claimed(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"))
        taken = store.runs.claim(run.id, "me")
        assert (taken.state, taken.token) == (RunState.RUNNING, 1)
        assert taken.started is not None

    def test_a_run_is_claimed_when_its_lease_has_passed(self, store: MetadataStore) -> None:
        alive = store.runs.create(Run(case="street", restart="always"), worker="me")
        with pytest.raises(Conflict, match="held by me"):
            store.runs.claim(alive.id, "you", events=[run_event(alive)])
        dead = store.runs.create(Run(case="street", restart="always"), worker="me", lease=PASSED)
        assert store.runs.claim(dead.id, "you").token == 2
        never = store.runs.create(Run(case="street"), worker="me", lease=PASSED)
        with pytest.raises(Conflict):
            store.runs.claim(never.id, "you")
        assert store.events.list() == []

    def test_a_worker_who_is_known_to_be_dead_need_not_be_waited_for(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street", restart="always"), worker="me")
        with pytest.raises(Conflict):
            store.runs.claim(run.id, "you", instead_of="somebody")
        assert store.runs.claim(run.id, "you", instead_of="me").worker == "you"

    def test_a_run_that_shall_end_or_is_over_is_not_claimed(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street", restart="always"), worker="me")
        store.runs.amend(run.id, cancel=True)
        with pytest.raises(Conflict):
            store.runs.claim(run.id, "you", instead_of="me")
        store.runs.finish(run.id, 1, RunState.CANCELLED, status={})
        with pytest.raises(Conflict, match="over"):
            store.runs.claim(run.id, "you")
        with pytest.raises(NotFound, match="nobody"):
            store.runs.claim("nobody", "you")

    def test_of_two_that_claim_at_once_one_wins(self, store: MetadataStore) -> None:
        for _ in range(10):
            run = store.runs.create(Run(case="street"))
            assert sorted(at_once(partial(store.runs.claim, run.id, "me"))) == ["Conflict", "done"]

    def test_of_two_that_create_at_once_one_wins(self, store: MetadataStore) -> None:
        for _ in range(10):
            run = Run(case="street")
            assert sorted(at_once(partial(store.runs.create, run))) == ["Conflict", "done"]

    def test_of_two_that_finish_at_once_one_wins(self, store: MetadataStore) -> None:
        for _ in range(10):
            run = store.runs.create(Run(case="street"), worker="me")

            def finish(run: Run = run) -> None:
                store.runs.finish(run.id, 1, RunState.COMPLETED, status={}, events=[run_event(run)])

            assert sorted(at_once(finish)) == ["Conflict", "done"]
        assert len(store.events.list()) == 10

    @pytest.mark.parametrize("name", ["nul\0", "half \ud83d"])
    def test_an_id_that_no_run_can_have_is_refused(self, store: MetadataStore, name: str) -> None:
        for act in (
            lambda: store.runs.get(name),
            lambda: store.runs.list(after=name),
            lambda: store.runs.list(case=name),
            lambda: store.runs.report(name, 1, {}),
            lambda: store.runs.finish(name, 1, RunState.COMPLETED, status={}),
            lambda: store.runs.amend(name, cancel=True),
            lambda: store.runs.claim(name, "me"),
        ):
            with pytest.raises(InvalidInput):
                act()


def at_once(act: Callable[[], object]) -> list[str]:
    """Let two threads do the same; return how each ended."""
    with ThreadPoolExecutor(2) as pool:
        return [future.result() for future in [pool.submit(outcome, act) for _ in range(2)]]


def outcome(act: Callable[[], object]) -> str:
    """Do it; return how it ended."""
    try:
        act()
    except SightlineError as error:
        return type(error).__name__
    return "done"

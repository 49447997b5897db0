"""What every RunStore promises to those who want something of a run and do not hold it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from sightline.core.errors import Conflict, InvalidInput, NotFound
from sightline.core.run import Run, RunState
from sightline.core.stores import MetadataStore
from sightline.testing.contracts.run_store import PASSED, at_once, outcome, run_event

_WISHES: tuple[dict[str, Any], ...] = ({"spec": {}}, {"cancel": True}, {})


class RunWishesContract(ABC):
    """Part of MetadataStoreContract."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> MetadataStore:
        """Return an empty store."""

    def test_what_is_wanted_of_a_run_is_written_under_a_new_revision(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street", spec={"sources": {"door": {}}}), worker="me")
        changed = store.runs.amend(run.id, revision=1, spec={"sources": {"yard": {}}})
        assert changed == replace(run, spec={"sources": {"yard": {}}}, revision=2)
        assert store.runs.get(run.id) == changed
        assert store.runs.report(run.id, run.token, {"frames": 1}).revision == 2
        assert store.runs.amend(run.id, spec={}).revision == 3

    def test_who_has_seen_an_older_revision_writes_nothing(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me")
        changed = store.runs.amend(run.id, revision=1, spec={"zones": []})
        for wish in _WISHES:
            with pytest.raises(Conflict, match="revision 2, not 1"):
                store.runs.amend(run.id, revision=1, events=[run_event(run)], **wish)
        with pytest.raises(InvalidInput, match="revision"):
            store.runs.amend(run.id, revision=1 << 63, spec={})
        assert store.runs.get(run.id) == changed
        assert store.events.list() == []

    def test_asking_for_nothing_changes_nothing(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me")
        assert store.runs.amend(run.id) == store.runs.amend(run.id, revision=1) == run

    def test_a_run_that_somebody_holds_ends_when_its_holder_sees_the_wish(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me")
        wish = run_event(run, "run.seen")
        cancelling = store.runs.amend(run.id, cancel=True, events=[wish])
        assert cancelling == replace(run, cancelling=True)
        assert store.runs.amend(run.id, cancel=True) == cancelling
        assert store.runs.report(run.id, run.token, {"frames": 1}).cancelling
        ended = store.runs.finish(run.id, run.token, RunState.CANCELLED, status={"frames": 1})
        assert (ended.state, ended.cancelling) == (RunState.CANCELLED, False)
        assert [event.id for _, event in store.events.list()] == [wish.id]

    def test_a_run_that_nobody_holds_is_cancelled_at_once(self, store: MetadataStore) -> None:
        waiting = store.runs.create(Run(case="street"))
        left = store.runs.create(Run(case="street", restart="always"), worker="me", lease=PASSED)
        for run in (waiting, left):
            ended = store.runs.amend(run.id, cancel=True)
            assert ended.finished is not None
            assert ended == replace(
                run, state=RunState.CANCELLED, finished=ended.finished, worker=None, lease_until=None
            )
            assert store.runs.get(run.id) == ended
        with pytest.raises(Conflict, match="over"):
            store.runs.report(left.id, left.token, {})

    def test_a_run_can_be_changed_and_cancelled_in_one_go(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"))
        ended = store.runs.amend(run.id, spec={"zones": []}, cancel=True)
        assert (ended.spec, ended.revision, ended.state) == ({"zones": []}, 2, RunState.CANCELLED)

    def test_a_dead_run_that_was_to_be_cancelled_is_not_cancelling_any_more(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me")
        store.runs.amend(run.id, cancel=True)
        store.runs.report(run.id, run.token, {}, lease=PASSED)
        [failed] = store.runs.expire()
        assert (failed.state, failed.cancelling) == (RunState.FAILED, False)

    def test_nothing_can_be_wanted_of_a_run_that_is_over(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me")
        ended = store.runs.finish(run.id, 1, RunState.COMPLETED, status={})
        for wish in _WISHES:
            with pytest.raises(Conflict, match="over: completed"):
                store.runs.amend(run.id, events=[run_event(run)], **wish)
        assert store.runs.get(run.id) == ended
        assert store.events.list() == []

    def test_wanting_something_of_an_absent_run_says_which(self, store: MetadataStore) -> None:
        with pytest.raises(NotFound, match="nobody"):
            store.runs.amend("nobody", cancel=True)

    def test_of_two_that_write_over_one_revision_one_wins(self, store: MetadataStore) -> None:
        run = store.runs.create(Run(case="street"), worker="me")
        for revision in range(1, 21):

            def change(revision: int = revision) -> None:
                store.runs.amend(run.id, revision=revision, spec={"of": revision}, events=[run_event(run)])

            assert sorted(at_once(change)) == ["Conflict", "done"]
        assert store.runs.get(run.id).revision == 21
        assert len(store.events.list()) == 20

    def test_of_the_holder_that_ends_a_run_and_one_that_changes_it_none_undoes_the_other(
        self, store: MetadataStore
    ) -> None:
        for _ in range(10):
            run = store.runs.create(Run(case="street"), worker="me")
            with ThreadPoolExecutor(2) as pool:
                ended = pool.submit(store.runs.finish, run.id, 1, RunState.COMPLETED, status={"frames": 9})
                wish = pool.submit(outcome, partial(store.runs.amend, run.id, spec={"zones": []}, cancel=True))
                ended.result()
            found = store.runs.get(run.id)
            assert (found.state, found.status, found.cancelling) == (RunState.COMPLETED, {"frames": 9}, False)
            assert (found.revision, wish.result()) in {(1, "Conflict"), (2, "done")}

"""What every MetadataStore forgets, and what it keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sightline.core.errors import InvalidInput, NotFound
from sightline.core.run import Run, RunState
from sightline.core.sample import Clocks
from sightline.core.stores import MetadataStore
from sightline.testing.contracts.event_store import line_event
from sightline.testing.contracts.request_store import make_request
from sightline.testing.contracts.samples import seen_sample

_PAST = datetime(2020, 1, 1, tzinfo=UTC)


def soon() -> datetime:
    """Return a time before which everything was recorded."""
    return datetime.now(UTC) + timedelta(days=1)


class ForgetContract(ABC):
    """Part of MetadataStoreContract."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> MetadataStore:
        """Return an empty store."""

    def test_requests_are_forgotten_by_their_time_the_oldest_first(self, store: MetadataStore) -> None:
        rows = [make_request(number) for number in (3, 0, 2, 1, 4)]
        store.requests.record(rows)
        assert store.forget("requests", make_request(4).time, most=2) == 2
        assert [row.id[-1] for _, row in store.requests.list()] == ["4", "2", "3"]
        assert store.forget("requests", make_request(4).time, most=1000) == 2
        assert store.forget("requests", make_request(4).time) == 0
        assert [row for _, row in store.requests.list()] == [make_request(4)]

    def test_predictions_are_forgotten_in_pieces(self, store: MetadataStore) -> None:
        store.predictions.record("r1", "street", [seen_sample(seq) for seq in range(5)])
        assert store.forget("predictions", soon(), most=3) == 3
        assert [row["seq"] for _, row in store.predictions.list()] == [3, 4]
        assert store.forget("predictions", soon(), most=3) == 2
        assert store.predictions.list() == []

    def test_no_position_is_given_twice(self, store: MetadataStore) -> None:
        store.predictions.record("r1", "street", [seen_sample(seq) for seq in range(5)])
        last = store.predictions.list()[-1][0]
        assert store.forget("predictions", soon()) == 5
        store.predictions.record("r1", "street", [seen_sample(9)])
        assert [row["seq"] for _, row in store.predictions.list(after=last)] == [9]

    def test_events_are_forgotten_but_for_the_newest(self, store: MetadataStore) -> None:
        events = [line_event(number=number) for number in range(5)]
        store.events.append(events)
        newest = store.events.position()
        assert store.forget("events", soon(), most=3) == 3
        assert [event.data["number"] for _, event in store.events.list()] == [3, 4]
        assert store.forget("events", soon()) == 1
        assert store.forget("events", soon()) == 0
        assert store.events.position() == newest == store.events.position(events[-1].id)
        assert store.events.position(events[0].id) is None

    def test_a_reader_that_follows_goes_on_behind_what_was_forgotten(self, store: MetadataStore) -> None:
        store.events.append([line_event(number=number) for number in range(3)])
        [*_, (after, _)] = store.events.list()
        store.forget("events", soon())
        assert store.events.list(after=after) == []
        store.events.append([line_event(number=3)])
        store.forget("events", soon())
        [(position, event)] = store.events.list(after=after)
        assert event.data["number"] == 3
        assert position == store.events.position()
        assert position > after

    def test_what_was_just_recorded_of_long_ago_stays(self, store: MetadataStore) -> None:
        before = datetime.now(UTC) - timedelta(days=1)
        store.events.append([replace(line_event(number=number), time=_PAST) for number in range(3)])
        long_ago = replace(seen_sample(), clocks=Clocks(pts_s=0.0, monotonic_s=1.0, wall=_PAST))
        store.predictions.record("r1", "street", [long_ago])
        store.runs.finish(store.runs.create(Run(case="street"), worker="me").id, 1, RunState.COMPLETED, status={})
        assert [store.forget(what, before) for what in ("events", "predictions", "runs")] == [0, 0, 0]
        assert (len(store.events.list()), len(store.predictions.list()), len(store.runs.list())) == (3, 1, 1)

    def test_of_runs_only_those_that_are_over_are_forgotten(self, store: MetadataStore) -> None:
        over = [store.runs.create(Run(case="street"), worker="me") for _ in range(3)]
        going, waiting = store.runs.create(Run(case="street"), worker="me"), store.runs.create(Run(case="street"))
        for run in over:
            store.runs.finish(run.id, 1, RunState.COMPLETED, status={})
        assert store.forget("runs", soon(), most=2) == 2
        assert [run.id for run in store.runs.list()] == [waiting.id, going.id, over[2].id]
        with pytest.raises(NotFound):
            store.runs.get(over[0].id)
        assert store.forget("runs", soon()) == 1
        assert [run.id for run in store.runs.list()] == [waiting.id, going.id]

    @pytest.mark.parametrize(
        ("what", "others"),
        [
            ("keys", {"before": _PAST}),
            ("runs", {"before": datetime(2020, 1, 1)}),  # noqa: DTZ001 - what is refused
            ("runs", {"before": _PAST, "most": 0}),
        ],
    )
    def test_what_cannot_be_forgotten_is_refused(self, store: MetadataStore, what: Any, others: Any) -> None:
        with pytest.raises(InvalidInput):
            store.forget(what, **others)

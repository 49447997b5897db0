"""What every ScheduleStore promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta

import pytest

from sightline.core.errors import NotFound
from sightline.core.jobs import Schedule
from sightline.core.stores import MetadataStore

LONG_AGO = datetime(2024, 2, 29, 3, 30, tzinfo=UTC)


def nightly(name: str = "nightly", due: datetime | None = LONG_AGO, **fields: object) -> Schedule:
    """Return a schedule."""
    return Schedule(name=name, case="scan", cron="30 3 * * *", due=due, **fields)  # type: ignore[arg-type]


class ScheduleStoreContract(ABC):
    """Part of MetadataStoreContract."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> MetadataStore:
        """Return an empty store."""

    def test_a_schedule_comes_back_as_it_was_put(self, store: MetadataStore) -> None:
        put = store.schedules.put(nightly(spec={"object": "a.nii"}, metadata={"who": "Бухта"}, priority=-2))
        assert (put.case, put.cron, put.spec, put.metadata) == (
            "scan",
            "30 3 * * *",
            {"object": "a.nii"},
            {"who": "Бухта"},
        )
        assert (put.priority, put.due) == (-2, LONG_AGO)
        assert put.created is not None
        assert store.schedules.list() == [put]

    def test_a_schedule_takes_the_place_of_the_one_of_its_name(self, store: MetadataStore) -> None:
        store.schedules.put(nightly("b"))
        store.schedules.put(nightly("a"))
        store.schedules.put(nightly("b", priority=7))
        assert [(each.name, each.priority) for each in store.schedules.list()] == [("a", 0), ("b", 7)]

    def test_a_removed_schedule_is_gone(self, store: MetadataStore) -> None:
        store.schedules.put(nightly())
        store.schedules.remove("nightly")
        assert store.schedules.list() == []
        with pytest.raises(NotFound, match="nightly"):
            store.schedules.remove("nightly")

    def test_a_schedule_is_due_when_its_time_has_come(self, store: MetadataStore) -> None:
        store.schedules.put(nightly("past"))
        store.schedules.put(nightly("coming", datetime(2124, 1, 1, tzinfo=UTC)))
        store.schedules.put(nightly("never", None))
        [(found, now)] = store.schedules.due()
        assert found.name == "past"
        assert abs(now - datetime.now(UTC)) < timedelta(minutes=5)

    def test_of_two_that_move_a_schedule_on_one_does(self, store: MetadataStore) -> None:
        store.schedules.put(nightly())
        tomorrow = datetime(2124, 1, 1, tzinfo=UTC)
        assert store.schedules.move("nightly", LONG_AGO, tomorrow)
        assert not store.schedules.move("nightly", LONG_AGO, tomorrow)
        assert not store.schedules.move("nobody", LONG_AGO, tomorrow)
        assert store.schedules.list()[0].due == tomorrow
        assert store.schedules.due() == []

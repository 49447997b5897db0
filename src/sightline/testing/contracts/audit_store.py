"""What every AuditStore promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sightline.core.audit import FIRST, AuditEntry, Verdict, hash_of, verify
from sightline.core.errors import InvalidInput
from sightline.core.stores import MetadataStore


def make_entry(number: int = 0, **others: Any) -> AuditEntry:
    """Return an entry, one millisecond after the one before it."""
    entry = AuditEntry(
        time=datetime(2026, 11, 20, 12, tzinfo=UTC) + timedelta(milliseconds=number),
        caller="sk_laptop",
        project="yard",
        method="DELETE",
        route="/api/v1/runs/{id}",
        path=f"/api/v1/runs/{number}",
        status=204,
        request=f"request-{number}",
    )
    return replace(entry, **others)


class AuditStoreContract(ABC):
    """Part of MetadataStoreContract."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> MetadataStore:
        """Return an empty store."""

    def test_audit_lines_follow_one_another_and_come_back_as_they_were_written(self, store: MetadataStore) -> None:
        east = datetime(2026, 11, 20, 15, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=3)))
        written = store.audit.append([make_entry(1), make_entry(2, time=east, caller="Ольга", path="", request="")])
        written = [*written, *store.audit.append([make_entry(3)])]

        assert [line.number for line in written] == [1, 2, 3]
        assert [line.previous for line in written] == [FIRST, written[0].hash, written[1].hash]
        assert all(line.hash == hash_of(line.number, line.entry, line.previous) for line in written)
        assert list(store.audit.walk()) == written
        assert written[1].entry.time == east
        assert store.audit.end() == (3, written[-1].hash)
        assert verify(store.audit) == Verdict(3, written[-1].hash)

    def test_an_empty_audit_chain_is_whole(self, store: MetadataStore) -> None:
        assert store.audit.append([]) == []
        assert verify(store.audit) == Verdict(0, FIRST)
        assert store.audit.list() == list(store.audit.walk()) == []

    def test_audit_lines_are_listed_the_newest_first_page_by_page_and_by_caller(self, store: MetadataStore) -> None:
        store.audit.append([make_entry(number, caller=f"sk_{number % 2}") for number in range(5)])
        first = store.audit.list(limit=3)
        rest = store.audit.list(before=first[-1].number, limit=3)
        assert [line.number for line in (*first, *rest)] == [5, 4, 3, 2, 1]
        assert [line.number for line in store.audit.list(caller="sk_1")] == [4, 2]

    def test_a_long_audit_chain_is_walked_in_pages(self, store: MetadataStore) -> None:
        for _ in range(3):
            store.audit.append([make_entry(number) for number in range(700)])
        assert verify(store.audit).num_lines == 2100

    def test_of_audit_entries_that_cannot_all_be_kept_none_is(self, store: MetadataStore) -> None:
        for bad in (make_entry(caller=""), make_entry(path="/" + "x" * 600), make_entry(time=datetime(2026, 1, 1))):  # noqa: DTZ001
            with pytest.raises(InvalidInput):
                store.audit.append([make_entry(), bad])
        assert store.audit.end() == (0, FIRST)
        assert store.audit.list() == []

    def test_old_audit_lines_go_and_the_chain_stays_whole(self, store: MetadataStore) -> None:
        written = store.audit.append([make_entry(number) for number in range(10)])
        before = written[7].entry.time
        assert store.forget("audit", before, most=4) == 4
        assert store.audit.begin() == (4, written[3].hash)
        assert store.forget("audit", before, most=4) == 3
        assert store.forget("audit", before, most=4) == 0
        store.audit.append([make_entry(11)])

        lines = list(store.audit.walk())
        assert [line.number for line in lines] == [8, 9, 10, 11, 12, 13]
        assert [line.entry.path for line in lines[3:5]] == [f"1-4:{written[3].hash}", f"1-7:{written[6].hash}"]
        assert verify(store.audit) == Verdict(13, lines[-1].hash, first=8)

    def test_the_last_audit_line_never_goes(self, store: MetadataStore) -> None:
        later = datetime(2100, 1, 1, tzinfo=UTC)
        assert store.forget("audit", later) == 0
        store.audit.append([make_entry(number) for number in range(3)])
        assert store.forget("audit", later) == 2
        assert [line.number for line in store.audit.walk()] == [3, 4]
        assert verify(store.audit).broken is None

    def test_many_who_append_at_once_make_one_audit_chain(self, store: MetadataStore) -> None:
        def append(number: int) -> None:
            for _ in range(5):
                store.audit.append([make_entry(number), make_entry(number)])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(append, range(8)))
        assert verify(store.audit).num_lines == 80
        assert verify(store.audit).broken is None

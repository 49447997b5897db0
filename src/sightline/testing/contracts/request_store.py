"""What every RequestStore promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sightline.core.access import RequestRow
from sightline.core.errors import InvalidInput
from sightline.core.stores import MetadataStore


def make_request(number: int = 0, **others: Any) -> RequestRow:
    """Return a row of the request log, one millisecond after the one before it."""
    row = RequestRow(
        time=datetime(2026, 11, 20, 12, tzinfo=UTC) + timedelta(milliseconds=number),
        id=f"request-{number}",
        method="POST",
        route="/v2/models/{name}/infer",
        model="people@3",
        case="street",
        caller="sk_laptop",
        status=200,
        latency_ms=5.125,
        bytes_in=602_112,
        bytes_out=4_096,
    )
    return replace(row, **others)


class RequestStoreContract(ABC):
    """Part of MetadataStoreContract."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> MetadataStore:
        """Return an empty store."""

    def test_requests_come_back_as_they_were_recorded_the_newest_first(self, store: MetadataStore) -> None:
        plain = RequestRow(time=make_request().time, id="r", method="GET", route="/livez", status=204, latency_ms=0.0)
        store.requests.record([plain, make_request(1)])
        store.requests.record([make_request(2)])
        found = store.requests.list()
        assert [row for _, row in found] == [make_request(2), make_request(1), plain]
        positions = [position for position, _ in found]
        assert positions == sorted(set(positions), reverse=True)

    def test_requests_are_listed_page_by_page(self, store: MetadataStore) -> None:
        store.requests.record([make_request(number) for number in range(5)])
        first = store.requests.list(limit=2)
        second = store.requests.list(limit=2, before=first[-1][0])
        third = store.requests.list(limit=2, before=second[-1][0])
        assert [row.id for _, row in (*first, *second, *third)] == [f"request-{n}" for n in (4, 3, 2, 1, 0)]
        assert store.requests.list(before=third[-1][0]) == []
        assert store.requests.list(before=0, limit=2) == first

    def test_requests_are_found_by_route_caller_and_status(self, store: MetadataStore) -> None:
        store.requests.record(
            [
                make_request(0),
                make_request(1, route="/predict", status=422),
                make_request(2, caller="sk_phone", status=503),
                make_request(3, route="/predict", caller="sk_phone"),
            ]
        )
        found: list[list[str]] = [
            [row.id[-1] for _, row in rows]
            for rows in (
                store.requests.list(route="/predict"),
                store.requests.list(caller="sk_phone"),
                store.requests.list(least_status=422),
                store.requests.list(least_status=500),
                store.requests.list(route="/predict", caller="sk_phone", least_status=200),
            )
        ]
        assert found == [["3", "1"], ["3", "2"], ["2", "1"], ["2"], ["3"]]

    def test_requests_are_found_by_each_model_that_ran(self, store: MetadataStore) -> None:
        ran = ["people@3", "faces@1,people@31", "people@3,faces@1", "many-people@3", "People@3", "", "peo_le@3"]
        store.requests.record([make_request(number, model=models) for number, models in enumerate(ran)])

        def found(model: str) -> list[int]:
            return sorted(int(row.id[-1]) for _, row in store.requests.list(model=model))

        assert found("people@3") == [0, 2]
        assert found("people") == [0, 1, 2]
        assert found("faces@1") == [1, 2]
        assert found("peo_le") == [6]
        assert found("people@") == []
        assert found("") == []

    def test_an_id_may_come_twice(self, store: MetadataStore) -> None:
        store.requests.record([make_request(), make_request()])
        assert len(store.requests.list()) == 2

    def test_many_requests_are_recorded_at_once(self, store: MetadataStore) -> None:
        store.requests.record([make_request(number) for number in range(5000)])
        found = store.requests.list(limit=6000)
        assert [row.id for _, row in found] == [f"request-{number}" for number in range(4999, -1, -1)]

    def test_recording_no_request_is_no_error(self, store: MetadataStore) -> None:
        store.requests.record([])
        assert store.requests.list() == []

    @pytest.mark.parametrize(
        "others",
        [
            *({name: text} for name in ("id", "method", "route") for text in ("", "nul\0", "half \ud83d", "a" * 600)),
            *({name: text} for name in ("model", "case", "caller") for text in ("nul\0", "half \ud83d", "a" * 600)),
            {"time": datetime(2026, 11, 20)},  # noqa: DTZ001 - what is refused
            {"status": 0},
            {"status": 1000},
            {"latency_ms": float("nan")},
            {"latency_ms": float("inf")},
            {"latency_ms": -1.0},
            {"bytes_in": -1},
            {"bytes_out": 1 << 63},
        ],
        ids=lambda others: "-".join(f"{name}={str(value)[:8]!a}" for name, value in others.items()),
    )
    def test_of_requests_that_cannot_all_be_kept_none_is(self, store: MetadataStore, others: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput):
            store.requests.record([make_request(0), make_request(1, **others), make_request(2)])
        assert store.requests.list() == []

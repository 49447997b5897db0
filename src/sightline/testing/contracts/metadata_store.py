"""What every MetadataStore promises: its parts, and that they share one memory."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from sightline.core.codec import encode_sample
from sightline.core.errors import InvalidInput, Unavailable
from sightline.core.prediction import Rejected
from sightline.core.run import Run
from sightline.core.stores import MetadataStore
from sightline.testing.contracts.audit_store import AuditStoreContract
from sightline.testing.contracts.delivery_store import DeliveryStoreContract
from sightline.testing.contracts.event_store import EventStoreContract, line_event
from sightline.testing.contracts.forgetting import ForgetContract
from sightline.testing.contracts.job_store import JobStoreContract
from sightline.testing.contracts.key_store import KeyStoreContract
from sightline.testing.contracts.model_store import ModelStoreContract
from sightline.testing.contracts.request_store import RequestStoreContract
from sightline.testing.contracts.run_store import RunStoreContract
from sightline.testing.contracts.run_wishes import RunWishesContract
from sightline.testing.contracts.samples import seen_sample
from sightline.testing.contracts.schedule_store import ScheduleStoreContract

__all__ = ["MetadataStoreContract", "line_event", "seen_sample"]


class MetadataStoreContract(
    RunStoreContract,
    RunWishesContract,
    JobStoreContract,
    ScheduleStoreContract,
    ModelStoreContract,
    EventStoreContract,
    DeliveryStoreContract,
    KeyStoreContract,
    RequestStoreContract,
    AuditStoreContract,
    ForgetContract,
):
    """Inherit, provide a `store` fixture that returns an empty store, and run pytest."""

    def test_a_sample_is_recorded_in_its_wire_form(self, store: MetadataStore) -> None:
        rejected = seen_sample(1).with_rejection(Rejected(stage="validation", by="usable", kind="dark", reason="dark"))
        store.predictions.record("r1", "street", [seen_sample(0), rejected])
        rows = [row for _, row in store.predictions.list()]
        assert rows == [encode_sample(seen_sample(0), "street"), encode_sample(rejected, "street")]
        assert list(rows[0]["predictions"]) == ["people", "brightness"]

    def test_predictions_are_found_by_run_case_and_source(self, store: MetadataStore) -> None:
        store.predictions.record("r1", "street", [seen_sample(0), seen_sample(0, "yard")])
        store.predictions.record("r2", "street", [seen_sample(1)])
        store.predictions.record("r3", "lab", [seen_sample(2)])
        found: list[list[Any]] = [
            [row["id"] for _, row in rows]
            for rows in (
                store.predictions.list(run_id="r1"),
                store.predictions.list(case="street"),
                store.predictions.list(source="door"),
                store.predictions.list(run_id="r1", source="yard"),
            )
        ]
        assert found == [
            ["door/1/0", "yard/1/0"],
            ["door/1/0", "yard/1/0", "door/1/1"],
            ["door/1/0", "door/1/1", "door/1/2"],
            ["yard/1/0"],
        ]

    def test_predictions_are_read_on_from_a_position(self, store: MetadataStore) -> None:
        store.predictions.record("r1", "street", [seen_sample(seq) for seq in range(5)])
        first = store.predictions.list(limit=3)
        rest = store.predictions.list(after=first[-1][0], limit=3)
        assert [row["seq"] for _, row in (*first, *rest)] == [0, 1, 2, 3, 4]

    def test_of_samples_that_cannot_all_be_kept_none_is(self, store: MetadataStore) -> None:
        with pytest.raises(InvalidInput):
            store.predictions.record("r1", "street", [seen_sample(0), seen_sample(1).with_metadata({"x": object()})])
        store.predictions.record("r1", "street", [])
        assert store.predictions.list() == []

    def test_metadata_may_be_any_mapping(self, store: MetadataStore) -> None:
        nested = MappingProxyType({"zone": MappingProxyType({"points": (1, 2)})})
        store.predictions.record("r1", "street", [seen_sample().with_metadata(nested)])
        [(_, row)] = store.predictions.list()
        assert row["metadata"]["zone"] == {"points": [1, 2]}

    @pytest.mark.parametrize("name", ["", "a" * 5000, "nul\0"])
    def test_names_that_cannot_be_kept_are_refused(self, store: MetadataStore, name: str) -> None:
        with pytest.raises(InvalidInput):
            store.runs.create(Run(case=name))
        with pytest.raises(InvalidInput):
            store.runs.create(Run(case="street", id=name))
        with pytest.raises(InvalidInput):
            store.events.append([replace(line_event(), source=name)])
        with pytest.raises(InvalidInput):
            store.predictions.record("r1", "street", [seen_sample(0, name)])

    def test_text_of_every_language_is_kept(self, store: MetadataStore) -> None:
        text = "Чайка 🐦 \u0000 \\u0000 'quoted' %s :name"
        store.predictions.record("r1", "street", [seen_sample().with_metadata({"note": text})])
        [(_, row)] = store.predictions.list()
        assert row["metadata"]["note"] == text

    def test_a_limit_under_one_is_refused(self, store: MetadataStore) -> None:
        for listing in (store.runs.list, store.events.list, store.predictions.list, store.requests.list):
            with pytest.raises(InvalidInput, match="limit"):
                listing(limit=0)

    def test_a_store_is_closed_twice_and_then_gives_nothing(self, store: MetadataStore) -> None:
        store.close()
        store.close()
        with pytest.raises(Unavailable, match="closed"):
            store.runs.list()

"""What every MetadataStore promises: its parts, and that they share one memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from sightline.core.codec import encode_event, encode_sample
from sightline.core.errors import InvalidInput, Unavailable
from sightline.core.events import Event, make_event
from sightline.core.prediction import Boxes, Rejected, Scalar
from sightline.core.run import Run
from sightline.core.sample import Clocks, Frame, Sample
from sightline.core.stores import MetadataStore
from sightline.testing.contracts.model_store import ModelStoreContract
from sightline.testing.contracts.run_store import RunStoreContract

NOON = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)


def line_event(source: str = "/cases/street/sources/door", short_type: str = "line.crossed", number: int = 0) -> Event:
    """Return an event of a camera."""
    return make_event(short_type, source=source, time=NOON, data={"number": number}, subject="track/7")


def seen_sample(seq: int = 0, source: str = "door") -> Sample[Frame]:
    """Return a frame with predictions."""
    people = Boxes(
        xyxy=np.array([[1, 2, 30.25, 40.5]], np.float32),
        confidence=np.array([0.875], np.float32),
        class_id=np.array([0]),
        class_name=("person",),
    )
    return Sample(
        payload=Frame(np.zeros((4, 6, 3), np.uint8)),
        source=source,
        seq=seq,
        clocks=Clocks(pts_s=seq / 25, monotonic_s=1.0, wall=NOON + timedelta(seconds=seq / 25)),
        metadata={"place": "lab"},
        predictions={"people": people, "brightness": Scalar(name="brightness", value=96.0)},
    )


class MetadataStoreContract(RunStoreContract, ModelStoreContract):
    """Inherit, provide a `store` fixture that returns an empty store, and run pytest."""

    def test_an_event_comes_back_as_it_was_appended(self, store: MetadataStore) -> None:
        event = line_event()
        store.events.append([event])
        [(position, found)] = store.events.list()
        assert position > 0
        assert encode_event(found) == encode_event(event)

    def test_events_are_listed_in_the_order_of_their_appending(self, store: MetadataStore) -> None:
        events = [line_event(number=number) for number in range(5)]
        store.events.append(events[:3])
        store.events.append(events[3:])
        found = store.events.list()
        assert [event.id for _, event in found] == [event.id for event in events]
        positions = [position for position, _ in found]
        assert positions == sorted(set(positions))

    def test_events_are_read_on_from_a_position(self, store: MetadataStore) -> None:
        events = [line_event(number=number) for number in range(5)]
        store.events.append(events)
        first = store.events.list(limit=2)
        rest = store.events.list(after=first[-1][0])
        assert [event.id for _, event in (*first, *rest)] == [event.id for event in events]
        assert store.events.list(after=rest[-1][0]) == []

    def test_events_are_found_by_type(self, store: MetadataStore) -> None:
        for short_type in ("line.crossed", "zone.left", "run.failed"):
            store.events.append([line_event(short_type=short_type)])
        found = store.events.list(types=["line.crossed", "run.failed"])
        assert [event.short_type for _, event in found] == ["line.crossed", "run.failed"]

    def test_events_are_found_by_the_begin_of_their_source(self, store: MetadataStore) -> None:
        sources = ["/cases/a_b/sources/x", "/cases/a_b", "/cases/aXb", "/cases/A_b", "/models/a_b"]
        store.events.append([line_event(source) for source in sources])
        assert [event.source for _, event in store.events.list(source="/cases/a_b")] == sources[:2]

    def test_an_event_that_is_known_is_passed_over(self, store: MetadataStore) -> None:
        event, other = line_event(number=1), line_event(number=2)
        store.events.append([event])
        store.events.append([event, other])
        assert [found.id for _, found in store.events.list()] == [event.id, other.id]

    def test_of_events_that_cannot_all_be_kept_none_is(self, store: MetadataStore) -> None:
        broken = replace(line_event(), data={"value": object()})
        with pytest.raises(InvalidInput, match="JSON"):
            store.events.append([line_event(), broken])
        assert store.events.list() == []

    def test_appending_nothing_is_no_error(self, store: MetadataStore) -> None:
        store.events.append([])
        assert store.events.list() == []

    def test_a_reader_that_follows_misses_no_event(self, store: MetadataStore) -> None:
        num_each = 40

        def write(writer: int) -> None:
            for number in range(num_each):
                run = Run(case="street", id=f"{writer}-{number}")
                store.runs.create(run, events=[line_event(number=number)])

        seen: list[str] = []
        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write, writer) for writer in range(4)]
            after = 0
            while True:
                over = all(writer.done() for writer in writers)
                page = store.events.list(after=after, limit=7)
                after = page[-1][0] if page else after
                seen.extend(event.id for _, event in page)
                if over and not page:
                    break
            for writer in writers:
                writer.result()
        assert len(seen) == 4 * num_each
        assert seen == [event.id for _, event in store.events.list(limit=1000)]

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
        for listing in (store.runs.list, store.events.list, store.predictions.list):
            with pytest.raises(InvalidInput, match="limit"):
                listing(limit=0)

    def test_a_store_is_closed_twice_and_then_gives_nothing(self, store: MetadataStore) -> None:
        store.close()
        store.close()
        with pytest.raises(Unavailable, match="closed"):
            store.runs.list()

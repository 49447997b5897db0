"""What every EventStore promises."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sightline.core.codec import encode_event
from sightline.core.errors import InvalidInput
from sightline.core.events import Event, make_event
from sightline.core.run import Run
from sightline.core.stores import MetadataStore

NOON = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
_BEYOND = 1 << 63  # one more than a database counts


def line_event(source: str = "/cases/street/sources/door", short_type: str = "line.crossed", number: int = 0) -> Event:
    """Return an event of a camera."""
    return make_event(short_type, source=source, time=NOON, data={"number": number}, subject="track/7")


class EventStoreContract(ABC):
    """Part of MetadataStoreContract."""

    @abstractmethod
    @pytest.fixture
    def store(self) -> MetadataStore:
        """Return an empty store."""

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

    def test_events_are_found_by_the_family_of_their_type(self, store: MetadataStore) -> None:
        types = ("zone.left", "zone.entered", "zoned", "zone", "line.crossed", "run.failed")
        store.events.append([line_event(short_type=short_type) for short_type in types])
        found = store.events.list(types=["zone.*", "run.failed"])
        assert [event.short_type for _, event in found] == ["zone.left", "zone.entered", "run.failed"]

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
                time.sleep(0.001)  # a reader that never rests keeps the interpreter from the writers
            for writer in writers:
                writer.result()
        assert len(seen) == 4 * num_each
        assert seen == [event.id for _, event in store.events.list(limit=1000)]

    def test_the_newest_events_come_first_where_a_reader_goes_back(self, store: MetadataStore) -> None:
        events = [line_event(number=number) for number in range(5)]
        store.events.append(events)
        first = store.events.list(before=0, limit=2)
        rest = store.events.list(before=first[-1][0])
        assert [event.id for _, event in (*first, *rest)] == [event.id for event in events[::-1]]
        assert store.events.list(before=rest[-1][0]) == []
        between = store.events.list(after=rest[-1][0], before=first[0][0])
        assert [event.data["number"] for _, event in between] == [3, 2, 1]

    def test_events_are_found_by_subject(self, store: MetadataStore) -> None:
        subjects = ["track/7", "track/70", None, "Track/7", "", "track/7"]
        store.events.append([replace(line_event(number=n), subject=each) for n, each in enumerate(subjects)])
        found = store.events.list(subject="track/7")
        assert [event.data["number"] for _, event in found] == [0, 5]
        assert [event.subject for _, event in store.events.list()] == subjects
        several = store.events.list(subject=["track/70", "track/7", "track/8"])
        assert [event.data["number"] for _, event in several] == [0, 1, 5]
        assert store.events.list(subject=[]) == []

    def test_events_are_found_by_time_from_since_until_before_until(self, store: MetadataStore) -> None:
        hours = [3, 1, 2, 4]
        store.events.append([replace(line_event(number=n), time=NOON + timedelta(hours=n)) for n in hours])

        def found(**bounds: Any) -> list[int]:
            return [event.data["number"] for _, event in store.events.list(**bounds)]

        there = timezone(timedelta(hours=-5))  # the zone in which somebody asks does not matter
        two, four = NOON + timedelta(hours=2), (NOON + timedelta(hours=4)).astimezone(there)
        assert found(since=two) == [3, 2, 4]
        assert found(until=four) == [3, 1, 2]
        assert found(since=two, until=four) == [3, 2]
        assert found(since=two, until=four, before=0) == [2, 3]
        assert found(since=four, until=two) == []

    def test_all_that_is_asked_for_holds_at_once(self, store: MetadataStore) -> None:
        wanted = line_event()
        others = [
            line_event(short_type="zone.left"),
            line_event("/cases/yard"),
            replace(line_event(), subject="track/8"),
            replace(line_event(), time=NOON - timedelta(microseconds=1)),
            replace(line_event(), time=NOON + timedelta(microseconds=1)),
        ]
        store.events.append([wanted, *others])
        found = store.events.list(
            types=["line.crossed"],
            source="/cases/street",
            subject="track/7",
            since=NOON,
            until=NOON + timedelta(microseconds=1),
            before=0,
        )
        assert [event.id for _, event in found] == [wanted.id]

    def test_a_position_is_the_one_that_a_list_shows(self, store: MetadataStore) -> None:
        assert store.events.position() == 0
        events = [line_event(number=number) for number in range(3)]
        store.events.append(events)
        listed = {event.id: position for position, event in store.events.list()}
        assert {event.id: store.events.position(event.id) for event in events} == listed
        assert store.events.position() == max(listed.values())
        assert store.events.position("nobody") is None

    @pytest.mark.parametrize("name", ["nul\0", "half \ud83d", "a" * 5000])
    def test_a_subject_that_cannot_be_kept_is_refused(self, store: MetadataStore, name: str) -> None:
        with pytest.raises(InvalidInput):
            store.events.append([line_event(), replace(line_event(), subject=name)])
        assert store.events.list() == []

    @pytest.mark.parametrize(
        "asked",
        [
            {"subject": "nul\0"},
            {"subject": "half \ud83d"},
            {"source": "nul\0"},
            {"types": ["nul\0"]},
            {"after": -1},
            {"after": _BEYOND},
            {"before": -1},
            {"before": _BEYOND},
            {"since": datetime(2026, 11, 20)},  # noqa: DTZ001 - what is refused
            {"until": datetime(2026, 11, 20)},  # noqa: DTZ001 - what is refused
            {"since": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
        ],
        ids=lambda asked: "-".join(f"{name}={str(value)[:12]!a}" for name, value in asked.items()),
    )
    def test_a_question_that_no_event_answers_is_refused(self, store: MetadataStore, asked: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput):
            store.events.list(**asked)

    def test_the_largest_numbers_are_understood(self, store: MetadataStore) -> None:
        store.events.append([line_event()])
        assert store.events.list(after=_BEYOND - 1) == []
        assert len(store.events.list(before=_BEYOND - 1, limit=1 << 70)) == 1

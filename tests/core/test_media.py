"""Which media of events go, and that nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import pytest

from sightline.core.events import media_key
from sightline.core.media import event_id_of, removal_events, remove_media
from sightline.core.ports import ArtifactStore, Stored

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Shelf(ArtifactStore):
    """A store that knows when a key was put, because it was told; or knows nothing of the kind."""

    def __init__(self, *, knows: bool = True) -> None:
        self.kept: dict[str, tuple[int, datetime]] = {}
        self._knows = knows

    def add(self, event_id: str, suffix: str, num_bytes: int, age: timedelta) -> None:
        self.kept[media_key(NOON - age, event_id, suffix)] = (num_bytes, NOON - age)

    @property
    def names(self) -> list[str]:
        return sorted(key.rpartition("/")[2] for key in self.kept)

    def put(self, key: str, data: BinaryIO | bytes) -> int:
        raise NotImplementedError

    def open(self, key: str) -> BinaryIO:
        raise NotImplementedError

    def size(self, key: str) -> int:
        return self.kept[key][0]

    def list(self, prefix: str = "") -> Iterator[str]:
        yield from sorted(key for key in self.kept if key.startswith(prefix))

    def entries(self, prefix: str = "") -> Iterator[Stored]:
        if not self._knows:
            yield from super().entries(prefix)
            return
        for key in self.list(prefix):
            num_bytes, modified = self.kept[key]
            yield Stored(key=key, num_bytes=num_bytes, modified=modified)

    def delete(self, key: str) -> None:
        del self.kept[key]


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    for number, hours in enumerate((1, 3, 2, 50)):  # ids say nothing of the age
        shelf.add(f"e{number}", ".jpg", 10, timedelta(hours=hours))
        shelf.add(f"e{number}", ".mp4", 90, timedelta(hours=hours))
    return shelf


def test_a_key_has_the_day_of_the_event_in_utc() -> None:
    late = datetime.fromisoformat("2026-11-20T23:30:00-05:00")
    assert media_key(late, "abc", ".mp4") == "events/2026/11/21/abc.mp4"
    assert event_id_of("events/2026/11/21/abc.mp4") == "abc"


def test_what_is_older_goes_and_picture_and_clip_go_together(shelf: Shelf) -> None:
    gone = remove_media(shelf, before=NOON - timedelta(hours=2, minutes=30))
    assert {event_id_of(entry.key) for entry in gone} == {"e1", "e3"}
    assert shelf.names == ["e0.jpg", "e0.mp4", "e2.jpg", "e2.mp4"]


def test_of_too_many_bytes_the_oldest_go_whatever_their_names(shelf: Shelf) -> None:
    remove_media(shelf, most_bytes=250)
    assert shelf.names == ["e0.jpg", "e0.mp4", "e2.jpg", "e2.mp4"]
    assert remove_media(shelf, most_bytes=200) == []


def test_room_is_made_by_the_oldest_but_not_by_what_is_spared(shelf: Shelf) -> None:
    gone = remove_media(shelf, room_bytes=101, spare="e3")
    assert {event_id_of(entry.key) for entry in gone} == {"e1", "e2"}


def test_what_does_not_look_like_media_of_events_stays(shelf: Shelf) -> None:
    others = ["events/notes.txt", "events/2020/01/01/e9.json", "events/2020/01/e9.jpg", "captures/2020/01/01/e9.jpg"]
    for key in others:
        shelf.kept[key] = (1000, NOON - timedelta(days=900))
    remove_media(shelf, before=NOON, most_bytes=0, room_bytes=10_000)
    assert sorted(shelf.kept) == sorted(others)


def test_a_store_that_knows_no_ages_is_cleared_by_the_day_of_the_events() -> None:
    shelf = Shelf(knows=False)
    for event_id, days in (("a", 0), ("b", 2), ("c", 1)):
        shelf.add(event_id, ".jpg", 10, timedelta(days=days))
    shelf.kept["events/9999/99/99/x.jpg"] = (10, NOON)
    remove_media(shelf, most_bytes=20)
    assert shelf.names == ["a.jpg", "x.jpg"]


def test_each_event_is_told_once_that_its_media_are_gone(shelf: Shelf) -> None:
    gone = remove_media(shelf, before=NOON - timedelta(hours=10))
    [event] = removal_events(gone, NOON, "older than 2 days")
    assert (event.short_type, event.subject, event.is_transient) == ("capture.removed", "e3", False)
    assert event.data == {"event": "e3", "bytes": 100, "reason": "older than 2 days"}

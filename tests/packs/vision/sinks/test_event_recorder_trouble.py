"""Media of events where cameras are lost, storages full and runs over: what there is is kept, the rest is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from threading import Event as Flag
from typing import BinaryIO

from tests.packs.vision.sinks.recorder_scene import Make, at, crossing, until

from sightline.core.codec import decode_time, encode_span
from sightline.core.errors import StorageFull, Unavailable
from sightline.core.events import Event, make_event, media_key, source_uri
from sightline.core.plugins import Clip
from sightline.core.ports import ArtifactStore, Stored
from sightline.testing import FakePorts


def state(kind: str, start_s: float, now_s: float) -> Event:
    data = {"run": "r1", "reason": "no answer", **encode_span(at(start_s), None)}
    return make_event(f"source.{kind}", source=source_uri("yard", "door"), time=at(now_s), data=data)


def test_a_lost_camera_has_the_last_picture_and_what_came_before(scene: Make) -> None:
    world = scene()
    world.pictures(20)
    world.camera.cut_s = 20
    event = state("backoff", 20, 22)
    world.ports.bus.publish(event)
    until(lambda: world.sink._waiting)
    world.clock.advance(30)

    stored = world.stored()
    assert stored["event"] == event.id
    assert (decode_time(stored["start"]), decode_time(stored["end"]), stored["lost"]) == (at(15), at(20), None)
    assert world.bytes_at(stored["thumbnail"])


def test_states_of_others_and_of_cameras_that_showed_nothing_have_no_media(scene: Make) -> None:
    world = scene(clip=False)
    world.ports.bus.publish(state("backoff", 1, 1))
    time.sleep(0.3)
    world.pictures(1)
    other = state("backoff", 1, 1)
    world.ports.bus.publish(make_event("source.backoff", source=other.source, time=at(1), data={"run": "r2"}))
    world.ports.bus.publish(state("connecting", 1, 1))
    world.sink.close()
    assert world.told.get(0) is None


class Cupboard(ArtifactStore):
    """Has room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.kept: dict[str, tuple[bytes, datetime]] = {}
        self.error: Exception | None = None

    def put(self, key: str, data: BinaryIO | bytes) -> int:
        if self.error is not None:
            raise self.error
        content = data if isinstance(data, bytes) else data.read()
        used = sum(len(each) for each, _ in self.kept.values())
        if used + len(content) > self.room:
            raise StorageFull("There is no room.")
        self.kept[key] = content, at(len(self.kept))
        return len(content)

    def add(self, name: str, num_bytes: int, age_s: float) -> None:
        self.kept[name] = b"-" * num_bytes, at(-age_s)

    def open(self, key: str) -> BinaryIO:
        raise NotImplementedError

    def size(self, key: str) -> int:
        return len(self.kept[key][0])

    def list(self, prefix: str = "") -> Iterator[str]:
        return (entry.key for entry in self.entries(prefix))

    def entries(self, prefix: str = "") -> Iterator[Stored]:
        for key, (content, modified) in sorted(self.kept.items()):
            if key.startswith(prefix):
                yield Stored(key=key, num_bytes=len(content), modified=modified)

    def delete(self, key: str) -> None:
        del self.kept[key]


def in_cupboard(room: int) -> tuple[FakePorts, Cupboard]:
    ports, cupboard = FakePorts(), Cupboard(room)
    ports.__dict__["artifacts"] = cupboard
    return ports, cupboard


def test_of_a_full_storage_the_oldest_media_go_and_it_is_tried_once_more(scene: Make) -> None:
    ports, cupboard = in_cupboard(10_000)
    cupboard.add("events/2026/01/02/old.mp4", 4000, 500)
    cupboard.add("events/2026/01/02/older.mp4", 4000, 900)
    cupboard.add("models/person/1/model.onnx", 1900, 9000)
    world = scene(ports, thumbnail_px=0)
    world.pictures(20)
    world.camera.clip = big_clip  # type: ignore[method-assign]
    [event] = world.picture(crossing())
    world.pictures(7)

    removed, stored = world.stored(), world.stored()
    assert (removed["event"], removed["reason"]) == ("older", "room for newer ones")
    assert (stored["bytes"], stored["lost"]) == (3000, None)
    assert sorted(cupboard.kept) == [
        "events/2026/01/02/old.mp4",
        media_key(event.time, event.id, ".mp4"),
        "models/person/1/model.onnx",
    ]
    assert world.counted("clip", "removed") == 1


def big_clip(source: str, start: datetime, end: datetime, into: BinaryIO) -> Clip:  # noqa: ARG001
    into.write(b"+" * 3000)
    return Clip(start=start, end=end, media_type="video/mp4")


def test_where_nothing_makes_room_the_event_stays_and_its_clip_is_lost(scene: Make) -> None:
    ports, cupboard = in_cupboard(2000)
    cupboard.add("models/person/1/model.onnx", 1995, 9000)
    world = scene(ports)
    world.pictures(20)
    [event] = world.picture(crossing())
    world.pictures(7)

    stored = world.stored()
    assert (stored["event"], stored["thumbnail"], stored["clip"]) == (event.id, None, None)
    assert stored["lost"] == "the storage is full"
    assert list(cupboard.kept) == ["models/person/1/model.onnx"]
    assert (world.counted("clip", "lost"), world.counted("thumbnail", "lost")) == (1, 1)


def test_a_storage_that_is_away_loses_media_and_nothing_else(scene: Make) -> None:
    ports, cupboard = in_cupboard(10_000)
    cupboard.error = Unavailable("The bucket does not answer.")
    world = scene(ports, clip=False)
    world.picture(crossing())
    assert world.stored()["lost"] == "The bucket does not answer."
    cupboard.error = None
    world.picture(crossing())
    assert world.stored()["lost"] is None


def test_writing_does_not_wait_for_the_storage(scene: Make) -> None:
    ports, cupboard = in_cupboard(10_000_000)
    release = Flag()

    def slow(key: str, data: BinaryIO | bytes) -> int:
        release.wait(60)
        return Cupboard.put(cupboard, key, data)

    cupboard.put = slow  # type: ignore[method-assign]
    world = scene(ports, clip=False)
    begin_s = time.monotonic()
    for _ in range(300):
        world.picture(crossing())
    assert time.monotonic() - begin_s < 30
    release.set()
    lost = [each for each in (world.stored() for _ in range(300)) if each["lost"]]
    assert {each["lost"] for each in lost} == {"too many events at once"}
    assert 300 - 256 <= len(lost) <= 300 - 256 + 1

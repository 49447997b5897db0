"""What a process that died left unmade is told by the next recorder of the case, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from tests.packs.vision.sinks.recorder_scene import Make, Scene, until

from sightline.core.events import Event, make_event, media_key
from sightline.core.run import Run, RunState
from sightline.testing import FakePorts
from sightline.testing.fakes import START

KILLED = "the process ended before it was made"


def happened(ports: FakePorts, run: str = "old", *, suffixes: Sequence[str] = (".jpg",), **others: Any) -> Event:
    """Record an event with media at these keys."""
    fields: dict[str, Any] = {
        "short_type": "line.crossed",
        "source": "/cases/yard/sources/door",
        "time": START,
        **others,
    }
    event = make_event(data={"run": run, **fields.pop("data", {})}, **fields)
    ports.store.events.append([event])
    for suffix in suffixes:
        ports.artifacts.put(media_key(event.time, event.id, suffix), b"-" * 10)
    return event


def run_of(ports: FakePorts, name: str, *, lease: timedelta | None = None) -> None:
    """Record a run that is over, or of which a process held the lease."""
    run = ports.store.runs.create(Run(case="yard", id=name), worker="somebody", lease=lease or timedelta(0))
    if lease is None:
        ports.store.runs.finish(name, run.token, RunState.FAILED, status={}, error=None)


def looked(scene: Scene, num: int = 0) -> list[dict[str, Any]]:
    """Return what is told of media when the recorder has looked back so often."""
    until(lambda: len(scene.sink._looks) == 1 - num)
    return [dict(event.data) for event in iter(lambda: scene.told.get(1.0), None) if isinstance(event, Event)]


def told_of(scene: Make, prepare: Callable[[FakePorts], object], **fields: Any) -> list[dict[str, Any]]:
    ports = FakePorts()
    prepare(ports)
    return looked(scene(ports, **fields))


def test_a_clip_that_a_dead_process_did_not_make_is_told_as_lost(scene: Make) -> None:
    ports = FakePorts()
    run_of(ports, "old")
    event = happened(ports)
    world = scene(ports)

    assert looked(world) == [
        {
            "run": "r1",
            "event": event.id,
            "thumbnail": media_key(event.time, event.id, ".jpg"),
            "clip": None,
            "start": None,
            "end": None,
            "bytes": 10,
            "lost": KILLED,
        }
    ]
    assert world.counted("clip", "lost") == 1


def test_a_clip_that_was_made_and_not_told_is_told(scene: Make) -> None:
    [told] = told_of(scene, lambda ports: happened(ports, suffixes=(".jpg", ".mp4")))
    assert (told["clip"] is not None, told["bytes"], told["lost"]) == (True, 20, None)


def test_where_no_clips_are_made_none_is_missed(scene: Make) -> None:
    [told] = told_of(scene, happened, clip=False)
    assert (told["clip"], told["bytes"], told["lost"]) == (None, 10, None)


def test_what_was_told_or_never_begun_or_is_not_wanted_is_left_alone(scene: Make) -> None:
    def prepare(ports: FakePorts) -> None:
        told = happened(ports)
        ports.store.events.append(
            [make_event("capture.stored", source=told.source, time=START, subject=told.id, data={"event": told.id})]
        )
        happened(ports, suffixes=())  # of a case without a recorder, or of a sensor
        happened(ports, short_type="zone.entered")
        happened(ports, data={"state": "end"})
        happened(ports, source="/cases/yard2/sources/door")
        happened(ports, source="/cases/yard/sources/roof")

    assert told_of(scene, prepare, types=("line.*",), sources=("door",)) == []


def test_of_its_own_run_what_came_before_it_is_forsaken_and_what_it_makes_itself_is_not(scene: Make) -> None:
    ports = FakePorts()
    run_of(ports, "r1", lease=timedelta(hours=1))
    before = happened(ports, "r1")
    world = scene(ports)
    [told] = looked(world)
    assert told["event"] == before.id
    happened(ports, "r1")
    world.clock.advance(31)
    assert looked(world, 1)[0]["event"] == before.id  # it was told on the bus alone here


def test_a_run_that_goes_on_elsewhere_makes_its_own(scene: Make) -> None:
    def prepare(ports: FakePorts) -> None:
        run_of(ports, "old", lease=timedelta(days=36500))
        happened(ports)

    assert told_of(scene, prepare) == []


def test_once_the_lease_of_a_killed_process_is_over_it_is_looked_at_again(scene: Make) -> None:
    ports = FakePorts()
    run = ports.store.runs.create(Run(case="yard", id="old"), worker="somebody")  # killed a moment ago
    event = happened(ports)
    world = scene(ports)
    assert looked(world) == []
    ports.store.runs.finish("old", run.token, RunState.FAILED, status={}, error=None)
    world.clock.advance(31)
    [told] = looked(world, 1)
    assert told["event"] == event.id


def test_many_are_found_beyond_one_page(scene: Make) -> None:
    def prepare(ports: FakePorts) -> None:
        for _ in range(250):
            happened(ports)

    assert len({each["event"] for each in told_of(scene, prepare)}) == 250

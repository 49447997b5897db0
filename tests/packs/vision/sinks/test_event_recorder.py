"""Thumbnails and clips of events: what they show, and when they are made."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from threading import Event as Flag
from typing import Any

import numpy as np
import pytest
import simplejpeg
from pydantic import TypeAdapter, ValidationError
from tests.packs.vision.sinks.recorder_scene import Make, Scene, at, crossing, until, visit

from sightline.core.codec import decode_time, encode_span
from sightline.core.errors import ConfigError, NotFound
from sightline.core.events import media_key
from sightline.core.plugins import Clip
from sightline.core.prediction import Finding, Findings
from sightline.core.sample import Frame, Window
from sightline.packs.vision.sinks import event_recorder
from sightline.packs.vision.sinks.event_recorder import EventRecorder
from sightline.testing import make_frame, make_reading


def test_a_clip_begins_before_the_event_and_ends_after_it(scene: Make) -> None:
    world = scene()
    world.pictures(20)
    [event] = world.picture(crossing())
    world.pictures(6)

    stored = world.stored()
    assert stored == {
        "run": "r1",
        "event": event.id,
        "thumbnail": f"events/2026/11/20/{event.id}.jpg",
        "clip": f"events/2026/11/20/{event.id}.mp4",
        "start": stored["start"],
        "end": stored["end"],
        "bytes": stored["bytes"],
        "lost": None,
    }
    assert (decode_time(stored["start"]), decode_time(stored["end"])) == (at(16), at(26))
    assert world.bytes_at(stored["clip"]) == b"door 16 26"
    assert stored["bytes"] == 10 + len(world.bytes_at(stored["thumbnail"]))
    assert (world.counted("clip", "stored"), world.counted("thumbnail", "stored")) == (1, 1)


def test_what_is_told_of_media_is_durable(scene: Make) -> None:
    world = scene(clip=False, durable=True)
    [event] = world.picture(crossing())
    world.stored()
    [(_, kept)] = world.ports.store.events.list(types=["capture.stored"], subject=event.id)
    assert kept.source == "/cases/yard/sources/door"


def test_nothing_is_asked_for_before_its_time(scene: Make) -> None:
    world = scene()
    world.pictures(10)
    world.picture(crossing())
    world.pictures(5)
    time.sleep(0.3)
    assert world.camera.asked == []
    world.picture()
    world.stored()
    assert world.camera.asked == [(6, 16)]


def test_a_clip_of_what_goes_on_ends_after_its_end(scene: Make) -> None:
    world = scene()
    world.pictures(20)
    [entered] = world.picture(visit("zone.entered", 21, None))
    world.pictures(10)
    world.picture(visit("zone.left", 21, 32))
    world.pictures(6)

    stored = [world.stored(), world.stored()]
    whole = next(each for each in stored if each["event"] == entered.id)
    assert (decode_time(whole["start"]), decode_time(whole["end"]), whole["lost"]) == (at(16), at(37), None)
    left = next(each for each in stored if each["event"] != entered.id)
    assert (decode_time(left["start"]), decode_time(left["end"])) == (at(16), at(37))


def test_a_visit_that_a_lost_camera_cuts_off_has_its_clips_up_to_there(scene: Make) -> None:
    world = scene()
    world.pictures(20)
    [entered] = world.picture(visit("zone.entered", 21, None))
    world.pictures(10)
    last = make_frame(100, size=(400, 300), seconds=31, seq=world.seq, source="door")
    world.sink.cut_off(last.with_prediction("watch", Findings(items=(visit("zone.left", 21, 31),))))
    world.camera.cut_s = 32
    world.clock.advance(20)  # no picture comes any more

    stored = {each["event"]: each for each in (world.stored(), world.stored())}
    assert entered.id in stored
    for each in stored.values():
        assert (decode_time(each["start"]), decode_time(each["end"]), each["lost"]) == (at(16), at(32), None)
        assert world.bytes_at(each["thumbnail"])


def test_what_goes_on_for_too_long_is_cut_at_the_longest(scene: Make) -> None:
    world = scene(longest_s=20)
    world.pictures(10)
    world.picture(visit("zone.entered", 11, None))
    world.pictures(30)

    stored = world.stored()
    assert (decode_time(stored["start"]), decode_time(stored["end"]), stored["lost"]) == (at(6), at(26), None)


def test_of_a_clip_longer_than_the_ring_the_beginning_is_kept_and_the_rest_told(scene: Make) -> None:
    world = scene(ring_s=15)
    world.pictures(20)
    world.picture(visit("zone.entered", 21, None))
    for _ in range(30):
        world.picture()
        if world.seq == 27:
            until(lambda: world.camera.asked)  # the time around its beginning is taken while it is there
    world.picture(visit("zone.left", 21, 52))
    world.pictures(6)

    first = next(each for each in (world.stored(), world.stored()) if decode_time(each["start"]) == at(16))
    assert (decode_time(first["end"]), first["lost"]) == (at(26), "the last 31 s are not there")
    assert world.bytes_at(first["clip"]) == b"door 16 26"


def test_an_event_whose_beginning_is_long_ago_has_what_is_held(scene: Make) -> None:
    world = scene(ring_s=15)
    world.pictures(50)
    world.picture(visit("zone.left", 11, 50.5))
    world.pictures(6)

    stored = world.stored()
    assert decode_time(stored["end"]) == at(56)
    assert (
        stored["lost"]
        == f"the first {(decode_time(stored['start']) - at(6)).total_seconds():.0f} s are not held any more"
    )
    assert world.counted("clip", "short") == 1


def test_the_clip_of_a_long_visit_shows_its_end(scene: Make) -> None:
    world = scene(longest_s=20)
    world.pictures(100)
    world.picture(visit("zone.left", 11, 100))
    world.pictures(6)

    stored = world.stored()
    assert (decode_time(stored["start"]), decode_time(stored["end"])) == (at(86), at(106))


def test_a_camera_that_goes_away_leaves_the_clip_that_there_is(scene: Make) -> None:
    world = scene()
    world.pictures(20)
    world.picture(crossing())
    world.camera.cut_s = 23
    world.clock.advance(20)

    stored = world.stored()
    assert (decode_time(stored["start"]), decode_time(stored["end"])) == (at(16), at(23))
    assert stored["lost"] == "the last 3 s are not there"


def test_a_source_that_holds_nothing_leaves_the_thumbnail(scene: Make) -> None:
    world = scene()
    world.camera.error = NotFound("The run r1 reads no source 'door' now.")
    world.picture(crossing())
    world.clock.advance(30)

    stored = world.stored()
    assert (stored["clip"], stored["start"], stored["lost"]) == (None, None, "the source holds nothing of that time")
    assert world.bytes_at(stored["thumbnail"])
    assert world.counted("clip", "lost") == 1


def test_a_camera_whose_clock_is_wrong_has_its_clip_all_the_same(scene: Make) -> None:
    world = scene()
    world.pictures(20)
    sample = make_frame(100, seconds=21, seq=21, source="door")
    world.clock.advance(1)
    wrong = at(21) - timedelta(hours=3)
    clocks = type(sample.clocks)(pts_s=21.0, monotonic_s=21.0, wall=at(21), sender=wrong)
    found = Findings(items=(crossing(**encode_span(wrong, wrong)),))
    [event] = world.write(replace(sample, clocks=clocks).with_prediction("watch", found))
    world.pictures(6)

    stored = world.stored()
    assert (decode_time(stored["start"]), decode_time(stored["end"])) == (at(16), at(26))
    assert stored["clip"] == media_key(event.time, event.id, ".mp4")


def test_a_file_that_is_read_faster_than_it_was_taken_waits_for_no_clock(scene: Make) -> None:
    world = scene(ring_s=10_000)
    world.camera.cut_s = 1000  # everything is there
    for seconds in range(1, 40):
        world.picture(*[crossing()] * (seconds == 20), seconds=seconds)
        world.clock.advance(-0.9)

    stored = world.stored()
    assert (decode_time(stored["start"]), decode_time(stored["end"])) == (at(15), at(25))


def test_a_file_that_is_analysed_slowly_is_waited_for(scene: Make) -> None:
    world = scene(ring_s=10_000)
    world.camera.cut_s = 1000
    world.picture(crossing(), seconds=1)
    for tenth in range(11, 60):
        world.picture(seconds=tenth / 10)
    time.sleep(0.3)
    assert world.camera.asked == []  # 49 s have passed, but its pictures are of the fifth second
    world.picture(seconds=6.1)
    assert decode_time(world.stored()["end"]) == at(6)


def test_the_end_of_a_run_finishes_what_waits(scene: Make) -> None:
    world = scene()
    world.pictures(20)
    world.picture(crossing())
    world.picture(visit("zone.entered", 22, None))
    world.camera.cut_s = 22
    world.sink.close()

    crossed, entered = world.stored(0.1), world.stored(0.1)
    assert (decode_time(crossed["end"]), crossed["lost"]) == (at(22), "the last 4 s are not there")
    assert (decode_time(entered["end"]), entered["lost"]) == (at(22), None)  # it ended with the run
    assert world.told.get(0) is None


def test_what_takes_too_long_at_the_end_is_told_as_lost(scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world, release = scene(), Flag()

    def stuck(*_: Any) -> Clip:
        release.wait(10)
        raise NotFound("too late")

    world.camera.clip = stuck  # type: ignore[method-assign, assignment]
    monkeypatch.setattr(event_recorder, "_LAST_S", 0.2)
    world.picture(crossing())
    world.sink.close()
    assert world.stored(0.1)["lost"] == "the run ended before it was made"
    release.set()


def test_only_the_wanted_events_of_the_wanted_sources_have_media(scene: Make) -> None:
    world = scene(types=("zone.*", "count.over"), sources=("door",), clip=False)
    end = Finding(name="over", event="count.over", data={"alarm": "a", "state": "end"})
    start = Finding(name="over", event="count.over", data={"alarm": "a", "state": "start"})
    world.picture(crossing(), end, Finding(name="under", event="count.under"))
    world.write(make_frame(5, source="gate").with_prediction("watch", Findings(items=(start,))))
    [event] = world.picture(start)

    assert world.stored()["event"] == event.id
    world.sink.close()
    assert world.told.get(0) is None


def test_a_reading_has_no_media_and_a_window_those_of_its_newest_picture(scene: Make) -> None:
    world = scene(clip=False)
    found = Findings(items=(Finding(name="t", event="threshold.alert"),))
    world.write(make_reading(5).with_prediction("watch", found))
    pictures = tuple(make_frame(5, seq=seq, seconds=seq, source="door") for seq in range(2))
    window = Window(samples=(*pictures, make_reading(3)), start=at(0), end=at(2))
    [event] = world.write(make_frame(5, source="*").with_payload(window).with_prediction("watch", found))

    assert world.stored()["event"] == event.id
    world.sink.close()
    assert world.told.get(0) is None


def decoded(world: Scene, stored: dict[str, Any]) -> np.ndarray[Any, Any]:
    picture: np.ndarray[Any, Any] = simplejpeg.decode_jpeg(world.bytes_at(stored["thumbnail"]), colorspace="BGR")
    return picture


def test_a_thumbnail_is_small_and_frames_what_the_event_is_about(scene: Make) -> None:
    world = scene(clip=False, thumbnail_px=200)
    world.picture(crossing(xyxy=[100.0, 60.0, 160.0, 200.0]))
    picture = decoded(world, world.stored())

    assert picture.shape == (150, 200, 3)
    differs = np.abs(picture.astype(int) - 100).max(axis=2) > 40
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    assert (rows[0], rows[-1]) == (pytest.approx(30, abs=3), pytest.approx(100, abs=3))
    assert (columns[0], columns[-1]) == (pytest.approx(50, abs=3), pytest.approx(80, abs=3))
    assert not differs[50:80, 58:72].any()  # what is framed is seen


def test_boxes_are_those_of_the_whole_picture_and_lines_and_zones_are_drawn(scene: Make) -> None:
    world = scene(clip=False, thumbnail_px=320)
    zone = Finding(name="zone", data={"zone": "yard", "polygon": [[10, 10], [700, 10], [700, 500], [10, 500]]})
    over = Finding(name="over", event="count.over", data={"zone": "yard"})
    small = make_frame(100, size=(400, 300), source="door")
    sample = small.with_payload(Frame(small.payload.pixels_HWC, full_size=(800, 600)))
    world.write(sample.with_prediction("watch", Findings(items=(zone, over))))
    picture = decoded(world, world.stored())

    differs = np.abs(picture.astype(int) - 100).max(axis=2) > 40
    columns = np.flatnonzero(differs.any(axis=0))
    assert (columns[0], columns[-1]) == (pytest.approx(4, abs=3), pytest.approx(280, abs=3))


def test_strange_data_of_a_plugin_harms_nobody(scene: Make) -> None:
    world = scene(clip=False)
    odd: list[dict[str, Any]] = [{"xyxy": ["a", None, 3, 4]}, {"start": "yesterday", "end": 5}, {"start": 7}]
    events = world.picture(*(crossing(**each) for each in odd))
    assert {world.stored()["event"] for _ in odd} == {event.id for event in events}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"types": ()}, "keep nothing"),
        ({"clip": False, "thumbnail_px": 0}, "keep nothing"),
        ({"pre_s": -1}, "pre_s"),
        ({"pre_s": 40, "post_s": 30}, "longest_s"),
        ({"thumbnail_px": 5000}, "thumbnail_px"),
    ],
)
def test_wrong_fields_are_refused_with_a_cure(fields: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        EventRecorder(**fields)
    assert caught.value.cure


def test_pydantic_builds_it_from_a_case_file() -> None:
    adapter = TypeAdapter(EventRecorder)
    assert adapter.validate_python({"types": ["line.*"], "pre_s": 10}).types == ("line.*",)
    with pytest.raises(ValidationError):
        adapter.validate_python({"type": ["line.*"]})

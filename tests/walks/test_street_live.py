"""The street as a camera sends it: counts equal the count by hand, and each crossing has a picture and a clip."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import av
import pytest
import simplejpeg
from av.bitstream import BitStreamFilterContext
from tests.packs.basic.receiver import until
from tests.packs.vision.sources.conftest import RtspServer, has_gstreamer
from tests.ports import free_port
from tests.walks.street import TRUTH

from sightline import Case, CaseBuildContext, Findings, Sample, load_case, run
from sightline.build.running import stream_run
from sightline.core.codec import decode_time
from sightline.core.events import Event
from sightline.settings import load_settings

pytestmark = pytest.mark.alone

PASS_S = 10.0
PRE_S, POST_S = 2.0, 1.5
STREET = Path(__file__).parents[2] / "src/sightline/cases/street_people/street.mp4"
[LINE] = TRUTH["lines"]


@pytest.fixture
def context(tmp_path: Path) -> Iterator[CaseBuildContext]:
    loaded = load_settings(folder=tmp_path, environ={"SIGHTLINE_DATA_ROOT": str(tmp_path / "data")})
    with CaseBuildContext(loaded) as context:
        yield context


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[RtspServer]:
    """A real RTSP server that sends the clip, again and again."""
    if not has_gstreamer():
        pytest.skip("GStreamer's RTSP server is not installed")
    server = RtspServer(_raw(tmp_path / "street.h264"), free_port(), ("--fps", "10"))
    yield server.start()
    server.kill()


def _raw(path: Path) -> Path:
    """Write the pictures of the clip without a container around them."""
    with av.open(str(STREET), "r") as clip, path.open("wb") as raw:
        stream = clip.streams.video[0]
        unpack = BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in clip.demux(stream):
            for each in unpack.filter(packet if packet.size else None):
                raw.write(bytes(each))
    return path


def _case(context: CaseBuildContext, *types: str, **source: Any) -> Case:
    street = load_case("street_people", context=context)
    recorder = context.plugin("sinks", "event-recorder", types=types, pre_s=PRE_S, post_s=POST_S)
    video = context.plugin("sources", "video", fps=5, **source)
    return replace(street, sources={"main": video}, sinks=(recorder,))


def _watched(case: Case, context: CaseBuildContext, **others: Any) -> list[tuple[float, int, int]]:
    """Run a case; return second of media time, in and out of each picture."""
    seen: list[tuple[float, int, int]] = []

    def show(sample: Sample[Any]) -> None:
        line = sample.prediction("pavement", Findings)
        seen.append((sample.clocks.pts_s or 0.0, int(line.value("in") or 0), int(line.value("out") or 0)))

    run(case, context=context, watch=show, **others)
    return seen


def _crossings(context: CaseBuildContext, within_s: float) -> list[tuple[Event, Event]]:
    """Return the crossings of the first pass with what was told of their media."""
    told = context.store.events.list(types=["line.crossed", "capture.stored"], limit=1000)
    crossed = [event for _, event in told if event.short_type == "line.crossed"]
    stored = {event.subject: event for _, event in told if event.short_type == "capture.stored"}
    end = crossed[0].time + timedelta(seconds=within_s)
    return [(event, stored[event.id]) for event in crossed if event.time < end]


def _check_media(context: CaseBuildContext, event: Event, stored: Event) -> None:
    """Check that the picture shows something and that a browser's player finds all it needs in the clip."""
    assert stored.data["lost"] is None or "last" in stored.data["lost"]  # the run ends soon after the last one
    with context.artifacts.open(stored.data["thumbnail"]) as file:
        picture = simplejpeg.decode_jpeg(file.read(), colorspace="BGR")
    assert picture.shape == (240, 320, 3)
    begin, end = (decode_time(stored.data[name]) for name in ("start", "end"))
    assert begin < event.time < end
    assert stored.data["bytes"] > 10_000
    with context.artifacts.open(stored.data["clip"]) as file, av.open(file, "r") as clip:
        stream = clip.streams.video[0]
        packets = [packet for packet in clip.demux(stream) if packet.size]
        assert packets[0].is_keyframe
        assert packets[0].pts == 0
        container_s = (clip.duration or 0) / av.time_base
    with context.artifacts.open(stored.data["clip"]) as file, av.open(file, "r") as clip:
        frames = list(clip.decode(video=0))
    assert (frames[0].width, frames[0].height) == (768, 576)
    assert len(frames) == len(packets)
    assert container_s == pytest.approx((end - begin).total_seconds(), abs=0.3)
    assert container_s == pytest.approx(len(frames) / 10, abs=0.15)
    with context.artifacts.open(stored.data["clip"]) as file:
        head = file.read(4096)
    assert head[4:8] == b"ftyp"
    assert b"moov" in head[:200]  # in front, so that it plays while it loads


def test_counts_and_clips_of_a_file_that_plays_as_a_camera(context: CaseBuildContext) -> None:
    seen = _watched(_case(context, "line.crossed", url=str(STREET), realtime=True), context)

    assert (seen[-1][1], seen[-1][2]) == (LINE["in"], LINE["out"])
    crossings = _crossings(context, PASS_S)
    assert [event.data["direction"] for event, _ in crossings] == [
        each["direction"] for each in sorted(LINE["crossings"], key=lambda each: each["frame"])
    ]
    for event, stored in crossings:
        _check_media(context, event, stored)
    whole = [stored for _, stored in crossings if stored.data["lost"] is None]
    assert len(whole) >= 4
    for stored in whole[2:]:  # those before it have no two seconds before them
        length_s = decode_time(stored.data["end"]) - decode_time(stored.data["start"])
        assert timedelta(seconds=PRE_S + POST_S) <= length_s <= timedelta(seconds=PRE_S + POST_S + 1.2)  # a key frame


@pytest.mark.service("rtsp")
def test_counts_and_clips_of_a_real_rtsp_camera(context: CaseBuildContext, camera: RtspServer) -> None:
    seen = _watched(_case(context, "line.crossed", url=camera.url()), context, duration_s=PASS_S + 2.5)

    of_pass = [each for each in seen if each[0] - seen[0][0] < PASS_S - 0.15]
    assert (of_pass[-1][1], of_pass[-1][2]) == (LINE["in"], LINE["out"])
    crossings = _crossings(context, PASS_S - 1.5)[: len(LINE["crossings"])]
    assert len(crossings) == LINE["in"] + LINE["out"]
    for event, stored in crossings:
        _check_media(context, event, stored)


@pytest.mark.service("rtsp")
def test_a_camera_that_is_lost_and_back_is_told_with_its_outage_and_what_came_before(
    context: CaseBuildContext, camera: RtspServer
) -> None:
    seen: list[Sample[Any]] = []
    case = _case(context, "source.backoff", "source.live", url=camera.url(), retry_max_s=0.5)
    stream = stream_run(case, context, watch=seen.append)

    def happened(*types: str) -> list[Event]:
        return [event for _, event in context.store.events.list(types=types, limit=1000)]

    def lose() -> None:
        try:
            until(lambda: seen and (seen[-1].time - seen[0].time).total_seconds() > PRE_S + 1)
            camera.kill()
            until(lambda: happened("source.backoff"))
            time.sleep(2)
            camera.start()
            until(lambda: {happened("source.live")[-1].id, happened("source.backoff")[0].id} <= of_media())
        finally:
            stream.stop()

    def of_media() -> set[str | None]:
        return {event.subject for event in happened("capture.stored")}

    losing = Thread(target=lose)
    losing.start()
    stream.execute()
    losing.join()

    told = happened()
    [lost] = [event for event in told if event.short_type == "source.backoff" and event.data["reason"] != "stopped"][:1]
    live = next(event for event in told if event.short_type == "source.live" and event.time > lost.time)
    assert lost.data["end"] is None
    assert decode_time(lost.data["start"]) < lost.time
    assert live.data["start"] == lost.data["start"]
    assert 1.0 < (decode_time(live.data["end"]) - decode_time(live.data["start"])).total_seconds() < 15
    stored = {event.subject: event for event in told if event.short_type == "capture.stored"}
    assert lost.id in stored, told
    with context.artifacts.open(stored[lost.id].data["clip"]) as file, av.open(file, "r") as clip:
        frames = sum(1 for _ in clip.decode(video=0))
    assert frames >= PRE_S * 10 - 3
    assert stored[lost.id].data["thumbnail"]
    assert stored[live.id].data["clip"], stored[live.id].data["lost"]

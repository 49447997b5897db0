"""Clips of cameras while they run, across faults, and from a second input that nobody decodes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads
from typing import Any

import av
import numpy as np
import pytest
from structlog.testing import capture_logs
from tests.packs.vision.sources.clips import make_clip
from tests.packs.vision.sources.conftest import RtspServer
from tests.packs.vision.sources.http_cameras import MjpegCamera
from tests.packs.vision.sources.reading import Reading, reading

from sightline.core.errors import ConfigError, InvalidInput, NotFound
from sightline.core.plugins import Clip, SourceState
from sightline.packs.vision.sources.packets import Ring
from sightline.packs.vision.sources.recording import Recorder
from sightline.packs.vision.sources.video import VideoSource

MakeServer = Callable[..., RtspServer]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The camera's best picture: 640x480 at 25 fps, GOP 1 s."""
    return make_clip(tmp_path_factory.mktemp("large") / "large.h264", num=50, gop=25, size=(640, 480))


def clip_of(reader: Reading, begin: datetime, end: datetime) -> tuple[Clip, list[Any]]:
    file = io.BytesIO()
    clip = reader.source.clip(begin, end, file)
    file.seek(0)
    with av.open(file, "r") as container:
        return clip, list(container.decode(video=0))


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


@pytest.mark.service("rtsp")
def test_a_clip_of_a_running_camera_shows_what_its_samples_show(rtsp_server: MakeServer) -> None:
    with reading(rtsp_server().start().url(), fps=2) as reader:
        reader.wait_for_samples(7)
        sample = reader.samples[4]
        clip, frames = clip_of(reader, sample.clocks.wall - timedelta(seconds=1), sample.clocks.wall)
    assert clip.start <= sample.clocks.wall - timedelta(seconds=1)
    assert clip.start > sample.clocks.wall - timedelta(seconds=2.5)
    assert 0 <= (clip.end - sample.clocks.wall).total_seconds() < 0.2
    assert frames[0].pts == 0
    assert frames[0].key_frame
    last = np.asarray(frames[-1].to_ndarray(format="bgr24"))
    shown = [np.asarray(frame.to_ndarray(format="bgr24")) for frame in frames]
    assert last.shape == (240, 320, 3)
    differences = [int(np.abs(each.astype(int) - sample.payload.pixels_HWC).max()) for each in shown]
    assert min(differences) <= 2  # the sample is among them; colours are converted by another filter


@pytest.mark.service("rtsp")
def test_across_a_reconnect_with_another_picture_each_clip_is_of_one_connection(
    rtsp_server: MakeServer, large: Path
) -> None:
    server = rtsp_server()
    with reading(server.start().url(), fps=5) as reader:
        reader.wait_for_samples(15)
        lost = datetime.now(UTC)
        server.kill()
        server.clip = large
        server.start()
        reader.wait_for(lambda: reader.samples[-1].epoch == 2)
        reader.wait_for_samples(12)
        before, first = clip_of(reader, lost - timedelta(seconds=2), lost + timedelta(seconds=1))
        after, second = clip_of(reader, lost, datetime.now(UTC))
    assert {(frame.width, frame.height) for frame in first} == {(320, 240)}
    assert {(frame.width, frame.height) for frame in second} == {(640, 480)}
    assert before.end < after.start


@pytest.mark.service("rtsp")
def test_a_camera_that_changes_its_resolution_on_the_way_gives_clips_that_play(
    rtsp_server: MakeServer, large: Path
) -> None:
    server = rtsp_server("--then", str(large)).start()
    with reading(server.url(), fps=5) as reader:
        reader.wait_for_samples(12)
        changed = datetime.now(UTC)
        server.change_picture()
        reader.wait_for(lambda: reader.samples[-1].payload.size == (640, 480))
        reader.wait_for_samples(12)
        _, first = clip_of(reader, changed - timedelta(seconds=1), changed)
        _, second = clip_of(reader, datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC))
    assert {frame.width for frame in first} == {320}
    assert {frame.width for frame in second} == {640}


@pytest.mark.service("rtsp")
def test_clips_come_from_the_second_input_and_frames_from_the_first(rtsp_server: MakeServer, large: Path) -> None:
    small, best = rtsp_server().start(), rtsp_server()
    best.clip = large
    with reading(small.url(), fps=5, record_url=best.start().url("a:b")) as reader:
        reader.wait_for_samples(12)
        clip, frames = clip_of(reader, ago(1.5), ago(0.2))
    assert {sample.payload.size for sample in reader.samples} == {(320, 240)}
    assert {(frame.width, frame.height) for frame in frames} == {(640, 480)}
    assert (clip.end - clip.start).total_seconds() == pytest.approx(len(frames) / 25, abs=0.3)


@pytest.mark.service("rtsp")
def test_the_second_input_may_come_and_go_and_the_first_does_not_notice(rtsp_server: MakeServer, large: Path) -> None:
    small, best = rtsp_server().start(), rtsp_server()
    best.clip = large
    with capture_logs() as logs, reading(small.url(), fps=10, record_url=best.url(), retry_max_s=0.3) as reader:
        reader.wait_for_samples(10)
        with pytest.raises(NotFound):
            clip_of(reader, ago(1), ago(0))
        best.start()
        _until_clip(reader)
        best.kill()
        killed = datetime.now(UTC)
        reader.wait_for_samples(10)
        best.start()
        _until_clip(reader, killed + timedelta(seconds=0.5))
        best.freeze()
        reader.wait_for_samples(20)
    gaps_s = [
        later.clocks.monotonic_s - earlier.clocks.monotonic_s
        for earlier, later in zip(reader.samples, reader.samples[1:], strict=False)
    ]
    assert max(gaps_s) < 2.5  # were it noticed: the timeout of 3 s
    assert {sample.epoch for sample in reader.samples} == {1}
    assert reader.states[:2] == [SourceState.CONNECTING, SourceState.LIVE]
    assert len(reader.states) == 3
    told = [entry["event"] for entry in logs if "record" in entry["event"]]
    lost, live = "record input is lost", "record input is live"
    assert [name for name, _ in groupby(told)][:4] == [lost, live, lost, live]


def _until_clip(reader: Reading, since: datetime | None = None) -> None:
    """Wait until there is a clip, of packets that came after `since`."""
    end_s = time.monotonic() + 30
    while True:
        assert time.monotonic() < end_s, "no clip"
        time.sleep(0.1)
        try:
            clip, _ = clip_of(reader, ago(0.5), ago(0))
        except NotFound:
            continue
        if since is None or clip.start > since:
            return


def test_a_second_input_that_refuses_us_changes_nothing_either() -> None:
    with (
        MjpegCamera() as camera,
        MjpegCamera(status=401) as other,
        reading(camera.url(), record_url=other.url()) as reader,
    ):
        reader.wait_for_samples(30)
        assert other.num_requests <= 2
    assert SourceState.UNAUTHORISED not in reader.states


def test_an_mjpeg_camera_has_no_clips_and_says_which_codec_it_wants() -> None:
    with MjpegCamera() as camera, reading(camera.url()) as reader:
        reader.wait_for_samples(5)
        with pytest.raises(InvalidInput, match="mjpeg") as caught:
            clip_of(reader, ago(1), ago(0))
    assert "H.264" in caught.value.cure


@pytest.mark.parametrize(
    "config",
    [
        {"ring_s": -1},
        {"ring_mb": 0},
        {"frozen_s": -1},
        {"record_url": "clip.mp4"},
        {"url": "clip.mp4", "record_url": "rtsp://door/best"},
    ],
)
def test_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        VideoSource(**{"url": "rtsp://door/cam", **config})


def test_a_recorder_ends_with_its_source_even_where_the_reading_thread_is_lost() -> None:
    stopping, ring = Event(), Ring(30, 1 << 20)
    recorder = Recorder(
        "rtsp://127.0.0.1:9/cam",
        ring,
        source="door",
        stopping=stopping,
        transport="tcp",
        timeout_s=1,
        retry_max_s=30,
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
    )
    recorder.start()
    time.sleep(0.3)
    stopping.set()
    end_s = time.monotonic() + 20
    while any(thread.name == "record-door" for thread in enumerate_threads()):
        assert time.monotonic() < end_s
        time.sleep(0.02)

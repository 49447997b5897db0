"""Faults of cameras: silent, frozen, changed, restarted; each is noticed, told and survived."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import active_count

import psutil
import pytest
from tests.packs.vision.sources.clips import make_clip
from tests.packs.vision.sources.conftest import RtspServer
from tests.packs.vision.sources.http_cameras import MjpegCamera
from tests.packs.vision.sources.reading import reading

from sightline.core.plugins import SourceState
from sightline.packs.vision.sources.video import VideoSource

MakeServer = Callable[..., RtspServer]
LONG = os.environ.get("SIGHTLINE_LONG_TESTS") == "1"


@pytest.fixture(scope="module")
def loop_h265(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw H.265 stream of 2 s at 25 fps, GOP 1 s."""
    folder = tmp_path_factory.mktemp("h265")
    return make_clip(folder / "loop.hevc", num=50, gop=25, size=(320, 240), codec="libx265")


@pytest.fixture(scope="module")
def larger_h264(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw H.264 stream like `loop_h264`, with larger pictures."""
    return make_clip(tmp_path_factory.mktemp("larger") / "loop.h264", num=50, gop=25, size=(480, 360))


@pytest.fixture
def silent_peer() -> Iterator[int]:
    """Return a port on which connections are accepted, and nothing is ever said."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_peer_that_accepts_and_says_nothing_is_given_up_after_the_timeout(silent_peer: int, scheme: str) -> None:
    with reading(f"{scheme}://127.0.0.1:{silent_peer}/cam", timeout_s=1) as reader:
        begun_s = time.monotonic()
        reader.wait_for(lambda: SourceState.BACKOFF in reader.states)
        assert time.monotonic() - begun_s < 10
        assert reader.reason_of(SourceState.BACKOFF) == "no answer in time"


@pytest.mark.service("rtsp")
def test_a_frozen_server_is_stalled_then_lost_and_live_again_when_it_thaws(rtsp_server: MakeServer) -> None:
    server = rtsp_server().start()
    with reading(server.url(), fps=10, timeout_s=1) as reader:
        reader.wait_for_samples(5)
        server.freeze()
        frozen_s = time.monotonic()
        reader.wait_for(lambda: SourceState.STALLED in reader.states)
        assert time.monotonic() - frozen_s < 10
        assert reader.reason_of(SourceState.STALLED) == "no packet for 1 s"
        reader.wait_for(lambda: SourceState.BACKOFF in reader.states)
        server.thaw()
        reader.wait_for_samples(5)
    assert reader.samples[-1].epoch == 2
    assert reader.states[-2] is SourceState.LIVE


@pytest.mark.service("rtsp")
def test_a_stream_over_udp_is_read_and_its_end_is_noticed(rtsp_server: MakeServer) -> None:
    server = rtsp_server().start()
    with reading(server.url(), fps=10, timeout_s=1, transport="udp") as reader:
        reader.wait_for_samples(15)
        server.kill()
        reader.wait_for(lambda: SourceState.BACKOFF in reader.states)
        server.start()
        reader.wait_for_samples(5)
    assert reader.samples[-1].epoch == 2


@pytest.mark.service("rtsp")
def test_h265_is_read_as_well(rtsp_server: MakeServer, loop_h265: Path) -> None:
    server = rtsp_server("--codec", "h265")
    server.clip = loop_h265
    with reading(server.start().url(), fps=5, size=(160, 120)) as reader:
        reader.wait_for_samples(10)
    assert reader.dropped == {}
    facts_s = [sample.clocks.pts_s or 0 for sample in reader.samples[:10]]
    assert facts_s[9] - facts_s[0] == pytest.approx(9 / 5, abs=0.3)


@pytest.mark.service("rtsp")
def test_another_codec_and_another_size_after_a_reconnect_are_read(
    rtsp_server: MakeServer, loop_h265: Path, larger_h264: Path
) -> None:
    server = rtsp_server()
    with reading(server.start().url(), fps=10) as reader:
        reader.wait_for_samples(5)
        for epoch, (clip, options, size) in enumerate(
            [(loop_h265, ("--codec", "h265"), (320, 240)), (larger_h264, (), (480, 360))], start=2
        ):
            server.kill()
            server.clip, server.options = clip, options
            server.start()
            reader.wait_for(lambda epoch=epoch: reader.samples[-1].epoch == epoch)  # type: ignore[misc]
            reader.wait_for_samples(3)
            assert reader.samples[-1].payload.size == size
    assert reader.dropped.keys() <= {"undecodable"}


@pytest.mark.service("rtsp")
@pytest.mark.parametrize("size", [None, (160, 120)])
def test_a_camera_that_changes_its_resolution_on_the_way_is_read_on(
    rtsp_server: MakeServer, larger_h264: Path, size: tuple[int, int] | None
) -> None:
    server = rtsp_server("--then", str(larger_h264)).start()
    with reading(server.url(), fps=10, size=size) as reader:
        reader.wait_for_samples(5)
        assert reader.samples[-1].payload.size == (size or (320, 240))
        server.change_picture()
        reader.wait_for_samples(25)
        reader.wait_for(lambda: reader.samples[-1].payload.size == (size or (480, 360)))
    assert {sample.epoch for sample in reader.samples} == {1}


@pytest.mark.service("rtsp")
def test_restarts_leave_no_threads_descriptors_or_memory_behind(rtsp_server: MakeServer) -> None:
    num = 50 if LONG else 6
    server, process = rtsp_server(), psutil.Process()
    with reading(server.start().url(), fps=25, retry_max_s=0.2, size=(160, 120), ring_s=2) as reader:
        before: tuple[int, int] | None = None
        memory: list[int] = []
        for restart in range(num):
            reader.wait_for(lambda restart=restart: reader.samples and reader.samples[-1].epoch > restart)  # type: ignore[misc]
            reader.samples[:-1] = []
            if restart == 1:
                before = (active_count(), process.num_fds())
            gc.collect()
            memory.append(process.memory_info().rss)
            server.kill()
            server.start()
        reader.wait_for(lambda: reader.samples[-1].epoch > num)
        server.kill()
        reader.wait_for(lambda: reader.states[-1] is not SourceState.LIVE)
        assert before
        assert active_count() <= before[0]
        assert process.num_fds() <= before[1] + 1
        assert memory[-1] - memory[len(memory) // 2] < 20 << 20
    assert reader.states.count(SourceState.LIVE) == num + 1


def test_fifty_disconnects_leave_no_threads_descriptors_or_memory_behind() -> None:
    process = psutil.Process()
    with (
        MjpegCamera(frames_each=3, pause_s=0.002) as camera,
        reading(camera.url(), retry_max_s=0.1, timeout_s=2) as reader,
    ):
        reader.wait_for(lambda: reader.samples and reader.samples[-1].epoch > 10, 40)
        gc.collect()
        before = process.num_fds(), process.memory_info().rss, active_count()
        reader.samples[:-1] = []
        reader.wait_for(lambda: reader.samples[-1].epoch > 60, 75)
        reader.samples[:-1] = []
        gc.collect()
        assert process.num_fds() <= before[0] + 3
        assert process.memory_info().rss - before[1] < 20 << 20
        assert active_count() <= before[2] + 3


def test_a_frozen_picture_is_told_and_told_again_when_it_moves() -> None:
    with (
        MjpegCamera() as camera,
        reading(camera.url(), frozen_s=1) as reader,
    ):
        reader.wait_for_samples(10)
        camera.still.set()
        reader.wait_for(lambda: SourceState.FROZEN in reader.states)
        assert reader.reason_of(SourceState.FROZEN) == "the same picture for 1 s"
        reader.wait_for_samples(5)  # they are given all the same
        camera.still.clear()
        reader.wait_for(lambda: reader.states[-1] is SourceState.LIVE)
    assert {sample.epoch for sample in reader.samples} == {1}


@pytest.mark.service("rtsp")
def test_a_frozen_encoder_that_goes_on_to_send_is_told(rtsp_server: MakeServer, tmp_path: Path) -> None:
    server = rtsp_server()
    server.clip = make_clip(tmp_path / "still.h264", num=50, gop=25, size=(320, 240), still=True)
    with reading(server.start().url(), fps=2, frozen_s=2) as reader:
        reader.wait_for(lambda: SourceState.FROZEN in reader.states)


def test_packets_of_which_none_can_be_decoded_are_a_stall_and_a_reason_to_connect_anew() -> None:
    with (
        MjpegCamera() as camera,
        reading(camera.url(), timeout_s=1) as reader,
    ):
        reader.wait_for_samples(5)
        camera.garbage.set()
        reader.wait_for(lambda: SourceState.STALLED in reader.states)
        assert reader.reason_of(SourceState.STALLED) == "packets come, but for 1 s none could be decoded"
        camera.garbage.clear()
        reader.wait_for_samples(5)
    assert reader.dropped["undecodable"] >= 3
    assert reader.samples[-1].epoch == 2
    order = [state for state in reader.states if state is not SourceState.CONNECTING]
    assert order[:4] == [SourceState.LIVE, SourceState.STALLED, SourceState.BACKOFF, SourceState.LIVE]


@pytest.mark.parametrize(("status", "retry_max_s"), [(401, 0.2), (403, 0.2), (404, 30)])
def test_a_refusal_waits_for_the_longest_pause_and_never_less_than_30_s(status: int, retry_max_s: float) -> None:
    with MjpegCamera(status=status) as camera, reading(camera.url(), retry_max_s=retry_max_s) as reader:
        reader.wait_for(lambda: len(reader.told) >= 2)
        time.sleep(1)
        assert camera.num_requests == (2 if status == 401 else 1)  # FFmpeg asks how it shall say who it is


def test_a_source_that_waits_shows_that_its_thread_is_alive() -> None:
    with MjpegCamera(status=401) as camera, reading(camera.url()) as reader:
        reader.wait_for(lambda: len(reader.told) >= 3)
        assert reader.states == [SourceState.CONNECTING, SourceState.UNAUTHORISED]


def test_limits_for_the_engine_follow_from_the_configuration() -> None:
    camera, file = VideoSource(url="rtsp://door/cam", fps=0.5, timeout_s=4), VideoSource(url="clip.mp4", realtime=True)
    assert camera.stalls_after_s == 6
    assert camera.stuck_after_s
    assert camera.stuck_after_s >= 20
    assert file.stalls_after_s is None
    assert file.stuck_after_s is None

"""The video source against real servers, RTSP and HTTP, that are killed, frozen, come back, and refuse."""

from __future__ import annotations

import base64
import contextlib
import io
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
from PIL import Image
from structlog.testing import capture_logs
from tests.packs.vision.sources.conftest import RtspServer
from tests.packs.vision.sources.reading import reading

from sightline.core.errors import InvalidInput
from sightline.core.plugins import Context, SourceState
from sightline.packs.vision.sources.video import VideoSource
from sightline.testing.fakes import FakePorts

MakeServer = Callable[..., RtspServer]


@pytest.mark.service("rtsp")
def test_frames_come_with_rising_times(rtsp_server: MakeServer) -> None:
    with reading(rtsp_server().start().url(), fps=5, size=(160, 120), timeout_s=30) as reader:
        reader.wait_for(lambda: len(reader.samples) >= 10)
        begun_s = time.monotonic()
        reader.stopping.set()
        reader.thread.join(10)
        assert time.monotonic() - begun_s < 10
    samples = reader.samples
    assert reader.source.is_live
    assert samples[0].payload.size == (160, 120)
    span_s = (samples[9].clocks.pts_s or 0) - (samples[0].clocks.pts_s or 0)
    assert span_s == pytest.approx(9 / 5, abs=0.3)
    assert reader.states[:2] == [SourceState.CONNECTING, SourceState.LIVE]


@pytest.mark.service("rtsp")
def test_lazy_decoding_stays_on(rtsp_server: MakeServer) -> None:
    with capture_logs() as logs, reading(rtsp_server().start().url(), fps=5) as reader:
        reader.wait_for(lambda: len(reader.samples) >= 8)
    assert "lazy decoding is off" not in [entry["event"] for entry in logs]


@pytest.mark.service("rtsp")
def test_the_senders_clock_is_told_once_it_has_reported(rtsp_server: MakeServer) -> None:
    with reading(rtsp_server().start().url(), fps=5) as reader:
        reader.wait_for(lambda: any(sample.clocks.sender for sample in reader.samples), 30)
        sample = next(sample for sample in reader.samples if sample.clocks.sender)
    assert sample.clocks.sender
    assert abs((sample.clocks.wall - sample.clocks.sender).total_seconds()) < 5


@pytest.mark.service("rtsp")
def test_a_killed_server_that_comes_back_begins_a_new_epoch(rtsp_server: MakeServer) -> None:
    server = rtsp_server().start()
    with reading(server.url(), fps=10) as reader:
        reader.wait_for(lambda: len(reader.samples) >= 5)
        server.kill()
        reader.wait_for(lambda: SourceState.BACKOFF in reader.states)
        server.start()
        listening_s = time.monotonic()
        reader.wait_for(lambda: reader.samples[-1].epoch == 2)
        back_s = time.monotonic() - listening_s
    first = next(sample for sample in reader.samples if sample.epoch == 2)
    assert back_s < 15
    assert first.seq == 0
    assert (first.clocks.pts_s or 0) > 0
    assert reader.states.count(SourceState.LIVE) == 2


@pytest.mark.service("rtsp")
def test_a_frozen_server_is_noticed(rtsp_server: MakeServer) -> None:
    server = rtsp_server().start()
    with reading(server.url(), fps=10, timeout_s=1) as reader:
        reader.wait_for(lambda: len(reader.samples) >= 5)
        server.freeze()
        reader.wait_for(lambda: SourceState.BACKOFF in reader.states, 10)


@pytest.mark.service("rtsp")
def test_a_server_that_is_absent_at_the_start_is_waited_for(rtsp_server: MakeServer) -> None:
    server = rtsp_server()
    with reading(server.url(), fps=10) as reader:
        reader.wait_for(lambda: SourceState.BACKOFF in reader.states)
        server.start()
        reader.wait_for(lambda: bool(reader.samples))
    assert reader.samples[0].epoch == 1


@pytest.mark.service("rtsp")
def test_a_wrong_password_is_told_and_not_tried_again_soon(rtsp_server: MakeServer) -> None:
    server = rtsp_server("--user", "viewer", "--password", "right").start()
    with capture_logs() as logs, reading(server.url("viewer:wrong"), retry_max_s=30) as reader:
        reader.wait_for(lambda: SourceState.UNAUTHORISED in reader.states)
        time.sleep(1)
        assert reader.states.count(SourceState.CONNECTING) == 1
    assert "wrong" not in str([entry.get("url") for entry in logs])
    assert "viewer" not in str(logs)


@pytest.mark.service("rtsp")
def test_the_right_password_opens(rtsp_server: MakeServer) -> None:
    server = rtsp_server("--user", "viewer", "--password", "right").start()
    with reading(server.url("viewer:right"), fps=5) as reader:
        reader.wait_for(lambda: bool(reader.samples))


@pytest.mark.service("rtsp")
def test_a_wrong_path_is_not_tried_again_soon(rtsp_server: MakeServer) -> None:
    with reading(rtsp_server().start().url(path="/other"), retry_max_s=30) as reader:
        reader.wait_for(lambda: SourceState.BACKOFF in reader.states)
        time.sleep(1)
        assert reader.states.count(SourceState.CONNECTING) == 1


@pytest.mark.service("rtsp")
def test_probing_tells_the_distance_of_key_frames_and_the_clock(rtsp_server: MakeServer) -> None:
    facts = VideoSource(url=rtsp_server().start().url("a:b"), fps=2).probe()
    assert facts["codec"] == "h264"
    assert facts["gop_frames"] == 25
    assert facts["b_frames"] is False
    assert facts["sender_clock"] is True
    assert "a:b" not in str(facts)


class MjpegCamera(BaseHTTPRequestHandler):
    """Sends a picture every tenth of a second to whom has the right password."""

    protocol_version = "HTTP/1.0"
    sent_s: ClassVar[list[float]] = []

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"viewer:right").decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        buffer = io.BytesIO()
        self.sent_s.clear()
        with contextlib.suppress(OSError):
            for grey in range(0, 250, 5):
                buffer.seek(0)
                Image.new("RGB", (64, 48), (grey, grey, grey)).save(buffer, "JPEG")
                data = buffer.getvalue()
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.sent_s.append(time.monotonic())
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(0.1)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def mjpeg_address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), MjpegCamera)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}/video.cgi"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_mjpeg_camera_is_read_by_the_time_of_receipt(mjpeg_address: str) -> None:
    with reading(f"http://viewer:right@{mjpeg_address}") as reader:
        reader.wait_for(lambda: len(reader.samples) >= 15)
    begin, end = reader.samples[4], reader.samples[14]
    first, last = (round(sample.payload.pixels_HWC.mean() / 5) for sample in (begin, end))
    sent_s = MjpegCamera.sent_s[last] - MjpegCamera.sent_s[first]
    assert sent_s > 0.9
    assert (end.clocks.pts_s or 0) - (begin.clocks.pts_s or 0) == pytest.approx(sent_s, abs=0.3)
    assert reader.source.is_live


def test_a_camera_that_refuses_over_http_is_told(mjpeg_address: str) -> None:
    with reading(f"http://viewer:wrong@{mjpeg_address}", retry_max_s=30) as reader:
        reader.wait_for(lambda: SourceState.UNAUTHORISED in reader.states)


@pytest.mark.service("rtsp")
def test_a_connection_that_stands_is_made_anew_when_somebody_asks_for_it(rtsp_server: MakeServer) -> None:
    with reading(rtsp_server().start().url(), fps=10) as reader:
        reader.wait_for(lambda: bool(reader.samples))
        reader.source.reconnect()
        reader.wait_for(lambda: reader.samples[-1].epoch == 2, 20)
    assert reader.states.count(SourceState.LIVE) == 2


@pytest.mark.service("rtsp")
def test_a_refused_password_is_tried_again_when_somebody_asks_for_it(rtsp_server: MakeServer) -> None:
    server = rtsp_server("--user", "viewer", "--password", "right").start()
    with reading(server.url("viewer:wrong"), retry_max_s=30) as reader:
        reader.wait_for(lambda: SourceState.UNAUTHORISED in reader.states)
        asked_s = time.monotonic()
        reader.source.reconnect()
        reader.wait_for(lambda: reader.states.count(SourceState.UNAUTHORISED) == 2, 20)
    assert time.monotonic() - asked_s < 20


def test_a_file_has_no_connection_to_make_anew() -> None:
    source = VideoSource(url="clip.mp4")
    source.open(Context(ports=FakePorts()))
    with pytest.raises(InvalidInput, match="no live address"):
        source.reconnect()

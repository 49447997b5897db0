"""A real RTSP server, where GStreamer is installed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.packs.vision.sources.clips import make_clip
from tests.ports import free_port

SERVER = Path(__file__).parents[3] / "streams" / "rtsp_server.py"
SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's GStreamer bindings are built for it
CHECK = 'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer'


@dataclass
class RtspServer:
    """A server that loops a clip; it can be killed and started again on the same port."""

    clip: Path
    port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def url(self, user: str = "", path: str = "/cam") -> str:
        return f"rtsp://{user and user + '@'}127.0.0.1:{self.port}{path}"

    def start(self) -> RtspServer:
        command = [SYSTEM_PYTHON, str(SERVER), str(self.clip), "--port", str(self.port), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout
        assert self.process.stdout.readline().startswith("rtsp://"), "the RTSP server did not start"
        return self

    def freeze(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def change_picture(self) -> None:
        """Go on to the clip of the option `--then`, on the same connection."""
        assert self.process
        self.process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            assert self.process.stdout
            self.process.stdout.close()
            self.process = None


def has_gstreamer() -> bool:
    try:
        return not subprocess.run([SYSTEM_PYTHON, "-c", CHECK], capture_output=True, timeout=90, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="session")
def loop_h264(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw H.264 stream of 2 s at 25 fps, GOP 1 s."""
    folder = tmp_path_factory.mktemp("rtsp")
    return make_clip(folder / "loop.h264", num=50, fps=25, gop=25, size=(320, 240))


@pytest.fixture
def rtsp_server(loop_h264: Path) -> Iterator[Callable[..., RtspServer]]:
    """Return a function that makes a server, not yet started; all are ended after the test."""
    if not has_gstreamer():
        reason = "needs GStreamer's RTSP server (Debian: python3-gi gir1.2-gst-rtsp-server-1.0 and plugins)"
        if os.environ.get("SIGHTLINE_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    servers: list[RtspServer] = []

    def make(*options: str) -> RtspServer:
        servers.append(RtspServer(loop_h264, free_port(), options))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()

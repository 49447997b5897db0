"""An RTSP server for tests: loops a raw H.264 or H.265 clip without encoding it again (GStreamer's rtsp-server).

On SIGUSR1 it goes on to the clip of `--then`, without a new connection: a camera whose resolution was changed.

Run by the system's Python, for which Debian builds python3-gi; prints its address when it listens.
Needs: python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base
gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-rtsp
"""
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, E402, T201

import argparse
import signal
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

parser = argparse.ArgumentParser()
parser.add_argument("clip", type=Path)
parser.add_argument("--port", required=True)
parser.add_argument("--path", default="/cam")
parser.add_argument("--fps", type=int, default=25)
parser.add_argument("--user")
parser.add_argument("--password")
parser.add_argument("--codec", choices=["h264", "h265"], default="h264")
parser.add_argument("--then", type=Path)
arguments = parser.parse_args()

Gst.init(None)


def access_units(data: bytes) -> list[bytes]:
    """Split an Annex B stream into one entry per frame: cut before the first unit in front of each first slice."""
    cuts, prefix, position = [], None, data.find(b"\x00\x00\x01")
    while position >= 0:
        head = position + 3
        if prefix is None:
            prefix = position
        is_h265 = arguments.codec == "h265"
        if (data[head] >> 1) & 63 < 32 if is_h265 else data[head] & 31 in (1, 5):
            if data[head + 1 + is_h265] & 0x80:  # first_mb_in_slice is 0, first_slice_segment_in_pic_flag is 1
                cuts.append(prefix)
            prefix = None
        position = data.find(b"\x00\x00\x01", head)
    return [data[begin:end] for begin, end in zip(cuts, [*cuts[1:], len(data)], strict=True)]


units = access_units(arguments.clip.read_bytes())
codec = arguments.codec
LAUNCH = (
    "( appsrc name=src is-live=true format=time block=true max-bytes=2000000 "
    f"caps=video/x-{codec},stream-format=byte-stream,alignment=au,framerate={arguments.fps}/1 "
    f"! {codec}parse ! rtp{codec}pay name=pay0 pt=96 config-interval=-1 )"
)


def go_on():
    units[:] = access_units(arguments.then.read_bytes())
    return True


if arguments.then:
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGUSR1, go_on)


class Loop(GstRtspServer.RTSPMediaFactory):
    """Pushes the clip's frames again and again, with stamps that go on."""

    def do_create_element(self, url):
        return Gst.parse_launch(LAUNCH)

    def do_configure(self, media):
        GstRtspServer.RTSPMediaFactory.do_configure(self, media)
        source = media.get_element().get_by_name_recurse_up("src")
        step = Gst.SECOND // arguments.fps
        number = [0]

        def need(_source, _length):
            buffer = Gst.Buffer.new_wrapped(units[number[0] % len(units)])
            buffer.pts = buffer.dts = number[0] * step
            buffer.duration = step
            number[0] += 1
            source.emit("push-buffer", buffer)

        source.connect("need-data", need)


server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(arguments.port)
factory = Loop()
factory.set_shared(True)
if arguments.user:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(arguments.user, arguments.password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for right in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("user", right, True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory(arguments.path, factory)
server.attach(None)
print(f"rtsp://127.0.0.1:{arguments.port}{arguments.path}", flush=True)
GLib.MainLoop().run()

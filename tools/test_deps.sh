#!/bin/sh
# Debian packages for the tests' RTSP server. Never fails: without them those tests are skipped and say so.
packages="python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base
    gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-rtsp"

installed() { # the system's Python finds the server, and GStreamer the elements of tests/streams/rtsp_server.py
    /usr/bin/python3 - >/dev/null 2>&1 <<'END'
import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer

Gst.init(None)
assert all(Gst.ElementFactory.find(name) for name in ("appsrc", "h264parse", "rtph264pay", "rtpbin"))
END
}

skipped() {
    echo "test-deps: $1; the tests that need an RTSP server are skipped."
    [ -z "${2:-}" ] || echo "Cure: $2"
    exit 0
}

installed && exit 0
command -v apt-get >/dev/null 2>&1 || skipped "GStreamer's RTSP server is not here, nor is apt-get"
[ "$(id -u)" = 0 ] || skipped "GStreamer's RTSP server is not here, and only root may install it" "sudo make test-deps"

echo "test-deps: installing GStreamer's RTSP server (Debian packages) ..."
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086  # a list of words
apt_install() { apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 $packages >>"$log" 2>&1; }
apt_install || { apt-get update >>"$log" 2>&1 && apt_install; } || tail -n 3 "$log"
installed || skipped "the packages could not be installed"

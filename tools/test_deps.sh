#!/bin/sh
# Debian packages for tests: an RTSP server, a browser, an MQTT broker, a picture archive, a head. Never fails: without
# them those tests are skipped and say so.

has_rtsp() { # the system's Python finds the server, and GStreamer the elements of tests/streams/rtsp_server.py
    /usr/bin/python3 - >/dev/null 2>&1 <<'END'
import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer

Gst.init(None)
assert all(Gst.ElementFactory.find(name) for name in ("appsrc", "h264parse", "rtph264pay", "rtpbin"))
END
}

has_browser() { command -v chromium >/dev/null 2>&1; }

has_pacs() { # the archive, its DICOMweb, its decoders
    [ -x /usr/sbin/Orthanc ] && [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] &&
        [ -e /usr/share/orthanc/plugins/libOrthancGdcm.so ] && command -v dcmdump >/dev/null 2>&1
}

has_head() { [ -e /usr/share/mricron/templates/ch2.nii.gz ]; }

has_broker() { command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ]; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive

apt_install() { apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" >>"$log" 2>&1; }

skipped() {
    echo "test-deps: $2; the tests that need $1 are skipped."
    [ -z "${3:-}" ] || echo "Cure: $3"
}

need() { # what, how to see that it is here, packages
    what=$1 is_here=$2
    shift 2
    "$is_here" && return
    if ! command -v apt-get >/dev/null 2>&1; then
        skipped "$what" "it is not here, nor is apt-get"
    elif [ "$(id -u)" != 0 ]; then
        skipped "$what" "it is not here, and only root may install it" "sudo make test-deps"
    else
        echo "test-deps: installing $what (Debian packages) ..."
        apt_install "$@" || { apt-get update >>"$log" 2>&1 && apt_install "$@"; } || tail -n 3 "$log"
        "$is_here" || skipped "$what" "the packages could not be installed"
    fi
}

need "GStreamer's RTSP server" has_rtsp python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 \
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-rtsp
need "a browser" has_browser chromium fonts-dejavu-core
need "an MQTT broker" has_broker mosquitto
need "a picture archive (PACS)" has_pacs orthanc orthanc-dicomweb orthanc-gdcm dcmtk
need "the head Colin27" has_head mricron-data

# The packages that build the web interface: with them its committed files are compared with a fresh build.
ui=$(dirname "$0")/../ui
if ! command -v npm >/dev/null 2>&1 || ! command -v node >/dev/null 2>&1; then
    skipped "a build of the web interface" "node or npm is not here"
elif ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'; then
    skipped "a build of the web interface" "node $(node --version) is older than 20.19"
elif ! [ "$ui/node_modules/.package-lock.json" -nt "$ui/package-lock.json" ]; then
    echo "test-deps: installing the packages of ui/ (npm ci) ..."
    (cd "$ui" && npm ci --silent) >>"$log" 2>&1 || { tail -n 3 "$log"; skipped "a build of the web interface" "npm ci failed"; }
fi

"""Opening videos: addresses to PyAV containers, FFmpeg's errors to ours. No message holds a password.

FFmpeg's own error texts carry the whole address, so they are never passed on: only their one-word cause is.
"""

from __future__ import annotations

import errno
import re
import sys
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from sightline.core.errors import FileMissing, InvalidMedia, SightlineError, SourceUnreachable
from sightline.core.urls import redacted

MAX_SIDE_PX = 16384
_MAX_PIXELS = 1 << 27  # refused by FFmpeg before it allocates, also when a stream changes its size on the way
_FILE_SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv"})
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,mjpeg,h264,hevc,m4v,av1,obu,dv,mxf"
)
_TRUE_CAUSES: Mapping[type[av.FFmpegError], str] = {
    av.HTTPUnauthorizedError: "it refuses the user name or password",
    av.HTTPForbiddenError: "it forbids access",
    av.HTTPNotFoundError: "it has no such path",
    av.error.ConnectionRefusedError: "connection refused",
    av.error.TimeoutError: "no answer in time",
    av.error.ExitError: "no answer in time",
    av.error.InvalidDataError: "what it sends is not a video that can be read",
    av.error.ProtocolNotFoundError: "unknown protocol",
}


class Kind(StrEnum):
    """What an address leads to."""

    FILE = "file"
    WEBCAM = "webcam"
    RTSP = "rtsp"
    HTTP = "http"
    NETWORK = "network"


def kind_of(url: str) -> Kind:
    """Return what `url` leads to: a scheme, a webcam's number or device, else a path."""
    if url.isdecimal() or url.startswith(("/dev/video", "video=")):
        return Kind.WEBCAM
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme in {"", "file"}:
        return Kind.FILE
    if scheme in {"rtsp", "rtsps"}:
        return Kind.RTSP
    return Kind.HTTP if scheme in {"http", "https"} else Kind.NETWORK


def is_live(url: str) -> bool:
    """Return True when frames come by themselves; an HTTP address that ends like a file is a file."""
    kind = kind_of(url)
    if kind is Kind.HTTP:
        return Path(urlsplit(url).path).suffix.lower() not in _FILE_SUFFIXES
    return kind is not Kind.FILE


def open_video(url: str, *, transport: str, timeout_s: float) -> tuple[InputContainer, VideoStream]:
    """Open `url` and return it with its first video stream, set to decode in the calling thread.

    Raises:
        FileMissing: it is a path and nothing is there.
        InvalidMedia: it is no video, is cut off, or is in a format that cannot be decoded.
        av.FFmpegError: it does not answer; `explained` words it.
    """
    kind = kind_of(url)
    timeout_us = str(round(timeout_s * 1e6))
    options = {"max_pixels": str(_MAX_PIXELS)}
    target, container_format = url, None
    if kind is Kind.FILE:
        return _open_file(file_path(url), options)
    if kind is Kind.WEBCAM:
        target, container_format = _webcam(url)
        if container_format == "avfoundation":
            options["framerate"] = "30"  # without it FFmpeg asks for 29.97, which most Macs refuse
    elif kind is Kind.RTSP:
        # a short analysis brings the first frame 0.9 s earlier; `stimeout` and `rw_timeout` are silently ignored
        options |= {"rtsp_transport": transport, "timeout": timeout_us, "analyzeduration": "200000"}
    elif kind is Kind.HTTP:
        options["timeout"] = timeout_us
    begun_s = time.monotonic()
    try:
        container = av.open(target, "r", format=container_format, options=options, timeout=(timeout_s, timeout_s))
    except av.error.InvalidDataError:
        if time.monotonic() - begun_s < 0.9 * timeout_s:
            raise
        # what FFmpeg calls an RTSP server that accepts the connection and says nothing
        raise av.error.TimeoutError(errno.ETIMEDOUT, "no answer in time") from None
    return container, video_stream(container, redacted(url))


def open_object(file: BinaryIO, name: str) -> tuple[InputContainer, VideoStream]:
    """Open a video that somebody sent.

    Only plain containers are accepted: a playlist could make FFmpeg fetch other files or addresses.

    Raises:
        InvalidMedia: it is no video, is cut off, or is in a format that cannot be decoded.
    """
    options = {"max_pixels": str(_MAX_PIXELS), "format_whitelist": _CONTAINERS}
    try:
        container = av.open(file, "r", options=options)
    except (av.FFmpegError, ValueError) as error:
        raise _unreadable(file, name, error) from None
    return container, video_stream(container, name)


def file_path(url: str) -> Path:
    """Return the path that `url` (a path or file://) names."""
    return Path(unquote(urlsplit(url).path)) if url.lower().startswith("file://") else Path(url).expanduser()


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the first real video stream of `container`; close it and raise InvalidMedia when there is none."""
    try:
        streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not streams:
            raise InvalidMedia(f"{name} has no video in it.", cure="Give a video; sound alone cannot be analysed.")
        stream = streams[0]
        try:
            codec = stream.codec_context
            codec_name = codec.name
        except (AttributeError, ValueError, av.FFmpegError):
            codec, codec_name = None, ""
        if codec is None or not codec_name:
            raise InvalidMedia(
                f"{name} holds a video in a codec that is not known.",
                cure="Convert it: ffmpeg -i INPUT -c:v libx264 -pix_fmt yuv420p out.mp4",
            )
        check_size(codec.width, codec.height, name)
        # one thread a camera: threads inside the codec cost more CPU and never less, parallelism comes from cameras
        stream.thread_type = "NONE"
        codec.thread_count = 1
    except BaseException:
        container.close()
        raise
    return stream


def check_size(width: int, height: int, name: str) -> None:
    """Raise InvalidMedia when a picture of `width` x `height` pixels is larger than anything real."""
    if width > MAX_SIDE_PX or height > MAX_SIDE_PX:
        raise InvalidMedia(
            f"{name} is {width} x {height} pixels; the limit is {MAX_SIDE_PX} a side.", cure="Scale it down first."
        )


def explained(error: Exception, url: str) -> SightlineError:
    """Return our error for what FFmpeg said about `url`, without its secrets."""
    if isinstance(error, SightlineError):
        return error
    name = redacted(url)
    if kind_of(url) is Kind.FILE:
        return InvalidMedia(
            f"{name} cannot be read as a video: {cause_of(error)}.", cure="Check the file with ffprobe."
        )
    if kind_of(url) is Kind.WEBCAM:
        name = f"The webcam /dev/video{url}" if url.isdecimal() and sys.platform == "linux" else f"The webcam {url}"
        cure = "Plug it in, use another number, and see that no other program has it and that this user may read it."
    elif is_refusal(error):
        cure = "Check user name and password, and that the camera has not locked them out."
    elif isinstance(error, av.HTTPNotFoundError):
        cure = "Check the path behind the host name; the camera's manual names it."
    else:
        cure = "Check that it is switched on and that this machine can reach it."
    return SourceUnreachable(f"{name} does not give a video: {cause_of(error)}.", cure=cure)


def cause_of(error: Exception) -> str:
    """Return the cause of a failure in a few words, without the address."""
    if isinstance(error, SightlineError):
        return error.message
    for kind, words in _TRUE_CAUSES.items():
        if isinstance(error, kind):
            return words
    strerror = error.strerror if isinstance(error, av.FFmpegError) else None
    return re.sub(r"\S+://\S+", "***", strerror or type(error).__name__)


def is_refusal(error: Exception) -> bool:
    """Return True when the source does not accept our user name and password."""
    return isinstance(error, av.HTTPUnauthorizedError | av.HTTPForbiddenError)


def is_hopeless(error: Exception) -> bool:
    """Return True when asking again soon cannot help, as the address is wrong."""
    return is_refusal(error) or isinstance(error, av.HTTPNotFoundError)


def _open_file(path: Path, options: dict[str, str]) -> tuple[InputContainer, VideoStream]:
    if path.is_dir():
        raise InvalidMedia(f"{path} is a folder, not a video.", cure="For a folder of pictures write use: images")
    try:
        with path.open("rb") as file:
            try:
                container = av.open(str(path), "r", options=options)
            except (av.FFmpegError, ValueError) as error:
                raise _unreadable(file, str(path), error) from None
    except FileNotFoundError:
        raise FileMissing(f"There is no file {path}.", cure="Check the path; it counts from where you are.") from None
    except PermissionError:
        raise InvalidMedia(f"{path} may not be read.", cure="Give this user the right to read it.") from None
    return container, video_stream(container, str(path))


def _unreadable(file: BinaryIO, name: str, error: Exception) -> InvalidMedia:
    """Say why FFmpeg could not open `file`: look at what it holds."""
    if not file.seekable():
        return InvalidMedia(f"{name} cannot be read as a video: {cause_of(error)}.")
    file.seek(0)
    if not file.read(1):
        return InvalidMedia(f"{name} is empty (0 bytes).", cure="Record or copy it again.")
    if _is_cut_mp4(file):
        return InvalidMedia(
            f"{name} is an mp4 without its index: the recording was cut off before it was finished.",
            cure="Record fragmented mp4 (-movflags frag_keyframe) or mkv; an undamaged mp4 of the same camera can "
            "rebuild it (untrunc).",
        )
    return InvalidMedia(
        f"{name} is not a video that can be read.", cure="Check the file with ffprobe; convert it with ffmpeg."
    )


def _is_cut_mp4(file: BinaryIO) -> bool:
    """Return True when the boxes of an mp4 begin, and `moov`, its index, is not among them (ISO/IEC 14496-12, 4.2)."""
    position = 0
    names: list[bytes] = []
    while len(names) < 1000:
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            break
        size = int.from_bytes(head[:4], "big")
        names.append(head[4:8])
        if size == 1:  # a 64-bit size follows the name
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # 0: up to the end of the file
            break
        position += size
    return bool(names) and names[0] in {b"ftyp", b"styp"} and b"moov" not in names and b"moof" not in names


def _webcam(url: str) -> tuple[str, str]:
    """Return FFmpeg's name of the webcam and of the way in, for this operating system."""
    if sys.platform == "darwin":
        return url, "avfoundation"
    if sys.platform == "win32":
        if not url.isdecimal():
            return url, "dshow"
        from av.device import enumerate_input_devices  # newer than the oldest PyAV that the rest needs

        cameras = [device.name for device in enumerate_input_devices("dshow") if "video" in device.media_types]
        if int(url) >= len(cameras):
            raise SourceUnreachable(
                f"There is no webcam {url}; this machine has {len(cameras)}.", cure="Plug it in, or use a lower number."
            )
        return f"video={cameras[int(url)]}", "dshow"
    return (f"/dev/video{url}" if url.isdecimal() else url), "v4l2"

"""Facts about a stream, measured: distance of key frames, B frames, what decoding it costs here, and what to change.

Key frames, order and rate come from packets alone; the cost from decoding some of them with the clock of this thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sightline.core.errors import InvalidMedia
from sightline.packs.vision.sources.decoding import Converter
from sightline.packs.vision.sources.sampling import Sampler

_SPAN_S = 10.5  # a GOP of 10 s is the longest that cameras usually offer
_NUM_PACKETS = 300
_PATIENCE_S = 15.0
_NUM_DECODED = 60  # packets whose decoding is timed: a second or two


@dataclass(frozen=True, slots=True)
class _Packets:
    """What the packets of a stream tell.

    Attributes:
        times_s: presentation times in order of decoding, from 0.
        keyframes: which of them are key frames.
        ended: True when that was the whole stream.
    """

    times_s: Sequence[float]
    keyframes: Sequence[bool]
    num_bytes: int
    ended: bool

    @property
    def fps(self) -> float | None:
        span_s = max(self.times_s) - min(self.times_s)
        return (len(self.times_s) - 1) / span_s if span_s > 0 else None

    @property
    def reordered(self) -> bool:
        """True when frames are shown in another order than they come: B frames."""
        return any(later < earlier for earlier, later in pairwise(self.times_s))

    @property
    def is_variable(self) -> bool:
        steps_s = [later - earlier for earlier, later in pairwise(sorted(self.times_s))]
        return bool(steps_s) and max(steps_s) > 1.5 * median(steps_s)

    @property
    def gop_frames(self) -> int | None:
        """Longest distance of key frames, in frames; None when only one was seen before the measuring ended."""
        at = [index for index, keyframe in enumerate(self.keyframes) if keyframe]
        gops = [later - earlier for earlier, later in pairwise(at)]
        if at and self.ended:
            gops.append(len(self.keyframes) - at[-1])
        return max(gops, default=None)


def probe_stream(
    container: InputContainer, stream: VideoStream, wanted_fps: float | None, converter: Converter
) -> dict[str, Any]:
    """Return the facts about an opened stream as JSON, with `advice`.

    Raises:
        InvalidMedia: no packet came.
        av.FFmpegError: the source broke off before the first packet.
    """
    kept, packets = _demux(container, stream)
    codec = stream.codec_context
    fps = packets.fps or (float(stream.average_rate) if stream.average_rate else None)
    gop_frames = packets.gop_frames
    facts: dict[str, Any] = {
        "codec": codec.name,
        "profile": codec.profile,
        "width": codec.width,
        "height": codec.height,
        "pixel_format": codec.pix_fmt,
        "fps": None if fps is None else round(fps, 3),
        "fps_declared": _number(stream.average_rate),
        "fps_varies": packets.is_variable,
        "time_base": str(stream.time_base),
        "gop_frames": gop_frames,
        "gop_s": None if gop_frames is None or not fps else round(gop_frames / fps, 3),
        "b_frames": packets.reordered or bool(codec.has_b_frames),
        "b_frames_seen": packets.reordered,
        "duration_s": None if not container.duration else round(container.duration / 1e6, 3),
        "bitrate": _bitrate(container, packets),
        "sender_clock": container.start_time_realtime is not None if "rtsp" in container.format.name else None,
        "measured_s": round(max(packets.times_s), 3),
    }
    facts["decode"] = _decode_cost(kept, packets, fps, wanted_fps, lazy=not facts["b_frames"], converter=converter)
    facts["advice"] = _advice(facts, wanted_fps)
    return facts


def _demux(container: InputContainer, stream: VideoStream) -> tuple[list[Packet[VideoStream]], _Packets]:
    """Take packets for about 10 s; keep the first ones from a key frame on for decoding."""
    kept: list[Packet[VideoStream]] = []
    stamps: list[int] = []
    keyframes: list[bool] = []
    num_bytes, ended, begun_s = 0, True, time.monotonic()
    time_base = stream.time_base or Fraction(1, 90000)
    try:
        for packet in container.demux(stream):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if not packet.size:
                continue
            if stamp is None:  # raw H.264: no stamps at all
                stamp = round(len(stamps) / ((stream.average_rate or 25) * time_base))
            stamps.append(stamp)
            keyframes.append(packet.is_keyframe)
            num_bytes += packet.size
            if (kept or packet.is_keyframe) and len(kept) < _NUM_DECODED:
                kept.append(packet)
            if (
                len(stamps) >= _NUM_PACKETS
                or (stamp - stamps[0]) * time_base >= _SPAN_S
                or time.monotonic() - begun_s > _PATIENCE_S
            ):
                ended = False
                break
    except av.FFmpegError:
        if not stamps:
            raise
    if not stamps:
        raise InvalidMedia("No video packet came.", cure="Check that the source really sends video.")
    first = min(stamps)
    times_s = [float((stamp - first) * time_base) for stamp in stamps]
    return kept, _Packets(times_s, keyframes, num_bytes, ended)


def _decode_cost(
    kept: Sequence[Packet[VideoStream]],
    packets: _Packets,
    fps: float | None,
    wanted_fps: float | None,
    *,
    lazy: bool,
    converter: Converter,
) -> dict[str, Any] | None:
    """Return CPU milliseconds per source frame and per second of stream, for three ways of decoding.

    The costs of key frames, other frames and conversion are measured; how many of each a way needs is counted by
    running the sampler over the packets.
    """
    key_ms: list[float] = []
    other_ms: list[float] = []
    frame: VideoFrame | None = None
    for packet in kept:
        begun_s = time.thread_time()
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        (key_ms if packet.is_keyframe else other_ms).append((time.thread_time() - begun_s) * 1000)
        frame = frames[-1] if frames else frame
    if frame is None:
        return None
    converter.pixels(frame)  # the first conversion builds swscale's tables
    begun_s = time.thread_time()
    for _ in range(5):
        converter.pixels(frame)
    convert_ms = (time.thread_time() - begun_s) * 1000 / 5
    # the first key frame also pays for opening the decoder
    key = median(key_ms) if key_ms else fmean(other_ms)
    other = fmean(other_ms) if other_ms else key
    num, num_keys = len(packets.times_s), sum(packets.keyframes)
    num_wanted, lazy_ms = _simulate(packets, fps, wanted_fps, key, other)
    full_ms = num_keys * key + (num - num_keys) * other
    ways = {
        "full": full_ms + num_wanted * convert_ms,
        "lazy": (lazy_ms if lazy else full_ms) + num_wanted * convert_ms,
        "keyframes_only": num_keys * (key + convert_ms),
    }
    return {
        "measured": True,
        "wanted_fps": wanted_fps,
        "key_frame_ms": round(key, 3),
        "other_frame_ms": round(other, 3),
        "convert_ms": round(convert_ms, 3),
        "ms_per_frame": {way: round(cost / num, 3) for way, cost in ways.items()},
        "ms_per_stream_second": {way: None if not fps else round(cost / num * fps, 2) for way, cost in ways.items()},
    }


def _simulate(
    packets: _Packets, fps: float | None, wanted_fps: float | None, key_ms: float, other_ms: float
) -> tuple[int, float]:
    """Return how many frames would be sampled, and what lazy decoding of them would cost in milliseconds."""
    sampler = Sampler(wanted_fps, 1 / fps if fps else 0.04)
    num_wanted, cost_ms, waiting_ms = 0, 0.0, 0.0
    for time_s, keyframe in zip(packets.times_s, packets.keyframes, strict=True):
        waiting_ms = key_ms if keyframe else waiting_ms + other_ms
        if sampler.wants(time_s, keyframe=keyframe):
            num_wanted, cost_ms, waiting_ms = num_wanted + 1, cost_ms + waiting_ms, 0.0
    return num_wanted, cost_ms


def _advice(facts: dict[str, Any], wanted_fps: float | None) -> list[str]:
    """Return what to change in the camera or in the case, a sentence each."""
    advice = []
    gop_s, fps = facts["gop_s"], facts["fps"]
    if facts["b_frames"]:
        advice.append(
            "B frames: lazy decoding is off, and frames come later: turn them off in the camera (Baseline profile)."
        )
    if gop_s is None and facts["measured_s"] >= 5:
        advice.append("No second key frame came in 10 s: set the camera's I-frame interval to 1 to 2 s.")
    elif gop_s is not None and gop_s > 4:
        advice.append(
            f"The GOP is {gop_s:g} s: set the camera's I-frame interval to 1 to 2 s; a lost stream is back faster."
        )
    elif gop_s and wanted_fps and gop_s <= 1 / wanted_fps * 1.05 and not facts["b_frames"]:
        advice.append(
            f"At {wanted_fps:g} fps and a GOP of {gop_s:g} s key frames alone would do; lazy decoding does nearly that."
        )
    if facts["width"] * facts["height"] > 1920 * 1080:
        rate = f" at {fps:g} fps" if fps else ""
        advice.append(
            f"{facts['width']} x {facts['height']}{rate} is more than detectors see (320 to 640 px): "
            "use the camera's sub-stream."
        )
    if wanted_fps is None and fps and fps > 10:
        advice.append(f"All {fps:g} frames a second are taken: fps 2 to 5 is enough to follow people.")
    if facts["fps_varies"]:
        advice.append("The frame rate varies: times are right, rates are averages.")
    if facts["sender_clock"] is False:
        advice.append("The camera has not told its clock yet (RTCP): times are those of receipt until it does.")
    if facts["codec"] == "mjpeg" and facts["width"] >= 1280:
        advice.append("MJPEG needs five to ten times the bandwidth of H.264: choose H.264 in the camera.")
    return advice


def _bitrate(container: InputContainer, packets: _Packets) -> int | None:
    if container.bit_rate:
        return int(container.bit_rate)
    span_s = max(packets.times_s)
    return round(packets.num_bytes * 8 / span_s) if span_s else None


def _number(rate: Fraction | None) -> float | None:
    return None if rate is None else round(float(rate), 3)

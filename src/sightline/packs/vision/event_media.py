"""The picture of an event and the time that its clip spans; knows events and samples, no stores and no threads.

All times of clips are wall clock, as sources hold their packets by it, whatever the clock of a camera says.
Shape letters: H rows, W columns, C colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from sightline.core.codec import decode_time
from sightline.core.errors import InvalidInput
from sightline.core.events import Event
from sightline.core.plugins import Clip
from sightline.core.prediction import Findings
from sightline.core.sample import Frame, Sample, Window
from sightline.packs.vision.drawing import DARK, PLACE, colour_of

Pixels = npt.NDArray[np.uint8]
_QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """How much of the time around an event a clip shows.

    Attributes:
        pre: before it.
        post: after its end.
        longest: of the whole clip.
    """

    pre: timedelta
    post: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A clip that is not stored yet, and its file."""

    clip: Clip
    file: BinaryIO


@dataclass(slots=True, eq=False, kw_only=True)
class Wanted:
    """The media of one event that are being made.

    Attributes:
        source: whose clip it is.
        thumbnail: JPEG; None where there is no picture.
        begin: of the clip.
        happened: when the event was told.
        ended: when what it tells of was over; None while it goes on.
        lag: how far the clock of the process was behind the event when that was noticed.
        key: id that is shared with the event that tells the end; empty where there is none.
        may_be_cut: what follows the event is not missed in its clip: the camera was lost, or is over.
        first: clip up to a little after the event, made while that went on, or why there is none.
        thumbnail_bytes: as stored; 0 where it is not.
        lost: why something is missing, sentence by sentence.
    """

    event: Event
    source: str
    thumbnail: bytes | None
    begin: datetime
    happened: datetime
    ended: datetime | None
    lag: timedelta
    key: str = ""
    may_be_cut: bool = False
    first: Made | str | None = None
    thumbnail_bytes: int = 0
    has_begun: bool = False
    lost: list[str] = field(default_factory=list)

    def end(self, roll: Roll, *, first: bool = False) -> datetime:
        """Return when the clip ends; `first`: that of the part around the event itself."""
        end = self.happened if first or self.ended is None else max(self.ended, self.happened)
        if not first and self.ended is None:
            return self.begin + roll.longest
        return min(end + roll.post, self.begin + roll.longest)

    def missing(self, clip: Clip, end: datetime) -> list[str]:
        """Return what a clip lacks of the time from `begin` to `end`; key frames and slow cameras are allowed for."""
        late_s, early_s = (clip.start - self.begin).total_seconds(), (end - clip.end).total_seconds()
        lacks = [f"the first {late_s:.0f} s are not held any more"] if late_s > _ALLOWED_S else []
        if early_s > _ALLOWED_S and not self.may_be_cut:
            lacks.append(f"the last {early_s:.0f} s are not there")
        return lacks


_ALLOWED_S = 1.5


def wanted(event: Event, picture: Sample[Frame], now: datetime, roll: Roll, width_px: int) -> Wanted:
    """Return what is to be made of an event.

    Args:
        event: what happened.
        picture: what belongs to it; of a source's state the last one before it.
        now: the clock of the process.
        roll: what the clip shows.
        width_px: of the thumbnail; 0: none.
    """
    is_state = event.short_type.startswith("source.")  # told by our own clock
    shift = timedelta(0) if is_state else picture.clocks.wall - picture.time
    happened = event.time + shift
    start, ended = span_of(event)
    begin = max(start + shift - roll.pre, happened + roll.post - roll.longest)
    return Wanted(
        event=event,
        source=picture.source,
        thumbnail=thumbnail(picture, event, width_px) if width_px else None,
        begin=min(begin, happened),
        happened=happened,
        ended=happened if is_state else None if ended is None else ended + shift,
        lag=max(now - happened, timedelta(0)),
        key=key_of(event),
        may_be_cut=is_state,
    )


def span_of(event: Event) -> tuple[datetime, datetime | None]:
    """Return start and end of what an event tells of; an event that says nothing of it is an instant."""
    start, end = event.data.get("start"), event.data.get("end", event.time)
    try:
        return (
            decode_time(start) if isinstance(start, str) else event.time,
            None if end is None else decode_time(end) if isinstance(end, str) else event.time,
        )
    except InvalidInput:  # a plug-in that means something else by these words
        return event.time, event.time


def key_of(event: Event) -> str:
    """Return the id that the events of one visit or alarm share; empty where there is none."""
    return str(event.data.get("visit") or event.data.get("alarm") or "")


def picture_of(sample: Sample[Any]) -> Sample[Frame] | None:
    """Return the sample with the picture: itself, or the newest with one in its window; None where there is none."""
    if isinstance(sample.payload, Frame):
        return sample
    if isinstance(sample.payload, Window):
        return next((each for each in reversed(sample.payload.samples) if isinstance(each.payload, Frame)), None)
    return None


def thumbnail(sample: Sample[Frame], event: Event, width_px: int) -> bytes:
    """Return a JPEG of the sample, at most `width_px` wide, with what the event is about framed."""
    pixels = sample.payload.pixels_HWC
    height, width = pixels.shape[:2]
    scale = min(1.0, width_px / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    full_width, full_height = sample.payload.size
    by = np.array([size[0] / full_width, size[1] / full_height])
    for corners, closed in _places(sample, event.data):
        _outline(small, np.array(corners, np.float64) * by, PLACE, closed=closed)
    box = event.data.get("xyxy")
    if isinstance(box, list) and len(box) == 4 and all(isinstance(side, int | float) for side in box):
        left, top, right, bottom = box
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        track = str(event.subject or "").rpartition("/")[2]
        _outline(small, np.array(corners) * by, colour_of(int(track) if track.isdecimal() else 0), closed=True)
    jpeg: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(small), quality=_QUALITY, colorspace="BGR", colorsubsampling="420"
    )
    return jpeg


def _places(sample: Sample[Any], data: Mapping[str, Any]) -> list[tuple[list[Any], bool]]:
    """Return the points of the line or the zone that the event names, and whether they go round."""
    found = sample.predictions.get(str(data.get("predictor")))
    facts = [item.data or {} for item in found if item.event is None] if isinstance(found, Findings) else []
    lines = [[fact["start"], fact["end"]] for fact in facts if "start" in fact and fact.get("line") == data.get("line")]
    zones = [fact["polygon"] for fact in facts if "polygon" in fact and fact.get("zone") == data.get("zone")]
    return [(line, False) for line in lines] + [(zone, True) for zone in zones]


def _outline(pixels: Pixels, points_M2: npt.NDArray[np.float64], colour: tuple[int, int, int], *, closed: bool) -> None:
    corners = [np.round(points_M2).astype(np.int32)]
    cv2.polylines(pixels, corners, closed, DARK, 4, cv2.LINE_AA)
    cv2.polylines(pixels, corners, closed, colour, 2, cv2.LINE_AA)

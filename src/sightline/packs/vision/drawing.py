"""Draws what was predicted about a picture onto a copy of it; knows predictions, not who made them.

Boxes, trails, masks and top classes come from the predictions of core. Lines and zones come from findings that carry
their geometry, in pixels: `line` (data: `line`, `start`, `end`), `zone` (data: `zone`, `polygon`) and `thing`, what was
left behind (data: `thing`, `xyxy`).
Colours are blue, green, red. Shape letters: H rows, W columns, C colours, M corners.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from sightline.core.prediction import Boxes, Findings, Labels, Mask, Scalar
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.lettering import Colour, Plates

Pixels: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int32]

# Told apart by hue first and by lightness second, each readable on grass, asphalt, snow and night.
PALETTE: tuple[Colour, ...] = (
    (60, 180, 255),
    (230, 190, 60),
    (110, 110, 255),
    (110, 220, 120),
    (235, 130, 215),
    (70, 235, 240),
    (255, 150, 110),
    (150, 200, 255),
    (180, 230, 90),
    (200, 130, 255),
    (220, 230, 160),
    (90, 150, 220),
)
PLACE: Colour = (255, 235, 120)  # lines and zones: a light cyan that no track has
DARK: Colour = (28, 24, 22)
LIGHT: Colour = (245, 245, 245)
WARNING: Colour = (70, 70, 235)


@dataclass(frozen=True, kw_only=True)
class Style:
    """How pictures are drawn.

    Attributes:
        header: a line with source, time and counts in the upper left corner.
        confidence: write the confidence beside the class.
        mask_opacity: 0 (unseen) to 1 (covers the picture).
        num_labels: at most so many of the best classes are written; as many as were asked for, up to that.
    """

    header: bool = True
    confidence: bool = False
    mask_opacity: float = 0.45
    num_labels: int = 10


@dataclass(kw_only=True)
class Trails:
    """Where tracks came from: the feet of their boxes over the last seconds of one source."""

    seconds: float = 3.0
    places: dict[int, deque[tuple[float, int, int]]] = field(default_factory=dict)

    def add(self, sample: Sample[Any]) -> None:
        """Take the places of this sample's tracks, and forget old ones."""
        for boxes in shown_boxes(sample):
            if boxes.tracker_id is None:
                continue
            for (left, _, right, bottom), track in zip(boxes.xyxy.tolist(), boxes.tracker_id.tolist(), strict=True):
                place = (sample.seconds, round((left + right) / 2), round(bottom))
                self.places.setdefault(track, deque()).append(place)
        for track, places in list(self.places.items()):
            while places and not 0 <= sample.seconds - places[0][0] <= self.seconds:
                places.popleft()
            if not places:
                del self.places[track]


def draw(sample: Sample[Frame], trails: Trails | None = None, style: Style | None = None) -> Pixels:
    """Return a new picture [H, W, 3] with everything on it that was predicted about `sample`."""
    style = style or Style()
    pixels = sample.payload.pixels_HWC.copy()
    unit = max(0.75, min(pixels.shape[:2]) / 576)
    plates = Plates(pixels, unit)
    for mask in _kind(sample, Mask):
        _draw_mask(pixels, mask, style.mask_opacity)
    _draw_texts(plates, sample, unit, style)
    seen = shown_boxes(sample)
    seen_N4 = np.concatenate([np.zeros((0, 4), np.float32), *(boxes.xyxy for boxes in seen)])
    for findings in _kind(sample, Findings):
        _draw_places(pixels, findings, unit, plates, seen_N4)
    if trails is not None:
        _draw_trails(pixels, trails, sample.seconds, unit)
    for boxes in seen:
        _draw_boxes(pixels, boxes, unit, style, plates, seen_N4=seen_N4)
    plates.draw()
    return pixels


def colour_of(number: int) -> Colour:
    """Return the colour of a track or class, always the same for the same number."""
    return PALETTE[number % len(PALETTE)]


def shown_boxes(sample: Sample[Any]) -> list[Boxes]:
    """Return the boxes to draw: tracked ones where there are any, as plain ones would lie under them again."""
    found = list(_kind(sample, Boxes))
    return [boxes for boxes in found if boxes.tracker_id is not None] or found


def _kind(sample: Sample[Any], kind: type[Any]) -> Iterator[Any]:
    return (each for each in sample.predictions.values() if isinstance(each, kind))


def _draw_mask(pixels: Pixels, mask: Mask, opacity: float) -> None:
    if mask.labels_HW.ndim != 2:
        return
    height, width = pixels.shape[:2]
    labels = np.asarray(mask.labels_HW)
    if labels.shape != (height, width):
        labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    table = np.array([(0, 0, 0), *(colour_of(number) for number in range(int(labels.max(initial=0))))], np.uint8)
    there = labels > 0
    pixels[there] = (pixels[there] * (1 - opacity) + table[labels[there]] * opacity).astype(np.uint8)


def _draw_places(
    pixels: Pixels, findings: Findings, unit: float, plates: Plates, seen_N4: npt.NDArray[np.float32]
) -> None:
    """Draw lines and zones with their counts, which are written where they hide none of the boxes `seen_N4`."""
    gap = round(4 * unit)
    counts: dict[tuple[str, str], Any] = {}
    for item in findings:
        data: Mapping[str, Any] = item.data or {}
        for key in ("line", "zone"):
            if key in data and item.event is None:
                counts[data[key], item.name] = item.value
    for item in findings:
        data = item.data or {}
        if item.name == "zone" and "polygon" in data:
            name = data["zone"]
            text = f"{name}  {_whole(counts.get((name, 'inside'), 0))}"
            _, height = plates.size(text)
            (x, y), (low_x, low_y) = _draw_zone(pixels, np.array(data["polygon"]), unit)
            at = ((x + gap, y + gap), (x, y - height - gap), (low_x, low_y + gap), (low_x + gap, low_y - height - gap))
            plates.write(text, *at, back=PLACE, avoid_N4=seen_N4, needed=False)
        elif item.name == "thing" and "xyxy" in data:
            left, top, right, bottom = (round(side) for side in data["xyxy"])
            for colour, more in ((DARK, 2), (WARNING, 0)):
                cv2.rectangle(
                    pixels, (left, top), (right, bottom), colour, max(2, round(2.4 * unit)) + more, cv2.LINE_AA
                )
            plates.write(f"left: {data['thing']}", (left, bottom + 2), back=WARNING)
        elif item.name == "line" and "start" in data:
            name = data["line"]
            ways = "   ".join(f"{way} {_whole(counts.get((name, way), 0))}" for way in ("in", "out"))
            text = f"{name}   {ways}"
            width, height = plates.size(text)
            (x, y), (low_x, low_y) = _draw_line(pixels, np.array(data["start"]), np.array(data["end"]), unit)
            at = (
                (x - width // 2, y - height - 2 * gap),
                (low_x - width // 2, low_y + 2 * gap),
                (x + 2 * gap, y - height // 2),
                (x - width - 2 * gap, y - height // 2),
            )
            plates.write(text, *at, back=PLACE, avoid_N4=seen_N4, needed=False)


def _draw_zone(pixels: Pixels, polygon_M2: npt.NDArray[np.float64], unit: float) -> tuple[tuple[int, int], ...]:
    """Draw a zone; return its highest corner and its lowest, beside which its name belongs; of several the left one."""
    height, width = pixels.shape[:2]
    corners = np.round(polygon_M2).astype(np.int32)
    left, top = np.clip(corners.min(axis=0), 0, (width, height))
    right, bottom = np.clip(corners.max(axis=0) + 1, 0, (width, height))
    if right > left and bottom > top:
        region = pixels[top:bottom, left:right]
        filled = region.copy()
        cv2.fillPoly(filled, [corners - np.array([left, top], np.int32)], PLACE)
        cv2.addWeighted(filled, 0.18, region, 0.82, 0, dst=region)
    thin = max(1, round(1.4 * unit))
    cv2.polylines(pixels, [corners], True, DARK, thin + 2, cv2.LINE_AA)
    cv2.polylines(pixels, [corners], True, PLACE, thin, cv2.LINE_AA)
    highest = corners[int((corners[:, 1] * 4 + corners[:, 0]).argmin())]
    lowest = corners[int((corners[:, 1] * 4 - corners[:, 0]).argmax())]
    return (int(highest[0]), int(highest[1])), (int(lowest[0]), int(lowest[1]))


def _draw_line(
    pixels: Pixels, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], unit: float
) -> list[tuple[int, int]]:
    """Draw a line with an arrow to its `in` side, the right of who looks along it; return its ends, the upper first."""
    thin = max(2, round(2.2 * unit))
    one, other = _point(start), _point(end)
    way = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
    across = np.array([-way[1], way[0]])
    middle = start + (end - start) * 0.62  # not where people walk most
    tip, wing = middle + across * 22 * unit, 7 * unit
    barbs = [
        _point(tip),
        _point(tip - across * wing * 1.5 + way * wing),
        _point(tip - across * wing * 1.5 - way * wing),
    ]
    for colour, more in ((DARK, 3), (PLACE, 0)):
        cv2.line(pixels, one, other, colour, thin + more, cv2.LINE_AA)
        cv2.line(pixels, _point(middle), _point(tip - across * wing), colour, thin + more, cv2.LINE_AA)
        cv2.fillConvexPoly(pixels, np.array(barbs, np.int32), colour, cv2.LINE_AA)
        if more:
            cv2.polylines(pixels, [np.array(barbs, np.int32)], True, colour, more, cv2.LINE_AA)
        for place in (one, other):
            cv2.circle(pixels, place, round(4 * unit) + more // 2, colour, -1, cv2.LINE_AA)
    return sorted((one, other), key=lambda place: place[1])


def _draw_trails(pixels: Pixels, trails: Trails, now_s: float, unit: float) -> None:
    """Draw where tracks came from, thinner the longer ago."""
    for track, places in trails.places.items():
        for (before_s, *before), (_, *after) in pairwise(places):
            share = 1 - (now_s - before_s) / max(trails.seconds, 1e-6)
            cv2.line(pixels, before, after, colour_of(track), max(1, round(3 * share * unit)), cv2.LINE_AA)


def _draw_boxes(
    pixels: Pixels, boxes: Boxes, unit: float, style: Style, plates: Plates, *, seen_N4: npt.NDArray[np.float32]
) -> None:
    """Draw boxes, and write what is in them: above, else below, else inside; not at all where others stand there."""
    tracks = boxes.class_id.tolist() if boxes.tracker_id is None else boxes.tracker_id.tolist()
    thin = max(1, round(1.6 * unit))
    corners = np.round(boxes.xyxy).astype(int).tolist()
    colours = [colour_of(number) for number in tracks]
    for (left, top, right, bottom), colour in zip(corners, colours, strict=True):
        cv2.rectangle(pixels, (left, top), (right, bottom), DARK, thin + 1, cv2.LINE_AA)
        cv2.rectangle(pixels, (left, top), (right, bottom), colour, thin, cv2.LINE_AA)
    for row, ((left, top, right, bottom), colour) in enumerate(zip(corners, colours, strict=True)):
        words = [boxes.class_name[row]]
        if boxes.tracker_id is not None:
            words.append(str(tracks[row]))
        if style.confidence:
            words.append(f"{boxes.confidence[row]:.2f}")
        text = " ".join(words)
        width, height = plates.size(text)
        above, below, ends = top - height - 1, bottom + 2, right - width + thin
        starts, inside = left - thin, top + thin + 1
        at = ((starts, above), (ends, above), (starts, below), (ends, below), (left + thin + 1, inside))
        plates.write(text, *at, back=colour, avoid_N4=seen_N4, needed=False)


def _draw_texts(plates: Plates, sample: Sample[Frame], unit: float, style: Style) -> None:
    """Write the header, and below it what belongs to the whole picture."""
    margin = round(8 * unit)
    row = margin
    if style.header:
        row = plates.write(_header(sample), (margin, row), back=DARK, ink=LIGHT) + margin // 2
    lines: list[tuple[str, Colour]] = []
    for labels in _kind(sample, Labels):
        best = list(zip(labels.class_name, labels.confidence.tolist(), labels.class_id.tolist(), strict=True))
        lines += [(f"{name}  {score:.0%}", colour_of(number)) for name, score, number in best[: style.num_labels]]
    for scalar in _kind(sample, Scalar):
        lines.append((f"{scalar.name}  {scalar.value:.4g} {scalar.unit}".rstrip(), LIGHT))
    if sample.rejected is not None:
        lines.append((f"rejected: {sample.rejected.reason}", WARNING))
    for text, colour in lines:
        row = plates.write(text, (margin, row), back=colour) + 2


def _header(sample: Sample[Frame]) -> str:
    """Return source, time and how many of each class there are."""
    pts_s = sample.clocks.pts_s
    if pts_s is None:
        time = f"{sample.time:%H:%M:%S}"
    else:
        tenths = round(pts_s * 10)
        time = f"{tenths // 600:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"
    number = Counter(name for boxes in shown_boxes(sample) for name in boxes.class_name)
    return "    ".join([sample.source, time, *(f"{num} {name}" for name, num in sorted(number.items()))])


def _whole(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, int | float) else str(value)


def _point(place: npt.NDArray[np.float64]) -> tuple[int, int]:
    return round(float(place[0])), round(float(place[1]))

"""What line and zone counters have in common: tracked boxes by class, places in pixels, times, conditions that last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from sightline.core.codec import encode_span
from sightline.core.errors import ConfigError
from sightline.core.plugins import Context
from sightline.core.prediction import Boxes
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.geometry import Point, is_seen

Unit: TypeAlias = Literal["px", "relative"]
Size: TypeAlias = tuple[int, int]

FORGET_S = 60.0  # no tracker waits that long for a lost track, so its id will not come again
TINY_S = 1e-6  # media times are sums of fractions: 0.04 s a frame is 4.0 s after a hundred, give or take


def tracked_boxes(sample: Sample[Any], of: str, classes: tuple[str, ...]) -> Boxes:
    """Return the boxes under key `of` whose class is one of `classes` (none: all).

    Raises:
        ConfigError: the boxes have no track ids.
    """
    boxes = sample.prediction(of, Boxes)
    if boxes.tracker_id is None and len(boxes):
        raise ConfigError(
            f"The boxes {of!r} have no track ids, so nothing can be counted.",
            cure="Put a tracker behind the detector, and name the tracker's key in `of`.",
        )
    return boxes.named(classes)


class Places:
    """Lines or zones of a counter in the pixels of each picture.

    Places in pixels hold for pictures of `size`, or else of the first size that the run had of the source; for a
    picture of another size they are scaled. What lies outside the picture, where nobody can be, is told.

    Args:
        kind: `line` or `zone`, for what is told.
        points: name -> its points.
        unit: of the points.
        size: width and height of the picture on which they were drawn; None: nobody says.
        context: the world of the counter.
    """

    def __init__(
        self, kind: str, points: Mapping[str, tuple[Point, ...]], unit: Unit, size: Size | None, context: Context
    ) -> None:
        self._kind = kind
        self._points = points
        self._unit = unit
        self._drawn_on = size or context.first_size
        self._context = context
        self._size: Size | None = None
        self._placed: Mapping[str, tuple[Point, ...]] | None = None

    def on(self, sample: Sample[Any]) -> Mapping[str, tuple[Point, ...]]:
        """Return the points of each place in pixels of the sample's picture.

        Raises:
            ConfigError: they are relative and the sample has no picture.
        """
        size = sample.payload.size if isinstance(sample.payload, Frame) else None
        if self._placed is None or size != self._size:
            self._placed, self._size = self._scaled(size, sample), size
        return self._placed

    def _scaled(self, size: Size | None, sample: Sample[Any]) -> Mapping[str, tuple[Point, ...]]:
        if size is None:
            if self._unit == "relative":
                raise ConfigError(
                    f"Relative places need a picture; the sample {sample.id} has none.",
                    cure="Give the places with `unit: px`.",
                )
            return self._points
        width, height = size
        if self._unit == "px":
            self._drawn_on = self._drawn_on or size
            width, height = size[0] / self._drawn_on[0], size[1] / self._drawn_on[1]  # type: ignore[assignment]
        placed = {name: tuple((x * width, y * height) for x, y in points) for name, points in self._points.items()}
        for name, points in placed.items():
            if not is_seen(points, size):
                seen = f"{size[0]}x{size[1]}"
                self._context.warned(
                    f"The {self._kind} {name!r} lies outside the picture of {seen}: it counts nothing."
                )
        return placed


def checked_places(kind: str, name: str, points: tuple[Point, ...], unit: Unit) -> None:
    """Raise ConfigError where relative places do not look like fractions of the picture.

    A little outside is allowed: a line may begin beyond the edge.
    """
    if any(not np.isfinite(value) for point in points for value in point):
        raise ConfigError(f"The {kind} {name!r} has a place that is no number.", cure="Give x and y of each point.")
    if unit == "relative" and any(not -1 <= value <= 2 for point in points for value in point):
        raise ConfigError(
            f"The {kind} {name!r} has relative places far outside the picture: {[list(point) for point in points]}.",
            cure="Relative places are fractions from 0 to 1; for pixels write `unit: px`.",
        )


def checked_size(size: Size | None) -> None:
    """Raise ConfigError where the size of the picture that places were drawn on is none."""
    if size is not None and min(size) < 1:
        raise ConfigError(f"size is {list(size)}.", cure="Give width and height of the picture in pixels.")


def rounded(points: tuple[Point, ...]) -> list[list[float]]:
    """Return points as short JSON."""
    return [[round(x, 1), round(y, 1)] for x, y in points]


def corners(xyxy_4: npt.NDArray[Any]) -> list[float]:
    """Return a box as short JSON."""
    return [round(float(value), 1) for value in xyxy_4]


def moment(sample: Sample[Any], seconds: float) -> datetime:
    """Return the event time, UTC, of what happened at `seconds` of the clock that `Sample.seconds` shows."""
    return sample.time + timedelta(seconds=seconds - sample.seconds)


def span(start: datetime, end: datetime | None) -> dict[str, str | None]:
    """Return `start` and `end` as JSON; the clock of a camera trembles, and no end comes before its start."""
    return encode_span(start, None if end is None else max(start, end))


@dataclass(slots=True)
class Lasting:
    """A condition that must hold for a while before it is on, and be gone for a while before it is off.

    Attributes:
        start: when what turned it on began, in UTC, as it was told.
        id: of the alarm, which its start and its end share.
    """

    on: bool = False
    start: datetime | None = None
    id: str = ""
    changing_s: float | None = None

    def step(self, starts: bool, ends: bool, now_s: float, hold_s: float) -> float | None:
        """Take what holds now; return since when where that turns it on or off, else None."""
        if not (ends if self.on else starts):
            self.changing_s = None
            return None
        self.changing_s = now_s if self.changing_s is None else self.changing_s
        if now_s - self.changing_s < hold_s - TINY_S:
            return None
        changed_s, self.on, self.changing_s = self.changing_s, not self.on, None
        return changed_s

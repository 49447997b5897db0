"""What line and zone counters have in common: tracked boxes by class, and places in pixels."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from sightline.core.errors import ConfigError
from sightline.core.prediction import Boxes
from sightline.core.sample import Frame, Sample
from sightline.packs.vision.geometry import Point

Unit: TypeAlias = Literal["px", "relative"]

FORGET_S = 60.0  # no tracker waits that long for a lost track, so its id will not come again


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


def in_pixels(points: tuple[Point, ...], unit: Unit, sample: Sample[Any]) -> tuple[Point, ...]:
    """Return `points` in pixels of the sample's picture.

    Raises:
        ConfigError: they are relative and the sample has no picture.
    """
    if unit == "px":
        return points
    if not isinstance(sample.payload, Frame):
        raise ConfigError(
            f"Relative places need a picture; the sample {sample.id} has none.", cure="Give the places with `unit: px`."
        )
    width, height = sample.payload.size
    return tuple((x * width, y * height) for x, y in points)


def checked_places(kind: str, name: str, points: tuple[Point, ...], unit: Unit) -> None:
    """Raise ConfigError where relative places do not look like fractions of the picture.

    A little outside is allowed: a line may begin beyond the edge.
    """
    if unit == "relative" and any(not -1 <= value <= 2 for point in points for value in point):
        raise ConfigError(
            f"The {kind} {name!r} has relative places far outside the picture: {[list(point) for point in points]}.",
            cure="Relative places are fractions from 0 to 1; for pixels write `unit: px`.",
        )


def rounded(points: tuple[Point, ...]) -> list[list[float]]:
    """Return points as short JSON."""
    return [[round(x, 1), round(y, 1)] for x, y in points]

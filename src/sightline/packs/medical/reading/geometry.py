"""Where the slices of a series lie, and what is wrong with that: one regular grid, or a reason.

Everything is in LPS millimetres, as DICOM has it, until the affine, which is RAS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.core.errors import InvalidMedia
from sightline.packs.medical.reading.problems import Problems
from sightline.packs.medical.reading.slices import Slice

RELATIVE, ABSOLUTE_MM = 0.01, 0.01  # how far a distance may be from the usual one
LEAST_MM, MOST_MM, FARTHEST_MM = 1e-6, 1e4, 1e6  # of a voxel, and of a place from the origin
_MOST_MISSING, _MOST_SHARE = 2, 0.1  # slices side by side, and of all, that are interpolated
_LEAST_TILT = 0.05  # degrees
_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
Vector = npt.NDArray[np.float64]
IsSame = Callable[[Slice, Slice], bool]


@dataclass(frozen=True)
class Grid:
    """A regular grid of slices.

    Attributes:
        slices: along K; None where one is missing and must be interpolated.
        affine: float64 [4, 4], index (column, row, slice) to RAS millimetres.
        positions_mm: of each slice along the normal, as measured; of a missing one, as it should be.
    """

    slices: tuple[Slice | None, ...]
    affine: Vector
    positions_mm: tuple[float, ...]


def grid_of(slices: Sequence[Slice], problems: Problems, is_same: IsSame) -> Grid:
    """Return the grid of slices that have one size, orientation and spacing.

    Args:
        slices: in any order.
        problems: takes what is wrong.
        is_same: whether two slices at one place have the same pixels.

    Raises:
        InvalidMedia: there is no grid.
    """
    first = slices[0]
    spacing = _spacing(first, problems)
    if first.position_mm is None or first.orientation is None:
        return _without_places(slices, spacing, problems)
    row, column, normal = _axes(first)
    along = {id(each): float(np.dot(each.position_mm or (), normal)) for each in slices}
    ordered = sorted(slices, key=lambda each: (along[id(each)], each.time, each.instance, each.sop_uid, each.frame))
    ordered = _one_a_place(ordered, [along[id(each)] for each in ordered], problems, is_same)
    depths = np.array([along[id(each)] for each in ordered])
    if len(ordered) == 1:
        step = normal * _thickness(first, problems)
        return Grid((ordered[0],), _affine(ordered[0], row, column, spacing, step), (float(depths[0]),))
    placed = _without_holes(ordered, depths, problems)
    step = _step(placed, depths, normal, problems)
    known = dict(zip((k for k, each in enumerate(placed) if each is not None), depths, strict=True))
    positions = tuple(float(known.get(k, depths[0] + k * np.dot(step, normal))) for k in range(len(placed)))
    return Grid(tuple(placed), _affine(ordered[0], row, column, spacing, step), positions)


def _spacing(first: Slice, problems: Problems) -> tuple[float, float]:
    """Return the distance between columns, and between rows."""
    if first.spacing_mm is None:
        problems.found(
            "no_pixel_spacing",
            "The distance of its pixels is not told",
            accept="1 mm is taken: no length, no volume is real",
        )
        return 1.0, 1.0
    if first.at_detector:
        problems.found(
            "no_pixel_spacing", "The distance of its pixels is told at the detector only", repair="that one is taken"
        )
    return first.spacing_mm[1], first.spacing_mm[0]


def _axes(first: Slice) -> tuple[Vector, Vector, Vector]:
    """Return the directions along a row, along a column, and of the normal."""
    cosines = np.array(first.orientation, np.float64)
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > 0.01 or abs(np.dot(row, column)) > 0.01:
        raise InvalidMedia(
            "The orientation of its slices is none: two directions of length 1 are needed, at a right angle.",
            cure="Export the series anew, with its ImageOrientationPatient.",
        )
    row, column = row / lengths[0], column / lengths[1]
    normal = np.cross(row, column)
    return row, column, normal / np.linalg.norm(normal)


def _thickness(first: Slice, problems: Problems) -> float:
    found = first.between_mm or first.thickness_mm
    if found is None:
        problems.found("no_slice_spacing", "The thickness of its slices is not told", accept="1 mm is taken")
    return found or 1.0


def _without_places(slices: Sequence[Slice], spacing: tuple[float, float], problems: Problems) -> Grid:
    problems.found(
        "no_position",
        "Where its slices lie in the patient is not told",
        accept="they are taken in the order of their numbers, with their thickness as distance",
    )
    ordered = sorted(slices, key=lambda each: (each.instance, each.file, each.frame))
    first, step_mm = ordered[0], _thickness(ordered[0], problems)
    row, column, normal = _axes(first) if first.orientation else (np.eye(3)[0], np.eye(3)[1], np.eye(3)[2])
    affine = _affine(first, row, column, spacing, normal * step_mm)
    return Grid(tuple(ordered), affine, tuple(k * step_mm for k in range(len(ordered))))


def _one_a_place(ordered: Sequence[Slice], depths: Sequence[float], problems: Problems, is_same: IsSame) -> list[Slice]:
    """Return one slice for each place."""
    places: list[list[Slice]] = []
    begin = -np.inf
    for each, depth in zip(ordered, depths, strict=True):
        if depth - begin <= ABSOLUTE_MM:
            places[-1].append(each)
        else:
            places.append([each])
            begin = depth
    places = [sorted(place, key=lambda each: (each.time, each.instance, each.sop_uid, each.frame)) for place in places]
    num = len(places[0])
    if num > 1 and all(len(place) == num for place in places):
        first = [place[0] for place in places]
        if not all(is_same(place[0], place[1]) for place in places[: len(places) // 2 + 1]):
            problems.found(
                "several_volumes", f"It holds {num} volumes at the same places", repair="the first of them is taken"
            )
            return first
    doubled = [k for k, place in enumerate(places) if len(place) > 1]
    differing = [k for k in doubled if not all(is_same(places[k][0], each) for each in places[k][1:])]
    same = [k for k in doubled if k not in differing]
    if same:
        problems.found(
            "duplicate_slice",
            f"{len(same)} slices are there more than once, with the same pixels",
            repair="one of each is kept",
            slices=same,
        )
    if differing:
        problems.found(
            "conflicting_slices",
            f"{len(differing)} places have slices that differ",
            accept="the first of each, by its number, is kept",
            slices=differing,
        )
    return [place[0] for place in places]


def _without_holes(ordered: Sequence[Slice], depths: Vector, problems: Problems) -> list[Slice | None]:
    """Return the slices with None where one is missing; nothing is missing where that cannot be told."""
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    steps = np.maximum(np.rint(gaps / usual), 1).astype(int)
    tolerance = max(RELATIVE * usual, ABSOLUTE_MM)
    if np.any(np.abs(gaps - steps * usual) > tolerance * steps):
        even = depths[0] + np.arange(len(depths)) * (depths[-1] - depths[0]) / (len(depths) - 1)
        worst = float(np.abs(depths - even).max())
        problems.found(
            "uneven_spacing",
            f"Its slices are {gaps.min():.3f} to {gaps.max():.3f} mm apart",
            accept=f"even steps are taken, which puts slices up to {worst:.3f} mm off",
            slices=np.flatnonzero(np.abs(gaps - usual) > tolerance).tolist(),
        )
        return list(ordered)
    num_missing = int((steps - 1).sum())
    if not num_missing:
        return list(ordered)
    placed: list[Slice | None] = [ordered[0]]
    for each, step in zip(ordered[1:], steps, strict=True):
        placed += [None] * (int(step) - 1) + [each]
    few = steps.max() - 1 <= _MOST_MISSING and num_missing <= max(1, _MOST_SHARE * len(placed))
    what = f"{num_missing} of {len(placed)} slices are missing"
    holes = [k for k, each in enumerate(placed) if each is None]
    even = depths[0] + np.arange(len(depths)) * (depths[-1] - depths[0]) / (len(depths) - 1)
    worst = float(np.abs(depths - even).max())
    problems.found(
        "missing_slice",
        what,
        repair="they are interpolated between their neighbours" if few else None,
        accept=None if few else f"the others are taken in even steps, which puts slices up to {worst:.3f} mm off",
        slices=holes if few else (),
    )
    return placed if few else list(ordered)


def _step(placed: Sequence[Slice | None], depths: Vector, normal: Vector, problems: Problems) -> Vector:
    """Return the way from one slice to the next, which a tilted gantry does not go along the normal."""
    index = [k for k, each in enumerate(placed) if each is not None]
    points = np.array([each.position_mm for each in placed if each is not None], np.float64)
    step: Vector = (points[-1] - points[0]) / index[-1]
    usual = float(np.dot(step, normal))
    off = points - points[0] - np.outer(index, step)
    sideways = np.linalg.norm(off - np.outer(off @ normal, normal), axis=1)
    tolerance = max(RELATIVE * usual, ABSOLUTE_MM)
    if sideways.max() > tolerance:
        problems.found(
            "shifted_slices",
            f"Slices lie up to {sideways.max():.3f} mm beside the line of the others",
            accept="they are taken as if they lay on it",
            slices=[index[k] for k in np.flatnonzero(sideways > tolerance)],
        )
    tilt = float(np.degrees(np.arccos(np.clip(usual / np.linalg.norm(step), -1, 1))))
    if tilt > _LEAST_TILT:
        problems.found(
            "gantry_tilt",
            f"Its slices are tilted by {tilt:.2f} degrees against their way",
            keep="the affine holds the shear",
        )
    assert len(depths) == len(index)  # noqa: S101
    return step


def _affine(first: Slice, row: Vector, column: Vector, spacing: tuple[float, float], step: Vector) -> Vector:
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = row * spacing[0], column * spacing[1], step
    matrix[:3, 3] = first.position_mm or (0.0, 0.0, 0.0)
    return checked_affine(_RAS @ matrix)


def checked_affine(affine: Vector) -> Vector:
    """Return an affine in millimetres.

    Raises:
        InvalidMedia: no scanner has such voxels, or such places.
    """
    steps = steps_mm(affine)
    if not (min(steps) >= LEAST_MM and max(steps) <= MOST_MM and np.abs(affine[:3, 3]).max() <= FARTHEST_MM):
        told, place = (" x ".join(f"{each:g}" for each in numbers) for numbers in (steps, affine[:3, 3]))
        raise InvalidMedia(
            f"Its voxels are said to be {told} mm large, the first one at {place} mm.",
            cure="Export it anew, with the spacing and the position of its slices.",
        )
    return affine


def axis_codes(affine: Vector) -> str:
    """Return to which sides the voxel axes point, such as `LPS`."""
    codes = [""] * 3
    left = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    for _ in range(3):  # the clearest axis first, so that each side of the patient is named once
        world, voxel = np.unravel_index(np.argmax(left), (3, 3))
        codes[voxel] = ("RL", "AP", "SI")[world][int(affine[world, voxel] < 0)]
        left[world, :] = left[:, voxel] = -1
    return "".join(codes)


def steps_mm(affine: Vector) -> list[float]:
    """Return the distance of neighbours along each voxel axis."""
    return [math.hypot(*column) for column in affine[:3, :3].T.tolist()]  # without an overflow on the way

"""Lines, polygons and the points that stand for boxes, in picture coordinates: x to the right, y down.

Knows numbers only. Shape letters: N points, M corners, columns x and y.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Point: TypeAlias = tuple[float, float]
Anchor: TypeAlias = Literal["bottom", "centre", "top"]


def anchors(xyxy_N4: npt.NDArray[np.floating], anchor: Anchor) -> Floats:
    """Return the point [N, 2] that stands for each box: where it touches the ground, its centre, or its top."""
    xyxy_N4 = np.asarray(xyxy_N4, np.float64)
    y_N = {
        "bottom": xyxy_N4[:, 3],
        "centre": (xyxy_N4[:, 1] + xyxy_N4[:, 3]) / 2,
        "top": xyxy_N4[:, 1],
    }[anchor]
    return np.stack([(xyxy_N4[:, 0] + xyxy_N4[:, 2]) / 2, y_N], axis=1)


def signed_distance(points_N2: Floats, start: Point, end: Point) -> Floats:
    """Return the distance [N] of points from the endless line through `start` and `end`, with the side as its sign.

    The cross product of the line's direction with the way to the point, by the line's length; with y down it is
    negative on the left of somebody who looks from `start` to `end`, and positive on the right.
    """
    dx, dy = end[0] - start[0], end[1] - start[1]
    points_N2 = np.asarray(points_N2, np.float64)
    return (dx * (points_N2[:, 1] - start[1]) - dy * (points_N2[:, 0] - start[0])) / float(np.hypot(dx, dy))


def segments_cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Return whether the segments a-b and c-d have a point in common; touching counts.

    Orientation test of Cormen et al., "Introduction to Algorithms", section 33.1.
    """
    turns = (_turn(c, d, a), _turn(c, d, b), _turn(a, b, c), _turn(a, b, d))
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    corners = ((c, d, a), (c, d, b), (a, b, c), (a, b, d))
    return any(turn == 0 and _in_box(*three) for turn, three in zip(turns, corners, strict=True))


def _turn(a: Point, b: Point, c: Point) -> float:
    """Return -1, 0 or 1: the way that a-b-c turns. The sign alone, as a product of tiny numbers could become zero."""
    cross = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return float(np.sign(cross))


def _in_box(a: Point, b: Point, c: Point) -> bool:
    """Return whether `c` lies in the box that a and b span."""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def point_in_polygon(points_N2: Floats, polygon_M2: Floats) -> npt.NDArray[np.bool_]:
    """Return which points [N] lie in the polygon; a left or upper edge is inside, a right or lower one outside.

    A ray to the right is crossed by the border an odd number of times: Shimrat, "Algorithm 112: Position of point
    relative to polygon", Communications of the ACM 5 (1962), with the half-open edges of W. R. Franklin's `pnpoly`.
    """
    x_N1, y_N1 = points_N2[:, :1], points_N2[:, 1:]
    x_M, y_M = polygon_M2[:, 0], polygon_M2[:, 1]
    next_x_M, next_y_M = np.roll(x_M, -1), np.roll(y_M, -1)
    spans_NM = (y_M > y_N1) != (next_y_M > y_N1)
    rise_M = next_y_M - y_M
    rise_M = np.where(rise_M == 0, 1.0, rise_M)  # a level edge spans nothing, whatever stands here
    cut_NM = x_M + (y_N1 - y_M) * (next_x_M - x_M) / rise_M
    inside_N: npt.NDArray[np.bool_] = (spans_NM & (x_N1 < cut_NM)).sum(axis=1) % 2 == 1
    return inside_N


def distance_to_border(points_N2: Floats, polygon_M2: Floats) -> Floats:
    """Return the distance [N] of points from the nearest edge of the polygon, from inside or outside.

    The foot of the perpendicular, clamped to the edge.
    """
    start_M2, way_M2 = polygon_M2, np.roll(polygon_M2, -1, axis=0) - polygon_M2
    offset_NM2 = points_N2[:, None] - start_M2
    length_M = np.maximum((way_M2**2).sum(axis=1), 1e-12)
    share_NM = np.clip((offset_NM2 * way_M2).sum(axis=2) / length_M, 0.0, 1.0)
    distance_N: Floats = np.hypot(*np.moveaxis(offset_NM2 - share_NM[..., None] * way_M2, 2, 0)).min(axis=1)
    return distance_N


def polygon_area(polygon_M2: Floats) -> float:
    """Return the area; positive when the corners go round clockwise on the screen (shoelace formula)."""
    x_M, y_M = polygon_M2[:, 0], polygon_M2[:, 1]
    return float((x_M * np.roll(y_M, -1) - np.roll(x_M, -1) * y_M).sum() / 2)


def is_seen(points: tuple[Point, ...], size: tuple[int, int]) -> bool:
    """Return whether any of a line or a polygon lies in a picture of `size` (width, height)."""
    width, height = size
    if any(0 <= x <= width and 0 <= y <= height for x, y in points):
        return True
    frame = ((0.0, 0.0), (float(width), 0.0), (float(width), float(height)), (0.0, float(height)))
    sides = list(zip(frame, (*frame[1:], frame[0]), strict=True))
    edges = zip(points, (*points[1:], points[0]), strict=True)
    if any(segments_cross(*edge, *side) for edge in edges for side in sides):
        return True
    # A polygon round the whole picture crosses none of its sides.
    centre = np.array([[width / 2, height / 2]])
    return len(points) > 2 and bool(point_in_polygon(centre, np.array(points, np.float64))[0])


def is_simple(polygon: tuple[Point, ...]) -> bool:
    """Return whether no two edges meet except neighbours at their common corner."""
    num = len(polygon)
    edges = [(polygon[index], polygon[(index + 1) % num]) for index in range(num)]
    if any(start == end for start, end in edges):
        return False
    for first in range(num):
        for second in range(first + 1, num):
            if second - first in (1, num - 1):
                # Neighbours share a corner; one that doubles back over the other shares more.
                shared, one, other = (
                    (edges[first][1], edges[first][0], edges[second][1])
                    if second - first == 1
                    else (edges[first][0], edges[first][1], edges[second][0])
                )
                if _turn(one, shared, other) == 0 and _dot(one, shared, other) > 0:
                    return False
            elif segments_cross(*edges[first], *edges[second]):
                return False
    return True


def _dot(one: Point, corner: Point, other: Point) -> float:
    """Return the scalar product of the ways from `corner` to the two others."""
    return (one[0] - corner[0]) * (other[0] - corner[0]) + (one[1] - corner[1]) * (other[1] - corner[1])

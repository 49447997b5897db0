from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sightline.packs.vision.geometry import (
    Point,
    anchors,
    distance_to_border,
    is_seen,
    is_simple,
    point_in_polygon,
    polygon_area,
    segments_cross,
    signed_distance,
)

SQUARE = np.array([[10.0, 10.0], [50.0, 10.0], [50.0, 50.0], [10.0, 50.0]])
GRID = st.tuples(st.integers(0, 6), st.integers(0, 6))


def test_anchors_stand_where_they_say() -> None:
    box = np.array([[10.0, 20.0, 30.0, 80.0]])

    assert anchors(box, "bottom").tolist() == [[20, 80]]
    assert anchors(box, "centre").tolist() == [[20, 50]]
    assert anchors(box, "top").tolist() == [[20, 20]]


def test_the_left_of_who_looks_along_the_line_is_negative() -> None:
    # Looking to the right of the picture, the left hand points up, where y is smaller.
    assert signed_distance(np.array([[5.0, -3.0], [5.0, 4.0]]), (0, 0), (10, 0)).tolist() == [-3, 4]


@given(GRID, GRID, GRID, GRID)
def test_segments_cross_where_exact_arithmetic_finds_a_common_point(a: Point, b: Point, c: Point, d: Point) -> None:
    assert segments_cross(a, b, c, d) == meet(a, b, c, d)


def meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Solve a + s (b - a) = c + t (d - c) in fractions; look at the ends where there is no single answer."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = (tuple(map(Fraction, map(int, point))) for point in (a, b, c, d))
    rx, ry, qx, qy = bx - ax, by - ay, dx - cx, dy - cy
    det = rx * qy - ry * qx
    if det:
        s = ((cx - ax) * qy - (cy - ay) * qx) / det
        t = ((cx - ax) * ry - (cy - ay) * rx) / det
        return 0 <= s <= 1 and 0 <= t <= 1

    def on(point: tuple[Fraction, Fraction], start: tuple[Fraction, Fraction], end: tuple[Fraction, Fraction]) -> bool:
        (px, py), (x, y), (ex, ey) = point, start, end
        straight = (ex - x) * (py - y) == (ey - y) * (px - x)
        return straight and min(x, ex) <= px <= max(x, ex) and min(y, ey) <= py <= max(y, ey)

    one, other = ((ax, ay), (bx, by)), ((cx, cy), (dx, dy))
    return any(on(point, *other) for point in one) or any(on(point, *one) for point in other)


@given(st.lists(GRID, min_size=3, max_size=7), st.tuples(st.floats(-1, 7), st.floats(-1, 7)))
def test_a_point_is_inside_when_the_border_winds_round_it(polygon: list[Point], point: Point) -> None:
    corners = np.array(polygon, np.float64)
    assume(is_simple(tuple(polygon)))
    assume(distance_to_border(np.array([point]), corners)[0] > 1e-6)
    ways = corners - point
    angles = np.arctan2(ways[:, 1], ways[:, 0])
    turns = (np.diff(angles, append=angles[0]) + np.pi) % (2 * np.pi) - np.pi

    assert point_in_polygon(np.array([point]), corners)[0] == (abs(turns.sum()) > np.pi)


def test_of_a_shared_edge_a_point_is_in_one_zone_only() -> None:
    beside = SQUARE + np.array([40.0, 0.0])
    points = np.array([[50.0, 30.0], [50.0, 10.0], [10.0, 30.0]])

    assert (point_in_polygon(points, SQUARE).astype(int) + point_in_polygon(points, beside)).tolist() == [1, 1, 1]


@given(st.tuples(st.floats(0, 60), st.floats(0, 60)))
def test_the_border_is_as_far_as_its_nearest_point(point: Point) -> None:
    share = np.linspace(0, 1, 2001)[:, None]
    border = np.concatenate([a + share * (b - a) for a, b in zip(SQUARE, np.roll(SQUARE, -1, axis=0), strict=True)])
    nearest = np.hypot(*(border - point).T).min()

    assert distance_to_border(np.array([point]), SQUARE)[0] == pytest.approx(nearest, abs=0.02)


def test_the_area_of_a_square_and_a_triangle() -> None:
    assert polygon_area(SQUARE) == 1600
    assert polygon_area(np.array([[0.0, 0.0], [0.0, 10.0], [10.0, 0.0]])) == -50


@pytest.mark.parametrize(
    ("polygon", "simple"),
    [
        (((0, 0), (10, 0), (10, 10), (0, 10)), True),
        (((0, 0), (10, 0), (5, 5), (10, 10), (0, 10)), True),
        (((0, 0), (10, 10), (10, 0), (0, 10)), False),
        (((0, 0), (10, 0), (5, 0), (5, 10)), False),
        (((0, 0), (0, 0), (10, 0), (5, 10)), False),
        (((0, 0), (10, 0), (10, 10), (5, 0), (0, 10)), False),
        (((0, 0), (5, 0), (10, 0), (5, 10)), True),
    ],
)
def test_a_border_may_not_touch_itself(polygon: tuple[Point, ...], simple: bool) -> None:
    assert is_simple(polygon) == simple


@pytest.mark.parametrize(
    ("points", "seen"),
    [
        (((10, 10), (20, 20)), True),
        (((-50, 20), (150, 20)), True),
        (((-50, 20), (-10, 20)), False),
        (((-10, 50), (50, -10)), True),
        (((-10, 5), (5, -20)), False),
        (((-10, -10), (200, -10), (200, 200), (-10, 200)), True),
        (((110, 0), (200, 0), (200, 80)), False),
        (((-50, 30), (150, 30), (150, 60), (-50, 60)), True),
    ],
)
def test_what_lies_in_the_picture_is_seen(points: tuple[Point, ...], seen: bool) -> None:
    assert is_seen(points, (100, 80)) == seen

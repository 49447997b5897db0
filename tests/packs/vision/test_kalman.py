from __future__ import annotations

import numpy as np
import pytest

from sightline.packs.vision.kalman import BoxFilter

BOX = np.array([[100.0, 50.0, 140.0, 150.0]])
ROW = np.array([0])


def moved(x: float) -> np.ndarray:
    """Return the box so many pixels to the right."""
    boxes: np.ndarray = BOX + np.array([x, 0, x, 0])
    return boxes


def walked(fps: float, seconds: float, speed_px_s: float) -> BoxFilter:
    """Return the filter of a box that was seen walking to the right."""
    tracks = BoxFilter.start(BOX, speed=1.2)
    for step in range(1, round(seconds * fps) + 1):
        tracks.predict(1 / fps)
        tracks.update(ROW, moved(speed_px_s * step / fps), np.array([0.8]))
    return tracks


@pytest.mark.parametrize("fps", [2, 5, 10, 25])
def test_the_velocity_is_learnt_at_any_rate(fps: float) -> None:
    tracks = walked(fps, seconds=3, speed_px_s=60)

    np.testing.assert_allclose(tracks.velocity_T2, [[60, 0]], atol=3)


@pytest.mark.parametrize("fps", [2, 25])
def test_a_prediction_goes_where_the_walk_leads(fps: float) -> None:
    tracks = walked(fps, seconds=3, speed_px_s=60)
    tracks.predict(1.0)

    np.testing.assert_allclose(tracks.boxes(), moved(240), atol=4)


def test_many_short_steps_are_as_uncertain_as_one_long_step() -> None:
    short, long = BoxFilter.start(BOX, speed=1.2), BoxFilter.start(BOX, speed=1.2)
    for _ in range(50):
        short.predict(0.02)
    long.predict(1.0)

    np.testing.assert_allclose(short.centre_var_T2, long.centre_var_T2)
    np.testing.assert_allclose(short.cross_var_T2, long.cross_var_T2)
    np.testing.assert_allclose(short.velocity_var_T2, long.velocity_var_T2)


def test_one_axis_agrees_with_the_matrix_form() -> None:
    tracks = BoxFilter.start(BOX, speed=1.2)
    size = np.sqrt(40 * 100)
    mean, cov = np.array([120.0, 0.0]), np.diag([(0.06 * size) ** 2, (1.2 * size) ** 2])
    step, look = np.array([[1, 0.5], [0, 1]]), np.array([[1.0, 0.0]])
    noise = (0.7 * size) ** 2 * np.array([[0.5**3 / 3, 0.5**2 / 2], [0.5**2 / 2, 0.5]])
    mean, cov = step @ mean, step @ cov @ step.T + noise
    gain = cov @ look.T / (look @ cov @ look.T + (0.06 * size * 1.5) ** 2)
    mean, cov = mean + (gain * (150.0 - mean[0])).ravel(), cov - gain @ look @ cov

    tracks.predict(0.5)
    tracks.update(ROW, np.array([[130.0, 50.0, 170.0, 150.0]]), np.array([0.5]))

    assert [tracks.centre_T2[0, 0], tracks.velocity_T2[0, 0]] == pytest.approx(mean.tolist())
    variances = [tracks.centre_var_T2[0, 0], tracks.cross_var_T2[0, 0], tracks.velocity_var_T2[0, 0]]
    assert variances == pytest.approx([cov[0, 0], cov[0, 1], cov[1, 1]])


def test_a_clock_that_stands_still_changes_nothing() -> None:
    tracks = walked(10, seconds=1, speed_px_s=60)
    before = tracks.boxes()
    tracks.predict(0.0)

    np.testing.assert_array_equal(tracks.boxes(), before)

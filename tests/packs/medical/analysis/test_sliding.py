from __future__ import annotations

from concurrent.futures import Future
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sightline.packs.medical.scaling import Scaling
from sightline.packs.medical.sliding import Windows, num_windows, slide

Floats = npt.NDArray[np.float32]


def answered(function: Any) -> Any:
    def ask(piece: Floats) -> Future[Floats]:
        future: Future[Floats] = Future()
        future.set_result(function(piece))
        return future

    return ask


def mean_filter(piece: Floats) -> Floats:
    return np.asarray(ndimage.uniform_filter(piece, 3, mode="constant")[None], np.float32)


def whole(volume: npt.NDArray[Any], windows: Windows, function: Any = mean_filter) -> Floats:
    results, parts = [], []
    for part in slide(volume, Scaling(), answered(function), windows):
        results.append(part.outputs_CIJK.copy())  # is lost with the next slab
        parts.append(part)
    assert (parts[0].start, parts[-1].stop) == (0, max(volume.shape))
    assert all(one.stop == other.start for one, other in pairwise(parts))
    return np.concatenate(results, axis=parts[0].axis + 1)


def test_a_window_that_covers_all_is_one_pass() -> None:
    volume = np.random.default_rng(0).random((9, 8, 7)).astype(np.float32)
    for blend in ("gaussian", "constant"):
        np.testing.assert_allclose(whole(volume, Windows(tile=(9, 8, 7), blend=blend)), mean_filter(volume), rtol=1e-5)


def test_a_window_that_is_larger_than_the_volume_sees_zeros_beyond() -> None:
    volume = np.random.default_rng(0).random((5, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(whole(volume, Windows(tile=(8, 8, 8))), mean_filter(volume), rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 17)] * 3),
    tile=st.tuples(*[st.integers(1, 9)] * 3),
    overlap=st.floats(0, 0.9),
    blend=st.sampled_from(["gaussian", "constant"]),
)
def test_what_needs_no_neighbours_is_the_same_however_it_is_cut(
    shape: tuple[int, int, int], tile: tuple[int, int, int], overlap: float, blend: str
) -> None:
    volume = np.random.default_rng(1).random(shape).astype(np.float32)
    windows = Windows(tile=tile, overlap=overlap, blend=blend)
    both = whole(volume, windows, lambda piece: np.stack([piece, 2 - piece]))
    np.testing.assert_allclose(both, np.stack([volume, 2 - volume]), rtol=1e-4)


def test_joined_windows_are_the_weighted_mean_of_their_answers() -> None:
    """Against the plain way: two accumulators of the size of the volume."""
    volume = np.random.default_rng(2).random((21, 13, 10)).astype(np.float32)
    windows = Windows(tile=(8, 8, 8), overlap=0.5)
    total, weights = np.zeros(volume.shape), np.zeros(volume.shape)
    i, j, k = windows.factors()
    weight = i[:, None, None] * j[:, None] * k
    for a in windows.starts(volume.shape)[0]:
        for b in windows.starts(volume.shape)[1]:
            for c in windows.starts(volume.shape)[2]:
                where = (slice(a, a + 8), slice(b, b + 8), slice(c, c + 8))
                total[where] += mean_filter(volume[where])[0] * weight
                weights[where] += weight
    np.testing.assert_allclose(whole(volume, windows)[0], total / weights, rtol=1e-4)


def test_windows_start_where_monais_do() -> None:
    assert Windows(tile=(64, 64, 64), overlap=0.25).starts((128, 100, 64)) == ([0, 48, 64], [0, 36], [0])
    assert num_windows((128, 100, 64), Windows(tile=(64, 64, 64), overlap=0.25)) == 6


def test_slabs_go_along_the_longest_axis_and_hold_no_more_than_one_window() -> None:
    volume = np.zeros((6, 40, 7), np.int16)
    parts = list(slide(volume, Scaling(), answered(mean_filter), Windows(tile=(4, 8, 4), overlap=0.5)))
    assert {part.axis for part in parts} == {1}
    assert max(part.outputs_CIJK.shape[2] for part in parts) <= 8


def test_an_error_of_the_net_cancels_what_waits() -> None:
    asked: list[Future[Floats]] = []

    def ask(_: Floats) -> Future[Floats]:
        future: Future[Floats] = Future()
        if not asked:
            future.set_exception(RuntimeError("broken"))
        asked.append(future)
        return future

    with pytest.raises(RuntimeError, match="broken"):
        list(slide(np.zeros((16, 16, 16)), Scaling(), ask, Windows(tile=(4, 4, 4)), in_flight=4))
    assert len(asked) > 1
    assert all(future.cancelled() for future in asked[1:])

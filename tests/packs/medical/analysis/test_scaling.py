from __future__ import annotations

import numpy as np
import pytest

from sightline.packs.medical.scaling import Normalising

VOLUME = np.random.default_rng(0).normal(100, 40, (20, 21, 22))


def test_each_kind_by_hand() -> None:
    volume = VOLUME.astype(np.float32)
    cases = {
        Normalising(): volume,
        Normalising(kind="max"): volume / volume.max(),
        Normalising(kind="minmax"): (volume - volume.min()) / (volume.max() - volume.min()),
        Normalising(kind="zscore"): (volume - volume.mean()) / volume.std(ddof=1),
        Normalising(kind="window", low=50, high=150): np.clip((volume - 50) / 100, 0, 1),
        Normalising(kind="fixed", mean=100, std=40): (volume - 100) / 40,
    }
    for normalising, wanted in cases.items():
        np.testing.assert_allclose(normalising.fitted(volume)(volume), wanted, atol=2e-4, err_msg=normalising.kind)


def test_percentiles_then_standardised_as_deepbet_does() -> None:
    low, high = np.percentile(VOLUME, [0.5, 99.5])
    inner = np.clip((VOLUME - low) / (high - low), 0, 1)
    wanted = (inner - inner.mean()) / inner.std(ddof=1) * 0.226 + 0.449
    normalising = Normalising(kind="percentile", low=0.5, high=99.5, standardise=True, scale=0.226, shift=0.449)
    np.testing.assert_allclose(normalising.fitted(VOLUME)(VOLUME), wanted, atol=1e-4)


@pytest.mark.parametrize("kind", ["max", "minmax", "percentile", "zscore"])
def test_an_even_volume_and_numbers_that_are_none_make_no_numbers_that_are_none(kind: str) -> None:
    even = np.full((4, 4, 4), 7.0)
    assert np.isfinite(Normalising(kind=kind).fitted(even)(even)).all()
    holey = VOLUME.copy()
    holey[0, 0, 0] = np.nan
    assert np.isfinite(Normalising(kind=kind).fitted(holey)(holey)).all()

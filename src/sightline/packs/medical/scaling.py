"""Voxel values become what a net was trained on: `clip(value, low, high) * gain + bias`.

Every way in use is of that form; they differ in where the four numbers come from. Those are found piece by piece, so
that a volume which is mapped from a file is never held as a whole.

Shape letters: IJK voxel axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.model import ModelCard
from sightline.packs.medical.card_fields import CardFields
from sightline.packs.medical.resampling import resized

Floats = npt.NDArray[np.float32]
KINDS = ("none", "max", "minmax", "percentile", "zscore", "window", "fixed")
_MOST = 3.4e38
_PIECE = 4 << 20  # bytes, as float64
_FIELDS = ("kind", "low", "high", "mean", "std", "standardise", "scale", "shift", "over")


@dataclass(frozen=True)
class Scaling:
    """Four numbers, see the module."""

    low: float = -_MOST
    high: float = _MOST
    gain: float = 1.0
    bias: float = 0.0

    def __call__(self, volume_IJK: npt.NDArray[Any]) -> Floats:
        """Return the scaled values of a piece, float32; what is no number counts as 0."""
        piece = np.array(volume_IJK, np.float32)
        if volume_IJK.dtype.kind == "f":
            np.nan_to_num(piece, copy=False, nan=0.0)
        np.clip(piece, np.float32(self.low), np.float32(self.high), out=piece)
        piece *= np.float32(self.gain)
        piece += np.float32(self.bias)
        return piece


@dataclass(frozen=True, kw_only=True)
class Normalising:
    """Where the four numbers come from; `docs/how-to/segment-a-volume.md` lists the fields.

    Attributes:
        kind: one of `KINDS`.
        low: percentile (`percentile`) or value (`window`) that becomes 0.
        high: the one that becomes 1.
        mean: taken off by `fixed`.
        std: by which `fixed` divides.
        standardise: then take off the mean and divide by the standard deviation of the result.
        scale: by which the result is multiplied.
        shift: which is added to it.
        over: size of the copy (nearest voxels) whose percentiles count; None: about that of a 128^3.
    """

    kind: str = "none"
    low: float = 0.0
    high: float = 100.0
    mean: float = 0.0
    std: float = 1.0
    standardise: bool = False
    scale: float = 1.0
    shift: float = 0.0
    over: tuple[int, int, int] | None = None

    def limits(self, volume_IJK: npt.NDArray[Any]) -> tuple[float, float]:
        """Return the values of a volume that become 0 and 1, where the kind has such."""
        if self.kind == "percentile":
            low, high = np.percentile(np.nan_to_num(self._copy(volume_IJK)), [self.low, self.high])
            return float(low), float(high)
        if self.kind == "window":
            return self.low, self.high
        low, high = np.inf, -np.inf
        for piece in _pieces(volume_IJK):
            low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        return (0.0 if self.kind == "max" else low), high

    def fitted(self, volume_IJK: npt.NDArray[Any], limits: tuple[float, float] | None = None) -> Scaling:
        """Return the four numbers for a volume; `limits` in place of its own."""
        scaling = self._plain(volume_IJK, limits)
        if self.standardise or self.kind == "zscore":
            mean, std = _moments(volume_IJK, scaling)
            scaling = _then(scaling, 1 / std, -mean / std)
        return _then(scaling, self.scale, self.shift)

    def _plain(self, volume_IJK: npt.NDArray[Any], limits: tuple[float, float] | None) -> Scaling:
        if self.kind in ("none", "zscore"):
            return Scaling()
        if self.kind == "fixed":
            return Scaling(gain=1 / self.std, bias=-self.mean / self.std)
        low, high = limits or self.limits(volume_IJK)
        gain = 1 / (high - low) if high > low else 0.0  # an even volume says nothing
        if self.kind == "max":
            return Scaling(gain=gain)
        return Scaling(low, high, gain, -low * gain)

    def _copy(self, volume_IJK: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the voxels that percentiles are taken of."""
        if self.over:
            return resized(volume_IJK, self.over, "nearest")
        step_IJK = tuple(slice(None, None, -(-num // 128)) for num in volume_IJK.shape)
        return np.asarray(volume_IJK[step_IJK], np.float32)


def normalising_of(card: ModelCard) -> Normalising:
    """Return what a card says in `preprocessing.normalise`.

    Raises:
        InvalidModel: a field is missing, unknown or wrong.
    """
    fields = CardFields(card, "preprocessing", "normalise")
    fields.check_known(_FIELDS)
    kind = fields.choice("kind", KINDS, "none")
    most = 1e9
    numbers: dict[str, Any] = {
        "scale": fields.number("scale", -most, most, 1.0),
        "shift": fields.number("shift", -most, most, 0.0),
        "standardise": fields.flag("standardise", default=False),
        "over": fields.sides("over"),
    }
    if kind in ("percentile", "window"):
        edge = (0, 100) if kind == "percentile" else (-most, most)
        numbers |= {"low": fields.number("low", *edge), "high": fields.number("high", *edge)}
        if numbers["low"] >= numbers["high"]:
            raise fields.wrong("high", "above low")
    if kind == "fixed":
        numbers |= {"mean": fields.number("mean", -most, most), "std": fields.number("std", 1e-9, most)}
    return Normalising(kind=kind, **numbers)


def _pieces(volume_IJK: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.float64]]:
    num = max(1, _PIECE // (8 * volume_IJK.shape[1] * volume_IJK.shape[2]))
    for start in range(0, len(volume_IJK), num):
        yield np.nan_to_num(np.asarray(volume_IJK[start : start + num], np.float64))


def _moments(volume_IJK: npt.NDArray[Any], scaling: Scaling) -> tuple[float, float]:
    """Return mean and standard deviation (of a sample, as torch has it) of the scaled values; 1 for an even volume."""
    total = squares = 0.0
    for piece in _pieces(volume_IJK):
        scaled = np.clip(piece, scaling.low, scaling.high) * scaling.gain + scaling.bias
        total += float(scaled.sum())
        squares += float(np.einsum("ijk,ijk->", scaled, scaled))
    mean = total / volume_IJK.size
    variance = (squares - volume_IJK.size * mean**2) / max(1, volume_IJK.size - 1)
    return mean, float(np.sqrt(variance)) if variance > 1e-12 * max(1.0, mean**2) else 1.0


def _then(scaling: Scaling, gain: float, bias: float) -> Scaling:
    return Scaling(scaling.low, scaling.high, scaling.gain * gain, scaling.bias * gain + bias)

"""One thing to look at, where it came from, and what predictors said about it.

Knows values only: no decoding, no clocks of its own, no I/O.

Shape letters: H rows, W columns, C colours (blue, green, red), IJK voxel axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from sightline.core.errors import ConfigError, InvalidInput
from sightline.core.prediction import JsonObject, Prediction, Rejected, frozen

P = TypeVar("P")
Q = TypeVar("Q")
K = TypeVar("K", bound=Prediction)


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """A picture: uint8 [H, W, 3], blue first, read-only.

    Attributes:
        full_size: width and height of the picture as it was sent, where it was decoded at a smaller size; predictions
            are in pixels of that. None: `pixels_HWC` is all there is.
    """

    pixels_HWC: npt.NDArray[np.uint8]
    full_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        pixels = self.pixels_HWC
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise InvalidInput(f"A frame is uint8 [height, width, 3], not {pixels.dtype} {list(pixels.shape)}.")
        object.__setattr__(self, "pixels_HWC", frozen(pixels))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, of the picture as it was sent."""
        return self.full_size or (self.pixels_HWC.shape[1], self.pixels_HWC.shape[0])


@dataclass(frozen=True, eq=False, slots=True)
class Volume:
    """A volume with its place in the patient.

    Attributes:
        voxels_IJK: [I, J, K], read-only.
        affine: float64 [4, 4], voxel index to RAS millimetres.
    """

    voxels_IJK: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.voxels_IJK.ndim != 3 or self.affine.shape != (4, 4):
            raise InvalidInput("A volume is [I, J, K] with an affine of [4, 4].")
        object.__setattr__(self, "voxels_IJK", frozen(self.voxels_IJK))
        object.__setattr__(self, "affine", frozen(self.affine))


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """What sensors measured at one moment: a number by channel name."""

    values: Mapping[str, float]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Window:
    """Samples that a collector put together, in event time.

    Attributes:
        samples: oldest first; perhaps of several sources.
        start: inclusive begin of the window.
        end: exclusive end of the window.
        num_late: samples that came after their window had closed, since the collector was opened.
    """

    samples: tuple[Sample[Any], ...]
    start: datetime
    end: datetime
    num_late: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """When a sample was taken, on four clocks.

    Attributes:
        pts_s: media time in seconds since the source was opened; None where there is no media time.
        monotonic_s: this machine's monotonic clock when the sample was received.
        wall: UTC time that the sample stands for; for a file the time of opening + `pts_s`.
        sender: UTC time by the sender's own clock; None where it does not tell.
    """

    pts_s: float | None
    monotonic_s: float
    wall: datetime
    sender: datetime | None = None


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Sample(Generic[P]):
    """One thing to look at. Never changed: the `with_` methods return a new one. Compared by identity.

    Attributes:
        source: id of the source inside its case.
        epoch: starts at 1, rises at each reconnect; trackers and counters begin anew with it.
        seq: number of the sample inside its epoch, from 0; gaps are samples that were dropped.
        metadata: what the user or the source says of it, as JSON.
        target: the right answer where one is known (training, evaluation).
        predictions: by key of the predictor.
        rejected: set when `validation` refused the sample.
    """

    payload: P
    source: str
    seq: int
    clocks: Clocks
    epoch: int = 1
    metadata: JsonObject = field(default_factory=dict)
    target: Prediction | None = None
    predictions: Mapping[str, Prediction] = field(default_factory=dict)
    rejected: Rejected | None = None

    @property
    def id(self) -> str:
        """Source, epoch and seq, for instance `door/1/412`."""
        return f"{self.source}/{self.epoch}/{self.seq}"

    @property
    def time(self) -> datetime:
        """Event time in UTC: the sender's clock where it tells, else the wall clock."""
        return self.clocks.sender or self.clocks.wall

    @property
    def seconds(self) -> float:
        """The steadiest clock for time steps inside an epoch: media time, else event time; in seconds."""
        pts_s = self.clocks.pts_s
        return self.time.timestamp() if pts_s is None else pts_s

    def prediction(self, key: str, kind: type[K]) -> K:
        """Return the prediction under `key`.

        Raises:
            ConfigError: there is none, or it is of another kind: the predictors stand in a wrong order.
        """
        found = self.predictions.get(key)
        if isinstance(found, kind):
            return found
        has = "nothing" if found is None else type(found).__name__
        known = ", ".join(self.predictions) or "none"
        raise ConfigError(
            f"A prediction {key!r} of kind {kind.__name__} is needed, there is {has}. Earlier predictors: {known}.",
            cure=f"Put a predictor that gives {kind.__name__} before it, and name its key.",
        )

    def with_prediction(self, key: str, prediction: Prediction) -> Sample[P]:
        """Return a copy that also carries `prediction` under `key`."""
        return replace(self, predictions={**self.predictions, key: prediction})

    def with_rejection(self, rejected: Rejected) -> Sample[P]:
        """Return a copy that is rejected."""
        return replace(self, rejected=rejected)

    def with_metadata(self, metadata: JsonObject) -> Sample[P]:
        """Return a copy with `metadata` on top of what it carries."""
        return replace(self, metadata={**self.metadata, **metadata})

    def with_payload(self, payload: Q) -> Sample[Q]:
        """Return a copy with another payload."""
        return replace(self, payload=payload)  # type: ignore[return-value,arg-type]

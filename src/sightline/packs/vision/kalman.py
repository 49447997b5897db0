"""A Kalman filter of boxes over real time steps, for all tracks at once; knows no detections and no identities.

The centre of a box moves at a velocity that changes slowly (white-noise acceleration), its size changes by a random
walk: sizes jump when somebody is half hidden, and a velocity of the size would carry such a jump on. The axes are
independent, so that every covariance is three numbers and nothing has to be inverted. All noises are in units of
the box's own size, so that near and far, small and large pictures are treated alike.

Source of the formulas: Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to Tracking and Navigation"
(2001), section 6.2.2 (continuous white-noise acceleration model).

Shape letters: T tracks, columns x and y (or width and height).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Measured on the detector of the zoo: centres and sides of a standing object jitter by about a twentieth of its size.
CENTRE_NOISE = 0.06
SIDE_NOISE = 0.08
# A walker can change pace by about half a box size a second within a second; sides change a quarter of that.
ACCELERATION = 0.7
SIDE_DRIFT = 0.25


@dataclass(slots=True)
class BoxFilter:
    """The believed boxes of T tracks.

    Attributes:
        centre_T2: pixels.
        velocity_T2: pixels a second.
        side_T2: width and height in pixels.
        centre_var_T2: variance of the centre in square pixels; so the next three.
        cross_var_T2: covariance of centre and velocity.
        velocity_var_T2: variance of the velocity.
        side_var_T2: variance of the sides.
    """

    centre_T2: Floats
    velocity_T2: Floats
    side_T2: Floats
    centre_var_T2: Floats
    cross_var_T2: Floats
    velocity_var_T2: Floats
    side_var_T2: Floats

    @classmethod
    def start(cls, xyxy_T4: Floats, speed: float) -> BoxFilter:
        """Return filters for boxes seen for the first time.

        `speed` is the standard deviation of an unknown velocity, in box sizes a second.
        """
        xyxy_T4 = np.asarray(xyxy_T4, np.float64)
        centre_T2, side_T2 = centres(xyxy_T4), sides(xyxy_T4)
        size_T1 = sizes(side_T2)
        ones = np.ones_like(centre_T2)
        return cls(
            centre_T2=centre_T2,
            velocity_T2=np.zeros_like(centre_T2),
            side_T2=side_T2,
            centre_var_T2=(CENTRE_NOISE * size_T1) ** 2 * ones,
            cross_var_T2=np.zeros_like(centre_T2),
            velocity_var_T2=(speed * size_T1) ** 2 * ones,
            side_var_T2=(SIDE_NOISE * size_T1) ** 2 * ones,
        )

    def __len__(self) -> int:
        return len(self.centre_T2)

    def predict(self, dt: float) -> None:
        """Move all tracks `dt` seconds on."""
        if dt <= 0 or not len(self):
            return
        size_T1 = sizes(self.side_T2)
        noise_T1 = (ACCELERATION * size_T1) ** 2
        self.centre_T2 = self.centre_T2 + self.velocity_T2 * dt
        self.centre_var_T2 = (
            self.centre_var_T2 + 2 * dt * self.cross_var_T2 + dt * dt * self.velocity_var_T2 + noise_T1 * dt**3 / 3
        )
        self.cross_var_T2 = self.cross_var_T2 + dt * self.velocity_var_T2 + noise_T1 * dt**2 / 2
        self.velocity_var_T2 = self.velocity_var_T2 + noise_T1 * dt
        self.side_var_T2 = self.side_var_T2 + (SIDE_DRIFT * size_T1) ** 2 * dt

    def update(self, rows: npt.NDArray[np.int64], xyxy_N4: Floats, confidence_N: Floats) -> None:
        """Correct the tracks `rows` [N] by what was seen of them.

        A box of low confidence is a blurred or half-hidden one: its noise is doubled at confidence 0 (after
        Du et al., "GIAOTracker" 2021, who scale it by `1 - confidence`).
        """
        if not rows.size:
            return
        size_N1 = sizes(self.side_T2[rows])
        doubt_N1 = (2.0 - np.asarray(confidence_N, np.float64))[:, None]
        var, cross = self.centre_var_T2[rows], self.cross_var_T2[rows]
        total = var + (CENTRE_NOISE * size_N1 * doubt_N1) ** 2
        gain, velocity_gain = var / total, cross / total
        miss = centres(xyxy_N4) - self.centre_T2[rows]
        self.centre_T2[rows] += gain * miss
        self.velocity_T2[rows] += velocity_gain * miss
        self.centre_var_T2[rows] = (1 - gain) * var
        self.cross_var_T2[rows] = (1 - gain) * cross
        self.velocity_var_T2[rows] -= velocity_gain * cross
        side_var = self.side_var_T2[rows]
        gain = side_var / (side_var + (SIDE_NOISE * size_N1 * doubt_N1) ** 2)
        self.side_T2[rows] += gain * (sides(xyxy_N4) - self.side_T2[rows])
        self.side_var_T2[rows] = (1 - gain) * side_var

    def boxes(self) -> Floats:
        """Return the believed boxes [T, 4] as left, top, right, bottom."""
        half_T2 = self.side_T2 / 2
        return np.concatenate([self.centre_T2 - half_T2, self.centre_T2 + half_T2], axis=1)

    def select(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> BoxFilter:
        """Return the filters of some tracks."""
        return BoxFilter(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})

    def joined(self, other: BoxFilter) -> BoxFilter:
        """Return these filters, then those of `other`."""
        return BoxFilter(
            **{
                each.name: np.concatenate([getattr(self, each.name), getattr(other, each.name)])
                for each in fields(self)
            }
        )


def centres(xyxy_N4: Floats) -> Floats:
    """Return the centres [N, 2] of boxes."""
    return (xyxy_N4[:, :2] + xyxy_N4[:, 2:]) / 2


def sides(xyxy_N4: Floats) -> Floats:
    """Return widths and heights [N, 2] of boxes, at least one pixel."""
    return np.maximum(xyxy_N4[:, 2:] - xyxy_N4[:, :2], 1.0)


def sizes(side_N2: Floats) -> Floats:
    """Return the size [N, 1] of boxes: the side of a square of equal area, in pixels."""
    size_N1: Floats = np.sqrt(side_N2.prod(axis=1, keepdims=True))
    return size_N1

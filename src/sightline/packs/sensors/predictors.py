"""What can be said of numbers over time: out of range, unusual, over a limit.

Knows readings and scalars; knows nothing of where they come from.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import numpy as np

from sightline.core.codec import encode_span
from sightline.core.errors import ConfigError
from sightline.core.events import lasting_id
from sightline.core.plugins import Context, Predictor
from sightline.core.prediction import Finding, Findings, Prediction, Rejected, Scalar
from sightline.core.sample import Sample
from sightline.packs.sensors.readings import channel_value, readings_of

Z_MAX = 1e6
"""The largest z-score that is given: JSON has no infinity."""


@dataclass(kw_only=True)
class RangeCheck(Predictor):
    """Rejects a reading with a channel that is missing or out of its range; made for the stage `validation`.

    Attributes:
        ranges: channel -> lowest and highest value that is allowed, both inclusive.
    """

    ranges: dict[str, tuple[float, float]]

    def __post_init__(self) -> None:
        for channel, (low, high) in self.ranges.items():
            if not low <= high:
                raise ConfigError(f"range-check: the range of {channel!r} is {low:g} to {high:g}.")

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        """Return Rejected for the first channel at fault, else Findings without items."""
        return [self._checked(sample) for sample in samples]

    def _checked(self, sample: Sample[Any]) -> Prediction:
        for reading in readings_of(sample):
            for channel, (low, high) in self.ranges.items():
                value = reading.values.get(channel)
                if value is None:
                    return Rejected(kind="missing", reason=f"no value for {channel}")
                if not low <= value <= high:
                    return Rejected(
                        kind="out_of_range", reason=f"{channel} is {value:g}, allowed are {low:g} to {high:g}"
                    )
        return Findings()


@dataclass(kw_only=True)
class ZScore(Predictor):
    """Says how unusual a value is: its distance from the mean of the values before it, in standard deviations.

    Gives a Scalar `{channel}_z`; 0 as long as fewer than `minimum` values came before; Findings without items for a
    sample without this channel. A value is compared to the `window` values before it, not to itself.

    Attributes:
        channel: the channel that is looked at; of a Window the mean of its readings.
        window: number of earlier values that are compared to.
        minimum: number of earlier values that are needed; at least 2.
    """

    stateful: ClassVar[bool] = True

    channel: str
    window: int = 100
    minimum: int = 10

    def __post_init__(self) -> None:
        if not 2 <= self.minimum <= self.window <= 1_000_000:
            raise ConfigError(
                f"zscore: minimum is {self.minimum} and window {self.window}.",
                cure="Needed are 2 <= minimum <= window <= 1000000.",
            )

    def open(self, context: Context) -> None:
        """Begin without earlier values."""
        super().open(context)
        self._earlier: deque[float] = deque(maxlen=self.window)

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        """Return the z-score of each sample."""
        return [self._scored(sample) for sample in samples]

    def _scored(self, sample: Sample[Any]) -> Prediction:
        value = channel_value(sample, self.channel)
        if value is None or not math.isfinite(value):
            return Findings()
        score = self._score(value)
        self._earlier.append(value)
        return Scalar(name=f"{self.channel}_z", value=score)

    def _score(self, value: float) -> float:
        if len(self._earlier) < self.minimum:
            return 0.0
        # Afresh each time, and as distances from the value: running sums lose all digits where means are large.
        distances = value - np.fromiter(self._earlier, np.float64)
        distance, deviation = float(distances.mean()), float(distances.std(ddof=1))
        if abs(distance) >= Z_MAX * deviation:
            return math.copysign(Z_MAX, distance) if distance else 0.0
        return distance / deviation


@dataclass(kw_only=True)
class ThresholdAlert(Predictor):
    """Tells when a value goes over or under a limit, and when it is back: once each, as event `threshold.alert`.

    Gives Findings: the value by its name, and at a crossing another one with the event and
    `data: {value, limit, direction: above|below, state: start|end, alarm, start, end}`: both events of an alert share
    the id `alarm` and `start`, and `end` is null while it goes on. Where the source is lost or over, the alert ends
    with the last sample, and `reason` says why. Without a value it finds nothing.

    Attributes:
        of: key of an earlier predictor that gives a Scalar; or name a `channel`.
        channel: channel of a Reading, of a Window the mean of its readings; or name an earlier predictor by `of`.
        above: an alert starts when the value is greater than this.
        below: an alert starts when the value is less than this.
        hysteresis: how far the value must come back inside its limit before the alert ends.
    """

    stateful: ClassVar[bool] = True

    of: str | None = None
    channel: str | None = None
    above: float | None = None
    below: float | None = None
    hysteresis: float = 0.0

    def __post_init__(self) -> None:
        if (self.of is None) == (self.channel is None):
            raise ConfigError("threshold-alert needs either `of`, an earlier predictor, or `channel`.")
        if self.above is None and self.below is None:
            raise ConfigError("threshold-alert needs `above`, `below` or both.")
        if not self.hysteresis >= 0:
            raise ConfigError(f"threshold-alert: hysteresis is {self.hysteresis}, it must be at least 0.")
        if self.above is not None and self.below is not None and self.above - self.below < self.hysteresis:
            raise ConfigError(
                f"threshold-alert: above ({self.above:g}) and below ({self.below:g}) are closer than the hysteresis.",
                cure="Make `above` greater than `below` by at least the hysteresis.",
            )

    def open(self, context: Context) -> None:
        """Begin without an alert."""
        super().open(context)
        self._alert: str | None = None
        self._alarm = ""
        self._last: tuple[str, float, str] = "", 0.0, ""
        self._since: datetime | None = None

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Prediction]:
        """Return the findings of each sample."""
        return [self._watched(sample) for sample in samples]

    def cut_off(self, sample: Sample[Any]) -> Sequence[Finding]:
        """Return the end of the alert, with the last sample and the last value."""
        if self._alert is None:
            return ()
        name, value, unit = self._last
        return [self._back(name, value, unit, sample.time)]

    def _watched(self, sample: Sample[Any]) -> Findings:
        name, value, unit = self._value(sample)
        if value is None or math.isnan(value):
            return Findings()
        self._last = name, value, unit
        told = [] if self._alert is None else self._ended(name, value, unit, sample.time)
        if self._alert is None:
            told += self._started(name, value, unit, sample)
        return Findings(items=(Finding(name=name, value=value, unit=unit), *told))

    def _ended(self, name: str, value: float, unit: str, now: datetime) -> list[Finding]:
        for direction, limit, sign in self._limits():
            if self._alert == direction and sign * (value - limit) <= -self.hysteresis:
                return [self._back(name, value, unit, now)]
        return []

    def _back(self, name: str, value: float, unit: str, now: datetime) -> Finding:
        """Return the finding that ends the alert."""
        direction, self._alert = self._alert, None
        limit = self.above if direction == "above" else self.below
        data = {"limit": limit, "direction": direction, "state": "end", "alarm": self._alarm}
        return _alert(name, value, unit, data | encode_span(self._since or now, now))

    def _started(self, name: str, value: float, unit: str, sample: Sample[Any]) -> list[Finding]:
        for direction, limit, sign in self._limits():
            if sign * (value - limit) > 0:
                self._alert, self._since = direction, sample.time
                self._alarm = lasting_id(self.context.run, sample.id, self.of or self.channel, direction, limit)
                data = {"limit": limit, "direction": direction, "state": "start", "alarm": self._alarm}
                return [_alert(name, value, unit, data | encode_span(self._since, None))]
        return []

    def _limits(self) -> list[tuple[str, float, float]]:
        """Return direction, limit and sign of what is watched."""
        limits = (("above", self.above, 1.0), ("below", self.below, -1.0))
        return [(direction, limit, sign) for direction, limit, sign in limits if limit is not None]

    def _value(self, sample: Sample[Any]) -> tuple[str, float | None, str]:
        """Return name, value and unit of what is watched."""
        if self.channel is not None:
            return self.channel, channel_value(sample, self.channel), ""
        key = str(self.of)
        if isinstance(sample.predictions.get(key), Findings):  # a predictor that had nothing to say here
            return key, None, ""
        scalar = sample.prediction(key, Scalar)
        return scalar.name, scalar.value, scalar.unit


def _alert(name: str, value: float, unit: str, data: dict[str, Any]) -> Finding:
    return Finding(name=name, value=value, unit=unit, event="threshold.alert", data={"value": value} | data)

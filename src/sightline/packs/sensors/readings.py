"""How predictors of this pack look at a sample: one reading, or the mean of a window of them."""

from __future__ import annotations

import math
from typing import Any

from sightline.core.errors import InvalidInput
from sightline.core.sample import Reading, Sample, Window


def readings_of(sample: Sample[Any]) -> list[Reading]:
    """Return the reading of a sample, or those of its window, the oldest first.

    Raises:
        InvalidInput: the sample holds something else.
    """
    payload = sample.payload
    if isinstance(payload, Reading):
        return [payload]
    if isinstance(payload, Window):
        return [reading for each in payload.samples for reading in readings_of(each)]
    raise InvalidInput(
        f"The sample {sample.id} is a {type(payload).__name__}; a Reading or a Window of readings is needed."
    )


def channel_value(sample: Sample[Any], channel: str) -> float | None:
    """Return the number of a channel, for a window the mean; None where there is none, NaN counts as none.

    Raises:
        InvalidInput: the sample holds no readings.
    """
    found = [reading.values[channel] for reading in readings_of(sample) if channel in reading.values]
    numbers = [value for value in found if not math.isnan(value)]
    return math.fsum(numbers) / len(numbers) if numbers else None

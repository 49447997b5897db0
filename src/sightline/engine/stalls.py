"""Which live sources have fallen silent, whatever their own code is doing."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sightline.core.plugins import SourceState
from sightline.engine.counters import RunCounters
from sightline.engine.lanes import Lane


def tell_stalls(lanes: Iterable[Lane], counters: RunCounters, told: Callable[[str, SourceState, str], None]) -> None:
    """Tell `stalled` of live sources that give nothing, and `live` of those that give something again."""
    for lane in lanes:
        limit_s = lane.source.stalls_after_s
        if limit_s is None:
            continue
        silent_s, age_s = counters.silent_s(lane.name), counters.age_s(lane.name)
        if silent_s is not None and silent_s > limit_s:
            told(lane.name, SourceState.STALLED, f"no frame for {limit_s:g} s")
        elif age_s is not None and age_s < limit_s and counters.is_stalled(lane.name):
            told(lane.name, SourceState.LIVE, "")

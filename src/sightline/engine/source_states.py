"""Where the sources of a run are in their lives, told as events: an outage has a start, and an end when it is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sightline.core.codec import encode_span
from sightline.core.events import make_event, source_uri
from sightline.core.plugins import SourceState
from sightline.core.prediction import JsonObject
from sightline.engine.counters import RunCounters
from sightline.engine.outbox import Outbox

_OUT = frozenset({SourceState.STALLED, SourceState.FROZEN, SourceState.BACKOFF, SourceState.UNAUTHORISED})


class SourceStates:
    """Notes and tells the states of a run's sources.

    The data of each event has `start` and `end`. While a camera is lost `start` is when its last sample came and `end`
    is null; `live` after an outage has both. Any other change of state is an instant.

    Args:
        case: name of the case.
        facts: what the data of every event says besides.
        counters: keep the states.
        outbox: takes the events.
        now: the time in UTC.
    """

    def __init__(
        self,
        case: str,
        facts: JsonObject,
        counters: RunCounters,
        outbox: Outbox,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._case = case
        self._facts = facts
        self._counters = counters
        self._outbox = outbox
        self._now = now
        self._told: dict[str, tuple[SourceState, str]] = {}
        self._out_since: dict[str, datetime] = {}

    def tell(self, source: str, state: SourceState, reason: str, by: str = "") -> None:
        """Note and tell that a source changed its state, `by` whom where somebody asked for it."""
        if not self._counters.state(source, state, reason):
            return
        last = self._told.get(source)
        event = make_event(
            f"source.{state.value}",
            source=source_uri(self._case, source),
            time=(now := self._now()),
            data={**self._facts, "reason": reason, **({"by": by} if by else {}), **self._span(source, state, now)},
        )
        self._counters.lost(source, self._out_since.get(source))
        # A camera that is down for days tries again thousands of times: the outage is recorded once, the bus has all.
        if last is None or (state is not SourceState.CONNECTING and last != (state, reason)):
            self._told[source] = (state, reason)
            self._outbox.tell(event, vital=False)  # a full disk must not stop a camera
        else:
            self._outbox.publish(event)

    def forget(self, source: str) -> None:
        """Begin anew with a source that comes back or is gone."""
        self._told.pop(source, None)
        self._out_since.pop(source, None)

    def _span(self, source: str, state: SourceState, now: datetime) -> dict[str, str | None]:
        if state in _OUT:
            age_s = self._counters.age_s(source) if state is not SourceState.FROZEN else 0.0
            since = self._out_since.setdefault(source, now - timedelta(seconds=age_s or 0.0))
            return encode_span(since, None)
        if state is SourceState.CONNECTING and source in self._out_since:
            return encode_span(self._out_since[source], None)
        return encode_span(self._out_since.pop(source, now), now)

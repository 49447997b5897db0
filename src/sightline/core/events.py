"""What happened, as CloudEvents 1.0; the JSON form is made by `codec`.

Durable events (runs, models, alarms, camera states) commit with the change that they tell of; predictions
and progress are transient: they live on the bus alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4, uuid5

from sightline.core.errors import InvalidInput
from sightline.core.prediction import Findings, JsonObject
from sightline.core.sample import Sample

EVENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "prediction": "a sample was analysed",
        "sample.rejected": "a sample was refused by the stage validation",
        "line.crossed": "a track crossed a line; data has the direction",
        "zone.entered": "a track entered a zone",
        "zone.left": "a track left a zone",
        "zone.dwell": "a track stayed in a zone for longer than the limit",
        "count.over": "a count rose over its threshold, or is back; data has `state: start` or `end`",
        "count.under": "a count fell under its threshold, or is back; data has `state: start` or `end`",
        "object.left": "a thing was left behind",
        "object.removed": "a thing was taken away",
        "threshold.alert": "a value left its range, or came back",
        "source.connecting": "a source is being opened",
        "source.live": "a source gives samples",
        "source.stalled": "a source gives nothing, or nothing that can be decoded",
        "source.frozen": "a camera sends the same picture again and again",
        "source.backoff": "a source was lost and will be opened again",
        "source.unauthorised": "a source refuses our user name or password",
        "source.stopped": "a source has ended or was stopped",
        "run.submitted": "a run was accepted",
        "run.started": "a run was taken up by a process",
        "run.progress": "a run got further",
        "run.retrying": "an attempt at a job failed; it waits for the next one",
        "run.completed": "a run ended well",
        "run.failed": "a run ended with an error",
        "run.cancelled": "a run was cancelled",
        "model.registered": "a model version was added",
        "model.promoted": "an alias was moved to another version",
        "model.removed": "a model version was removed",
        "model.swapped": "a running session changed to another version",
        "capture.stored": "a sample was kept for retraining, or the picture and the clip of an event",
        "webhook.disabled": "a receiver answered 410: nothing more is sent to it",
        "capture.removed": "picture and clip of an event were old, or had to make room, and are gone",
    }
)
"""Short type -> what it tells."""

TRANSIENT = frozenset({"prediction", "sample.rejected", "run.progress"})
"""Short types that are never written to the outbox."""

MEDIA_FOLDER = "events/"
"""What the keys of all media of events begin with."""

_SPACE = UUID("8d2f8f2e-5f0b-4a0e-9a0d-3c1f6d7a4b11")  # ours alone: ids made in it meet no others
_PREFIX, _SUFFIX = "io.sightline.", ".v1"
_SHORT_TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")


@dataclass(frozen=True, eq=False, kw_only=True)
class Event:
    """One thing that happened.

    Attributes:
        type: full type, for instance `io.sightline.line.crossed.v1`.
        source: URI path of what it happened to, for instance `/cases/street_people/sources/door`.
        subject: the particular thing, for instance `track/7`.
    """

    type: str
    source: str
    time: datetime
    data: JsonObject
    subject: str | None = None
    id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def short_type(self) -> str:
        """Type without prefix and version, for instance `line.crossed`."""
        return self.type.removeprefix(_PREFIX).removesuffix(_SUFFIX)

    @property
    def is_transient(self) -> bool:
        """True for events that live on the bus alone."""
        return self.short_type in TRANSIENT


def make_event(short_type: str, *, source: str, time: datetime, data: JsonObject, subject: str | None = None) -> Event:
    """Return an event of `short_type`, which may be one that `EVENT_TYPES` does not list.

    Raises:
        InvalidInput: `short_type` is not lower-case words joined by dots.
    """
    full_type = f"{_PREFIX}{checked_short_type(short_type)}{_SUFFIX}"
    return Event(type=full_type, source=source, time=time, data=data, subject=subject)


def checked_short_type(short_type: str) -> str:
    """Return `short_type`.

    Raises:
        InvalidInput: it is not lower-case words joined by dots.
    """
    if not _SHORT_TYPE.fullmatch(short_type):
        raise InvalidInput(
            f"{short_type!r} is no event type.", cure="Use lower-case words joined by dots: line.crossed"
        )
    return short_type


def checked_pattern(pattern: str) -> str:
    """Return `pattern`: a short type, or `line.*` for all that begin with `line.`.

    Raises:
        InvalidInput: it is neither.
    """
    checked_short_type(pattern.removesuffix(".*"))
    return pattern


def fits(short_type: str, patterns: Iterable[str]) -> bool:
    """Return whether a short type is one of `patterns`, or of a family among them."""
    return any(
        short_type.startswith(pattern[:-1]) if pattern.endswith(".*") else short_type == pattern for pattern in patterns
    )


def media_key(time: datetime, event_id: str, suffix: str) -> str:
    """Return where the artifact store has the media of an event; `suffix` is `.jpg` or `.mp4`."""
    return f"{MEDIA_FOLDER}{time.astimezone(UTC):%Y/%m/%d}/{event_id}{suffix}"


def lasting_id(*parts: object) -> str:
    """Return the id of what lasts and is told more than once, the same each time it is made of the same parts."""
    return uuid5(_SPACE, "/".join(map(str, parts))).hex


def events_of(sample: Sample[Any], *, case: str, run: str, cut_off: bool = False) -> list[Event]:
    """Return the events among a sample's findings, with ids that are the same each time they are made.

    Args:
        sample: with the findings.
        case: name of the case.
        run: id of the run.
        cut_off: these are the findings of `Chain.cut_off`, whose ids are others than those of the sample's own.
    """
    word = "cut-off/" if cut_off else ""
    return [
        Event(
            id=uuid5(_SPACE, f"{run}/{sample.id}/{key}/{word}{number}").hex,
            type=f"{_PREFIX}{checked_short_type(finding.event)}{_SUFFIX}",
            source=source_uri(case, sample.source),
            subject=finding.subject or None,
            time=sample.time,
            data={
                **({} if finding.value is None else {"value": finding.value}),
                **(finding.data or {}),
                "run": run,
                "sample": sample.id,
                "predictor": key,
                "metadata": dict(sample.metadata),
            },
        )
        for key, prediction in sample.predictions.items()
        if isinstance(prediction, Findings)
        for number, finding in enumerate(prediction.items)
        if finding.event is not None
    ]


def source_uri(case: str, source: str | None = None) -> str:
    """Return the URI path that events of a case, or of one of its sources, carry."""
    return f"/cases/{case}" if source is None else f"/cases/{case}/sources/{source}"

"""A case: what to do, said once, for streams, requests, jobs and buckets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from sightline.core.plugins import Collector, Predictor, Sink, Source, Trainer
from sightline.core.prediction import JsonObject


class PredictionStage(StrEnum):
    """The stages that every case knows; a case may name more, which run after these."""

    VALIDATION = "validation"
    ANALYTICS = "analytics"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What to do with the samples of which sources.

    Attributes:
        sources: source id -> source.
        stages: stage name -> predictor key -> predictor, in the order in which they run; `validation` comes first,
            before the collector.
        collector: None passes every sample on.
        input: id of the source whose `load` reads a request body or a job's object.
        on_error: what a run does when a predictor raises: count and go on, or stop.
        metadata: put on every sample.
    """

    name: str
    title: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict)
    collector: Collector | None = None
    stages: Mapping[str, Mapping[str, Predictor]] = field(default_factory=dict)
    sinks: tuple[Sink, ...] = ()
    trainer: Trainer | None = None
    input: str | None = None
    on_error: Literal["continue", "stop"] = "continue"
    metadata: JsonObject = field(default_factory=dict)

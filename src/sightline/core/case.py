"""A case: what to do, said once, for streams, requests, jobs and buckets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from sightline.core.plugins import Collector, Predictor, Sink, Source, Trainer
from sightline.core.prediction import JsonObject


class PredictionStage(StrEnum):
    """The stages that every case knows; a case may name more, which run after these."""

    VALIDATION = "validation"
    ANALYTICS = "analytics"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRules:
    """How the jobs of a case are worked on; None: as the settings say, or without limit.

    Attributes:
        concurrency: jobs that are worked on at the same time, over all workers.
        rate_per_minute: jobs that are taken up within a minute, over all workers.
        attempts: how often a job is tried.
        deadline_s: seconds from submission after which a job fails that says no deadline itself.
        parameters: fields of plug-ins that callers over the network may set; None: those of the predictors behind
            `validation`. Whoever runs the machine, and admins, may set every field.
    """

    concurrency: int | None = None
    rate_per_minute: int | None = None
    attempts: int | None = None
    deadline_s: float | None = None
    parameters: tuple[str, ...] | None = None


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
        job: how jobs of it are worked on.
        folder: where it was read from; None: it is no folder.
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
    job: JobRules = field(default_factory=JobRules)
    folder: Path | None = None

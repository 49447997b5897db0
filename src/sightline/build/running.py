"""A case becomes a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sightline.build.context import CaseBuildContext
from sightline.core.case import Case
from sightline.core.errors import ConfigError
from sightline.core.run import Run, RunKind
from sightline.core.sample import Sample
from sightline.engine.streams import Outcome, StreamRun, fail_dead_runs


def stream_run(
    case: Case,
    context: CaseBuildContext,
    *,
    duration_s: float | None = None,
    metadata: Mapping[str, str] | None = None,
    watch: Callable[[Sample[Any]], None] | None = None,
) -> StreamRun:
    """Return a run of `case` over its sources; `execute` starts it, `stop` ends it from another thread.

    Raises:
        ConfigError: the case has no source.
    """
    if not case.sources:
        raise ConfigError(f"Case {case.name!r} has no source to read.", cure="Add source: to it, or give --source URL.")
    run = Run(
        id=uuid4().hex,
        case=case.name,
        kind=RunKind.STREAM,
        metadata=dict(metadata or {}),
        spec={"sources": list(case.sources)},
    )
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    outputs = context.settings.runs_root / case.name / f"{stamp}-{run.id[:6]}"
    world = context.world(outputs=outputs.absolute(), metadata=dict(metadata or {}))
    fail_dead_runs(context)
    workers = context.settings.models.workers
    chunk = 4 if workers is None else min(2 * workers, 8)  # enough to keep the model's workers busy
    return StreamRun(case, world, run, duration_s=duration_s, watch=watch, chunk=chunk)


def run(
    case: Case,
    *,
    context: CaseBuildContext | None = None,
    duration_s: float | None = None,
    metadata: Mapping[str, str] | None = None,
    watch: Callable[[Sample[Any]], None] | None = None,
) -> Outcome:
    """Run `case` until its sources end, and return how it went.

    Args:
        case: what to do; see `load_case`.
        context: settings and ports; made from the working directory, and closed at the end, when not given.
        duration_s: end after this many seconds.
        metadata: put on every sample, event and record of the run.
        watch: shown every finished sample, rejected ones too, by another thread.

    Raises:
        SightlineError: the run failed; the error that ended it.
    """
    own = context is None
    context = context or CaseBuildContext()
    try:
        outcome = stream_run(case, context, duration_s=duration_s, metadata=metadata, watch=watch).execute()
    finally:
        if own:
            context.close()
    if outcome.error is not None:
        raise outcome.error
    return outcome

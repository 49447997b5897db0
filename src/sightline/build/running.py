"""A case becomes a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sightline.build.context import CaseBuildContext
from sightline.build.loaded_model import case_of_model
from sightline.build.replacing import source_entry
from sightline.build.sources import make_source, recorded_sources, source_specs
from sightline.core.case import Case
from sightline.core.errors import ConfigError
from sightline.core.run import Run
from sightline.core.sample import Sample
from sightline.engine.record import fail_dead_runs
from sightline.engine.streams import Outcome, StreamRun
from sightline.engine.wishes import FOLLOWS, OWN

CAMERA_CASE = "camera"
"""Name of the case that the settings `camera.url` and `camera.model` make, and of its source."""


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
    fail_dead_runs(context)
    return _made(case, context, Run(case=case.name), metadata, duration_s=duration_s, watch=watch)


def held_run(
    case: Case,
    context: CaseBuildContext,
    *,
    metadata: Mapping[str, str] | None = None,
    project: str = "default",
    stands: bool = True,
    duration_s: float | None = None,
    restart: str = "never",
    follows: bool = False,
    own: Sequence[str] = (),
    by: str = "",
) -> StreamRun:
    """Return a run for `HeldRuns.start`, whose sources may be changed while it goes on.

    Args:
        case: what to do; it may have no source yet.
        context: settings and ports.
        metadata: put on every sample, event and record of the run.
        project: to which the run belongs.
        stands: go on when the sources have ended: until somebody stops it, others may be added.
        duration_s: end after this many seconds.
        restart: `always` where it shall outlive its process; see `Run`.
        follows: its sources are those of the case, also when the case is changed,
        own: but for these.
        by: who wants it.
    """
    wanted = {
        "stands": stands,
        FOLLOWS: follows,
        OWN: sorted(own) if follows else None,
        "by": by,
        "duration_s": duration_s,
    }
    spec = {name: value for name, value in wanted.items() if value or name == "stands"}
    record = Run(case=case.name, project=project, restart=restart, spec=spec)
    return _made(case, context, record, metadata, stands=stands, duration_s=duration_s)


def taken_up_run(case: Case, context: CaseBuildContext, record: Run) -> StreamRun:
    """Return a run that was recorded before, for `HeldRuns.take_up`."""
    spec = record.spec
    how = {"stands": bool(spec.get("stands")), "duration_s": spec.get("duration_s")}
    return _made(case, context, record, dict(record.metadata), **how)


def with_recorded_sources(case: Case, run: Run, context: CaseBuildContext) -> Case:
    """Return a case with the sources that a run reads: its own, and of those that it follows what the case says now.

    Raises:
        ConfigError: one cannot be made, or its password is not kept on this machine.
    """
    if not run.spec.get(FOLLOWS):
        return replace(case, sources=recorded_sources(run, context))
    own = set(run.spec.get(OWN, ()))
    entries = {name: entry for name, entry in dict(run.spec.get("sources") or {}).items() if name in own}
    recorded = recorded_sources(replace(run, spec={"sources": entries}), context)
    return replace(case, sources={**{k: v for k, v in case.sources.items() if k not in own}, **recorded})


def camera_case(context: CaseBuildContext) -> Case:
    """Return the case `camera` that the settings `camera.url` and `camera.model` make: one camera, one model, the bus.

    Raises:
        ConfigError: one of the two settings is missing, or nothing can do what the model is for.
        ModelNotFound: no model has that name.
    """
    camera = context.settings.camera
    if camera.url is None or camera.model is None:
        missing = "camera.url" if camera.url is None else "camera.model"
        raise ConfigError(f"The setting {missing} is missing.", cure="Set APP_RTSP_URL and APP_MODEL_NAME.")
    size = None if camera.width is None or camera.height is None else [camera.width, camera.height]
    entry = source_entry(camera.url, fps=camera.fps, size=size)
    return replace(
        case_of_model(context, camera.model),
        name=CAMERA_CASE,
        title=f"{camera.model} looks at a camera",
        sources={CAMERA_CASE: make_source(entry, context, live=True)},
        sinks=(context.plugin("sinks", "bus"),),
    )


def _made(
    case: Case, context: CaseBuildContext, record: Run, metadata: Mapping[str, str] | None, **how: Any
) -> StreamRun:
    about = dict(metadata or {})
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    outputs = context.settings.runs_root / case.name / f"{stamp}-{record.id[:6]}"
    world = context.world(case_folder=case.folder, outputs=outputs.absolute(), metadata=about)
    workers = context.settings.models.workers
    chunk = 4 if workers is None else min(2 * workers, 8)  # enough to keep the model's workers busy
    specs = source_specs(context, case.name, record)
    return StreamRun(case, world, replace(record, metadata=about), chunk=chunk, specs=specs, **how)


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

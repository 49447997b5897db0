"""What the jobs of a process tell its operator: how many ended how, how long they took, and how many wait."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from threading import Lock

import structlog

from sightline.core.ports import Meter
from sightline.core.run import Run, RunKind, RunState
from sightline.core.stores import RunStore

log = structlog.get_logger()
_MOST = 1000
_EVERY_S = 2.0


def job_ended(
    meter: Meter,
    run: Run,
    state: RunState,
    *,
    error: str | None = None,
    kind: str | None = None,
    models: Iterable[str] = (),
) -> None:
    """Count a job that ended here, and write its last line: tags, time and models among it.

    `processing_time` counts from when the job was taken up first, by the clocks of database and machine.
    """
    begin = run.started or run.created
    seconds = 0.0 if begin is None else max(0.0, (datetime.now(UTC) - begin).total_seconds())
    meter.count("jobs", case=run.case, state=state.value, kind=kind or "")
    meter.observe("job_seconds", seconds, case=run.case, state=state.value)
    tags = {name: text for name, text in run.metadata.items() if name not in _OURS}
    log.info(
        "job ended",
        run=run.id,
        case=run.case,
        state=state.value,
        processing_time=round(seconds, 3),
        model_version=",".join(models),
        **({"error": loggable(run, error, kind), "error_kind": kind} if error else {}),
        **tags,
    )


def loggable(run: Run, error: str, kind: str | None) -> str:
    """Return an error of a job without names of objects and of files in them, which may be those of patients.

    What is wrong with an object names files within; so the record of the run alone tells it.
    """
    if kind == "validation":
        return "Its object or its parameters cannot be used; see the run."
    named = [value for name, value in (run.spec.get("parameters") or {}).items() if name.endswith("_object")]
    for key in (run.spec.get("object"), *named):
        if isinstance(key, str) and key:
            error = error.replace(key, "(object)")
    return error


_OURS = frozenset(
    {"event", "level", "timestamp", "run", "case", "state", "processing_time", "model_version", "error", "error_kind"}
)


class JobQueueNumbers:
    """Tells the meter how many jobs wait, by case, at most every two seconds; beyond 1,000 it counts no further.

    Args:
        meter: is told.
        every_s: shortest time between two looks.
    """

    def __init__(self, meter: Meter, *, every_s: float = _EVERY_S) -> None:
        self._every_s = every_s
        self._meter = meter
        self._known: set[str] = set()
        self._looked_s = float("-inf")
        self._lock = Lock()

    def update(self, runs: RunStore) -> None:
        """Look at the queue, unless somebody just did."""
        with self._lock:
            if time.monotonic() - self._looked_s < self._every_s:
                return
            self._looked_s = time.monotonic()
            waiting = Counter(run.case for run in runs.list(kind=RunKind.JOB, state=RunState.SUBMITTED, limit=_MOST))
            self._known |= waiting.keys()
            for case in self._known:
                self._meter.gauge("jobs_waiting", waiting[case], case=case)

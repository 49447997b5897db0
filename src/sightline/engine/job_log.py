"""What happened to a job, line by line: its events and its steps, in the order of their times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sightline.core.codec import encode_time
from sightline.core.stores import MetadataStore

_MOST = 1000
_FACTS = ("worker", "attempt", "seconds", "peak_mb", "error", "error_kind", "after_s")


def job_log(store: MetadataStore, run_id: str) -> Sequence[Mapping[str, Any]]:
    """Return lines with `time` (RFC 3339), `what` (`run.started`, `step.done`, ...) and what is known of it.

    Raises:
        NotFound: no run has this id.
    """
    store.runs.get(run_id)
    lines: list[dict[str, Any]] = []
    for _, event in store.events.list(subject=f"run/{run_id}", limit=_MOST):
        lines.append({"time": encode_time(event.time), "what": event.short_type, **_facts(event.data)})
    for step, outcome in store.jobs.checkpoints(run_id).items():
        lines.append({"time": outcome.get("at", ""), "what": "step.done", "step": step, **_facts(outcome)})
    return sorted(lines, key=lambda line: str(line["time"]))


def _facts(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in _FACTS if data.get(name) is not None}

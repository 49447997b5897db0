"""What is told of a source that is being read: its counters, and beside them what only this process knows."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from sightline.core.errors import NotFound

if TYPE_CHECKING:
    from sightline.build.context import CaseBuildContext
    from sightline.engine.holding import HeldRuns
    from sightline.engine.threads import RequestThreads


class Costs(Protocol):
    """What cameras cost."""

    def cost_ms_per_s(self, run: str, source: str) -> float | None:
        """Return the CPU of the threads of a camera, milliseconds a second."""


class Watched(Protocol):
    """What is looked at: the platform, which has the watch as a part."""

    context: CaseBuildContext
    streams: HeldRuns
    threads: RequestThreads
    started_s: float

    @property
    def system(self) -> Costs:
        """What cameras cost."""

    @property
    def num_running(self) -> int:
        """Requests that are being answered now."""

    def num_sockets(self) -> int:
        """Return the number of open WebSockets."""

    def safe_mode(self) -> list[dict[str, Any]]:
        """Return what was to be served and is not."""

    def warnings(self) -> list[str]:
        """Return what an operator should know."""


def camera_rows(platform: Watched) -> list[dict[str, Any]]:
    """Return a row a source of the runs of this process, the run that began first first.

    Besides `HeldRuns.status` each has `is_live`, `wanted_fps` (what was asked for; null for every frame),
    `inference_ms` (what the models took for its newest sample) and `cpu_ms_per_s` (of its two threads).
    """
    return [{**row, **_more(platform, row["run"], row["source"])} for row in platform.streams.status()]


def _more(platform: Watched, run: str, name: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"is_live": None, "wanted_fps": None, "inference_ms": None}
    with suppress(NotFound):  # it has just ended
        source = platform.streams.source(run, name)
        wanted = getattr(source, "fps", None)
        facts |= {"is_live": source.is_live, "wanted_fps": wanted if isinstance(wanted, int | float) else None}
        sample = platform.streams.latest(run, name)
        if sample is not None:
            took = [each.latency_ms for each in sample.predictions.values() if each.latency_ms is not None]
            facts["inference_ms"] = round(sum(took), 2) if took else None
    return {**facts, "cpu_ms_per_s": platform.system.cost_ms_per_s(run, name)}

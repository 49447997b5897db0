"""How far jobs of other processes are, told on the bus of this one.

Events of states come through the outbox and the relay. Progress does not: a row for each percent would be written and
kept by the database for nothing. It stands in the record of the job, which its worker brings up to date five times a
second where there is something new, and after each step; so whoever serves looks there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog

from sightline.core.codec import to_json
from sightline.core.ports import Ports
from sightline.core.run import RunKind, RunState
from sightline.engine.runs import job_event

log = structlog.get_logger()
_LOOK_S, _IDLE_S, _AWAY_S = 0.25, 0.5, 2.0  # while jobs are worked on elsewhere, while none is, without a database
_MOST = 500


class JobWatch:
    """Publishes `run.progress` of the jobs that other processes work on, whenever their records tell something new.

    Args:
        ports: records and bus.
        held: ids of the jobs of this process, which tell their progress themselves.
    """

    def __init__(self, ports: Ports, held: Callable[[], Collection[str]]) -> None:
        self._ports = ports
        self._held = held
        self._seen: dict[str, bytes] = {}

    def look(self) -> float:
        """Look once; return after how many seconds to look again."""
        try:
            running = self._ports.store.runs.list(kind=RunKind.JOB, state=RunState.RUNNING, limit=_MOST)
        except Exception as error:  # noqa: BLE001 - the database may be away; it is looked again
            log.debug("jobs of other processes cannot be seen", error=str(error))
            return _AWAY_S
        held = set(self._held())
        others = [run for run in running if run.id not in held]
        seen = {run.id: to_json(dict(run.status)) for run in others}
        for run in others:
            if run.status and self._seen.get(run.id) != seen[run.id]:
                self._ports.bus.publish(job_event(run, "run.progress", run.status))
        self._seen = seen
        return _LOOK_S if others else _IDLE_S

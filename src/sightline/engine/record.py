"""The record of a run in the database: written when it begins, every few seconds, and when it ends."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event, Thread

import structlog

from sightline.core.errors import SightlineError, Unavailable
from sightline.core.events import Event as Happening
from sightline.core.events import make_event, source_uri
from sightline.core.plugins import Context
from sightline.core.ports import Ports
from sightline.core.prediction import JsonObject
from sightline.core.run import Run, RunKind, RunState
from sightline.engine.outbox import Outbox
from sightline.engine.surroundings import as_ours
from sightline.engine.unended import ends_of

log = structlog.get_logger()
_GRACE_S = 0.5  # what the end waits for a report that is on its way
_RETRIES_S = (0.1, 0.4, 1.5)  # pauses before the end of a run is recorded again, when the database is away


class RunRecord:
    """What one run writes about itself.

    Args:
        run: the record to make, `submitted` by now; or one that this process has claimed.
        context: the world of the run.
        outbox: takes its events.
        report_s: how often the record shows how far the run is; far below the lease of 15 s.

    Attributes:
        run: as recorded last.
        begun: whether it is recorded that the run has begun.
        over: set when nothing more will be reported.
    """

    def __init__(self, run: Run, context: Context, outbox: Outbox, *, report_s: float) -> None:
        self.run = run
        self.begun = False
        self.over = Event()
        self._ports = context.ports
        self._metadata = context.metadata
        self._outbox = outbox
        self._report_s = report_s
        self._lease: Thread | None = None

    def begin(self, spec: JsonObject) -> Run:
        """Record that the run has begun, and what is wanted of it.

        Raises:
            SightlineError: the run could not be recorded, so it did not begin.
        """
        started = self._happening("run.started", {})
        if self.run.state is RunState.SUBMITTED:
            submitted = self._happening("run.submitted", {"kind": RunKind.STREAM.value})
            wanted = replace(self.run, spec=spec)
            self.run = self._ports.store.runs.create(wanted, worker=worker_name(), events=[submitted, started])
            self._outbox.publish(submitted, started)
        else:
            if spec != self.run.spec:
                self.run = self._ports.store.runs.amend(self.run.id, spec=spec)
            self._outbox.tell(started, *ends_of(self._ports.store.events, self.run))
        self.begun = True
        return self.run

    def keep(
        self, status: Callable[[], JsonObject], obey: Callable[[Run], None], fail: Callable[[Exception], None]
    ) -> None:
        """Begin a thread that reports until the run is over, so that nobody takes it for dead.

        Args:
            status: what is seen now.
            obey: given the record after each report, in which another process may have written what it wants.
            fail: told when another process has the run now.
        """
        self._lease = Thread(target=self._keep, args=(status, obey, fail), name="lease", daemon=True)
        self._lease.start()

    def end(
        self, state: RunState, status: JsonObject, error: SightlineError | None, patient: Callable[[], bool]
    ) -> Run:
        """Record the end, or with the state submitted that the run is given back.

        While the database is away it is tried again after a moment, as long as somebody is patient.

        Raises:
            SightlineError: it could not be recorded.
        """
        said = str(error) if error else None
        if error is not None and error.cure:
            status = {**status, "cure": error.cure}  # whoever reads the record later wants to mend it too
        event = self._happening(f"run.{state.value}", {"error": said, "status": status})
        for pause_s in (*_RETRIES_S, None):
            try:
                run = self._ports.store.runs.finish(
                    self.run.id, self.run.token, state, status=status, error=said, events=[event]
                )
                break
            except Unavailable:
                if pause_s is None or not patient():
                    raise
                time.sleep(pause_s)
        self._outbox.publish(event)
        return run

    def stop_reporting(self) -> None:
        """Report no more."""
        self.over.set()
        if self._lease is not None:
            self._lease.join(_GRACE_S)

    def _keep(
        self, status: Callable[[], JsonObject], obey: Callable[[Run], None], fail: Callable[[Exception], None]
    ) -> None:
        away = False
        while not self.over.wait(self._report_s):
            try:
                seen = status()
                self.run = self._ports.store.runs.report(self.run.id, self.run.token, seen)
                self._outbox.publish(self._happening("run.progress", seen))
                self._outbox.record_due()  # also while a sink holds up the writer
                obey(self.run)
            except (
                Unavailable
            ) as error:  # the cameras go on; when the lease has passed by then, the next report says so
                if not away:
                    log.warning("the run cannot report", run=self.run.id, error=str(error))
                away = True
            except Exception as error:  # noqa: BLE001 - another process has the run now, or it was deleted
                fail(as_ours(error, f"Run {self.run.id}"))
                return
            else:
                away = False

    def _happening(self, short_type: str, data: JsonObject) -> Happening:
        return make_event(
            short_type,
            source=source_uri(self.run.case),
            subject=f"run/{self.run.id}",
            time=datetime.now(UTC),
            data={"run": self.run.id, "metadata": dict(self._metadata), **data},
        )


def worker_name() -> str:
    """Return what this process is called as a holder of runs."""
    return f"{socket.gethostname()}:{os.getpid()}"


def fail_dead_runs(ports: Ports) -> None:
    """Record the end of runs whose process died without one, and tell of it."""

    def told(run: Run) -> list[Happening]:
        return [
            *ends_of(ports.store.events, run),
            make_event(
                "run.failed",
                source=source_uri(run.case),
                subject=f"run/{run.id}",
                time=datetime.now(UTC),
                data={"run": run.id, "metadata": dict(run.metadata), "error": run.error, "status": run.status},
            ),
        ]

    ports.store.runs.expire(told)

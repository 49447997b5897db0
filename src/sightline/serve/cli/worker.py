"""`sightline worker`: works on jobs until SIGTERM or Ctrl-C; any number of them, on any number of machines."""

from __future__ import annotations

import signal
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.core.errors import Unavailable
from sightline.serve.cli.serve import end_process
from sightline.serve.cli.session import session_of

if TYPE_CHECKING:
    from sightline.engine.worker import JobWorkers

_DRAIN_S = 30.0
_PAUSE_S = 1.0  # between two tries to reach the database


def worker(
    context: typer.Context,
    *,
    case: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="CASE", help="Only jobs of this case, by name or folder; may be repeated."),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="Jobs at the same time.")] = 1,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="PORT", help="Show /metrics, /livez and /readyz; 0 takes a free port."),
    ] = None,
    metrics_host: Annotated[str, typer.Option(metavar="HOST", help="Where to show them.")] = "127.0.0.1",
) -> None:
    """Work on the jobs in the database of the settings; sightline serve does so too, see jobs.workers."""
    session = session_of(context)
    with session.errors():
        with session.build() as build:
            import structlog

            from sightline.build.job_workers import job_workers, named_cases
            from sightline.engine.runs import Jobs

            log = structlog.get_logger()
            cases = named_cases(build, case or [])
            told = Event()
            _heed_signals(told)
            working: list[JobWorkers] = []
            page = None
            if metrics_port is not None:
                from sightline.serve.cli.worker_page import WorkerPage

                page = WorkerPage(build, metrics_host, metrics_port, lambda: sum(len(each.held) for each in working))
                page.start()
            while not told.is_set():
                try:
                    _ = build.store  # what is wrong with its address ends the start
                    break
                except Unavailable as error:
                    log.warning("the database is away; the worker waits", error=str(error))
                    told.wait(_PAUSE_S)
            workers = job_workers(Jobs(build, cases.case), cases, build, workers=concurrency)
            working.append(workers)
            workers.start()
            log.info("worker began", concurrency=concurrency, cases=list(cases.names()))
            told.wait()
            log.info("worker ends", held=list(workers.held))
            workers.close(_DRAIN_S)
            if page is not None:
                page.close()
        end_process()


def _heed_signals(told: Event) -> None:
    """End at the first signal behind the step that is under way; at the second at once, as if killed."""

    def heed(number: int, _frame: FrameType | None) -> None:
        if told.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, heed)

"""What all doors share: ports and models, the cases that are served, the runs of this process, and who may ask.

Made once a process, before the loop runs. Doors call its parts; no door knows another one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

import structlog

from sightline.build.context import CaseBuildContext
from sightline.build.job_cases import JobCases
from sightline.build.job_workers import job_workers
from sightline.build.running import camera_case
from sightline.build.served_cases import ServedCases
from sightline.build.served_models import ServedModels
from sightline.core.access import Caller, RequestRow
from sightline.core.errors import (
    CaseNotFound,
    Forbidden,
    InvalidInput,
    ModelNotFound,
    NotFound,
    SightlineError,
    Unauthenticated,
    Unavailable,
)
from sightline.engine.holding import HeldRuns
from sightline.engine.job_numbers import JobQueueNumbers
from sightline.engine.relay import Relay
from sightline.engine.runs import Jobs
from sightline.engine.threads import RequestThreads
from sightline.serve.auth import (
    AuditLog,
    Gate,
    first_key,
    is_audited,
    is_loopback,
    is_required,
    refuse_examples_in,
    scope_of,
    secret_files,
    shown_path,
)
from sightline.serve.auth.reads import Reads
from sightline.serve.auth.refreshing import Refresher
from sightline.serve.case_runs import CaseRuns
from sightline.serve.errors import cure, told_problem
from sightline.serve.job_watch import JobWatch
from sightline.serve.logs import log_request
from sightline.serve.numbers import ModelNumbers, StreamNumbers
from sightline.serve.request_log import RequestLog
from sightline.serve.statistics import Statistics
from sightline.serve.system import SystemWatch
from sightline.serve.telling import Told
from sightline.serve.tracing import Tracer
from sightline.serve.unknown import unknown

log = structlog.get_logger()
_ALIASES_S = 1.0  # how long an alias that another process moved goes unnoticed
_RUNS_S = 5.0  # how long a run that nobody holds any more waits


class Platform:
    """The parts of one serving process.

    Args:
        context: settings and ports; closed with the platform.
        wanted: cases, models and model files to serve; none serves every model, and the cases on demand.
        start_cases: also run those of the cases that have sources of their own.
        host: where the server listens; what the settings say when not given.

    Attributes:
        models: models by name, for doors that speak tensors.
        cases: cases by name, for doors that speak samples.
        streams: the runs that this process executes.
        runs: those of cases: begun by name, taken up, kept as their cases say.
        told: the backend and others who hear what happened.
        jobs: submits and watches durable jobs.
        workers: works on them, where the setting `jobs.workers` says so.
        system: what the process takes of the machine.
        audit: what was managed, and by whom.
        threads: where requests work that need more than a model.
        started_s: when the process began to serve, on the monotonic clock.
        stopping: True when the process has been told to end; what never ends by itself ends now.
        is_hurried: True when it has been told so again: what runs is given up.
        failure: why it could not begin.
        grpc_port: where gRPC listens; None: nowhere.
        statistics: how often each model was asked by the Open Inference Protocol.
    """

    def __init__(
        self,
        context: CaseBuildContext,
        wanted: Sequence[str] = (),
        *,
        start_cases: bool = False,
        host: str | None = None,
    ) -> None:
        settings = context.settings
        self.host = settings.server.host if host is None else host
        self.context = context
        self.started_s = time.monotonic()
        self.stopping = self.is_hurried = False
        self.grpc_port: int | None = None
        self.failure: Exception | None = None
        self.is_public = not is_loopback(self.host)
        self.needs_keys = is_required(settings.auth.mode, self.host)
        refuse_examples_in(settings, loopback=not self.is_public)
        self.gate = Gate(
            settings.auth,
            lambda: context.store.keys,
            required=self.needs_keys,
            loopback=not self.is_public,
            files=secret_files(context.loaded),
        )
        self.models = ServedModels(context)
        self.cases = ServedCases(context, self.models)
        self.statistics = Statistics()
        self.streams = HeldRuns(context)
        self.runs = CaseRuns(context, self.cases, self.streams)
        job_cases = JobCases(context, self.cases.load, self.cases.places)
        self.jobs = Jobs(context, job_cases.case)
        self.workers = job_workers(self.jobs, job_cases, context, workers=settings.jobs.workers)
        self.system = SystemWatch(self)
        self.threads = RequestThreads(
            settings.server.threads or 4 * (os.cpu_count() or 1), queue=settings.server.queue, meter=context.meter
        )
        self.tracer = Tracer(export=settings.meter.otel, service=settings.meter.service)
        self.requests = RequestLog(
            lambda: context.store, settings.records, meter=context.meter, artifacts=lambda: context.artifacts
        )
        self.audit = AuditLog(lambda: context.store, context.meter)
        self._reads = Reads()
        self._numbers = StreamNumbers(context.meter), ModelNumbers(context.meter), JobQueueNumbers(context.meter)
        self._looking = Refresher("look-around", self._look_around, gap_s=_ALIASES_S)
        self._keeping = Refresher("keep-running", self._keep_running, gap_s=_RUNS_S)
        watch = JobWatch(context, lambda: self.workers.held)
        self._watching = Refresher("job-watch", watch.look, gap_s=_RUNS_S)
        self.relay = Relay(context)
        self.told = Told(context)
        self._wanted = list(wanted)
        self._cases: list[str] = []  # of what is wanted
        self._start_cases = start_cases
        self._num_running = 0
        self._num_sockets = 0
        self._problems: list[str] = []

    def open(self) -> None:
        """Find what shall be served, and begin to keep up with the outside: keys, aliases, events of others.

        Raises:
            SightlineError: what was asked for by name cannot be served.
        """
        for name in self._wanted:
            self._serve(name)
        self.gate.start()
        self.requests.start()
        self.audit.start()
        self.relay.start()
        self.told.start()
        self.streams.open()
        self._start_runs()
        if self.context.settings.jobs.workers:
            self.workers.start()
        self._looking.start()
        self._keeping.start()
        self._watching.start()
        self.system.start()
        Thread(target=self._warm, name="warm", daemon=True).start()

    def first_key(self) -> str | None:
        """Make a key where one is needed and nobody could come in without it; return it, to be shown once."""
        auth = self.context.settings.auth
        others = auth.service_token or auth.jwks or auth.jwt_secret
        return first_key(self.context.store.keys) if self.needs_keys and not others else None

    async def admitted(self, method: str, path: str, authorization: bytes | None, api_key: bytes | None) -> Caller:
        """Return who asks, when it may.

        Raises:
            Unauthenticated: it did not say who it is, or not truly.
            Forbidden: it may not do this.
            RateLimited: it asks too often.
        """
        return await self.gate.admitted(
            authorization.decode("latin-1") if authorization else None,
            api_key.decode("latin-1") if api_key else None,
            scope_of(method, path),
        )

    def may_stay(self, path: str, authorization: bytes | None, api_key: bytes | None) -> bool:
        """Return whether a caller who was admitted to an answer without end may still have it."""
        try:
            self.gate.admit(
                authorization.decode("latin-1") if authorization else None,
                api_key.decode("latin-1") if api_key else None,
                scope_of("GET", path),
                counted=False,
            )
        except (Unauthenticated, Forbidden):
            return False
        except Unavailable:  # the keys cannot be read just now
            return True
        return True

    def note(self, row: RequestRow, path: str, code: str, caller: Caller, *, audited: str = "") -> None:
        """Write down that a request was answered; `code` is that of the problem that was told.

        What reads stored objects and results is audited too, once for the many requests of one reading. With `audited`
        that is audited, though the path tells nothing of it.
        """
        self.requests.add(row)
        log_request(row, shown_path(path), code=code)
        if audited or is_audited(scope_of(row.method, path)) or self._reads.is_new(caller, path, row.status):
            what = audited or path
            self.audit.note(caller, method=row.method, route=row.route, status=row.status, request_id=row.id, path=what)

    def numbers(self, accept: str) -> tuple[bytes, str]:
        """Return all numbers as a page and its media type; the meter decides their form.

        Raises:
            NotFound: the meter that the settings name shows no page.
        """
        self._count()
        page = getattr(self.context.meter, "page", None)
        if page is None:
            raise NotFound("The meter of these settings shows no page.", cure="Use adapters.meter: prometheus.")
        body, media_type = page(accept)
        return body, media_type

    def begin(self) -> None:
        """Count a request that is being answered."""
        self._num_running += 1

    def end(self) -> None:
        """Count it no more."""
        self._num_running -= 1

    @property
    def num_running(self) -> int:
        """Requests that are being answered now."""
        return self._num_running

    def num_sockets(self, change: int = 0) -> int:
        """Add to the number of open WebSockets and return it."""
        self._num_sockets += change
        return self._num_sockets

    def safe_mode(self) -> list[dict[str, Any]]:
        """Return what was to be served or run and is not, until somebody mends it: `case` and its `problems`."""
        found = dict(self.cases.problems())
        for run_id, error in self.runs.problems().items():
            with suppress(SightlineError):
                case = self.context.store.runs.get(run_id).case
                found.setdefault(case, [error])
        return [
            {
                "case": name,
                "problems": [told_problem(each) for each in problems],
            }
            for name, problems in sorted(found.items())
        ]

    def warnings(self) -> list[str]:
        """Return what an operator should know."""
        return [*self.gate.warnings(), *self._problems]

    def heed_signals(self) -> None:
        """Notice the signals that end the server as soon as they come, and let the server have them too.

        The server waits for open answers; event streams end only when they know that they should.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)

            def heed(signum: int, frame: FrameType | None, before: Any = before) -> None:
                self.is_hurried = self.stopping
                self.stopping = True
                if callable(before):
                    before(signum, frame)

            try:
                signal.signal(number, heed)
            except ValueError:  # not the main thread: whoever embeds us ends us by the lifespan
                return

    def close(self) -> None:
        """End what runs and give everything back; whoever waits for an answer gets it first."""
        self.stopping = True
        for name, part in (
            ("system", self.system),
            ("keeping", self._keeping),
            ("watching", self._watching),
            ("workers", self.workers),
            ("streams", self.streams),
            ("threads", self.threads),
            ("told", self.told),
            ("relay", self.relay),
            ("request log", self.requests),
            ("audit log", self.audit),
            ("looking", self._looking),
            ("gate", self.gate),
            ("tracer", self.tracer),
            ("cases", self.cases),
            ("context", self.context),
        ):
            try:
                part.close()
            except Exception as error:  # noqa: BLE001 - the others must be closed too
                log.warning("part did not close", part=name, error=str(error))

    def _serve(self, name: str) -> None:
        """Serve what was named at the start: a model file, a case, or a model.

        Raises:
            SightlineError: it is none of them, or cannot be served.
        """
        path = Path(name).expanduser()
        if path.suffix.lower() == ".onnx":
            self.models.serve_file(path)
            return
        try:
            self._cases.append(case := self.cases.serve(name))
            for problem in self.cases.problems().get(case, ()):
                said = {"case": case, "error": str(problem), "cure": cure(problem)}
                log.error("safe mode: a case is not served until it is mended", **said)
        except CaseNotFound as error:
            try:
                self.models.serve(name)
            except (ModelNotFound, InvalidInput):
                raise unknown(self.context, name, error) from None

    def _start_runs(self) -> None:
        """Run the cases that shall run from the start; a camera that is down keeps none of them back."""
        camera = self.context.settings.camera
        names = self._cases if self._start_cases else []
        if camera.url and camera.model:
            names = [camera_case(self.context).name, *names]  # made here too: what is wrong with it ends the start
        self.runs.open(names)

    def _count(self) -> None:
        """Tell the meter what streams and models have done since the last time, and how many jobs wait."""
        streams, models, queue = self._numbers
        snapshots = []
        for run in self.streams.list():
            with suppress(NotFound):  # it has just ended
                snapshots.append((run.id, run.case, run.status, self.streams.before(run.id)))
        streams.update(snapshots)
        models.update(self.context.sessions.loaded())
        with suppress(SightlineError):  # the database may be away
            queue.update(self.context.store.runs)

    def _look_around(self) -> float:
        """Once a second: tell the meter how it goes, and notice aliases that were moved, here or elsewhere."""
        self._count()
        try:
            self.context.sessions.refresh()
        except Exception as error:  # noqa: BLE001 - the database may be away; models go on as they are
            log.debug("aliases were not read", error=str(error))
        return _ALIASES_S

    def _keep_running(self) -> float:
        """Every few seconds: take up runs that nobody holds, and begin cases that were mended by hand."""
        try:
            self.runs.tend()
            self.cases.tend()
        except Exception as error:  # noqa: BLE001 - the database may be away; what runs goes on
            log.debug("runs were not looked for", error=str(error))
        return _RUNS_S

    def _warm(self) -> None:
        """Open what was asked for by name, so that the first request need not."""
        for warm in (self.models.warm, self.cases.warm):
            try:
                warm()
            except SightlineError as error:
                if self.stopping:  # what is closed meanwhile cannot be warmed, and need not
                    return
                self._problems.append(str(error))
                log.error("could not be warmed", error=str(error))

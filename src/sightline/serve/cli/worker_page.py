"""The page of numbers of `sightline worker`: `/metrics` as `sightline serve` has it, `/livez` and `/readyz`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import structlog

from sightline.core.codec import to_json
from sightline.core.errors import ConfigError, SightlineError
from sightline.engine.job_numbers import JobQueueNumbers
from sightline.serve.numbers import ModelNumbers

if TYPE_CHECKING:
    from sightline.build import CaseBuildContext

log = structlog.get_logger()
_JSON = "application/json"
_SLOWEST_S = 5.0  # for one line of a request


class WorkerPage:
    """Answers monitoring in threads of its own; asks nobody for a key, for it tells names of cases and models alone.

    Args:
        context: database, meter and models of the worker.
        host: where it listens.
        port: 0 takes a free one.
        num_held: tells how many jobs are being worked on.

    Attributes:
        url: its address.

    Raises:
        ConfigError: the meter shows no page, or nobody can listen there.
    """

    def __init__(self, context: CaseBuildContext, host: str, port: int, num_held: Callable[[], int]) -> None:
        meter = context.meter
        if not hasattr(meter, "page"):
            raise ConfigError("The meter of these settings shows no page.", cure="Use adapters.meter: prometheus.")
        self._context = context
        self._num_held = num_held
        self._queue, self._models = JobQueueNumbers(meter), ModelNumbers(meter)
        try:
            self._server = _Server((host, port), self._door())
        except OSError as error:
            raise ConfigError(f"Nobody can listen at {host}:{port}: {error}.", cure="Take another port.") from None
        self.url = f"http://{host}:{self._server.server_port}"

    def start(self) -> None:
        """Begin to answer."""
        Thread(target=self._server.serve_forever, name="worker-page", daemon=True).start()
        log.info("numbers of the worker", url=f"{self.url}/metrics")

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, accept: str) -> tuple[int, bytes, str]:
        """Return status, body and media type for a path."""
        if path == "/metrics":
            self._count()
            body, media_type = self._context.meter.page(accept)  # type: ignore[attr-defined]  # looked at above
            return 200, body, media_type
        if path == "/livez":
            return 200, to_json({"status": "ok", "held": self._num_held()}), _JSON
        if path == "/readyz":
            try:
                self._context.store.runs.list(limit=1)
            except SightlineError as error:
                return 503, to_json({"status": "waiting", "reason": error.message}), _JSON
            return 200, to_json({"status": "ready", "held": self._num_held()}), _JSON
        return 404, to_json({"detail": "There are /metrics, /livez and /readyz."}), _JSON

    def _count(self) -> None:
        self._context.meter.gauge("jobs_held", self._num_held())
        self._models.update(self._context.sessions.loaded())
        try:
            self._queue.update(self._context.store.runs)
        except SightlineError as error:  # the database may be away; the other numbers are there
            log.debug("the queue was not counted", error=str(error))

    def _door(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Door(BaseHTTPRequestHandler):
            timeout = _SLOWEST_S
            server_version = "sightline"
            sys_version = ""

            def do_GET(self) -> None:
                status, body, media_type = page.answer(self.path.partition("?")[0], self.headers.get("accept") or "")
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: it is asked all day."""

        return Door


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say little of a caller who left, or whom we could not answer."""
        log.debug("the page of numbers was not answered", error=repr(sys.exception()))

"""The HTTP server: uvicorn with what we know to be good for short requests and long streams."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from socket import socket
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.lifespan.on import LifespanOn

from sightline.core.errors import ConfigError
from sightline.serve.connection import Connection
from sightline.serve.lines import say
from sightline.serve.platform import Platform
from sightline.settings import AppSettings


class Server(uvicorn.Server):
    """uvicorn's server, which ends after a signal as one that has done what it was told: without the signal's mark.

    Args:
        config: for uvicorn.
        begun: called when requests are taken.
    """

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Open the application and begin to listen."""
        await super().startup(sockets)
        if self._begun is not None:
            self._begun()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """End; the application is closed also when a second signal gives up what runs."""
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the form of all signal handlers
        """Take no more requests and finish what runs; give that up too when a second signal comes."""
        self.force_exit = self.should_exit
        self.should_exit = True


class _Lifespan(LifespanOn):
    """uvicorn's, without its words about a start that failed: `Platform.failure` says why, once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.logger = logging.getLogger("uvicorn.lifespan")
        self.logger.addFilter(_tells_more)

    async def send(self, message: Any) -> None:
        """Take what the application says."""
        if message["type"] == "lifespan.startup.failed":
            message = {"type": message["type"]}
        await super().send(message)


def _tells_more(record: logging.LogRecord) -> bool:
    return record.getMessage() != "Application startup failed. Exiting."


def make_server(settings: AppSettings, app: Any, begun: Callable[[], None] | None = None) -> Server:
    """Return a server for `app`, which has not begun; it calls `begun` when it has.

    Raises:
        ConfigError: only one of the two files for TLS is given, or one is missing.
    """
    server = settings.server
    if (server.tls_cert is None) != (server.tls_key is None):
        raise ConfigError("TLS needs a certificate and its key.", cure="Set server.tls_cert and server.tls_key.")
    for path in (server.tls_cert, server.tls_key):
        if path is not None and not path.is_file():
            raise ConfigError(f"There is no file {path} for TLS.", cure="Check server.tls_cert and server.tls_key.")
    if server.tls_cert is not None and server.tls_key is not None:
        _check_pair(server.tls_cert, server.tls_key)

    class Patient(Connection):
        patience_s = server.body_timeout_s

    config = uvicorn.Config(
        app,
        http=Patient,
        host=server.host,
        port=server.port,
        ssl_certfile=server.tls_cert,
        ssl_keyfile=server.tls_key,
        lifespan="on",
        log_config=None,  # the log is set up by then, in one form for all
        access_log=False,  # the doorway logs, with caller and model
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # nobody here asks who a proxy says that the client is, so nobody is fooled
        ws_max_size=1 << 16,  # what clients send us are short wishes
        timeout_keep_alive=75,  # longer than the 60 s of common load balancers, which must hang up first
        timeout_graceful_shutdown=max(1, round(server.drain_s)),
        h11_max_incomplete_event_size=1 << 16,
    )
    config.load()
    config.lifespan_class = _Lifespan
    return Server(config, begun)


def _check_pair(certificate: Path, key: Path) -> None:
    """Try to use a certificate with its key.

    Raises:
        ConfigError: they cannot be read, do not belong together, or the key has a password.
    """

    def no_password() -> str:
        raise ConfigError(f"The key {key} for TLS is locked by a password.", cure="Save it without one.")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, OSError) as error:
        why = getattr(error, "reason", None) or error.strerror or error
        raise ConfigError(
            f"{certificate} and {key} cannot be used for TLS: {str(why).lower().replace('_', ' ')}.",
            cure="Give a certificate and the private key that belongs to it, both as PEM.",
        ) from None


def announce(platform: Platform, address: tuple[Any, ...] | None = None) -> str:
    """Say where to ask, a first key where one was needed, and what an operator must know; return the address.

    Args:
        platform: what is served.
        address: where the server listens, as its socket says; None where another program decides that.
    """
    url = ""
    if address is not None:
        scheme = "https" if platform.context.settings.server.tls_cert else "http"
        host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
        url = f"{scheme}://{host}:{address[1]}"
        say("serving", "bold green", f"{url}  (documentation: {url}/docs)")
    if key := platform.first_key():
        say("key:", "bold yellow", f"{key}  (shown only now; send it as Authorization: Bearer ...)")
    for warning in platform.warnings():
        say("warning:", "bold yellow", warning)
    sys.stderr.flush()
    return url

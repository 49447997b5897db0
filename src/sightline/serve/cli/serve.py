"""`sightline serve`: cases and models behind HTTP and gRPC, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sightline.core.errors import ConfigError, SightlineError, Unavailable
from sightline.serve.cli.session import session_of

if TYPE_CHECKING:
    from sightline.build import CaseBuildContext
    from sightline.serve.platform import Platform


def serve(
    context: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CASE|MODEL|FILE.onnx]...", help="Cases, models and model files; none: everything on demand."
        ),
    ] = None,
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen at; 0.0.0.0 is every one.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of HTTP; 0 takes a free one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of gRPC; default: none.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate (PEM) for TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Key (PEM) of the certificate.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Take secrets of published examples outside loopback too.")
    ] = False,
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Also start the named cases that have a source of their own.")
    ] = False,
) -> None:
    """Serve cases and models: POST /predict, /v2 (Open Inference Protocol), /docs for the rest."""
    session = session_of(context)
    with session.errors():
        if run and not what:
            raise typer.BadParameter("Name the cases that shall run: sightline serve CASE --run", param_hint="--run")
        given = {
            "server.host": host,
            "server.port": port,
            "server.grpc_port": grpc_port,
            "server.tls_cert": None if tls_cert is None else str(tls_cert.absolute()),
            "server.tls_key": None if tls_key is None else str(tls_key.absolute()),
            "auth.insecure": insecure or None,
        }
        overrides = {path: value for path, value in given.items() if value is not None}
        with session.build(overrides) as build:
            serve_until_told(build, list(what or []), run=run)
        end_process()


def serve_until_told(
    build: CaseBuildContext,
    wanted: list[str],
    *,
    run: bool = False,
    begin: Callable[[Platform, str], None] | None = None,
) -> None:
    """Serve until a signal ends it, and everything that ran has finished.

    Args:
        build: settings and ports.
        wanted: names of cases and models, paths of model files.
        run: also run those cases.
        begin: called in a thread with the platform and its address, once requests are answered.
    """
    from sightline.serve.app import make_app
    from sightline.serve.platform import Platform
    from sightline.serve.server import announce, make_server

    platform = Platform(build, wanted, start_cases=run)

    def begun() -> None:
        gc.freeze()  # what is there stays: to look through it again and again holds all requests up, 50 ms each time
        url = announce(platform, address)
        if begin is not None:
            threading.Thread(target=begin, args=(platform, url), name="begin", daemon=True).start()

    server = make_server(build.settings, make_app(platform), begun)
    sock = _bound(server.config.host, server.config.port, "--port")
    if build.settings.server.grpc_port:  # gRPC cannot say why it cannot listen
        _bound(server.config.host, build.settings.server.grpc_port, "--grpc-port").close()
    address = sock.getsockname()
    try:
        server.run(sockets=[sock])
    except SystemExit:  # uvicorn ends so when the platform did not open
        if platform.failure is None:
            raise
    if platform.failure is not None:
        raise platform.failure
    if not server.started:
        raise SightlineError("The server did not start.", cure="See the log above.")


def end_process() -> NoReturn:
    """End the process with 0, at once where a thread is still at work in a model that was given up.

    At its own end Python ends such a thread in the middle of the model's C++ code, which aborts the process for that.
    """
    if any(thread.daemon for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    raise typer.Exit(0)


def _bound(host: str, port: int, option: str) -> Any:
    """Return the listening socket, so that a port that is taken is told in our words; `option` chooses the port.

    Raises:
        Unavailable: the port is taken.
        ConfigError: there is no such address here.
    """
    import errno
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(f"Port {port} is taken.", cure=f"Use {option} 0, which takes a free one.") from None
        raise ConfigError(
            f"{host}:{port} cannot be listened at: {error.strerror or error}.",
            cure="Use --host 127.0.0.1.",
        ) from None
    sock.listen(2048)  # from now on nobody is turned away: who comes before the loop runs waits for it
    sock.set_inheritable(True)
    return sock

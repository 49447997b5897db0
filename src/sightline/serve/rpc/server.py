"""The gRPC server: one port beside that of HTTP, on the same event loop, with the same certificate."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from sightline.core.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    import grpc

    from sightline.serve.bodies import Bodies
    from sightline.serve.platform import Platform
    from sightline.serve.rpc.calls import Calls
    from sightline.serve.rpc.spans import CallTracer

log = structlog.get_logger()
_MIB = 1 << 20
_MAX_METADATA = 16 << 10  # bytes of the headers of a call: room for a token
_ROUND_S = 0.1  # how long the end of the server may go unnoticed
_MAX_STREAMS = 1024  # calls at a time on one connection; a client waits with the others


class RpcServer:
    """Serves the Open Inference Protocol, `sightline.v1.ModelService`, and `grpc.health.v1.Health`.

    It ends by itself when the platform is told to end, beside HTTP and not after it: no more calls are taken, streams
    are read no further, and what was taken by then has `server.drain_s` seconds.

    Args:
        platform: what all doors share; opened and closed by others.
        bodies: counts what is in memory of requests, HTTP's too.
        tracer: makes the spans; None takes one that sends them where those of HTTP go.
    """

    def __init__(self, platform: Platform, bodies: Bodies, tracer: CallTracer | None = None) -> None:
        self._platform = platform
        self._bodies = bodies
        self._tracer = tracer
        self._serving: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Take calls from now on; return the port, for `port` 0 the one that was free.

        Raises:
            MissingExtra: gRPC is not installed.
            ConfigError: the address cannot be listened at, or the certificate cannot be used.
        """
        try:
            import grpc  # the extra brings it; it takes 0.1 s to import
        except ImportError:
            raise MissingExtra("gRPC is not installed.", cure="pip install 'sightline[grpc]'") from None
        from sightline.serve.oip.inference import Inference
        from sightline.serve.rpc.calls import Calls
        from sightline.serve.rpc.health import HealthProcedures
        from sightline.serve.rpc.inference import InferenceProcedures
        from sightline.serve.rpc.models import ModelProcedures
        from sightline.serve.rpc.spans import CallTracer

        settings = self._platform.context.settings.server
        server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", settings.max_body_mb * _MIB),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", _MAX_METADATA),
                ("grpc.max_concurrent_streams", _MAX_STREAMS),
                ("grpc.so_reuseport", 0),  # a port that is taken is an error, not half of the calls
            )
        )
        calls = Calls(self._platform, self._bodies, self._tracer or CallTracer())
        inference = Inference(self._platform)
        doors = (
            InferenceProcedures(self._platform, inference),
            ModelProcedures(self._platform, inference),
            HealthProcedures(self._platform),
        )
        server.add_generic_rpc_handlers([door.procedures(calls) for door in doors])
        address = f"{f'[{host}]' if ':' in host else host}:{port}"
        bound: int
        try:
            if settings.tls_cert is not None and settings.tls_key is not None:
                bound = server.add_secure_port(address, _credentials(settings.tls_cert, settings.tls_key))
            else:
                bound = server.add_insecure_port(address)
        except RuntimeError:
            raise ConfigError(
                f"gRPC cannot listen at {address}.", cure="Set server.grpc_port to a free port, and check server.host."
            ) from None
        await server.start()
        self._serving = asyncio.create_task(self._until_stopped(server, calls))
        log.info("grpc listens", address=f"{address.rpartition(':')[0]}:{bound}")
        return bound

    async def stop(self) -> None:
        """Return when all calls have ended, or were broken off after the drain; the platform is told to end by this."""
        self._platform.stopping = True
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving

    async def _until_stopped(self, server: grpc.aio.Server, calls: Calls) -> None:
        """Wait until the platform is told to end, and end."""
        platform = self._platform
        while not platform.stopping:  # noqa: ASYNC110 - a signal says so, not the loop
            await asyncio.sleep(_ROUND_S)
        calls.end_waits()
        drain_s = platform.context.settings.server.drain_s
        log.info("grpc drains", running=platform.num_running, seconds=drain_s)
        ending = asyncio.ensure_future(server.stop(drain_s))
        while not ending.done() and not platform.is_hurried:
            await asyncio.wait([ending], timeout=_ROUND_S)
        if not ending.done():
            ending.cancel()
        error: BaseException | None
        [error] = await asyncio.gather(ending, return_exceptions=True)
        if error is not None:  # its calls would go on until their models are closed
            log.warning("grpc breaks off calls", cause=str(error) or "told to end at once")
            await server.stop(None)
        log.info("grpc has ended")


def _credentials(cert: Path, key: Path) -> grpc.ServerCredentials:
    """Return what gRPC shows to its callers; the files are read again when they change."""
    import grpc

    def read() -> grpc.ServerCertificateConfiguration:
        try:
            pair = key.read_bytes(), cert.read_bytes()
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be read: {error.strerror}.", cure="Check it.") from None
        return grpc.ssl_server_certificate_configuration([pair])

    stamps = [_stamp(cert, key)]

    def changed() -> grpc.ServerCertificateConfiguration | None:
        stamp = _stamp(cert, key)
        if stamp == stamps[0]:
            return None
        try:
            found = read()
        except ConfigError as error:
            log.warning("certificate stays as it was", cause=error.message)
            return None
        stamps[0] = stamp
        return found

    return grpc.dynamic_ssl_server_credentials(read(), changed)


def _stamp(*paths: Path) -> tuple[float, ...]:
    """Return when the files were changed; 0 of one that is not there."""
    return tuple(path.stat().st_mtime if path.exists() else 0.0 for path in paths)

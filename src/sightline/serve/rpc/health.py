"""`grpc.health.v1.Health`: whether the server takes calls, as load balancers and orchestrators ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from sightline.core.errors import NotFound
from sightline.serve.rpc.messages import HEALTH, INFERENCE, MODELS, message
from sightline.serve.rpc.wire import parsed

if TYPE_CHECKING:
    from sightline.serve.platform import Platform
    from sightline.serve.rpc.asked import Asked
    from sightline.serve.rpc.calls import Calls

_SERVICES = ("", INFERENCE, MODELS, HEALTH)
_SERVING, _NOT_SERVING = 1, 2


class HealthProcedures:
    """Answers `Check`; who calls `Watch` hears that it is not there, as the protocol allows, and asks again.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def procedures(self, calls: Calls) -> grpc.GenericRpcHandler:
        """Return the handlers for gRPC's server."""
        return grpc.method_handlers_generic_handler(HEALTH, {"Check": calls.unary(f"/{HEALTH}/Check", self._check)})

    async def _check(self, asked: Asked) -> bytes:
        service = parsed(message("grpc.health.v1.HealthCheckRequest"), asked.data).service
        if service not in _SERVICES:
            raise NotFound(f"There is no service {service[:100]!r}.", cure=f"Ask for one of {_SERVICES[1:]}.")
        status = _NOT_SERVING if self._platform.stopping else _SERVING
        body: bytes = message("grpc.health.v1.HealthCheckResponse")(status=status).SerializeToString()
        return body

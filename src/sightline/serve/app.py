"""The application: every route of the server, raw doors and the management application behind them.

`uvicorn sightline.serve.app:app` serves it with the settings of the working directory; `sightline serve` does the same
with its options.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from sightline.build.context import CaseBuildContext
from sightline.core.errors import MethodNotAllowed, UpgradeRequired
from sightline.serve.auth.hosts import is_loopback
from sightline.serve.doorway import Doorway, Handler
from sightline.serve.exchange import App, Exchange, Receive, Scope, Send
from sightline.serve.forward import ForwardDoors
from sightline.serve.health import HealthDoors
from sightline.serve.infer import Infer
from sightline.serve.live import LiveDoors
from sightline.serve.logs import set_up_log
from sightline.serve.oip.doors import InferenceDoors
from sightline.serve.platform import Platform
from sightline.serve.predict import Predict
from sightline.serve.server import announce
from sightline.serve.web import FOLDER, WebDoor

SOCKET = "/ws"


def make_app(platform: Platform) -> Doorway:
    """Return the ASGI application for a platform, which it opens and closes with its lifespan."""
    health, forward, live = HealthDoors(platform), ForwardDoors(platform), LiveDoors(platform)
    web = WebDoor()
    routes: dict[str, dict[str, Handler]] = {
        "/": {"GET": web},
        "/livez": {"GET": health.live},
        "/readyz": {"GET": health.ready},
        "/health": {"GET": health.health},
        "/metrics": {"GET": health.metrics},
        "/health/stream": {"GET": live.health},
        "/stream": {"GET": live.events},
        "/stream.mjpeg": {"GET": live.pictures},
        "/viewer": {"GET": live.viewer},
        "/predict": {"POST": Predict(platform)},
        "/forward": {"POST": forward.forward},
        "/forward_batch": {"POST": forward.forward_batch},
        "/metadata": {"GET": forward.metadata},
        "/infer": {"POST": Infer(platform)},
    }
    return Doorway(platform, _Finder(routes, InferenceDoors(platform), web), live.socket, _Management(platform))


class _Finder:
    """Finds the raw handler of a request."""

    def __init__(self, routes: Mapping[str, Mapping[str, Handler]], inference: Handler, web: Handler) -> None:
        self._routes = routes
        self._inference = inference
        self._web = {"GET": web}

    def __call__(self, exchange: Exchange) -> Handler | None:
        """Return the handler, or None for what the management application answers.

        Raises:
            MethodNotAllowed: the path takes other methods.
            UpgradeRequired: it speaks WebSocket alone.
        """
        path = exchange.path
        if path.startswith("/v2/") or path == "/v2":
            return self._inference
        if path == SOCKET:
            exchange.route = path
            raise UpgradeRequired(f"{path} is a WebSocket.", cure=f"Open it as one: ws://HOST:PORT{path}")
        route = self._web if path.startswith(FOLDER) else self._routes.get(path)
        if route is None:
            return None
        exchange.route = path
        handler = route.get("GET" if exchange.method == "HEAD" else exchange.method)
        if handler is None:
            raise MethodNotAllowed(f"{path} does not take {exchange.method}.", allow=[*route])
        return handler


class _Management:
    """The management application, made when it is first asked: FastAPI takes longer to import than a model to load."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._app: App | None = None
        self._lock = Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        app = self._app
        if app is None:
            app = await asyncio.to_thread(self._made)
        await app(scope, receive, send)

    def _made(self) -> App:
        with self._lock:
            app = self._app
            if app is None:
                from sightline.serve.api import make_api

                app = make_api(self._platform)
                self._app = app
            return app


def _host(arguments: Sequence[str]) -> str:
    """Return the address that another program's command line tells its server to listen at; empty for unknown.

    An unknown address counts as public, so that nobody is let in by mistake; of several a public one is returned.
    """
    hosts: list[str] = []
    for number, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in ("--host", "--bind", "-b"):
            given = value or (arguments[number + 1] if number + 1 < len(arguments) else "")
            hosts.append(given if name == "--host" else given.rpartition(":")[0])
        elif argument.startswith("-b") and argument[1] != "-":
            hosts.append(argument[2:].rpartition(":")[0])
    return next((host for host in hosts if not is_loopback(host)), hosts[0] if hosts else "")


def __getattr__(name: str) -> Any:
    """Make `app` when it is asked for, so that importing this module opens nothing."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    context = CaseBuildContext()
    set_up_log(context.settings.log.level, as_json=context.settings.log.as_json)
    platform = Platform(context, host=_host(sys.argv))
    announce(platform)
    return make_app(platform)

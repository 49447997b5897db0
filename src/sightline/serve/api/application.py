"""The FastAPI application. What callers get wrong looks as behind the raw doors: errors go up to the doorway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from sightline import __version__
from sightline.core.codec import to_json
from sightline.core.errors import Cancelled, InvalidInput, MethodNotAllowed, NotFound, SightlineError
from sightline.serve.api.asked import Route, exchange_of
from sightline.serve.api.audit_doors import AuditDoors
from sightline.serve.api.case_doors import CaseDoors
from sightline.serve.api.document import make_document
from sightline.serve.api.event_doors import EventDoors
from sightline.serve.api.job_doors import JobDoors
from sightline.serve.api.key_doors import KeyDoors
from sightline.serve.api.manifest_doors import ManifestDoors
from sightline.serve.api.model_doors import ModelDoors
from sightline.serve.api.object_doors import ObjectDoors
from sightline.serve.api.own_runs import own_runs
from sightline.serve.api.pages import Pages
from sightline.serve.api.picture_doors import PictureDoors
from sightline.serve.api.plugin_doors import PluginDoors
from sightline.serve.api.profile_doors import ProfileDoors
from sightline.serve.api.request_doors import RequestDoors
from sightline.serve.api.run_doors import RunDoors
from sightline.serve.api.run_files import RunFileDoors
from sightline.serve.api.run_source_doors import RunSourceDoors
from sightline.serve.api.schedule_doors import ScheduleDoors
from sightline.serve.api.source_doors import SourceDoors
from sightline.serve.api.system_doors import SystemDoors
from sightline.serve.api.traffic_doors import TrafficDoors
from sightline.serve.platform import Platform
from sightline.serve.problems import PROBLEM, problem

_MOST_SHOWN = 20  # of what is wrong with one request


class _Api(FastAPI):
    """FastAPI without its own answers to errors that nobody foresaw: those are the doorway's."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the router, with what it needs around it."""
        return ExceptionMiddleware(AsyncExitStackMiddleware(self.router), handlers=dict(self.exception_handlers))

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of all routes, the raw ones too."""
        if self.openapi_schema is None:
            self.openapi_schema = make_document(self.routes)
        return self.openapi_schema


def make_api(platform: Platform) -> FastAPI:
    """Return the application behind the doorway, which has admitted its callers already."""
    api = _Api(
        title="Sightline",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    api.router.route_class = Route
    all_doors = (
        ManifestDoors(platform),
        PluginDoors(platform),
        ProfileDoors(platform),
        CaseDoors(platform),
        runs := RunDoors(platform),
        JobDoors(platform, runs),
        RunFileDoors(platform),
        RunSourceDoors(platform),
        ObjectDoors(platform),
        ScheduleDoors(platform),
        ModelDoors(platform),
        TrafficDoors(platform),
        SourceDoors(platform),
        PictureDoors(platform),
        SystemDoors(platform),
        EventDoors(platform),
        KeyDoors(platform),
        RequestDoors(platform),
        AuditDoors(platform),
        Pages(api.openapi),
    )
    for doors in all_doors:
        api.include_router(doors.router, dependencies=[Depends(own_runs(platform))])
    api.state.routes = [route for doors in all_doors for route in doors.router.routes if isinstance(route, APIRoute)]
    handlers: Mapping[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
        RequestValidationError: _invalid,
        HTTPException: _refused,
        ClientDisconnect: _left,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)
    return api


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    """Answer a request that is not as the document says, with all that is wrong."""
    errors = [
        {"loc": [_part(part) for part in _place(each, error.body)], "message": str(each["msg"])[:300]}
        for each in error.errors()[:_MOST_SHOWN]
    ]
    where = ".".join(str(part) for part in errors[0]["loc"]) if errors else "request"
    said = errors[0]["message"] if errors else "not as the document says"
    refused = InvalidInput(f"{where}: {said}.", cure="See /docs.")
    exchange = exchange_of(request)
    exchange.code = refused.code
    document = problem(refused, instance=exchange.path, request_id=exchange.id, errors=errors)
    return Response(to_json(document), document["status"], media_type=PROBLEM.decode())


async def _refused(request: Request, error: HTTPException) -> Response:
    """Answer what the router or FastAPI itself refuses."""
    if isinstance(error.__cause__, SightlineError):  # it came up while FastAPI read the body
        raise error.__cause__
    path = request.url.path
    if error.status_code == 404:
        raise NotFound(f"There is nothing at {path}.", cure="See /docs.")
    if error.status_code == 405:
        routes: list[APIRoute] = request.app.state.routes
        methods = {method for route in routes if route.path_regex.match(path) for method in route.methods or ()}
        raise MethodNotAllowed(f"{path} does not take {request.method}.", allow=sorted(methods))
    raise InvalidInput(f"The request cannot be read: {error.detail}", cure="See /docs.")


async def _left(request: Request, error: ClientDisconnect) -> Response:  # noqa: ARG001 - the form of all handlers
    """Note that the caller left before the request had arrived."""
    if (flag := exchange_of(request).call.cancelled) is not None:
        flag.set()
    raise Cancelled("The caller left before the request had arrived.")


def _place(error: Mapping[str, Any], body: Any) -> Iterator[Any]:
    """Yield where in a request something is wrong, without the names that pydantic gives to the forms of a value."""
    kind, *parts = error["loc"]
    yield kind
    value, last = body, len(parts) - 1
    for number, part in enumerate(parts):
        if kind != "body" or (number == last and error["type"] in ("missing", "json_invalid")):
            yield part
        elif part in (value if isinstance(value, Mapping) else range(len(value)) if isinstance(value, list) else ()):
            value = value[part]
            yield part


def _part(part: Any) -> str | int:
    return part if isinstance(part, int) else str(part)[:80].encode(errors="replace").decode()

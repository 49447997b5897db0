"""The OpenAPI 3.1 document of every HTTP route: FastAPI knows its own, `raw_routes` tells of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from sightline import __version__
from sightline.serve.api.raw_routes import PATHS
from sightline.serve.api.shapes import ModelWish, Problem
from sightline.serve.auth.scopes import scope_of

DESCRIPTION = """\
Ask models and cases, watch streams, manage runs, models and keys.

On a loopback address nobody has to say who they are. Elsewhere send a key as `Authorization: Bearer KEY` or
`X-API-Key: KEY`; each route names the scope that it needs. Errors are `application/problem+json` (RFC 9457) with a
stable `code`: [all codes](/docs/errors). `X-Request-Timeout-Ms` on any request says how long the caller waits.
"""
TAGS = {
    "predict": "A picture in, predictions out.",
    "inference": "Open Inference Protocol v2: tensors in, tensors out.",
    "live": "What happens now.",
    "health": "How the process is.",
    "cases": "What can be run and asked.",
    "runs": "Executions of cases, and the sources that they read.",
    "objects": "What jobs work on, and what they made.",
    "models": "Models, their versions, aliases and traffic.",
    "sources": "What is being read.",
    "events": "What happened.",
    "keys": "Who may ask.",
    "requests": "What was asked.",
    "audit": "Who managed what, in a chain of hashes.",
    "system": "How the process is, and what it says.",
    "pages": "This document.",
}
PROBLEMS = {
    400: "The request is wrong.",
    401: "Who asks is not known.",
    403: "Whoever asks may not; or the model cannot work with what is in the request.",
    404: "It does not exist.",
    408: "The request did not arrive in time.",
    409: "It exists already, is in the wrong state, or was changed by somebody else first.",
    412: "It was changed since it was read.",
    413: "The body is too large.",
    415: "The body is of a kind that is not taken.",
    416: "The part that was asked for is not in the file.",
    422: "The request is well formed, but a case, a model or a source in it is wrong.",
    428: "It does not say which state it has seen: `If-Match` is missing.",
    429: "The caller asks too often.",
    431: "The head of the request is too large.",
    503: "Too much work waits, or something outside is down.",
    504: "The deadline passed.",
    507: "There is no room.",
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}}}
_EVERYWHERE = (400, 401, 403, 429, 431, 503)
_VERBS = ("get", "put", "post", "delete", "options", "head", "patch")
_DATABASE_FULL = frozenset({"post", "put", "delete"})


def make_document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """Return the document.

    Args:
        routes: those of the management application.
    """
    document = get_openapi(
        title="Sightline",
        version=__version__,
        openapi_version="3.1.0",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        servers=[{"url": "/"}],
        routes=routes,
    )
    paths = document["paths"]
    for path, method, operation in _operations(paths):
        operation["summary"] = operation.pop("description").rstrip(".")  # the first line of the function's text
        _add_problems(operation, _managing(path, method, operation))
    for path, operations in deepcopy(dict(PATHS)).items():
        for operation in operations.values():
            _add_problems(operation, operation.pop("x-problems"))
        paths.setdefault(path, {}).update(operations)
    for path, method, operation in _operations(paths):
        _add_scope(path, method, operation)
    document["paths"] = dict(sorted(paths.items()))
    components = document["components"]
    schemas = components["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    _add_wish(schemas)
    components["schemas"] = dict(sorted(schemas.items()))
    components["responses"] = {f"Problem{status}": _problem(status) for status in PROBLEMS}
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a JWT."},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    return document


def _operations(paths: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in paths.items():
        for method, operation in operations.items():
            if method in _VERBS:
                yield path, method, operation


def _managing(path: str, method: str, operation: Mapping[str, Any]) -> set[int]:
    """Return with which problems a management route may answer."""
    if not path.startswith("/api/"):
        return set()
    found = set()
    if "{" in path:
        found.add(404)
    if "requestBody" in operation:
        found |= {408, 413, 415, 422, 504}
    if method in _DATABASE_FULL:
        found |= {404, 409, 422, 507}
    if "If-Match" in {each["name"].title() for each in operation.get("parameters", ())}:
        found.add(412)
    return found


def _add_problems(operation: dict[str, Any], more: Sequence[int] | set[int]) -> None:
    responses = operation.setdefault("responses", {})
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
    for status in sorted({*_EVERYWHERE, *more}):
        told = responses.get(str(status))
        if told is None:
            responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
        else:  # the route answers so by itself, too: a camera that is away, for instance
            told["content"] = {**told.get("content", {}), **_problem(status)["content"]}


def _add_scope(path: str, method: str, operation: dict[str, Any]) -> None:
    scope = scope_of(method.upper(), path)
    operation["security"] = [{}] if scope is None else [{}, {"bearer": []}, {"key": []}]
    needs = "Open to everybody." if scope is None else f"Needs the scope `{scope.value}`."
    operation["description"] = " ".join(part for part in (operation.get("description", ""), needs) if part)


def _problem(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": PROBLEMS[status],
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in (429, 503):
        answer["headers"] = _RETRY
    return answer


def _add_wish(schemas: dict[str, Any]) -> None:
    """Add the body of `POST /api/v1/models`, which FastAPI does not see, for it may also come as a form."""
    wish = ModelWish.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(wish.pop("$defs", {}))
    schemas["ModelWish"] = wish

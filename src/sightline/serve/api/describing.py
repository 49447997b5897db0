"""Words in which routes outside FastAPI are described: parameters, bodies and answers of OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]
TEXT, JPEG = "text/plain; charset=utf-8", "image/jpeg"
WHOLE: Json = {"type": "integer"}
STRING: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
ANY: Json = {"type": "object"}
BYTES: Json = {"type": "string", "contentMediaType": "application/octet-stream"}
NAME: Json = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"}
MODEL: Json = {
    "type": "string",
    "minLength": 1,
    "maxLength": 257,
    "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}(@[A-Za-z0-9][A-Za-z0-9._-]{0,127})?$",
}
"""A model by its name, or by `name@version`."""


def object_(required: Sequence[str] = (), *, more: bool = True, **properties: Json) -> Json:
    """Return the shape of an object; without `more` it has no other members."""
    shape: Json = {"type": "object", "properties": properties}
    if required:
        shape["required"] = list(required)
    return shape if more else {**shape, "additionalProperties": False}


def list_(items: Json, **bounds: int) -> Json:
    """Return the shape of a list."""
    return {"type": "array", "items": items, **bounds}


def query(name: str, text: str, schema: Json | None = None) -> Json:
    """Return a parameter behind `?`."""
    return {"name": name, "in": "query", "description": text, "schema": schema or STRING}


def path_(name: str, schema: Json | None = None) -> Json:
    """Return a name in the path."""
    return {"name": name, "in": "path", "required": True, "schema": schema or NAME}


def header(name: str, text: str, schema: Json | None = None) -> Json:
    """Return a header of a request."""
    return {"name": name, "in": "header", "description": text, "schema": schema or STRING}


def told(text: str, *content: tuple[str, Json], **headers: str) -> Json:
    """Return an answer: its shape by media type, and its headers, `_` in their names for `-`."""
    answer: Json = {"description": text}
    if content:
        answer["content"] = {media_type: {"schema": schema} for media_type, schema in content}
    if headers:
        answer["headers"] = {
            name.replace("_", "-"): {"description": about, "schema": STRING} for name, about in headers.items()
        }
    return answer


def json(text: str, schema: Json, **headers: str) -> Json:
    """Return an answer that is JSON."""
    return told(text, ("application/json", schema), **headers)


def body_(*content: tuple[str, Json], required: bool = True) -> Json:
    """Return a body: its shape by media type."""
    return {"required": required, "content": {media_type: {"schema": schema} for media_type, schema in content}}


def does(
    name: str,
    tag: str,
    summary: str,
    answers: Mapping[int, Json],
    *,
    parameters: Sequence[Json] = (),
    body: Json | None = None,
    problems: Sequence[int] = (),
    text: str = "",
) -> Json:
    """Return an operation.

    Args:
        name: its id, which is unique.
        tag: of which part it is.
        summary: what it does, in one line.
        answers: status -> answer, where all went well or the route itself says otherwise.
        parameters: of path, query and headers.
        body: what is sent.
        problems: statuses of problems besides those of every route.
        text: more than the summary.
    """
    operation: Json = {"operationId": name, "tags": [tag], "summary": summary, "x-problems": list(problems)}
    if text:
        operation["description"] = text
    if parameters:
        operation["parameters"] = list(parameters)
    if body is not None:
        operation["requestBody"] = body
    operation["responses"] = {str(status): answer for status, answer in answers.items()}
    return operation


ASKING = (404, 408, 413, 415, 422, 504)
"""Statuses of problems of whatever reads a body and runs a model."""

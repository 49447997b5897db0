"""The routes outside FastAPI, as the OpenAPI document tells them; those of inference stand in `inference_routes`.

Shapes that grow with the codec (predictions, tensors) are told as far as a client needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sightline.serve.api.describing import (
    ANY,
    ASKING,
    BYTES,
    JPEG,
    MODEL,
    NAME,
    NUMBER,
    STRING,
    TEXT,
    WHOLE,
    Json,
    body_,
    does,
    header,
    json,
    list_,
    object_,
    query,
    told,
)
from sightline.serve.api.infer_route import INFER
from sightline.serve.api.inference_routes import INFERENCE

_PICTURES = ("image/jpeg", "image/png", "image/webp", "image/bmp")
_MODEL_QUERY = (
    query("model", "Name of the model, or `name@version`.", MODEL),
    query("version", "Version or alias; needs `model`.", NAME),
)
_CASE_QUERY = query("case", "Name of the case.", {"type": "string", "minLength": 1, "maxLength": 128})
_SAMPLE = object_(
    ("schema", "case", "source", "id", "time", "predictions", "rejected"),
    schema=WHOLE,
    case=STRING,
    source=STRING,
    epoch=WHOLE,
    seq=WHOLE,
    id=STRING,
    time={"type": "string", "format": "date-time"},
    size=list_(WHOLE, minItems=2, maxItems=2),
    metadata=ANY,
    predictions={"type": "object", "additionalProperties": object_(("type",), type=STRING)},
    rejected={"type": ["object", "null"]},
)
_PREDICT: Json = {
    "/predict": {
        "post": does(
            "predict",
            "predict",
            "A picture in, predictions out; or, with `Accept: image/jpeg`, the picture with them drawn.",
            {
                200: told(
                    "The sample with its predictions.",
                    ("application/json", _SAMPLE),
                    (JPEG, BYTES),
                    Server_Timing="Milliseconds of each step.",
                    X_Cache="hit or miss, where answers are kept.",
                )
            },
            parameters=(
                query("case", "Case that answers; else the model, else what the server was started with."),
                *_MODEL_QUERY,
                query("top_k", "Most labels.", {"type": "integer", "minimum": 1, "maximum": 1000}),
                query("threshold", "Least confidence.", {"type": "number", "minimum": 0, "maximum": 1}),
                header("Accept", "`application/json` or `image/jpeg`."),
            ),
            body=body_(
                *((kind, {"type": "string", "contentMediaType": kind}) for kind in _PICTURES),
                (
                    "application/json",
                    object_(
                        ("image",),
                        more=False,
                        image={"type": "string", "description": "Base64 of a picture file, or a data URL."},
                        case=STRING,
                        model=STRING,
                        version=STRING,
                        top_k={"type": "integer", "minimum": 1, "maximum": 1000},
                        threshold={"type": "number", "minimum": 0, "maximum": 1},
                    ),
                ),
                (
                    "multipart/form-data",
                    object_(
                        ("file",),
                        file=BYTES,
                        case=STRING,
                        model=STRING,
                        version=STRING,
                        top_k=WHOLE,
                        threshold=NUMBER,
                    ),
                ),
            ),
            problems=ASKING,
        )
    },
}
_FEEDS: Json = {
    "type": "object",
    "description": "Nested lists by name of the input; or `image`, a picture in base64.",
    "examples": [{"image": "BASE64"}],
}
_OUTPUTS: Json = {"type": "object", "description": "Nested lists by name of the output."}


def _forward(name: str, summary: str, inputs: Json, outputs: Json) -> Json:
    return does(
        name,
        "predict",
        summary,
        {200: json("The outputs.", object_(("model", "outputs"), model=STRING, outputs=outputs))},
        parameters=_MODEL_QUERY,
        body=body_(
            (
                "application/json",
                object_(("inputs",), more=False, model=MODEL, version=NAME, inputs=inputs),
            )
        ),
        problems=ASKING,
        text="403 where the request is well formed, but the model cannot work with what is in it.",
    )


_FORWARD: Json = {
    "/forward": {"post": _forward("forward", "Run a model on one input.", _FEEDS, _OUTPUTS)},
    "/forward_batch": {
        "post": _forward(
            "forward_batch",
            "Run a model on several inputs.",
            list_(_FEEDS, minItems=1, maxItems=1024),
            list_(_OUTPUTS),
        )
    },
    "/metadata": {
        "get": does(
            "metadata",
            "predict",
            "What stands in the model's file: its card, inputs and outputs, every entry of its metadata.",
            {200: json("The metadata.", object_(("model", "inputs", "outputs", "metadata_props"), model=STRING))},
            parameters=_MODEL_QUERY,
            problems=(404, 422, 504),
        )
    },
}
_STREAM_QUERY = (
    query("case", "Names with commas."),
    query("source", "Names with commas."),
    query("run", "Ids with commas; predictions do not say of which run they are."),
    query("type", "Short types with commas, `line.*` for a family."),
)
_HEALTH_ROW = object_(("case", "run", "source", "required", "state"), case=STRING, run=STRING, source=STRING)
_CAMERAS = object_(
    ("status",), status={"enum": ["idle", "ok", "degraded", "down"]}, streams=list_(_HEALTH_ROW), source=STRING
)
_LIVE: Json = {
    "/stream": {
        "get": does(
            "stream",
            "live",
            "What happens, as Server-Sent Events; it does not end.",
            {200: told("Events: CloudEvents in `data`.", ("text/event-stream; charset=utf-8", STRING))},
            parameters=(
                *_STREAM_QUERY,
                header(
                    "Last-Event-ID",
                    "Begin behind this event; what is lost is announced.",
                    {"type": "string", "maxLength": 256},
                ),
                query(
                    "last_event_id",
                    "The same, for callers that cannot set headers.",
                    {"type": "string", "maxLength": 256},
                ),
                query("access_token", "A key, for browsers that cannot set headers."),
            ),
        )
    },
    "/stream.mjpeg": {
        "get": does(
            "pictures",
            "live",
            "The newest pictures of one source, one after the other; it does not end before the source does.",
            {200: told("Pictures.", ("multipart/x-mixed-replace; boundary=sightline-picture", BYTES))},
            parameters=(
                _CASE_QUERY,
                query("source", "Id of the source; needed where there are several."),
                query("fps", "Most pictures a second.", {"type": "number", "minimum": 0.01, "maximum": 60}),
                query("drawn", "`0`: without what was predicted.", {"type": "string", "enum": ["0", "1"]}),
                query("access_token", "A key, for browsers that cannot set headers."),
            ),
            problems=(404, 422),
        )
    },
    "/viewer": {
        "get": does(
            "viewer", "live", "A page that shows a stream.", {200: told("It.", ("text/html; charset=utf-8", STRING))}
        )
    },
    "/health/stream": {
        "get": does(
            "health_stream",
            "live",
            "How each camera is; with `?source=URL` what one address sends, which needs the scope `manage`.",
            {
                200: json("Cameras are live, or nothing runs.", _CAMERAS),
                503: json("A camera that is required is not live, or the address does not answer.", _CAMERAS),
            },
            parameters=(query("source", "Address to look at.", {"type": "string", "maxLength": 2048}),),
            problems=(404, 422, 504),
        )
    },
}
_HEALTH: Json = {
    "/livez": {"get": does("livez", "health", "The loop turns.", {200: told("It does.", (TEXT, STRING))})},
    "/readyz": {
        "get": does(
            "readyz",
            "health",
            "Whether requests are taken; with `?verbose` why, as JSON.",
            {
                200: told("They are.", (TEXT, STRING), ("application/json", ANY)),
                503: told("They are not.", (TEXT, STRING), ("application/json", ANY)),
            },
            parameters=(query("verbose", "Say why."),),
        )
    },
    "/health": {
        "get": does(
            "health",
            "health",
            "How the process is.",
            {
                status: json(
                    text,
                    object_(
                        ("status", "model_loaded", "version", "uptime", "memory_usage"),
                        status={"type": "string", "enum": ["healthy", "stopping"]},
                        model_loaded={"type": "boolean"},
                        models=list_(STRING),
                        version=STRING,
                        uptime=NUMBER,
                        memory_usage=WHOLE,
                    ),
                )
                for status, text in ((200, "It serves."), (503, "It is being stopped."))
            },
        )
    },
    "/metrics": {
        "get": does(
            "metrics",
            "health",
            "All numbers, for Prometheus.",
            {
                200: told(
                    "They.",
                    ("text/plain; version=1.0.0; charset=utf-8", STRING),
                    ("application/openmetrics-text; version=1.0.0; charset=utf-8", STRING),
                )
            },
            parameters=(header("Accept", "Form of the page."),),
            problems=(404,),
        )
    },
}
PATHS: Mapping[str, Json] = MappingProxyType({**_PREDICT, **_FORWARD, **INFER, **INFERENCE, **_LIVE, **_HEALTH})
"""Path -> method -> operation; `x-problems` lists the statuses of problems besides those of every route."""

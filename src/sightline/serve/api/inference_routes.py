"""The routes of the Open Inference Protocol, as the OpenAPI document tells them."""

from __future__ import annotations

from sightline.serve.api.describing import (
    ANY,
    ASKING,
    BYTES,
    MODEL,
    STRING,
    WHOLE,
    Json,
    body_,
    does,
    header,
    json,
    list_,
    object_,
    path_,
    told,
)
from sightline.serve.statistics import SPANS

_DATATYPES = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"]
_DATATYPES += ["FP16", "FP32", "FP64", "BYTES"]
_TENSOR = object_(
    ("name", "shape", "datatype"),
    name={"type": "string", "minLength": 1},
    shape=list_({"type": "integer", "minimum": 0}),
    datatype={"type": "string", "enum": _DATATYPES},
    parameters=object_(binary_data_size={"type": "integer", "minimum": 0}),
    data={"type": "array", "description": "Flat or nested; left out where the bytes stand behind the JSON."},
)
_INFER = object_(
    ("inputs",),
    id=STRING,
    parameters=object_(
        binary_data_output={"type": "boolean"}, timeout={"type": "integer", "description": "Microseconds."}
    ),
    inputs=list_(_TENSOR, minItems=1, maxItems=256),
    outputs=list_(
        object_(
            ("name",),
            name=STRING,
            parameters=object_(binary_data={"type": "boolean"}, classification={"type": "integer", "minimum": 0}),
        )
    ),
)
_INFERRED = object_(
    ("model_name", "model_version", "outputs"),
    model_name=STRING,
    model_version=STRING,
    id=STRING,
    outputs=list_(object_(("name", "shape", "datatype"), name=STRING, shape=list_(WHOLE), datatype=STRING)),
)
_BINARY = "Length of the JSON; the raw tensors stand behind it."
_SIDE = object_(("name", "datatype", "shape"), name=STRING, datatype=STRING, shape=list_(WHOLE))


_SPAN = object_(("count", "ns"), count=WHOLE, ns=WHOLE)
_STATISTICS = object_(
    ("model_stats",),
    model_stats=list_(
        object_(
            ("name", "version", "last_inference", "inference_count", "execution_count", "inference_stats"),
            name=STRING,
            version=STRING,
            last_inference={"type": "integer", "description": "Milliseconds since 1970."},
            inference_count={"type": "integer", "description": "Rows."},
            execution_count={"type": "integer", "description": "Requests that were answered."},
            inference_stats={**object_(SPANS), "properties": dict.fromkeys(SPANS, _SPAN)},
        )
    ),
)


def _infer(name: str, *path: Json) -> Json:
    return does(
        name,
        "inference",
        "Run a model; JSON or binary tensors, in both directions.",
        {
            200: told(
                "The outputs.",
                ("application/json", _INFERRED),
                ("application/octet-stream", BYTES),
                Inference_Header_Content_Length=_BINARY,
                Server_Timing="Milliseconds of each step.",
            )
        },
        parameters=(
            *path,
            header("Inference-Header-Content-Length", _BINARY, {"type": "string", "pattern": "^[0-9]{1,9}$"}),
        ),
        body=body_(("application/json", _INFER), ("application/octet-stream", BYTES)),
        problems=ASKING,
    )


def _about(suffix: str, *path: Json) -> Json:
    base = "/v2/models/{name}" + ("/versions/{version}" if len(path) > 1 else "")
    described = object_(
        ("name", "versions", "platform", "inputs", "outputs"),
        name=STRING,
        versions=list_(STRING),
        platform=STRING,
        inputs=list_(_SIDE),
        outputs=list_(_SIDE),
        parameters=ANY,
    )
    config = object_(("name", "platform", "max_batch_size", "input", "output"), name=STRING, max_batch_size=WHOLE)
    asked: Json = {"parameters": path, "problems": (404, 422, 504)}
    return {
        base: {
            "get": does(
                f"model_metadata{suffix}", "inference", "What a model is.", {200: json("It.", described)}, **asked
            )
        },
        f"{base}/config": {
            "get": does(
                f"model_config{suffix}", "inference", "How a model is fed.", {200: json("It.", config)}, **asked
            )
        },
        f"{base}/ready": {
            "get": does(
                f"model_ready{suffix}",
                "inference",
                "Whether a model takes requests.",
                {200: told("It does."), 503: told("It was unloaded.")},
                parameters=path,
                problems=(404,),
            )
        },
        f"{base}/stats": {
            "get": does(
                f"model_statistics{suffix}",
                "inference",
                "How often a model was asked, and what took how long.",
                {200: json("They; empty where nobody has asked it yet.", _STATISTICS)},
                parameters=path,
                problems=(404, 422),
            )
        },
        f"{base}/infer": {"post": _infer(f"infer{suffix}", *path)},
    }


def _repository(name: str, summary: str) -> Json:
    return {
        "post": does(
            f"repository_{name}",
            "inference",
            summary,
            {200: told("Done.")},
            parameters=(path_("name", MODEL),),
            body=body_(("application/json", ANY), required=False),
            problems=ASKING,
        )
    }


INFERENCE: Json = {
    "/v2": {
        "get": does(
            "server_metadata",
            "inference",
            "What the server is.",
            {
                200: json(
                    "It.",
                    object_(("name", "version", "extensions"), name=STRING, version=STRING, extensions=list_(STRING)),
                )
            },
        )
    },
    "/v2/health/live": {"get": does("server_live", "inference", "Whether the server lives.", {200: told("It does.")})},
    "/v2/health/ready": {
        "get": does(
            "server_ready",
            "inference",
            "Whether the server takes requests.",
            {200: told("It does."), 503: told("It is being stopped.")},
        )
    },
    "/v2/models/stats": {
        "get": does(
            "models_statistics",
            "inference",
            "How often each model was asked by this protocol, over HTTP or gRPC, and what took how long.",
            {200: json("They.", _STATISTICS)},
        )
    },
    **_about("", path_("name", MODEL)),
    **_about("_of_version", path_("name", MODEL), path_("version")),
    "/v2/repository/index": {
        "post": does(
            "repository_index",
            "inference",
            "Every model version with its state.",
            {
                200: json(
                    "They.",
                    list_(
                        object_(
                            ("name", "version", "state", "reason"),
                            name=STRING,
                            version=STRING,
                            state={"type": "string", "enum": ["READY", "UNAVAILABLE"]},
                            reason=STRING,
                        )
                    ),
                )
            },
            body=body_(("application/json", object_(ready={"type": "boolean"})), required=False),
            problems=(408, 413, 415, 504),
        )
    },
    "/v2/repository/models/{name}/load": _repository("load", "Open a model now, and take requests for it."),
    "/v2/repository/models/{name}/unload": _repository("unload", "Give the memory of a model back."),
}
"""Path -> method -> operation."""

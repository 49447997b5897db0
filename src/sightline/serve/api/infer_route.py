"""`POST /infer`, as the OpenAPI document tells it."""

from __future__ import annotations

from sightline.serve.api.describing import (
    ASKING,
    NUMBER,
    STRING,
    WHOLE,
    Json,
    body_,
    does,
    header,
    json,
    object_,
    told,
)

_KEY: Json = {"type": "string", "minLength": 1, "description": "Key in the object store."}
_WISH = object_(
    ("job_uuid", "input_object"),
    more=False,
    job_uuid={
        "type": "string",
        "pattern": "^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}$",
        "description": "Id of the job, which is done once, however often it is asked for.",
    },
    input_object={**_KEY, "description": "Key of a file, or of a folder, which ends in `/`."},
    output_object={
        "type": ["string", "null"],
        "pattern": r"\.nii\.gz$",
        "description": "Key of the mask; `results/analysis_<first 8 characters of job_uuid>.nii.gz` without one.",
    },
    profile={"type": ["string", "null"], "description": "`fast_debug`, `production`, `research`, or one of your own."},
    threshold={"type": ["number", "null"], "minimum": 0, "maximum": 1},
    reference_object={"type": ["string", "null"], "description": "Key of a mask that the result is measured against."},
)
_DONE = object_(
    ("job_uuid", "output_object", "file_size", "duration_seconds", "status"),
    job_uuid=STRING,
    output_object=STRING,
    file_size={"type": "integer", "description": "Bytes."},
    duration_seconds=NUMBER,
    status={"type": "string", "enum": ["completed"]},
    file_name=STRING,
    json_object={"type": "string", "description": "Key of the result JSON; so for each further file."},
    xlsx_object={"type": "string", "description": "Key of the report."},
    run=STRING,
)
_GOES_ON = object_(
    ("job_uuid", "status", "run", "run_url"),
    job_uuid=STRING,
    status={"type": "string", "enum": ["submitted", "running"]},
    run=STRING,
    run_url=STRING,
    output_object=STRING,
    progress=NUMBER,
)
_FAILED = object_(
    ("code", "detail", "kind", "job_uuid", "run", "status"),
    code={"type": "string", "enum": ["job_failed"]},
    detail=STRING,
    kind={"type": "string", "enum": ["storage", "model", "validation", "timeout", "cancelled", "internal"]},
    job_uuid=STRING,
    run=STRING,
    status=WHOLE,
)

INFER: Json = {
    "/infer": {
        "post": does(
            "run_inference",
            "predict",
            "Analyse a stored object by a durable job; waits for its end.",
            {
                200: json("The job has ended well.", _DONE),
                202: json("The job goes on; the backend hears of its end.", _GOES_ON, Location="Of the run."),
                502: told("The job failed: its object cannot be read.", ("application/problem+json", _FAILED)),
            },
            parameters=(header("Prefer", "`respond-async` does not wait, `wait=10` at most so many seconds."),),
            body=body_(("application/json", _WISH)),
            problems=(*ASKING, 409),
        )
    }
}
"""Path -> method -> operation."""

"""The operation `run_inference`: have a stored object analysed by a durable job, and wait for what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from sightline.client.asking import JSON, json_object
from sightline.client.lists import shaped
from sightline.client.steps import Answer, Now, Pause, Request, Steps
from sightline.core.codec import to_json
from sightline.core.errors import DeadlineExceeded
from sightline.core.prediction import JsonObject
from sightline.core.run import RunState

_ONE_WAIT_S = 25.0  # of one request: what stands between cuts off longer ones
_MARGIN_S = 5.0
_PAUSE_S = 0.5  # before a server is asked again that does not let anybody wait


@dataclass(frozen=True, kw_only=True)
class InferenceRequest:
    """What is to be analysed, and how.

    Attributes:
        job_uuid: id of the job, of your own making; asked for again it is the same job.
        input_object: key in the object store; of a folder it ends in `/`.
        output_object: key of the mask, `....nii.gz`; None: below `results/`, named after the job.
        profile: `fast_debug`, `production`, `research`, or one of the server's own; None: as the server says.
        threshold: from 0 to 1; None: as the server says.
        reference_object: key of a mask that the result is measured against.
    """

    job_uuid: str
    input_object: str
    output_object: str | None = None
    profile: str | None = None
    threshold: float | None = None
    reference_object: str | None = None


@dataclass(frozen=True, kw_only=True)
class InferenceResult:
    """What came of it.

    Attributes:
        status: `completed`; or `submitted` and `running` for a job that goes on.
        run: id of the run on the server.
        output_object: key of the mask.
        file_size: of the mask, in bytes.
        duration_seconds: from the begin of the work to its end.
        files: keys of what else was made, by word: `json`, `xlsx`, ...
    """

    job_uuid: str
    status: str
    run: str
    output_object: str
    file_size: int = 0
    duration_seconds: float = 0.0
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """False while the job goes on."""
        return self.status == RunState.COMPLETED.value


def run_inference(
    request: InferenceRequest, *, wait: bool = True, timeout_s: float | None = None
) -> Steps[InferenceResult]:
    """Have a stored object analysed, and return the keys of what was made.

    A second call with the same `job_uuid`, here or elsewhere, joins the job.

    Args:
        request: what is to be analysed.
        wait: until the job is over; else return at once, the backend of the server hears of its end.
        timeout_s: longest time to wait; None: until it is over.

    Raises:
        JobFailed: the job ended without a result; its `kind` is storage, model, validation, timeout or cancelled.
        DeadlineExceeded: it goes on for longer; it is not stopped by that.
        Conflict: the `job_uuid` was used for something else.
        NotFound: the object is not there.
        InvalidInput: a field is wrong.
    """
    body = to_json({name: value for name, value in asdict(request).items() if value is not None})
    begin_s: float = yield Now()
    while True:
        spent_s: float = (yield Now()) - begin_s
        left_s = float("inf") if timeout_s is None else timeout_s - spent_s
        if wait and left_s <= 0:
            raise DeadlineExceeded(
                f"The job {request.job_uuid} still goes on after {timeout_s:g} s.",
                cure="Ask again, or raise timeout_s.",
            )
        wait_s = min(_ONE_WAIT_S, left_s)
        headers = {"Content-Type": JSON, "Prefer": f"wait={max(1, int(wait_s))}" if wait else "respond-async"}
        answer: Answer = yield Request(
            method="POST", path="/infer", headers=headers, body=(body,), repeatable=True,
            timeout_s=wait_s + _MARGIN_S if wait else None,
        )  # fmt: skip
        found = shaped(_result, json_object(answer))
        if found.is_over or not wait:
            return found
        yield Pause(min(_PAUSE_S, max(0.0, left_s)))


def _result(wire: JsonObject) -> InferenceResult:
    suffix = "_object"
    return InferenceResult(
        job_uuid=wire["job_uuid"],
        status=wire["status"],
        run=wire["run"],
        output_object=wire.get("output_object") or "",
        file_size=wire.get("file_size", 0),
        duration_seconds=wire.get("duration_seconds", 0.0),
        files={
            name.removesuffix(suffix): key
            for name, key in wire.items()
            if name.endswith(suffix) and name != "output_object" and isinstance(key, str)
        },
    )

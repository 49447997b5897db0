"""Operations that ask cases and models, and the server how it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from sightline.client.pictures import Picture, picture_bytes
from sightline.client.steps import Answer, Request, Steps
from sightline.client.tensors import read_answer, split_model, write_request
from sightline.core.codec import decode_sample, from_json, to_json
from sightline.core.errors import SightlineError
from sightline.core.ports import Array, Tensors
from sightline.core.sample import Sample

JSON = "application/json"


def predict(
    picture: Picture,
    *,
    case: str | None = None,
    model: str | None = None,
    version: str | int | None = None,
    top_k: int | None = None,
    threshold: float | None = None,
    timeout_s: float | None = None,
) -> Steps[Sample[None]]:
    """Have a case or a model look at a picture; return the sample with its predictions, without its payload.

    Args:
        picture: encoded bytes, a path, an open file, uint8 [H, W, 3] blue first, or a PIL picture.
        case: which case looks; the only one where just one is served.
        model: `name`, `name@version` or `name@alias`, in place of a case.
        version: of the model.
        top_k: most classes.
        threshold: least confidence.
        timeout_s: for the answer, with all tries.

    Raises:
        SampleRejected: the case's stage `validation` refused the picture.
        InvalidInput: it is no picture, or a parameter is wrong.
        NotFound: there is no such case or model.
    """
    query = _looked_up(case, model, version, top_k, threshold)
    answer = yield from _picture(picture, query, JSON, timeout_s)
    return decode_sample(json_object(answer))


def drawn(
    picture: Picture,
    *,
    case: str | None = None,
    model: str | None = None,
    version: str | int | None = None,
    top_k: int | None = None,
    threshold: float | None = None,
    timeout_s: float | None = None,
) -> Steps[bytes]:
    """Return the picture as JPEG with the predictions drawn onto it; arguments as of `predict`."""
    query = _looked_up(case, model, version, top_k, threshold)
    answer = yield from _picture(picture, query, "image/jpeg", timeout_s)
    return answer.body


def infer(
    model: str,
    inputs: Tensors,
    *,
    outputs: Sequence[str] | None = None,
    version: str | int | None = None,
    timeout_s: float | None = None,
) -> Steps[dict[str, Array]]:
    """Return the outputs of a model for tensors, sent and answered in binary form.

    Args:
        model: `name`, `name@version` or `name@alias`.
        inputs: arrays by input name, of the model's own types; texts are arrays of `str`.
        outputs: names of those that are wanted; None: all.
        version: of the model.
        timeout_s: for the answer, with all tries.

    Returns:
        Read-only arrays by output name; texts as arrays of `str`.

    Raises:
        InvalidInput: an input is missing or does not fit.
        ModelNotFound: there is no such model.
        Overloaded: too much waited, at each try.
    """
    name, wanted = split_model(model, version)
    parts, head = write_request(inputs, outputs)
    path = f"/v2/models/{quote(name, safe='')}"
    if wanted is not None:
        path += f"/versions/{quote(wanted, safe='')}"
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(head)}
    answer = yield Request(
        method="POST", path=f"{path}/infer", headers=headers, body=parts, repeatable=True, timeout_s=timeout_s
    )
    return read_answer(answer.body, answer.headers.get("inference-header-content-length", ""))


def forward(
    inputs: Mapping[str, Any],
    *,
    model: str | None = None,
    version: str | int | None = None,
    timeout_s: float | None = None,
) -> Steps[dict[str, Any]]:
    """Return the outputs of a model as nested lists; `infer` is faster for all but small tensors.

    Args:
        inputs: nested lists or arrays by input name, or `{"image": BASE64}` to be prepared as the model's card says.
        model: `name`, `name@version` or `name@alias`; None: the default of the server.
        version: of the model.
        timeout_s: for the answer, with all tries.

    Raises:
        NotProcessed: the model cannot work with what is in the inputs.
    """
    answer = yield _forward("/forward", dict(inputs), model, version, timeout_s)
    outputs: dict[str, Any] = json_object(answer)["outputs"]
    return outputs


def forward_batch(
    inputs: Sequence[Mapping[str, Any]],
    *,
    model: str | None = None,
    version: str | int | None = None,
    timeout_s: float | None = None,
) -> Steps[list[dict[str, Any]]]:
    """Return the outputs of a model for each of several inputs; arguments as of `forward`."""
    answer = yield _forward("/forward_batch", [dict(each) for each in inputs], model, version, timeout_s)
    outputs: list[dict[str, Any]] = json_object(answer)["outputs"]
    return outputs


def metadata(model: str | None = None, *, version: str | int | None = None) -> Steps[dict[str, Any]]:
    """Return what stands in a model's file: its card, inputs, outputs and every entry of its metadata."""
    answer = yield Request(method="GET", path="/metadata", query=_model(model, version))
    return json_object(answer)


def health() -> Steps[dict[str, Any]]:
    """Return how the server is: status, models, version, uptime in seconds, memory in bytes."""
    return json_object((yield Request(method="GET", path="/health")))


def json_object(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        SightlineError: it is none: something else than a Sightline answers at this address.
    """
    document = from_json(answer.body) if "json" in answer.headers.get("content-type", "") else None
    if not isinstance(document, dict):
        raise SightlineError("The answer is no JSON object.", cure="Check that the address is that of a Sightline.")
    return document


def known(**values: Any) -> dict[str, str]:
    """Return a query of the values that are given; lists are joined by commas."""
    return {
        name: ",".join(value) if isinstance(value, list | tuple) else str(value)
        for name, value in values.items()
        if value is not None and value != ()
    }


def _looked_up(
    case: str | None, model: str | None, version: str | int | None, top_k: int | None, threshold: float | None
) -> dict[str, str]:
    return known(case=case, top_k=top_k, threshold=threshold) | _model(model, version)


def _model(model: str | None, version: str | int | None) -> dict[str, str]:
    if model is None:
        return known(version=version)
    name, wanted = split_model(model, version)
    return known(model=name, version=wanted)


def _picture(picture: Picture, query: Mapping[str, str], accept: str, timeout_s: float | None) -> Steps[Answer]:
    data, media_type = yield from picture_bytes(picture)
    headers = {"Content-Type": media_type, "Accept": accept}
    # Not repeated after a broken connection: sinks of the case may have taken the picture already.
    answer: Answer = yield Request(
        method="POST", path="/predict", query=query, headers=headers, body=(data,), timeout_s=timeout_s
    )
    return answer


def _forward(path: str, inputs: Any, model: str | None, version: str | int | None, timeout_s: float | None) -> Request:
    body = to_json({**_model(model, version), "inputs": inputs})
    headers = {"Content-Type": JSON}
    return Request(method="POST", path=path, headers=headers, body=(body,), repeatable=True, timeout_s=timeout_s)

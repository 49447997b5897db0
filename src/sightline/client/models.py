"""Operations on models and cases: what there is, adding a model, moving its aliases."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from sightline.client.asking import JSON, json_object
from sightline.client.lists import API, pages, shaped
from sightline.client.parts import C, Listing, Operation, Part
from sightline.client.steps import Items, Request, Steps
from sightline.client.tensors import split_model
from sightline.core.codec import decode_time, to_json
from sightline.core.errors import InvalidInput
from sightline.core.model import Model, ModelCard, TensorSpec
from sightline.core.prediction import JsonObject


def every() -> Items[JsonObject]:
    """Yield the models by name: `name`, `version` (what the name means), `versions`, `aliases`, `loaded`."""
    yield from pages("/models", dict)


def get(model: str, *, version: str | int | None = None) -> Steps[Model]:
    """Return a version of a model, with its card.

    Args:
        model: `name`, `name@version` or `name@alias`.
        version: instead of one behind `@`; None: what the name means.

    Raises:
        ModelNotFound: there is none.
    """
    name, wanted = split_model(model, version)
    path = _path(name) if wanted is None else f"{_path(name)}/versions/{quote(wanted, safe='')}"
    return shaped(model_of, json_object((yield Request(method="GET", path=path))))


def add(file: str | Path | bytes, **config: Any) -> Steps[Model]:
    """Add a model; its version is the next free one, or the one that has this file and card already.

    Args:
        file: the ONNX file, or its path.
        **config: what the file does not say of itself: `name`, `task`, `labels`, `preset`, `preprocessing`,
            `postprocessing`, `title`, `description`, `licence`, `source`, `aliases`; `force=True` takes a version that
            is for another task than those before.

    Raises:
        InvalidModel: it is no ONNX file, or says too little.
        InvalidInput: something in `config` is wrong.
        Conflict: it is for another task than the versions before.
        Forbidden: the key lacks the scope `manage`.
    """
    boundary = uuid4().hex
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="'
    head = f'{part}config"\r\nContent-Type: {JSON}\r\n\r\n'.encode() + to_json(config)
    head += f'\r\n{part}file"; filename="model.onnx"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode()
    body = (head, file if isinstance(file, bytes) else Path(file), f"\r\n--{boundary}--\r\n".encode())
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = yield Request(method="POST", path=f"{API}/models", headers=headers, body=body)
    return shaped(model_of, json_object(answer))


def promote(
    model: str, version: str | int, *, alias: str = "production", expected: str | int | None = None
) -> Steps[JsonObject]:
    """Point an alias at a version; return where it points, with its history.

    Args:
        model: name of the model.
        version: where it shall point.
        alias: which one.
        expected: the version where it must point now; None: wherever it points.

    Raises:
        Conflict: it points elsewhere, for somebody was first.
        ModelNotFound: there is no such version.
    """
    wish = {"version": str(version)} | ({} if expected is None else {"expected": str(expected)})
    path = f"{_path(model)}/aliases/{quote(alias, safe='')}"
    return json_object((yield _posted(path, to_json(wish))))


def remove(model: str, *, version: str | int | None = None) -> Steps[None]:
    """Remove a version of a model and its file; its number is not given again.

    Args:
        model: `name@version`, or the name.
        version: instead of one behind `@`.

    Raises:
        Conflict: an alias points at it, or it is shipped.
        InvalidInput: no version is named.
        ModelNotFound: there is none.
    """
    name, wanted = split_model(model, version)
    if wanted is None:
        raise InvalidInput(f"{model!r} names no version.", cure=f"Give {name}@VERSION.")
    yield Request(method="DELETE", path=f"{_path(name)}/versions/{quote(wanted, safe='')}")


def load(model: str) -> Steps[JsonObject]:
    """Open a model now and let it take requests."""
    return json_object((yield _posted(f"{_path(model)}/load")))


def unload(model: str) -> Steps[JsonObject]:
    """Close a model; it takes no requests until it is loaded again."""
    return json_object((yield _posted(f"{_path(model)}/unload")))


class Models(Part[C]):
    """The models of a server."""

    list = Listing(every)
    get = Operation(get)
    add = Operation(add)
    promote = Operation(promote)
    remove = Operation(remove)
    load = Operation(load)
    unload = Operation(unload)


def every_case() -> Items[JsonObject]:
    """Yield the cases by name: `name`, `title`, `sources`, `stages`, `served`, `running`, `problems`."""
    yield from pages("/cases", dict)


def get_case(case: str) -> Steps[JsonObject]:
    """Return a case with its manifest; what is secret in it is hidden."""
    return json_object((yield Request(method="GET", path=f"{API}/cases/{quote(case, safe='')}")))


class Cases(Part[C]):
    """The cases of a server."""

    list = Listing(every_case)
    get = Operation(get_case)


def model_of(wire: JsonObject) -> Model:
    """Return the model version that JSON describes; members that are not known are passed over.

    Raises:
        KeyError, TypeError, ValueError, InvalidInput: it describes none.
    """
    known: dict[str, Any] = {each.name: wire[each.name] for each in fields(ModelCard) if each.name in wire}
    for name in ("inputs", "outputs"):
        known[name] = tuple(_spec(each) for each in wire[name])
    card = ModelCard(**{**known, "labels": tuple(wire["labels"])})
    created = wire.get("created")
    return Model(
        name=card.name,
        version=card.version,
        card=card,
        aliases=tuple(wire.get("aliases", ())),
        created=None if created is None else decode_time(created),
    )


def _spec(wire: JsonObject) -> TensorSpec:
    return TensorSpec(name=wire["name"], dtype=wire["dtype"], shape=tuple(wire["shape"]))


def _path(model: str) -> str:
    return f"{API}/models/{quote(model, safe='')}"


def _posted(path: str, body: bytes = b"{}") -> Request:
    # Moving, loading and unloading twice is doing it once.
    return Request(method="POST", path=path, headers={"Content-Type": JSON}, body=(body,), repeatable=True)

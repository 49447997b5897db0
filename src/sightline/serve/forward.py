"""`POST /forward`, `POST /forward_batch` and `GET /metadata`: JSON in and out for any served model.

The plain way, for callers without a client library: nested lists, or a picture in base64. Whoever sends large tensors
does better with the binary tensors of `/v2`, which cost a hundredth.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Mapping
from typing import Any

from sightline.core.codec import to_json
from sightline.core.errors import InvalidInput, NotProcessed, WrongMediaType
from sightline.core.model import ModelCard, TensorSpec
from sightline.core.onnx_metadata import read_props
from sightline.core.ports import Array, ModelHandle, Tensors
from sightline.engine.call import current_call
from sightline.serve.answers import Answers
from sightline.serve.asking import from_base64
from sightline.serve.bodies import read_json
from sightline.serve.exchange import JSON, Exchange
from sightline.serve.plain_tensors import plain, read_tensors
from sightline.serve.platform import Platform
from sightline.serve.timing import server_timing

PICTURE = "image"
_MOST = 1024  # inputs in one batch
_TOGETHER = 8  # of a batch in the model's queue at a time: enough to fill its batches, and others get their turn


class ForwardDoors:
    """Answers `/forward`, `/forward_batch` and `/metadata`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._models = platform.models
        self._kept = platform.cases.answers
        self._answers = Answers()

    async def forward(self, exchange: Exchange) -> None:
        """Answer `{"model": NAME, "inputs": {...}}` with `{"model": REF, "outputs": {...}}`.

        Raises:
            InvalidInput: the request is malformed.
            NotProcessed: the model cannot work with what is in it.
            ModelNotFound: there is no such model.
        """
        exchange.route = "/forward"
        await self._answer(exchange, self._one)

    async def forward_batch(self, exchange: Exchange) -> None:
        """Answer `{"model": NAME, "inputs": [{...}, ...]}` with `{"model": REF, "outputs": [{...}, ...]}`.

        Raises:
            InvalidInput: the request is malformed.
            NotProcessed: the model cannot work with one of the inputs.
            ModelNotFound: there is no such model.
        """
        exchange.route = "/forward_batch"
        await self._answer(exchange, self._several)

    async def metadata(self, exchange: Exchange) -> None:
        """Answer with what stands in the model's file: its card, inputs and outputs, and every entry of its metadata.

        Raises:
            InvalidInput: no model is named, and there is no default.
            ModelNotFound: there is no such model.
        """
        exchange.route = "/metadata"
        name, version = await asyncio.to_thread(self._named, exchange.query, {})
        future = self._platform.threads.submit(exchange.call, lambda: self._metadata(name, version))
        await exchange.answer_json(await self._answers.of(future, exchange.call))

    async def _answer(self, exchange: Exchange, run: Callable[[ModelHandle, str, str | None, Any], Any]) -> None:
        if exchange.media_type not in ("application/json", ""):
            raise WrongMediaType(
                f"A body of the type {exchange.media_type[:60]!r} is not taken.", cure="Send application/json."
            )
        query = exchange.query
        body = await exchange.body()
        exchange.watch()
        work = lambda: self._worked(exchange.route, body, query, run)  # noqa: E731 - it is handed on
        answer, kept = await self._answers.of(self._platform.threads.submit(exchange.call, work), exchange.call)
        headers = [(b"server-timing", server_timing(exchange.call.spans))]
        if kept:
            headers.append((b"x-cache", kept))
        await exchange.answer(200, answer, JSON, headers)

    def _worked(
        self,
        route: str,
        body: bytes,
        query: Mapping[str, str],
        run: Callable[[ModelHandle, str, str | None, Any], Any],
    ) -> tuple[bytes, bytes]:
        """Return the answer to a request, and whether it was kept: `hit`, `miss`, or nothing."""
        call = current_call()
        begin = time.perf_counter()
        asked = read_json(body)
        call.spent("decode", time.perf_counter() - begin)
        if not isinstance(asked, dict):
            raise InvalidInput("The body must be a JSON object with `inputs`.")
        for key in asked:
            if key not in ("model", "version", "inputs"):
                raise InvalidInput(
                    f"The body has the unknown field {key[:60]!r}.", cure="Known: model, version, inputs."
                )
        if "inputs" not in asked:
            raise InvalidInput("The body has no `inputs`.")
        name, version = self._named(query, asked)
        handle = self._models.handle(name, version)
        digest, running = handle.card.digest, handle.version
        key = self._kept.key(route, body, running, digest) if self._kept and digest else None
        found = None if key is None else self._kept.get(key)
        if found is not None:
            call.note(running)
            return found, b"hit"
        outputs = run(handle, name, version, asked["inputs"])
        begin = time.perf_counter()
        answer = to_json({"model": call.versions[-1] if call.versions else running, "outputs": outputs})
        call.spent("encode", time.perf_counter() - begin)
        if key is None:
            return answer, b""
        if call.versions == [running]:  # else the model was swapped meanwhile
            self._kept.put(key, answer, len(answer))
        return answer, b"miss"

    def _one(self, handle: ModelHandle, name: str, version: str | None, inputs: Any) -> dict[str, Any]:
        feeds = self._feeds(handle.card, name, version, inputs, "`inputs`")
        try:
            return _plain(handle.run(feeds))
        except InvalidInput as error:
            raise NotProcessed(error.message, cure=error.cure) from None

    def _several(self, handle: ModelHandle, name: str, version: str | None, inputs: Any) -> list[dict[str, Any]]:
        if not isinstance(inputs, list) or not 0 < len(inputs) <= _MOST:
            raise InvalidInput(f"`inputs` must be a list of 1 to {_MOST} objects.")
        card = handle.card
        outputs: list[dict[str, Any]] = []
        for first in range(0, len(inputs), _TOGETHER):
            parcel = inputs[first : first + _TOGETHER]
            feeds = [
                self._feeds(card, name, version, each, f"`inputs[{number}]`")
                for number, each in enumerate(parcel, first)
            ]
            asked = []
            position = 0
            try:
                for position, each in enumerate(feeds):  # noqa: B007 - told in an error
                    asked.append(handle.submit(each))
                for position, future in enumerate(asked):  # noqa: B007 - told in an error
                    outputs.append(_plain(future.result()))
            except InvalidInput as error:
                raise NotProcessed(f"`inputs[{first + position}]`: {error.message}", cure=error.cure) from None
            finally:
                for future in asked:
                    future.cancel()  # after an error nobody wants the others
        return outputs

    def _feeds(self, card: ModelCard, name: str, version: str | None, inputs: Any, where: str) -> Tensors:
        """Return the tensors of one input: nested lists by name, or a picture that is prepared as the card says."""
        if not isinstance(inputs, dict):
            raise InvalidInput(f"{where} must be an object: the inputs by name, or a picture as `{PICTURE}`.")
        begin = time.perf_counter()
        if set(inputs) == {PICTURE} and isinstance(inputs[PICTURE], str):
            data, media_type = from_base64(inputs[PICTURE], f"{where}.{PICTURE}")
            requests = self._platform.cases.for_model(name, version)
            return requests.feeds(requests.load(io.BytesIO(data), f"The picture in {where}", media_type))
        tensors = read_tensors(inputs, card)
        current_call().spent("decode", time.perf_counter() - begin)
        return tensors

    def _named(self, query: Mapping[str, str], asked: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return name and version of the model that is asked.

        Raises:
            InvalidInput: a parameter is unknown or wrong, or no model is named and there is no default.
        """
        for key in query:
            if key not in ("model", "version"):
                raise InvalidInput(f"Unknown parameter {key[:60]!r}.", cure="Known: model, version.")
            if asked.get(key) is not None:
                raise InvalidInput(f"Parameter {key} is given twice, in the address and in the body.")
        values = {**asked, **query}
        name, version = values.get("model"), values.get("version")
        if isinstance(version, int) and not isinstance(version, bool):
            version = str(version)
        if not isinstance(version, str | None) or not isinstance(name, str | None):
            raise InvalidInput("`model` and `version` must be texts.")
        if name is not None:
            return name, version
        if version is not None:
            raise InvalidInput("A version is given without a model.", cure="Name the model.")
        found = self._platform.cases.default_model()
        if found is None:
            known = ", ".join(self._models.names())
            raise InvalidInput("No model is named.", cure=f"Name one: {known}; or set model_name.")
        return found

    def _metadata(self, name: str, version: str | None) -> dict[str, Any]:
        located = self._models.locate(name, version)
        with located.path.open("rb") as file:
            props = read_props(file)
        card = self._models.card(name, version)
        return {
            "model": card.ref,
            "name": card.name,
            "version": card.version,
            "task": card.task,
            "title": card.title,
            "description": card.description,
            "licence": card.licence,
            "source": card.source,
            "digest": card.digest,
            "batchable": card.batchable,
            "inputs": [_spec(spec) for spec in card.inputs],
            "outputs": [_spec(spec) for spec in card.outputs],
            "labels": list(card.labels),
            "preprocessing": dict(card.preprocessing),
            "postprocessing": dict(card.postprocessing),
            "metrics": dict(card.metrics),
            "metadata_props": props,
        }


def _plain(outputs: Mapping[str, Array]) -> dict[str, Any]:
    return {name: plain(array) for name, array in outputs.items()}


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}

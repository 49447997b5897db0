"""`inference.GRPCInferenceService`: the Open Inference Protocol v2 over gRPC, as its usual clients speak it.

`ModelInfer` is the hot one; like its sister over HTTP (`oip.doors`) it submits tensors to the model's queue from the
loop and answers when the model's worker says so, without a thread in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import grpc

from sightline import __version__
from sightline.core.errors import InvalidInput, SightlineError
from sightline.core.model import ModelCard
from sightline.serve.oip.description import described_model, model_config
from sightline.serve.oip.inference import Inference
from sightline.serve.rpc.asked import Asked
from sightline.serve.rpc.messages import INFERENCE, message
from sightline.serve.rpc.status import details_of
from sightline.serve.rpc.streams import stream
from sightline.serve.rpc.tensors import make_response, read_request
from sightline.serve.rpc.wire import in_stream, join_response, parsed, split_request

if TYPE_CHECKING:
    from sightline.serve.platform import Platform
    from sightline.serve.rpc.calls import Calls

EXTENSIONS = ("classification", "model_configuration", "model_repository", "statistics")


class InferenceProcedures:
    """Answers the procedures of the protocol.

    Args:
        platform: what all doors share.
        inference: runs the models.
    """

    def __init__(self, platform: Platform, inference: Inference) -> None:
        self._platform = platform
        self._models = platform.models
        self._inference = inference

    def procedures(self, calls: Calls) -> grpc.GenericRpcHandler:
        """Return the handlers for gRPC's server."""
        unary: Mapping[str, Callable[[Asked], Any]] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        made = {name: calls.unary(f"/{INFERENCE}/{name}", work) for name, work in unary.items()}
        made["ModelStreamInfer"] = stream(calls, f"/{INFERENCE}/ModelStreamInfer", self._infer_in_stream, _refusal)
        return grpc.method_handlers_generic_handler(INFERENCE, made)

    async def _infer(self, asked: Asked) -> bytes:
        """Answer one ModelInferRequest."""
        begin_s = time.perf_counter()
        name, version, request = read_request(asked.data)
        call = asked.begin(request.timeout_s)
        call.spent("decode", time.perf_counter() - begin_s)
        try:
            done = await self._inference.run(name, version or None, request.inputs, call)
            outputs, card, asked.kept = done.outputs, done.card, done.kept
            encode_s = time.perf_counter()
            ran = call.versions[-1] if call.versions else card.ref
            response, raw = make_response(
                outputs, request, model=name, version=ran.rpartition("@")[2], labels=card.labels
            )
            call.spent("encode", time.perf_counter() - encode_s)
        finally:
            asked.end(call)
        return join_response(response, raw)

    async def _infer_in_stream(self, asked: Asked) -> bytes:
        return in_stream(await self._infer(asked))

    async def _server_live(self, asked: Asked) -> bytes:
        parsed(message("inference.ServerLiveRequest"), asked.data)
        return _bytes("ServerLiveResponse", live=True)

    async def _server_ready(self, asked: Asked) -> bytes:
        parsed(message("inference.ServerReadyRequest"), asked.data)
        return _bytes("ServerReadyResponse", ready=not self._platform.stopping)

    async def _server_metadata(self, asked: Asked) -> bytes:
        parsed(message("inference.ServerMetadataRequest"), asked.data)
        return _bytes("ServerMetadataResponse", name="sightline", version=__version__, extensions=EXTENSIONS)

    async def _model_ready(self, asked: Asked) -> bytes:
        name, version = _named("ModelReadyRequest", asked)
        return _bytes("ModelReadyResponse", ready=await self._inference.is_ready(name, version))

    async def _model_metadata(self, asked: Asked) -> bytes:
        name, version = _named("ModelMetadataRequest", asked)
        card = await self._card(asked, name, version)
        versions = await asyncio.to_thread(self._models.versions, name)
        found = described_model(name, card, versions)
        del found["parameters"]  # which gRPC has no place for; ModelConfig has
        return _bytes("ModelMetadataResponse", **found)

    async def _model_config(self, asked: Asked) -> bytes:
        name, version = _named("ModelConfigRequest", asked)
        card = await self._card(asked, name, version)
        config = model_config(name, card)
        config["parameters"] = {key: {"string_value": value} for key, value in card.to_props().items()}
        return _bytes("ModelConfigResponse", config=config)

    async def _model_statistics(self, asked: Asked) -> bytes:
        name, version = _named("ModelStatisticsRequest", asked)
        if name:
            await asyncio.to_thread(self._models.locate, name, version)
        rows = list(self._platform.statistics.rows(name, version or ""))
        return _bytes("ModelStatisticsResponse", model_stats=rows)

    async def _index(self, asked: Asked) -> bytes:
        request = parsed(message("inference.RepositoryIndexRequest"), asked.data)
        index = await asyncio.to_thread(self._models.index)
        return _bytes(
            "RepositoryIndexResponse",
            models=[entry for entry in index if entry["state"] == "READY" or not request.ready],
        )

    async def _load(self, asked: Asked) -> bytes:
        request = parsed(message("inference.RepositoryModelLoadRequest"), asked.data)
        if request.parameters:
            raise InvalidInput("A model cannot be changed while it is loaded.", cure="Call CreateModel instead.")
        await self._inference.in_thread(asked.call, lambda: self._models.load(request.model_name))
        return _bytes("RepositoryModelLoadResponse")

    async def _unload(self, asked: Asked) -> bytes:
        request = parsed(message("inference.RepositoryModelUnloadRequest"), asked.data)
        await self._inference.in_thread(asked.call, lambda: self._models.unload(request.model_name))
        return _bytes("RepositoryModelUnloadResponse")

    async def _card(self, asked: Asked, name: str, version: str | None) -> ModelCard:
        return await self._inference.card(name, version, asked.call)


def _named(kind: str, asked: Asked) -> tuple[str, str | None]:
    """Return name and version in a request that has nothing else."""
    request = parsed(message(f"inference.{kind}"), asked.data)
    return request.name, request.version or None


def _bytes(kind: str, **fields: Any) -> bytes:
    """Return a message in bytes."""
    body: bytes = message(f"inference.{kind}")(**fields).SerializeToString()
    return body


def _refusal(asked: Asked, error: SightlineError) -> bytes:
    """Return what a stream's caller is told of a request that was not answered."""
    answer = message("inference.ModelStreamInferResponse")(error_message=details_of(error))
    answer.infer_response.id = _id_of(asked.data)
    body: bytes = answer.SerializeToString()
    return body


def _id_of(data: bytes) -> str:
    """Return the id of a request that could not be answered; empty where it has none that can be read."""
    try:
        found: str = split_request(data)[0].id
    except SightlineError:
        return ""
    return found

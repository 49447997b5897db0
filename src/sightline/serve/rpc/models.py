"""`sightline.v1.ModelService`: make models and ask them."""

from __future__ import annotations

import io
import math
import time
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.json_format import MessageToDict

from sightline.build.made_models import make_model
from sightline.core.access import Scope
from sightline.core.codec import encode_sample, to_json
from sightline.core.errors import InvalidInput
from sightline.core.model import split_ref
from sightline.core.oip import checked_datatype, checked_shape, datatype_of, from_raw, to_raw
from sightline.core.prediction import Boxes, Labels
from sightline.core.sample import Sample
from sightline.engine.call import current_call
from sightline.serve.answers import Answers
from sightline.serve.oip.wire import check_texts
from sightline.serve.rpc.messages import MODELS, message
from sightline.serve.rpc.wire import parsed

if TYPE_CHECKING:
    from sightline.serve.oip.inference import Inference
    from sightline.serve.platform import Platform
    from sightline.serve.rpc.asked import Asked
    from sightline.serve.rpc.calls import Calls

_TEXTS = ("name", "task", "preset", "title", "description", "licence", "source")
Prediction = message("sightline.v1.Prediction")


class ModelProcedures:
    """Answers the procedures of Sightline's own service.

    Args:
        platform: what all doors share.
        inference: asks a model about tensors.
    """

    def __init__(self, platform: Platform, inference: Inference) -> None:
        self._platform = platform
        self._inference = inference
        self._answers = Answers()

    def procedures(self, calls: Calls) -> grpc.GenericRpcHandler:
        """Return the handlers for gRPC's server."""
        works = {"CreateModel": self._create, "InferModel": self._infer}
        made = {name: calls.unary(f"/{MODELS}/{name}", work) for name, work in works.items()}
        return grpc.method_handlers_generic_handler(MODELS, made)

    async def _create(self, asked: Asked) -> bytes:
        request = parsed(message("sightline.v1.ModelConfig"), asked.data)
        chosen = request.WhichOneof("file")
        config: dict[str, Any] = {key: getattr(request, key) for key in _TEXTS if getattr(request, key)}
        config |= {key: list(getattr(request, key)) for key in ("labels", "aliases") if getattr(request, key)}
        for key in ("preprocessing", "postprocessing"):
            if request.HasField(key):
                config[key] = _whole(MessageToDict(getattr(request, key)))
        if chosen not in (None, "onnx"):
            config["file"] = {chosen: getattr(request, chosen)}
        data = request.onnx if chosen == "onnx" else None
        may_read_paths = asked.caller.may(Scope.ADMIN)

        def work() -> Any:
            context = self._platform.context
            model = make_model(context, config, data, may_read_paths=may_read_paths)
            context.sessions.refresh()  # so that its aliases lead to it at once
            return model

        model = await self._answers.of(self._platform.threads.submit(asked.call, work), asked.call)
        made = message("sightline.v1.Model")(
            name=model.name,
            version=model.version,
            ref=model.ref,
            task=model.card.task,
            aliases=model.aliases,
            labels=[label or "" for label in model.card.labels],
            digest=model.card.digest,
        )
        body: bytes = made.SerializeToString()
        return body

    async def _infer(self, asked: Asked) -> bytes:
        begin_s = time.monotonic()
        request = parsed(message("sightline.v1.InferenceRequest"), asked.data)
        name, version = split_ref(request.model)
        chosen = request.WhichOneof("input")
        if chosen is None:
            raise InvalidInput("The request has neither image nor tensors.", cure="Send one of them.")
        if chosen == "image":
            work = self._looking(request, name, version)
            answer = await self._answers.of(self._platform.threads.submit(asked.call, work), asked.call)
        else:
            answer = await self._tensors(request, name, version, asked)
        answer.id = request.id
        answer.model = ",".join(asked.call.versions)
        answer.latency_ms = round(1000 * (time.monotonic() - begin_s), 3)
        body: bytes = answer.SerializeToString()
        return body

    def _looking(self, request: Any, name: str, version: str | None) -> Any:
        """Return the work of a request with a picture, as `POST /predict` does it."""
        given: dict[str, Any] = {"top_k": request.top_k} if request.top_k else {}
        if request.HasField("threshold"):
            given["threshold"] = request.threshold

        def work() -> Any:
            requests = self._platform.cases.for_model(name, version)
            sample = requests.analyse(requests.load(io.BytesIO(request.image), "the picture"), given)
            begin_s = time.perf_counter()
            answer = _said(sample, requests.case.name)
            current_call().spent("encode", time.perf_counter() - begin_s)
            return answer

        return work

    async def _tensors(self, request: Any, name: str, version: str | None, asked: Asked) -> Any:
        """Answer with all outputs of the model."""
        inputs = {}
        for key, tensor in request.tensors.by_name.items():
            where = f"Input {key!r}"
            datatype, shape = checked_datatype(tensor.datatype, where), checked_shape(tuple(tensor.shape), where)
            check_texts(math.prod(shape) if datatype == "BYTES" else 0, where)
            inputs[key] = from_raw(tensor.raw, datatype, shape, where)
        done = await self._inference.run(name, version, inputs, asked.call)
        asked.kept = done.kept
        answer = Prediction(type="tensors")
        for key, array in done.outputs.items():
            tensor = answer.tensors.by_name[key]
            tensor.datatype = datatype_of(array.dtype)
            tensor.shape.extend(array.shape)
            tensor.raw = bytes(to_raw(array))
        return answer


def _said(sample: Sample[Any], case: str) -> Any:
    """Return what was said about a picture; its items are those of the first prediction that has some."""
    wire = encode_sample(sample, case)
    answer = Prediction(json=to_json(wire).decode())
    for key, prediction in sample.predictions.items():
        if isinstance(prediction, Boxes | Labels):
            answer.type = wire["predictions"][key]["type"]
            for item in wire["predictions"][key]["items"]:
                answer.items.add(**item)
            break
    else:
        answer.type = next((each["type"] for each in wire["predictions"].values()), "")
    return answer


def _whole(value: Any) -> Any:
    """Return JSON whose whole numbers are integers again; protobuf's Struct knows floats only."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value

"""The doors of the Open Inference Protocol v2: raw handlers, one for each route.

`infer` is the hot one: it parses, submits the tensors to the model's queue from the loop, and answers when the model's
worker says so, without a thread in between.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Sequence
from urllib.parse import unquote

from sightline import __version__
from sightline.core.errors import InvalidInput, MethodNotAllowed, NotFound, TooLarge, Unavailable, WrongMediaType
from sightline.core.model import ModelCard, named_version
from sightline.serve.exchange import JSON, Exchange
from sightline.serve.oip.description import described_model, model_config
from sightline.serve.oip.inference import Inference
from sightline.serve.oip.wire import WantedOutput, read_request, write_answer
from sightline.serve.platform import Platform
from sightline.serve.timing import server_timing

OCTETS = b"application/octet-stream"
_LONG = 1 << 20  # JSON of so many bytes is not read on the loop, where everybody waits for it
_LONG_DIGITS = 7
_ABOUT = ((), ("ready",), ("config",), ("stats",))  # what is told of a model
EXTENSIONS = ("classification", "model_configuration", "model_repository", "binary_tensor_data", "statistics")


class InferenceDoors:
    """Answers everything below `/v2`.

    Args:
        platform: what all doors share.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._models = platform.models
        self._inference = Inference(platform)

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request.

        Raises:
            NotFound: there is no such route.
            MethodNotAllowed: the route takes other methods.
        """
        parts = exchange.path.split("/")[2:]
        allowed = ("POST",) if parts[-1:] == ["infer"] or parts[:1] == ["repository"] else ("GET", "HEAD")
        if exchange.method not in allowed:
            raise MethodNotAllowed(f"{exchange.path} does not take {exchange.method}.", allow=allowed)
        match parts:
            case ["models", name, "infer"]:
                exchange.route = "/v2/models/{name}/infer"
                await self._infer(exchange, *named_version(unquote(name)))
            case ["models", name, "versions", version, "infer"]:
                exchange.route = "/v2/models/{name}/versions/{version}/infer"
                await self._infer(exchange, *named_version(unquote(name), unquote(version)))
            case [] | [""]:
                exchange.route = "/v2"
                answer = {"name": "sightline", "version": __version__, "extensions": EXTENSIONS}
                await exchange.answer_json(answer)
            case ["health", ("live" | "ready") as which]:
                exchange.route = f"/v2/health/{which}"
                ready = which == "live" or not self._platform.stopping
                if not ready:
                    raise Unavailable("The server is being stopped.", cure="Ask another one.")
                await exchange.answer(200)
            case ["models", "stats"]:
                exchange.route = "/v2/models/stats"
                await exchange.answer_json({"model_stats": [*self._platform.statistics.rows()]})
            case ["repository", *rest]:
                await self._repository(exchange, rest)
            case ["models", name, "versions", version, *rest]:
                await self._about(exchange, *named_version(unquote(name), unquote(version)), rest)
            case ["models", name, *rest]:
                await self._about(exchange, *named_version(unquote(name)), rest)
            case _:
                raise NotFound(f"There is nothing at {exchange.path}.", cure="See /docs.")

    async def _infer(self, exchange: Exchange, name: str, version: str | None) -> None:
        body = await exchange.body()
        if encoding := exchange.text_header(b"content-encoding"):
            body = await asyncio.to_thread(_inflated, body, encoding, exchange.limit)
        begin = time.perf_counter()
        length = exchange.text_header(b"inference-header-content-length")
        if len(body) > _LONG and not (length and len(length) < _LONG_DIGITS):
            request = await self._inference.in_thread(exchange.call, lambda: read_request(body, length))
        else:
            request = read_request(body, length)
        exchange.call.spent("decode", time.perf_counter() - begin)
        if request.timeout_s is not None:
            exchange.shorten_deadline(request.timeout_s)
        exchange.watch()
        ran = await self._inference.run(name, version, request.inputs, exchange.call)
        begin = time.perf_counter()
        answered = exchange.call.versions[-1] if exchange.call.versions else ran.card.ref
        wanted = request.outputs or [WantedOutput(output, request.binary) for output in ran.outputs]
        body, json_size = write_answer(
            ran.outputs,
            wanted,
            model=name,
            version=answered.rpartition("@")[2],
            request_id=request.id,
            labels=ran.card.labels,
        )
        exchange.call.spent("encode", time.perf_counter() - begin)
        headers = [(b"server-timing", server_timing(exchange.call.spans))]
        if ran.kept:
            headers.append((b"x-cache", ran.kept.encode()))
        if json_size:
            headers.append((b"inference-header-content-length", str(json_size).encode()))
        await exchange.answer(200, body, OCTETS if json_size else JSON, headers)

    async def _about(self, exchange: Exchange, name: str, version: str | None, rest: Sequence[str]) -> None:
        """Answer what a model is."""
        base = "/v2/models/{name}" + ("/versions/{version}" if version else "")
        exchange.route = "/".join((base, *rest)) if tuple(rest) in _ABOUT else "other"
        match list(rest):
            case [] | ["config"]:
                card: ModelCard = await self._inference.card(name, version, exchange.call)
                if rest:
                    await exchange.answer_json(model_config(name, card))
                    return
                versions = await asyncio.to_thread(self._models.versions, name)
                await exchange.answer_json(described_model(name, card, versions))
            case ["stats"]:
                found = await asyncio.to_thread(self._models.locate, name, version)
                rows = self._platform.statistics.rows(found.name, found.card.version if version else "")
                await exchange.answer_json({"model_stats": [*rows]})
            case ["ready"]:
                if not await self._inference.is_ready(name, version):
                    raise Unavailable(f"The model {name!r} takes no requests now.", cure="Load it.")
                await exchange.answer(200)
            case _:
                raise NotFound(f"There is nothing at {exchange.path}.", cure="See /docs.")

    async def _repository(self, exchange: Exchange, rest: Sequence[str]) -> None:
        """List, load and unload models."""
        body = await exchange.body()
        asked = await exchange.json() if body else {}
        if not isinstance(asked, dict):
            raise InvalidInput("The body must be a JSON object, or empty.")
        match list(rest):
            case ["index"]:
                exchange.route = "/v2/repository/index"
                ready_only = asked.get("ready", False)
                if not isinstance(ready_only, bool):
                    raise InvalidInput("`ready` must be true or false.")
                index = await asyncio.to_thread(self._models.index)
                await exchange.answer_json([entry for entry in index if entry["state"] == "READY" or not ready_only])
            case ["models", name, "load"]:
                exchange.route = "/v2/repository/models/{name}/load"
                if asked.get("parameters"):
                    raise InvalidInput(
                        "A model cannot be changed while it is loaded.", cure="POST it to /api/v1/models instead."
                    )
                await self._inference.in_thread(exchange.call, lambda: self._models.load(unquote(name)))
                await exchange.answer(200)
            case ["models", name, "unload"]:
                exchange.route = "/v2/repository/models/{name}/unload"
                await self._inference.in_thread(exchange.call, lambda: self._models.unload(unquote(name)))
                await exchange.answer(200)
            case _:
                raise NotFound(f"There is nothing at {exchange.path}.", cure="See /docs.")


def _inflated(body: bytes, encoding: str, limit: int) -> bytes:
    """Return a compressed body as it was, as long as that is within the limit.

    Raises:
        WrongMediaType: it is compressed in another way.
        InvalidInput: it is damaged.
        TooLarge: it is longer than the limit.
    """
    windows = {"gzip": 31, "deflate": 15, "identity": 0}
    kind = encoding.strip().lower()
    if kind not in windows:
        raise WrongMediaType(f"Content-Encoding {encoding[:40]!r} is not taken.", cure="Send gzip, deflate or none.")
    if not windows[kind]:
        return body
    inflater = zlib.decompressobj(windows[kind])
    try:
        data = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidInput(f"The body is no {kind}.") from None
    if len(data) > limit or inflater.unconsumed_tail:
        raise TooLarge(f"The body is longer than {limit >> 20} MiB when it is unpacked.", cure="Send less.")
    if not inflater.eof:
        raise InvalidInput(f"The body is cut off: its {kind} does not end.")
    return data

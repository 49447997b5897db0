"""A gRPC server on a free port, on an event loop of its own in this process."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import numpy as np
import pytest
from tests.serve.oip.nets import ONNX_TYPES, echo_net, slow_net

from sightline.build.context import CaseBuildContext
from sightline.serve.bodies import Bodies
from sightline.serve.platform import Platform
from sightline.serve.rpc.messages import message
from sightline.serve.rpc.server import RpcServer
from sightline.serve.rpc.spans import CallTracer
from sightline.settings import load_settings


@contextmanager
def serving(
    folder: Path, *models: Path, bodies: Bodies | None = None, tracer: CallTracer | None = None, **environ: str
) -> Iterator[tuple[Platform, int]]:
    """Yield a platform that serves `models` over gRPC, and its port."""
    counted = bodies or Bodies(1 << 30)
    given = {"SIGHTLINE_DATA_ROOT": str(folder / "data"), "SIGHTLINE_SERVER__DRAIN_S": "2", **environ}
    settings = load_settings(folder=folder, environ=given)
    platform = Platform(CaseBuildContext(settings))
    platform.open()
    for path in models:
        platform.models.serve_file(path)
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def on_loop(work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, loop)
        return future.result(60)

    async def made() -> tuple[RpcServer, int]:
        server = RpcServer(platform, counted, tracer)
        return server, await server.start("127.0.0.1", 0)

    server, port = on_loop(made())
    try:
        yield platform, port
    finally:
        on_loop(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
        platform.close()


@pytest.fixture(scope="module")
def platform_and_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, int]]:
    folder = tmp_path_factory.mktemp("rpc")
    nets = [echo_net(folder / f"echo-{datatype}.onnx", datatype) for datatype in ONNX_TYPES]
    with serving(folder, *nets, slow_net(folder / "slow.onnx")) as found:
        yield found


@pytest.fixture
def port(platform_and_port: tuple[Platform, int]) -> int:
    return platform_and_port[1]


def infer_request(*, model: str = "echo-FP32", request_id: str = "", value: float = 0, rows: int = 1) -> bytes:
    """Return a ModelInferRequest with [rows, 3] float32."""
    array = np.full((rows, 3), value, np.float32)
    made = message("inference.ModelInferRequest")(model_name=model, id=request_id, raw_input_contents=[array.tobytes()])
    made.inputs.add(name="x", datatype="FP32", shape=array.shape)
    data: bytes = made.SerializeToString()
    return data


class Talk:
    """A caller's side of a stream, who says what he wants when he wants."""

    def __init__(self, channel: grpc.Channel, **metadata: str) -> None:
        self._said: queue.Queue[bytes | None] = queue.Queue()
        sent = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        self.call: Any = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")(
            iter(self._said.get, None), timeout=60, metadata=sent
        )

    def say(self, *requests: bytes) -> None:
        """Send requests."""
        for request in requests:
            self._said.put(request)

    def end(self) -> None:
        """Say that nothing more comes."""
        self._said.put(None)

    def hear(self) -> Any:
        """Return the next ModelStreamInferResponse; `StopIteration` and `RpcError` are the end."""
        return message("inference.ModelStreamInferResponse").FromString(next(self.call))

    def last(self) -> grpc.StatusCode:
        """Wait for the end, which must come without another answer, and return its status."""
        try:
            answer = self.hear()
        except (StopIteration, grpc.RpcError):
            self.end()
            code: grpc.StatusCode = self.call.code()
            return code
        raise AssertionError(answer)

"""The end of a real process that serves gRPC: what was taken is answered, and nobody who says nothing keeps it."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx2
import numpy as np
import pytest
from tests.serve.oip.nets import echo_net, slow_net
from tests.serve.processes import ServerProcess, server_process
from tests.serve.rpc.conftest import Talk, infer_request
from tests.serve.test_serve_process import refuses, until

from sightline.serve.rpc.messages import message

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
    pytest.mark.alone,
]

INFER = "/inference.GRPCInferenceService/ModelInfer"


def slow_request(request_id: str = "", *, rows: int = 1) -> bytes:
    made = message("inference.ModelInferRequest")(model_name="slow", id=request_id)
    made.inputs.add(name="x", datatype="FP32", shape=[rows, 384, 384])
    made.raw_input_contents.append(np.zeros((rows, 384, 384), np.float32).tobytes())
    data: bytes = made.SerializeToString()
    return data


@contextmanager
def talking(folder: Path, *, rounds: int, **env: str) -> Iterator[tuple[ServerProcess, grpc.Channel]]:
    nets = slow_net(folder / "slow.onnx", rounds=rounds), echo_net(folder / "echo-FP32.onnx", "FP32")
    with server_process(folder, *nets, "--grpc-port", "0", env=env) as server:
        line = next(line for line in server.lines if "grpc listens" in line)
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found is not None, line
        with grpc.insecure_channel(f"127.0.0.1:{found[1]}") as channel:
            yield server, channel


def num_taken(server: ServerProcess) -> float:
    """Return how many requests by gRPC the server has taken, those that it still works on too."""
    lines = httpx2.get(server.url + "/metrics", timeout=60).text.splitlines()
    answered = [line for line in lines if line.startswith('sightline_requests_total{method="RPC"')]
    running: int = httpx2.get(server.url + "/readyz?verbose", timeout=60).json()["running_requests"]
    return sum(float(line.rpartition(" ")[2]) for line in answered) + running - 1  # that was this one


def test_what_was_taken_is_answered_and_an_idle_stream_does_not_keep_it(tmp_path: Path) -> None:
    with (
        talking(tmp_path, rounds=400, SIGHTLINE_SERVER__DRAIN_S="100") as (server, channel),
        ThreadPoolExecutor(2) as pool,
    ):
        infer = channel.unary_unary(INFER)
        infer(slow_request(), timeout=60)  # opens it
        idle, busy = Talk(channel), Talk(channel)
        idle.say(infer_request())
        idle.hear()
        busy.say(*(slow_request(str(number)) for number in range(3)))
        assert busy.hear().infer_response.id == "0"
        running = [pool.submit(infer, slow_request(), timeout=60) for _ in range(2)]
        until(lambda: num_taken(server) == 7)
        begin_s = time.monotonic()
        server.signal(signal.SIGTERM)
        assert [busy.hear().infer_response.id for _ in range(2)] == ["1", "2"]
        assert busy.last() is grpc.StatusCode.UNAVAILABLE  # it may have more to say, which nobody hears
        assert idle.last() is grpc.StatusCode.UNAVAILABLE
        assert all(each.result() for each in running)
        assert server.wait(60) == 0
        sys.stdout.write(f"ended {time.monotonic() - begin_s:.1f} s after the signal\n")
        assert time.monotonic() - begin_s < 60
        assert "Traceback" not in server.err, server.err
        assert '"http.response.status_code":5' not in server.err, server.err


@pytest.mark.timeout(300)
@pytest.mark.parametrize("num_signals", [1, 2])
def test_what_takes_longer_than_the_drain_or_than_anybody_waits_is_broken_off(tmp_path: Path, num_signals: int) -> None:
    patience = {"DRAIN_S": "1" if num_signals == 1 else "300", "DEADLINE_S": "600", "BODY_TIMEOUT_S": "600"}
    env = {f"SIGHTLINE_SERVER__{name}": value for name, value in patience.items()}
    with (
        talking(tmp_path, rounds=2400, **env) as (server, channel),
        ThreadPoolExecutor(4) as pool,
    ):
        infer = channel.unary_unary(INFER)
        infer(slow_request(), timeout=60)
        # 40 times as long: minutes, in which a machine may well let a server wait whose models have all processors.
        request = slow_request(rows=40)
        running = [pool.submit(infer, request, timeout=300) for _ in range(4)]
        until(lambda: num_taken(server) == 5)
        begin_s = time.monotonic()
        server.signal(signal.SIGTERM)
        if num_signals == 2:
            until(lambda: refuses(server.port))  # two signals at once may be one
            server.signal(signal.SIGTERM)
        codes = [each.exception().code() if each.exception() else None for each in running]  # type: ignore[union-attr]
        broken_s = time.monotonic() - begin_s
        assert server.wait(60) == 0
        sys.stdout.write(f"broken off after {broken_s:.1f} s: {codes}\n")
        assert {*codes} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}, server.err
        assert broken_s < 100, server.err
        assert "Traceback" not in server.err, server.err

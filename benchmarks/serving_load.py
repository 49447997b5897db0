"""The tools of the serving bench: a server as a user starts it, a closed-loop client, and the bare work."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).parents[1]


@dataclass
class Load:
    """What a closed-loop load of some seconds gave.

    Attributes:
        latencies_s: of the requests that were answered with 200.
        refused_s: latencies of those that were answered with 503.
        errors: number of other answers.
        seconds: how long it took.
        server_s: CPU of the server meanwhile.
        client_s: CPU of the client.
    """

    latencies_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0.0
    server_s: float = 0.0
    client_s: float = 0.0

    @property
    def per_second(self) -> float:
        """Requests that were answered in a second."""
        return len(self.latencies_s) / self.seconds

    @property
    def offered_per_second(self) -> float:
        """Requests of all kinds in a second."""
        return (len(self.latencies_s) + len(self.refused_s) + self.errors) / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU of the server for a request."""
        return 1000 * self.server_s / max(1, len(self.latencies_s) + len(self.refused_s) + self.errors)

    @property
    def client_ms(self) -> float:
        """CPU of the client for a request."""
        return 1000 * self.client_s / max(1, len(self.latencies_s) + len(self.refused_s) + self.errors)


@dataclass(frozen=True)
class Server:
    """A running `sightline serve`."""

    port: int
    key: str
    process: psutil.Process
    ready_s: float
    model: str = ""
    grpc_port: int = 0

    def cpu_s(self) -> float:
        """Return the CPU seconds of the process and its children."""
        tree = [self.process, *self.process.children(recursive=True)]
        return float(sum(sum(each.cpu_times()[:2]) for each in tree))

    def rss_mb(self) -> float:
        """Return the resident memory of the process and its children."""
        tree = [self.process, *self.process.children(recursive=True)]
        return float(sum(each.memory_info().rss for each in tree) / 1e6)


@contextmanager
def serving(folder: Path, model: str, *, grpc: bool = False, new_key: bool = True, **settings: str) -> Iterator[Server]:
    """Start the server for one model with auth on, and a key that may infer."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    env |= {"SIGHTLINE_DATA_ROOT": str(folder), "SIGHTLINE_AUTH": "on"}
    env |= {f"SIGHTLINE_{name.upper()}": value for name, value in settings.items()}
    program = str(Path(sys.executable).parent / "sightline")
    kept = folder / "key"
    if new_key:
        made = subprocess.run(
            [program, "keys", "create", "bench", "--scope", "admin"],
            env=env, cwd=folder, check=True, capture_output=True, text=True,
        )  # fmt: skip
        kept.write_text(made.stdout.strip())
    extra = ["--grpc-port", "0"] if grpc else []
    begin = time.perf_counter()
    with (folder / "server.log").open("w+") as log:
        process = subprocess.Popen(
            [program, "serve", model, "--port", "0", *extra], env=env, cwd=folder, stderr=log, stdout=log
        )
        try:
            port = _port(folder / "server.log", process, r"serving https?://[^ ]*?:(\d+)")
            ready_s = time.perf_counter() - begin
            rpc = _port(folder / "server.log", process, r'grpc listens.*?"address":"[^"]*?:(\d+)"') if grpc else 0
            stem = Path(model).stem
            yield Server(port, kept.read_text(), psutil.Process(process.pid), ready_s, stem, rpc)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _port(log: Path, process: subprocess.Popen[bytes], pattern: str) -> int:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(pattern, log.read_text()):
            return int(found[1])
        time.sleep(0.005)
    raise RuntimeError(f"the server did not start: {log.read_text()}")


def request(server: Server, path: str, body: bytes, **headers: str) -> bytes:
    """Return the bytes of an HTTP request."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}", f"X-API-Key: {server.key}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def tensor_request(server: Server, model: str, name: str, tensor: np.ndarray[Any, Any]) -> bytes:
    """Return an OIP request with a binary tensor, in and out."""
    raw = tensor.tobytes()
    entry = {"name": name, "shape": list(tensor.shape), "datatype": "FP32"}
    head = json.dumps(
        {
            "inputs": [entry | {"parameters": {"binary_data_size": len(raw)}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    header = {"Inference_Header_Content_Length": str(len(head)), "Content_Type": "application/octet-stream"}
    return request(server, f"/v2/models/{model}/infer", head + raw, **header)


async def _offered(port: int, data: bytes, until: float, load: Load, every_s: float) -> None:
    """Ask at set times, whatever became of the requests before: each on a free connection, or on a new one."""
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask() -> None:
        reader, writer = free.pop() if free else await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
        begin = time.perf_counter()
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(size[1]) if size else 0)
        seconds = time.perf_counter() - begin
        if head[9:12] == b"200":
            load.latencies_s.append(seconds)
        elif head[9:12] == b"503":
            load.refused_s.append(seconds)
        else:
            load.errors += 1
        if b"onnection: close" in head:
            writer.close()
        else:
            free.append((reader, writer))

    asking: set[asyncio.Task[None]] = set()
    due = time.perf_counter()
    while due < until:
        if (wait_s := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        task = asyncio.create_task(ask())
        asking.add(task)
        task.add_done_callback(asking.discard)
        due += every_s
    await asyncio.gather(*asking)
    for _, writer in free:
        writer.close()


async def _one(port: int, data: bytes, until: float, load: Load) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    try:
        while (begin := time.perf_counter()) < until:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(size[1]) if size else 0)
            seconds = time.perf_counter() - begin
            if head[9:12] == b"200":
                load.latencies_s.append(seconds)
            elif head[9:12] == b"503":
                load.refused_s.append(seconds)
                if b"onnection: close" in head:
                    writer.close()
                    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
            else:
                load.errors += 1
    finally:
        writer.close()


def loaded(
    server: Server,
    data: bytes,
    *,
    seconds: float,
    concurrency: int = 1,
    every_s: float | None = None,
    once: bool = False,
) -> Load:
    """Return what a closed loop of `concurrency` connections gives.

    With `every_s` a request begins so often, whatever becomes of the others; `once`: a single request.
    """
    import uvloop

    load = Load()

    async def go() -> None:
        until = time.perf_counter() + (0.001 if once else seconds)
        if every_s is not None:
            await _offered(server.port, data, until, load, every_s)
        else:
            await asyncio.gather(*(_one(server.port, data, until, load) for _ in range(concurrency)))

    cpu, own, begin = server.cpu_s(), time.process_time(), time.perf_counter()
    uvloop.run(go())
    return Load(
        latencies_s=sorted(load.latencies_s),
        refused_s=sorted(load.refused_s),
        errors=load.errors,
        seconds=time.perf_counter() - begin,
        server_s=server.cpu_s() - cpu,
        client_s=time.process_time() - own,
    )


def rpc_load(
    server: Server, model: str, name: str, tensor: np.ndarray[Any, Any], *, concurrency: int, seconds: float
) -> Load:
    """Return what a closed loop of gRPC calls gives, by the official client."""
    import tritonclient.grpc as triton

    data = triton.InferInput(name, list(tensor.shape), "FP32")
    data.set_data_from_numpy(tensor)
    load = Load()

    def loop() -> None:
        client = triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}")
        while (once := time.perf_counter()) < until:
            client.infer(model, [data], headers={"authorization": f"Bearer {server.key}"})
            load.latencies_s.append(time.perf_counter() - once)
        client.close()

    cpu, own, begin = server.cpu_s(), time.process_time(), time.perf_counter()
    until = begin + seconds
    threads = [Thread(target=loop) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.perf_counter() - begin
    load.server_s, load.client_s = server.cpu_s() - cpu, time.process_time() - own
    return load


def session(path: Path) -> Any:
    """Return ONNX Runtime's own session, as the server has it."""
    import sightline  # noqa: F401 - first, so that ONNX Runtime reports as little here as in the server
    import onnxruntime  # isort: skip

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def bare_ms(work: Callable[[], object], threads: int, seconds: float) -> tuple[float, float]:
    """Return milliseconds of CPU of one call, and calls in a second, in so many threads at once."""
    counts = [0] * threads

    def loop(number: int) -> None:
        while time.perf_counter() < until:
            work()
            counts[number] += 1

    work()
    cpu, begin = time.process_time(), time.perf_counter()
    until = begin + seconds
    workers = [Thread(target=loop, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    total = sum(counts)
    return 1000 * (time.process_time() - cpu) / total, total / (time.perf_counter() - begin)


def picture_work(net: Any, name: str, jpeg: bytes) -> Callable[[], object]:
    """Return the bare work on a picture: the decode and preprocessing that the server does, and the net."""
    import simplejpeg

    from sightline.build import CaseBuildContext
    from sightline.packs.vision.preprocess import Preprocessor

    with CaseBuildContext() as context:
        prepare = Preprocessor(context.registry.locate("efficientnet-lite0").card).prepare

    def work() -> object:
        tensor, _ = prepare(simplejpeg.decode_jpeg(jpeg, colorspace="BGR"))
        return net.run(None, {name: tensor})

    return work


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")

"""What serving costs over the work itself, side by side in one run: `make bench-serving`.

Bare is what nobody can leave out: ONNX Runtime with one thread a call on a tensor that lies ready, and for pictures
simplejpeg and the preprocessing before it; it runs in as many threads as the server has workers, so that both meet the
same neighbours on the processor. The server is `sightline serve` as a user starts it, with a key, numbers and the
request log on. CPU is that of the server's whole process tree, user and system, by request; the client, on the same
cores, is counted apart. Rounds are interleaved and the median is taken.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.page import RESULTS, page
from benchmarks.serving_load import (
    ROOT,
    Load,
    Server,
    bare_ms,
    loaded,
    median,
    picture_work,
    quantile,
    request,
    rpc_load,
    serving,
    session,
    tensor_request,
)

MODEL = ROOT / "src/sightline/zoo/efficientnet-lite0.onnx"
ROUNDS = 3
CONCURRENCY = 8
_DEPTH = 200  # layers of the net for overload


def tiny_net(path: Path) -> Path:
    """Write a model that costs almost nothing and takes 600 kB."""
    from onnx import TensorProto, helper, save

    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[1, 1], strides=[32, 32]),
        helper.make_node("GlobalAveragePool", ["p"], ["m"]),
        helper.make_node("Flatten", ["m"], ["y"]),
    ]
    tensors = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 224, 224]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3]),
    ]
    graph = helper.make_graph(nodes, "tiny", tensors[:1], tensors[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def small_net(path: Path) -> Path:
    """Write a model that takes some 5 ms, as the classifier does, and 4 kB: for overload, where bodies cost nothing."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = np.random.default_rng(0).normal(size=(1024, 1024)).astype(np.float32) / 32
    names = ["x", *(f"h{step}" for step in range(_DEPTH - 1)), "y"]
    nodes = [helper.make_node("MatMul", [names[step], "w"], [names[step + 1]]) for step in range(_DEPTH)]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1024]) for name in "xy"]
    graph = helper.make_graph(nodes, "small", tensors[:1], tensors[1:], [numpy_helper.from_array(weights, "w")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


FASTAPI = """
import numpy as np, onnxruntime, sys, uvicorn
from fastapi import FastAPI, Request, Response
app = FastAPI()
net = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
@app.post("/infer")
async def infer(request: Request):
    x = np.frombuffer(await request.body(), np.float32).reshape(1, 3, 224, 224)
    return Response(net.run(None, {"x": x})[0].tobytes(), media_type="application/octet-stream")
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", access_log=False)
"""


@contextmanager
def plain_route(net: Path) -> Iterator[Server]:
    """Start the peer: a FastAPI route around the same model, without auth, numbers and logs."""
    import socket

    import psutil

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", FASTAPI, str(net), str(port)])
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Server(port, "none", psutil.Process(process.pid), 0.0)
    finally:
        process.terminate()
        process.wait(10)


def shares(model: Path, seconds: float) -> list[list[str]]:
    """Return the rows of HTTP and gRPC against the bare limit."""
    net = session(model)
    name = net.get_inputs()[0].name
    tensor = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    jpeg = photograph()
    tensor_bare, picture_bare = (lambda: net.run(None, {name: tensor})), picture_work(net, name, jpeg)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), str(model), grpc=True) as server:
        served = server.model
        http = tensor_request(server, served, name, tensor)
        picture = request(server, f"/predict?model={served}", jpeg, Content_Type="image/jpeg")
        for data in (http, picture):
            loaded(server, data, concurrency=2, seconds=2.0)  # warm, and long enough for the layout to be measured
        time.sleep(3.0)
        for _ in range(ROUNDS):
            note(found, "bare", bare_ms(tensor_bare, 2, seconds))
            note(found, "http", told(loaded(server, http, concurrency=CONCURRENCY, seconds=seconds)))
            note(found, "bare+jpeg", bare_ms(picture_bare, 2, seconds))
            note(found, "jpeg", told(loaded(server, picture, concurrency=CONCURRENCY, seconds=seconds)))
            note(found, "grpc", told(rpc_load(server, served, name, tensor, concurrency=CONCURRENCY, seconds=seconds)))
            note(found, "one", bare_ms(tensor_bare, 1, seconds))
        rss = server.rss_mb()
    middle = {key: median(values) for key, values in found.items()}

    def row(what: str, target: str, cpu: str, bare: str) -> list[str]:
        share = middle[f"{bare} cpu"] / middle[f"{cpu} cpu"]
        spread = [b / c for b, c in zip(found[f"{bare} cpu"], found[f"{cpu} cpu"], strict=True)]
        return [
            what, target, f"{share:.3f} ({min(spread):.3f} to {max(spread):.3f})",
            f"{middle[f'{cpu} cpu']:.2f} ms a request, bare {middle[f'{bare} cpu']:.2f}",
        ]  # fmt: skip

    gain = middle["http rate"] / middle["one rate"]
    return [
        row("OIP binary tensor, concurrency 8: share of the limit by CPU", "at least 0.93", "http", "bare"),
        row("JPEG body: share of ONNX Runtime + the same decode", "at least 0.93", "jpeg", "bare+jpeg"),
        row("gRPC tensor", "at least 0.85", "grpc", "bare"),
        [
            "two workers, requests/s over the one-thread limit", "at least 1.6", f"{gain:.2f}",
            f"{middle['http rate']:.0f}/s, bare one thread {middle['one rate']:.0f}/s; RSS then {rss:.0f} MB",
        ],
    ]  # fmt: skip


def near_free(seconds: float) -> list[list[str]]:
    """Return the row of the server's own cost."""
    tensor = np.zeros((1, 3, 224, 224), np.float32)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        net = tiny_net(folder / "tiny.onnx")
        with serving(folder, str(net)) as server, plain_route(net) as peer:
            ours, theirs = tensor_request(server, "tiny", "x", tensor), request(peer, "/infer", tensor.tobytes())
            for _ in range(2):
                loaded(server, ours, concurrency=CONCURRENCY, seconds=1.5)
                loaded(peer, theirs, concurrency=CONCURRENCY, seconds=1.0)
            for _ in range(ROUNDS):
                note(found, "ours", told(loaded(server, ours, concurrency=CONCURRENCY, seconds=seconds)))
                note(found, "theirs", told(loaded(peer, theirs, concurrency=CONCURRENCY, seconds=seconds)))
    ours_us, theirs_us = (1000 * median(found[f"{who} cpu"]) for who in ("ours", "theirs"))
    return [[
        "near-free model, 600 KB tensor: server CPU a request", "at most 300 us", f"{ours_us:.0f} us",
        f"a FastAPI route without auth, numbers and logs in the same run: {theirs_us:.0f} us",
    ]]  # fmt: skip


def start(model: Path) -> list[list[str]]:
    """Return the row of the first answer: one net, layout remembered, database migrated."""
    net = session(model)
    name = net.get_inputs()[0].name
    tensor = np.zeros((1, 3, 224, 224), np.float32)
    seconds, ready, rss = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS + 1):
            begin = time.perf_counter()
            with serving(Path(folder), str(model), new_key=number == 0) as server:
                data = tensor_request(server, server.model, name, tensor)
                while not loaded(server, data, concurrency=1, seconds=0.0, once=True).latencies_s:
                    time.sleep(0.002)
                first = time.perf_counter() - begin
                rss.append(server.rss_mb())
                if number == 0:
                    time.sleep(6.0)  # the layout is measured and remembered
                    continue
                seconds.append(first)
                ready.append(server.ready_s)
    return [[
        "start to first answer; RSS then", "at most 1.2 s; at most 250 MB",
        f"{median(seconds):.2f} s; {median(rss[1:]):.0f} MB", f"listening after {median(ready):.2f} s",
    ]]  # fmt: skip


def overload(seconds: float) -> list[list[str]]:
    """Return the row of four times more load than the server can do."""
    tensor = np.zeros((1, 1024), np.float32)
    queue = 16
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        net = small_net(folder / "small.onnx")
        with serving(folder, str(net), models__queue_rows=str(queue)) as server:
            data = tensor_request(server, "small", "x", tensor)
            loaded(server, data, concurrency=2, seconds=2.0)
            time.sleep(3.0)
            full = loaded(server, data, concurrency=8, seconds=seconds)
            calm = loaded(server, data, every_s=4 / full.per_second, seconds=seconds)
            storm = loaded(server, data, every_s=0.25 / full.per_second, seconds=seconds)
    unloaded = 1000 * quantile(calm.latencies_s, 0.99)
    bound = 1000 * queue / full.per_second
    accepted = 1000 * quantile(storm.latencies_s, 0.99)
    refused = 1000 * quantile(storm.refused_s, 0.95)
    return [[
        "overload (4x capacity): accepted requests' p99; 503 at p95",
        f"at most 2 x {unloaded:.1f} + {bound:.1f} ms; within 50 ms",
        f"{accepted:.1f} ms (limit {2 * unloaded + bound:.1f}); {refused:.1f} ms",
        (f"capacity {full.per_second:.0f}/s, offered {storm.offered_per_second:.0f}/s: {len(storm.latencies_s)} "
        f"accepted, {len(storm.refused_s)} refused, {storm.errors} other; client CPU {storm.client_ms:.2f} ms each"),
    ]]  # fmt: skip


def note(found: dict[str, list[float]], what: str, measured: tuple[float, float]) -> None:
    """Keep CPU and rate of a measurement."""
    found.setdefault(f"{what} cpu", []).append(measured[0])
    found.setdefault(f"{what} rate", []).append(measured[1])


def told(load: Load) -> tuple[float, float]:
    """Return milliseconds of server CPU of a request, and requests in a second; no request may have failed."""
    if load.errors or load.refused_s or not load.latencies_s:
        raise RuntimeError(f"{load.errors} requests failed, {len(load.refused_s)} were refused")
    return load.cpu_ms, load.per_second


def photograph() -> bytes:
    """Return a photograph as a camera of 640x480 sends it."""
    import io

    from PIL import Image

    picture = Image.open(min((ROOT / "tests/data/photos").glob("*.jpg"))).convert("RGB").resize((640, 480))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


def main() -> None:
    """Measure, print the table, and write it where `--write` says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL, help="the classifier; by default the shipped one")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--only", default="shares,near_free,start,overload", help="parts, separated by commas")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/serving.md")
    options = parser.parse_args()
    parts: dict[str, Any] = {
        "shares": lambda: shares(options.model.absolute(), options.seconds),
        "near_free": lambda: near_free(options.seconds),
        "start": lambda: start(options.model.absolute()),
        "overload": lambda: overload(options.seconds),
    }
    rows = [row for name in options.only.split(",") for row in parts[name]()]
    note = f", model `{options.model.name}`, client on the same cores."
    text = page("Serving", "make bench-serving", note, ("figure", "target", "measured", "beside"), rows)
    print(text)
    if options.write:
        (RESULTS / "serving.md").write_text(text)


if __name__ == "__main__":
    main()

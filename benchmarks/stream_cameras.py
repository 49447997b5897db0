"""The parts of the bench of streams that need cameras and a server: coming back, many at once, many who look on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
from benchmarks.stream_clips import ROOT, street, write_clip

SIZE = (640, 360)
CAMERAS = 16
VIEWERS = 20
RTSP_SERVER = ROOT / "tests/streams/rtsp_server.py"


@contextmanager
def camera(clip: Path, port: int, fps: int = 10) -> Iterator[str]:
    """Loop a raw clip on an RTSP server; give its address."""
    command = ["/usr/bin/python3", str(RTSP_SERVER), str(clip), "--port", str(port), "--fps", str(fps)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process.stdout.readline().strip() if process.stdout else ""
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def loop_clip(folder: Path) -> Path:
    """Return ten seconds of the street as a camera of 640x360 at 10 fps sends them, GOP 1 s."""
    path = folder / "loop.h264"
    if not path.exists():
        write_clip(path, street(SIZE), codec="h264", size=SIZE, fps=10, gop_s=1, kbps=512)
    return path


def reconnect(folder: Path) -> list[Sequence[str]]:
    """Return the row of the first frame after a server that was down for 2 s is back."""
    from sightline.packs.vision.sources.video import VideoSource
    from sightline.testing import make_context

    clip, port = loop_clip(folder), free_port()
    source = VideoSource(url=f"rtsp://127.0.0.1:{port}/cam", retry_max_s=0.5, timeout_s=3)
    context = make_context()
    source.open(context)
    newest: list[tuple[int, float]] = [(0, 0.0)]

    def read() -> None:
        for sample in source.read():
            newest[0] = (sample.epoch, time.monotonic())

    reader = Thread(target=read, daemon=True)
    reader.start()
    took: list[float] = []
    for _ in range(11):
        with camera(clip, port):
            up_s = time.monotonic()
            before = newest[0][0]
            while newest[0][0] == before:
                time.sleep(0.002)
            took.append(newest[0][1] - up_s)
            time.sleep(1.5)
        time.sleep(2)
    context.stopping.set()
    reader.join(10)
    back = took[1:]  # the first is the start
    return [
        (
            "back after a server that was down 2 s is back (GOP 1 s, retry_max_s 0.5)",
            "at most 0.6 s median of 10",
            f"{statistics.median(back):.2f} s",
            f"{min(back):.2f} to {max(back):.2f} s",
        )
    ]


CASE = """
title: Cameras of the bench.
sources: {sources}
stages:
  analytics:
    found: {{use: detector, model: nanodet-m, classes: [person]}}
    people: {{use: tracker, of: found}}
sinks:
  - {{use: bus}}
"""


@contextmanager
def serving(folder: Path, sources: dict[str, Any]) -> Iterator[tuple[int, psutil.Process]]:
    """Run the bench's case over these sources in `sightline serve`; give port and process."""
    with serving_case(folder, "bench", CASE.format(sources=json.dumps(sources))) as served:
        yield served


@contextmanager
def serving_case(folder: Path, name: str, manifest: str, plugins: str = "") -> Iterator[tuple[int, psutil.Process]]:
    """Run a case in `sightline serve`; give port and process."""
    place = folder / "cases" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "case.yaml").write_text(manifest)
    if plugins:
        (place / "plugins.py").write_text(plugins)
    env = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    data = tempfile.mkdtemp(dir=folder)  # of its own: a server takes up the runs of the one before
    env |= {"SIGHTLINE_DATA_ROOT": data, "SIGHTLINE_LOG__LEVEL": "warning"}
    program = str(Path(sys.executable).parent / "sightline")
    log = folder / "server.log"
    with log.open("w") as said:
        process = subprocess.Popen([program, "serve", name, "--run", "--port", "0"], cwd=folder, env=env, stderr=said)
        try:
            end_s = time.monotonic() + 30
            while (found := re.search(r"serving http://[^ ]*?:(\d+)", log.read_text())) is None:
                if process.poll() is not None or time.monotonic() > end_s:
                    raise RuntimeError(f"the server did not start: {log.read_text()}")
                time.sleep(0.02)
            yield int(found[1]), psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def many(folder: Path) -> list[Sequence[str]]:
    """Return the row of 16 cameras with a detector."""
    import httpx2

    clip, seconds = loop_clip(folder), 20.0
    with ExitStack() as stack:
        url = stack.enter_context(camera(clip, free_port()))
        sources = {f"cam{number:02}": {"use": "video", "url": url, "fps": 2} for number in range(CAMERAS)}
        port, process = stack.enter_context(serving(folder, sources))
        time.sleep(8)  # all connect, and the model's layout is measured
        ages: list[float] = []
        counts: dict[str, int] = dict.fromkeys(sources, 0)
        cpu_s, begin_s = sum(process.cpu_times()[:2]), time.monotonic()
        with httpx2.stream("GET", f"http://127.0.0.1:{port}/stream?type=prediction", timeout=30) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    sample = json.loads(line[6:])
                    taken = datetime.fromisoformat(sample["time"])
                    ages.append((datetime.now(UTC) - taken).total_seconds())
                    counts[sample["source"]] += 1
                if time.monotonic() - begin_s > seconds:
                    break
        spent_s = time.monotonic() - begin_s
        used = (sum(process.cpu_times()[:2]) - cpu_s) / spent_s
        rates = [num / spent_s for num in counts.values()]
        rows = httpx2.get(f"http://127.0.0.1:{port}/health/stream", timeout=30).json()["streams"]
    dropped = sum(sum(row["dropped"].values()) for row in rows)
    ages.sort()
    return [
        (
            f"{CAMERAS} cameras of 640x360@10, 2 fps each, detector on",
            "rate kept on two cores or shed evenly and said so; p95 age at most 1 s",
            f"{min(rates):.2f} to {max(rates):.2f} fps each; p95 age {ages[int(len(ages) * 0.95)]:.2f} s",
            f"median age {statistics.median(ages):.2f} s, {used:.2f} cores, {dropped} dropped with a reason",
        )
    ]


def viewers(folder: Path) -> list[Sequence[str]]:
    """Return the row of 20 who look at one camera."""
    clip = loop_clip(folder)
    with ExitStack() as stack:
        url = stack.enter_context(camera(clip, free_port()))
        port, process = stack.enter_context(serving(folder, {"cam": {"use": "video", "url": url, "fps": 10}}))
        time.sleep(5)
        used = {num: _looked_at(port, process, num) for num in (0, 1, VIEWERS)}
    return [
        (
            f"{VIEWERS} viewers of one camera",
            "encoded once; server CPU under 2x of one viewer",
            f"{used[VIEWERS] / used[1]:.2f}x",
            ", ".join(f"{num} viewers {cores:.3f} cores" for num, cores in used.items()),
        )
    ]


def _looked_at(port: int, process: psutil.Process, num: int, seconds: float = 6.0) -> float:
    """Return the cores that the server takes while so many look on."""
    from websockets.sync.client import connect

    over = Event()

    def look() -> None:
        with connect(f"ws://127.0.0.1:{port}/ws", proxy=None, max_size=None, compression=None) as socket_client:
            socket_client.send('{"op":"subscribe","types":["none"],"pictures":true}')
            while not over.is_set():
                socket_client.recv(timeout=10)

    threads = [Thread(target=look, daemon=True) for _ in range(num)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    cpu_s, begin_s = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(seconds)
    used = (sum(process.cpu_times()[:2]) - cpu_s) / (time.monotonic() - begin_s)
    over.set()
    for thread in threads:
        thread.join(10)
    return float(used)

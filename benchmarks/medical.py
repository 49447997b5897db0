"""The medical service beside its targets: reading, windows, findings, the engine of jobs, and `/infer` as a whole.

`make bench-medical`; `SIGHTLINE_PEER_PYTHON`, or `--peer-python`, names a Python that has SimpleITK, monai and torch,
in an environment of its own: without it, what is measured beside them is left out.

`/infer` is asked of a real server with a real head (181 x 217 x 181, another noise each time, so that nothing is taken
from a cache), its objects in a local folder, a stub of a backend as the receiver. The overhead is the time until the
answer came, and until the backend heard of it, less the time that the net itself ran.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
from benchmarks.page import RESULTS, page

ROOT = Path(__file__).parents[1]
HEAD = Path("/usr/share/mricron/templates/ch2.nii.gz")
_HEADER_BYTES = 352
PARTS = ("reading", "analysis", "jobs", "infer", "load")
_NOT = "not measured"


class Backend:
    """Hears of completions, and when."""

    def __init__(self) -> None:
        self.heard: dict[str, float] = {}
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                heard.setdefault(self.path.split("/")[3], time.perf_counter())
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@contextmanager
def served(folder: Path, backend: Backend, workers: int) -> Iterator[tuple[str, psutil.Process]]:
    """Give the address of a server of its own, and its process."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "MINIO_", "ML_"))}
    settings = {
        "SIGHTLINE_DATA_ROOT": str(folder),
        "SIGHTLINE_JOBS__WORKERS": str(workers),
        "BACKEND_URL": backend.url,
        "ML_SERVICE_TOKEN": "a-token-of-this-measure",
    }
    command = [sys.executable, "-m", "sightline", "serve", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env={**kept, **settings}, cwd=folder, stdout=log, stderr=log)
    try:
        url, end_s = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while time.monotonic() < end_s:
            try:
                urllib.request.urlopen(f"{url}/readyz", timeout=1).close()  # noqa: S310
                break
            except OSError:
                time.sleep(0.1)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def heads(num: int) -> list[bytes]:
    """Return heads as `.nii.gz`, alike for a reader, different for a cache."""
    file = gzip.decompress(HEAD.read_bytes())
    header, voxels = file[:_HEADER_BYTES], np.frombuffer(file, np.uint8, offset=_HEADER_BYTES)
    made = []
    for seed in range(num):
        noisy = voxels.copy()
        noisy[np.random.default_rng(seed).integers(0, voxels.size, 2000)] ^= 1
        made.append(gzip.compress(header + noisy.tobytes(), 1))
    return made


def asked(url: str, method: str, path: str, body: bytes) -> dict[str, Any]:
    """Return the JSON of an answer."""
    headers = {"Content-Type": "application/json", "Authorization": "Bearer a-token-of-this-measure"}
    request = urllib.request.Request(f"{url}{path}", body or None, headers, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
        return dict(json.loads(answer.read() or b"{}"))


def infer(url: str, object_: str) -> tuple[str, float, dict[str, Any]]:
    """Ask for one job; return its id, the seconds until the answer, and its run."""
    job = str(uuid4())
    begin_s = time.perf_counter()
    answer = asked(url, "POST", "/infer", json.dumps({"job_uuid": job, "input_object": object_}).encode())
    took_s = time.perf_counter() - begin_s
    return job, took_s, asked(url, "GET", f"/api/v1/runs/{answer['run']}", b"")


def net_s(url: str) -> float:
    """Return the seconds that models have run in the server."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as page:  # noqa: S310
        lines = page.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if "model_seconds_sum" in line and line[0] != "#")


def infer_rows(num: int) -> list[tuple[str, str, str]]:
    """Return what `/infer` costs beside the net."""
    backend, over_s, heard_s, nets_s, steps = Backend(), [], [], [], {}
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), backend, 1) as (url, _):
        for number, head in enumerate(heads(num + 1)):
            key = f"uploads/head-{number}.nii.gz"
            asked(url, "PUT", f"/api/v1/objects/{key}", head)
            before_s, begin_s = net_s(url), time.perf_counter()
            job, took_s, run = infer(url, key)
            end_s = time.monotonic() + 20
            while job not in backend.heard and time.monotonic() < end_s:
                time.sleep(0.005)
            net = net_s(url) - before_s
            if number:  # the first one opens the model
                nets_s.append(net)
                over_s.append(took_s - net)
                heard_s.append(backend.heard[job] - begin_s - net)
                steps = {each["name"]: each["seconds"] for each in run["status"]["steps"]}
    spent = ", ".join(f"{name} {seconds:.2f}" for name, seconds in steps.items())
    told = (
        f"{statistics.median(over_s):.2f} s until the answer, {statistics.median(heard_s):.2f} s until the backend "
        f"heard; the net {statistics.median(nets_s):.2f} s. Steps of the last in s: {spent}"
    )
    return [
        (
            "/infer beside the net, 181x217x181: queue, reading, store, report; and callback",
            "at most 2 s",
            told,
        )
    ]


def load_rows(num: int) -> list[tuple[str, str, str]]:
    """Return how many at once go through two workers."""
    backend = Backend()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), backend, 2) as (url, process):
        for number, head in enumerate(heads(num)):
            asked(url, "PUT", f"/api/v1/objects/uploads/head-{number}.nii.gz", head)
        begin_s, most = time.perf_counter(), 0
        with ThreadPoolExecutor(num) as pool:
            waiting = [pool.submit(infer, url, f"uploads/head-{number}.nii.gz") for number in range(num)]
            while not all(each.done() for each in waiting):
                most = max(most, process.memory_info().rss)
                time.sleep(0.1)
        took_s = time.perf_counter() - begin_s
        ended = [each.result() for each in waiting]
        end_s = time.monotonic() + 20
        while len(backend.heard) < num and time.monotonic() < end_s:
            time.sleep(0.05)
    each_s = sorted(seconds for _, seconds, _ in ended)
    well = sum(run["state"] == "completed" for _, _, run in ended)
    told = (
        f"{well} completed, {len(backend.heard)} heard; {took_s:.1f} s, {num / took_s:.2f}/s; waited median "
        f"{statistics.median(each_s):.1f} s, longest {each_s[-1]:.1f} s; most memory {most >> 20} MB"
    )
    return [
        (
            f"{num} /infer at once, two workers",
            "all end well, each completion heard",
            told,
        )
    ]


def main() -> int:
    """Measure and print the table; with all parts, keep it. Return 1 where something could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--peer-python", default=os.environ.get("SIGHTLINE_PEER_PYTHON", ""))
    wanted = parser.parse_args()
    rows: list[tuple[str, str, str]] = []
    for part in wanted.only or PARTS:
        print(f"{part} ...", file=sys.stderr, flush=True)
        if part == "infer":
            rows += infer_rows(5)
        elif part == "load":
            rows += load_rows(32)
        else:
            rows += others(part, wanted.peer_python)
    note = f"{beside(wanted.peer_python)}. How it is measured stands at the top of `benchmarks/medical.py`."
    text = page("Medical", "make bench-medical", note, ("figure", "target", "measured"), rows)
    print(text)
    if not wanted.only:
        (RESULTS / "medical.md").write_text(text)
    return int(any(told.startswith(_NOT) for *_, told in rows))


def others(part: str, peer: str) -> list[tuple[str, str, str]]:
    """Return the rows of a measure that stands by itself, run in a process of its own."""
    module = {"reading": "medical_reading", "analysis": "medical_analysis", "jobs": "jobs"}[part]
    command = [sys.executable, "-m", f"benchmarks.{module}"]
    if part != "jobs" and peer:
        command += ["--peer-python", peer]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    table = [line.strip().strip("|").split("|") for line in done.stdout.splitlines() if line.startswith("|")]
    rows = [(figure.strip(), target.strip(), told.strip()) for figure, target, told in table[2:]]
    # 1 without a traceback: a target was missed, which the rows tell themselves.
    if not rows or done.returncode not in (0, 1) or "Traceback" in done.stderr:
        reason = (done.stderr.strip().splitlines() or ["no table"])[-1]
        rows.append((part, "", f"{_NOT}: {reason}"))
    return rows


def beside(peer: str) -> str:
    """Return the versions of what is measured beside ours."""
    if not peer:
        return ""
    names = ("SimpleITK", "monai", "torch")
    code = f"from importlib.metadata import version; print(*(f'{{n}} {{version(n)}}' for n in {names!r}), sep=', ')"
    return f"; {subprocess.run([peer, '-c', code], capture_output=True, text=True, check=True).stdout.strip()}"


if __name__ == "__main__":
    sys.exit(main())
